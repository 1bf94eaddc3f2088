"""A terminal that blocks of the docs are pasted into: one bash, one statement after another."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

PATIENCE = 120.0
"""Seconds that a statement may take: generous, because the machine may be busy."""


class Terminal:
    """bash in a session of its own. ``text`` is everything that was printed in it."""

    def __init__(self, child: asyncio.subprocess.Process, scripts: Path) -> None:
        self._child = child
        self._scripts = scripts
        self._count = 0
        self._heard = asyncio.Condition()
        self._ear = asyncio.create_task(self._listen())
        self.text = ""

    @classmethod
    async def open(cls, folder: Path, env: Mapping[str, str], scripts: Path) -> Self:
        """A new one in ``folder``."""
        child = await asyncio.create_subprocess_exec(
            *("bash", "--norc", "--noprofile"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=folder,
            env=dict(env),
            start_new_session=True,
        )
        return cls(child, scripts)

    @property
    def folder(self) -> Path:
        """Where its prompt is."""
        return Path(f"/proc/{self._child.pid}/cwd").resolve()

    def paste(self, statement: str) -> None:
        """Have it run a statement in this very shell, with nothing to read from its input."""
        self._count += 1
        script = self._scripts / f"{self._child.pid}-{self._count}.sh"
        script.write_text(f"{statement}\n")
        assert self._child.stdin is not None
        run = f"set -o pipefail; . {shlex.quote(str(script))} </dev/null"
        self._child.stdin.write(f"{run}; printf '\\n%s %d\\n' {self._mark} $?\n".encode())

    @property
    def _mark(self) -> str:
        return f"--ended-{self._child.pid}-{self._count}"

    @property
    def status(self) -> int | None:
        """Exit status of what was pasted last; None while it runs."""
        found = re.search(rf"^{self._mark} (\d+)$", self.text, re.MULTILINE)
        return int(found[1]) if found else None

    async def ended(self) -> int:
        """Wait for the exit status of what was pasted last."""
        await self.until(lambda: self.status is not None)
        assert self.status is not None
        return self.status

    async def until(self, done: object) -> None:
        """Wait until ``done()``, which is asked whenever something was printed."""
        assert callable(done)
        async with asyncio.timeout(PATIENCE), self._heard:
            while not done():
                assert not self._ear.done(), f"the shell ended:\n{self.text}"
                await self._heard.wait()

    async def interrupt(self) -> None:
        """Press Ctrl-C, and wait for the prompt."""
        while self.status is None:
            for pid in _list_children(self._child.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT)
            with suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await self.ended()

    async def close(self) -> None:
        """End it with everything that was started in it."""
        for number, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, number)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._ear
                    break
        await self._child.wait()

    async def _listen(self) -> None:
        assert self._child.stdout is not None
        while data := await self._child.stdout.read(1 << 16):
            async with self._heard:
                self.text += data.decode("utf-8", "replace")
                self._heard.notify_all()
        async with self._heard:
            self._heard.notify_all()


def _list_children(pid: int) -> list[int]:
    with suppress(FileNotFoundError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def split_statements(block: str) -> Iterator[str]:
    """Yield the statements of a block, each as many lines as bash needs to run it."""
    lines: list[str] = []
    for line in block.splitlines():
        lines.append(line)
        text = "\n".join(lines)
        if text.strip() and _is_complete(text):
            yield text
            lines = []
    assert not "".join(lines).strip(), f"bash does not understand:\n{block}"


def _is_complete(text: str) -> bool:
    if text.endswith("\\"):
        return False
    ran = subprocess.run(["bash", "-n", "-c", text], capture_output=True, text=True, check=False)
    return ran.returncode == 0 and not ran.stderr
