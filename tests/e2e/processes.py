"""Real processes: started and ended by pid, heard line by line, waited for on conditions."""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.e2e.forks import ForkedProcess, start_forked

T = TypeVar("T")

PATIENCE = 120.0
"""Seconds that any condition is waited for: generous, because the machine may be busy."""

_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE = 24, 1

_URL = re.compile(r"https?://127\.0\.0\.1:\d+")


@dataclass(frozen=True, slots=True)
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Both streams."""
        return self.out + self.err


class Process:
    """One running ``agentsd`` command. ``out`` and ``err`` are what it has written so far."""

    def __init__(self, child: asyncio.subprocess.Process | ForkedProcess) -> None:
        self._child = child
        self._heard = asyncio.Condition()
        self._texts = {"out": bytearray(), "err": bytearray()}
        assert child.stdout is not None
        assert child.stderr is not None
        self._ears = [
            asyncio.create_task(self._listen("out", child.stdout)),
            asyncio.create_task(self._listen("err", child.stderr)),
        ]

    @classmethod
    async def start(
        cls,
        *arguments: str,
        env: Mapping[str, str],
        cwd: Path,
        typed: str = "",
        before: Callable[[], None] | None = None,
        fork: bool = False,
    ) -> Process:
        """``agentsd`` with ``arguments``, in an environment of exactly ``env``; ``typed`` is its input.

        ``before`` runs in the new process, before the program. ``fork`` spares the start of an interpreter.
        """
        if fork and before is None:
            return cls(await start_forked(arguments, env, cwd, typed.encode()))
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "agentsd", *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
            preexec_fn=before,
        )
        assert child.stdin is not None
        child.stdin.write(typed.encode())
        child.stdin.close()
        return cls(child)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._child.returncode is None

    @property
    def out(self) -> str:
        """Its standard output."""
        return self._texts["out"].decode("utf-8", "replace")

    @property
    def err(self) -> str:
        """Its standard error."""
        return self._texts["err"].decode("utf-8", "replace")

    async def says(self, pattern: str) -> re.Match[str]:
        """Wait until its standard error holds ``pattern``; fails with all it said if it ends before."""
        async with asyncio.timeout(PATIENCE), self._heard:
            while True:
                found = re.search(pattern, self.err)
                if found:
                    return found
                assert not all(ear.done() for ear in self._ears), f"it ended and said:\n{self.out}{self.err}"
                await self._heard.wait()

    async def url(self) -> str:
        """Where it answers, once it says so."""
        said = await self.says(r"listening.*")
        found = _URL.search(said[0])
        assert found
        return found[0]

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.running:
            self._child.send_signal(number)

    async def ended(self) -> Done:
        """Wait until it ends by itself."""
        async with asyncio.timeout(PATIENCE):
            code = await self._child.wait()
            await asyncio.gather(*self._ears)
        return Done(code, self.out, self.err)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> Done:
        """Ask it to end, and wait."""
        self.send(number)
        return await self.ended()

    async def kill(self) -> None:
        """End it at once."""
        await self.stop(signal.SIGKILL)

    def send_all(self, number: signal.Signals) -> None:
        """Signal it and what it started, as a terminal does; not what has a session of its own."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    async def _listen(self, name: str, stream: asyncio.StreamReader) -> None:
        while data := await stream.read(1 << 16):
            async with self._heard:
                self._texts[name] += data
                self._heard.notify_all()
        async with self._heard:
            self._heard.notify_all()


def obey_modes() -> None:
    """For ``before``: root, too, keeps to the modes of files (capabilities(7), CAP_DAC_OVERRIDE)."""
    if os.geteuid() == 0 and ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, 0, 0, 0):
        raise PermissionError("root cannot give up a right here")


async def until(look: Callable[[], Awaitable[T]], *, every: float = 0.02) -> T:
    """Ask ``look`` until it answers something true; of what has no event to wait for."""
    async with asyncio.timeout(PATIENCE):
        while not (found := await look()):
            await asyncio.sleep(every)
    return found


def exists(pid: int) -> bool:
    """Whether the process is there (a zombie does not count)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def gone(pid: int) -> None:
    """Wait until a process that is not our child is gone."""

    async def look() -> bool:
        return not exists(pid)

    await until(look)


def postmaster_of(data_dir: Path) -> int | None:
    """The pid of the server that runs on a data folder."""
    try:
        pid = int((data_dir / "postmaster.pid").read_text().split()[0])
    except (FileNotFoundError, IndexError):
        return None
    return pid if exists(pid) else None


async def end_postgres(data_dir: Path) -> None:
    """Stop a server that was left behind."""
    pid = postmaster_of(data_dir)
    if pid is not None:
        os.kill(pid, signal.SIGQUIT)
        await gone(pid)
