"""A home for ``agentsd``: its own repository, home, temporary and data folders, and nothing of ours."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import agentsd
from tests.databases import copy_data_folder
from tests.e2e.processes import Done, Process, end_postgres
from tests.runtime.world import Keys

REPOSITORY = Path(__file__).parents[2]


class Home:
    """``repo`` is the working directory, with ``agents.d`` in it; ``data`` is of embedded Postgres."""

    def __init__(self, root: Path, keys: Keys) -> None:
        self.root = root
        self.keys = keys
        self.repo = root / "repo"
        self.agents = self.repo / "agents.d"
        self.data = root / "data"
        self.temporary = root / "tmp"
        for folder in (self.agents, self.temporary, root / "home/run"):
            folder.mkdir(parents=True)
        self.env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(agentsd.__file__).parents[1]),  # the package that is tested
            "HOME": str(root / "home"),
            "TMPDIR": str(self.temporary),
            "XDG_CONFIG_HOME": str(root / "home/config"),
            "XDG_DATA_HOME": str(root / "home/data"),
            "XDG_CACHE_HOME": str(root / "home/cache"),
            "XDG_RUNTIME_DIR": str(root / "home/run"),
            "AGENTSD_DATA_DIR": str(self.data),
            "SOPS_AGE_KEY": keys.identity,
        }
        self.before: Callable[[], None] | None = None  # see ``Process.start``
        # False where the start is what is tested: that of the interpreter (see ``tests.e2e.forks``), and of
        # Postgres without data.
        self.fork = True
        self.processes: list[Process] = []

    def clone(self) -> None:
        """Fill ``repo`` as a fresh clone of this repository would, and use its demo key."""
        shutil.copytree(REPOSITORY / "agents.d", self.agents, dirs_exist_ok=True)
        shutil.copytree(REPOSITORY / "deploy" / "demo", self.repo / "deploy" / "demo")
        shutil.copy(REPOSITORY / ".sops.yaml", self.repo)
        del self.env["SOPS_AGE_KEY"]
        self.env["SOPS_AGE_KEY_FILE"] = "deploy/demo/age-key.txt"

    def write(self, path: str, text: str) -> Path:
        """A manifest; written in place, as a plain editor does."""
        file = self.agents / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace text in a manifest, in place."""
        text = (self.agents / path).read_text()
        assert old in text
        self.write(path, text.replace(old, new))

    async def start(self, *arguments: str, typed: str = "", **env: str) -> Process:
        """A command that goes on."""
        process = await Process.start(
            *arguments,
            env={**self.env, **env},
            cwd=self.repo,
            typed=typed,
            before=self.before,
            fork=self.fork,
        )
        self.processes.append(process)
        return process

    async def run(self, *arguments: str, typed: str = "", **env: str) -> Done:
        """A command to its end."""
        process = await self.start(*arguments, typed=typed, **env)
        return await process.ended()

    async def up(self, *arguments: str, **env: str) -> tuple[Process, str]:
        """``agentsd up`` and its URL, ready."""
        return await self._serving("up", *arguments, **env)

    async def serve(self, url: str, *arguments: str, **env: str) -> tuple[Process, str]:
        """``agentsd serve`` over the database at ``url`` and its own URL."""
        return await self._serving("serve", *arguments, **{"AGENTSD_DATABASE_URL": url, **env})

    async def _serving(self, command: str, *arguments: str, **env: str) -> tuple[Process, str]:
        first = not [*self.root.glob(f"{self.data.name}*")]
        if first and self.fork and "AGENTSD_DATABASE_URL" not in {**self.env, **env}:
            await asyncio.to_thread(copy_data_folder, self.data)
        process = await self.start(command, "--port", "0", *arguments, **env)
        return process, await process.url()

    async def clear(self) -> None:
        """End every process that is left, and Postgres; remove everything."""
        for process in self.processes:
            process.send_all(signal.SIGKILL)
        await asyncio.gather(*(process.ended() for process in self.processes))
        await end_postgres(self.data)
        shutil.rmtree(self.root, ignore_errors=True)


def echo(reply: str, **fields: Any) -> str:
    """A manifest that needs neither key nor network."""
    lines = [f"{name}: {value}" for name, value in fields.items()]
    return "\n".join([*lines, "llm:", "  provider: echo.local", f'  reply: "{reply}"', ""])
