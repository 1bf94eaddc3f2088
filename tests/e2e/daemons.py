"""Several ``agentsd watch`` on one checkout and one database, and what their leaders applied."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Sequence

from psycopg import AsyncConnection

from agentsd.core.names import derive_agent_id
from agentsd.store.leader_election import Leader, list_leaders
from tests.e2e.checkout import ME
from tests.e2e.home import Home, echo
from tests.e2e.processes import Process, until

APPLIED = "SELECT commit FROM versions WHERE version > 0 ORDER BY version"
RUNS = "SELECT version FROM sync_runs WHERE outcome = 'applied' ORDER BY version"
SAID = """SELECT convert_from(d.data, 'UTF8') FROM agent_revisions r
          JOIN documents d ON d.digest = r.document_digest ORDER BY r.version"""


class Repository:
    """A checkout that moves from commit to commit: HEAD first, then the files."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self.commits: list[str] = []
        self._git("init", "-q", "-b", "main")

    async def commit(self) -> str:
        """One commit that changes the agent, checked out."""
        return await asyncio.to_thread(self._commit)

    def _commit(self) -> str:
        text = echo(f"g{len(self.commits)}", id=derive_agent_id("a"))
        blob = self._git("hash-object", "-w", "--stdin", typed=text)
        folder = self._git("mktree", typed=f"100644 blob {blob}\ta.yaml\n")
        tree = self._git("mktree", typed=f"040000 tree {folder}\tagents.d\n")
        parents = ("-p", self.commits[-1]) if self.commits else ()
        made = self._git("commit-tree", tree, *parents, "-m", f"g{len(self.commits)}")
        self.commits.append(made)
        self._git("update-ref", "HEAD", made)
        self._git("reset", "-q", "--hard")
        return made

    def _git(self, *arguments: str, typed: str = "") -> str:
        env = {"PATH": os.environ["PATH"], "HOME": str(self._home.root), "GIT_CONFIG_NOSYSTEM": "1", **ME}
        done = subprocess.run(
            ["git", *arguments],
            cwd=self._home.repo,
            env=env,
            input=typed,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()


class Daemons:
    """``async with Daemons(…)``: some daemons, one of which leads."""

    def __init__(self, home: Home, database_url: str, connection: AsyncConnection) -> None:
        self._home = home
        self._url = database_url
        self._connection = connection
        self.processes: dict[int, Process] = {}

    async def start(self) -> Process:
        """One more."""
        process = await self._home.start("watch", "--resync", "2", AGENTSD_DATABASE_URL=self._url)
        self.processes[process.pid] = process
        return process

    async def leader(self, *, other_than: int = 0) -> Leader:
        """Who leads, as soon as somebody does."""

        async def look() -> Leader | None:
            found = await list_leaders(self._connection)
            return next((one for one in found if one.leads and one.pid != other_than), None)

        leader = await until(look, every=0.01)
        assert leader is not None
        return leader

    async def applied(self, commit: str) -> None:
        """Wait until this commit is applied."""

        async def look() -> bool:
            return commit in await self.column(APPLIED)

        await until(look, every=0.005)

    async def column(self, query: str) -> Sequence[object]:
        """The first column of what a query finds."""
        cursor = await self._connection.execute(query.encode())
        return [row[0] for row in await cursor.fetchall()]
