"""Commit to live everywhere: fifty replicas that follow one database, and one commit after another.

The replicas are runtimes of two processes (fifty processes on two cores would measure the scheduler),
each with its own pool, LISTEN connection, registry and heartbeat. A figure is the time from the COMMIT
of an apply to the moment that a replica's new requests run on it, of every replica and commit; and how
long ``sync --wait`` takes to know that all do.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from psycopg import AsyncConnection

from agentsd.control.sync.convergence import wait_for_replicas
from agentsd.control.sync.reconciler import Reconciler, SyncOptions
from agentsd.control.validation.checker import Checker
from agentsd.files.tree import read_tree
from agentsd.providers.catalog import default_catalog
from agentsd.sops.identities import Identities
from agentsd.sops.opener import Opener
from agentsd.store.database import Database
from tests.bench.fleet import Fleet, fleet
from tests.bench.processes import ROOT, postgres, workspace
from tests.bench.report import Figure, Scale, main, p50, p99
from tests.bench.wire import run as run_async

REPLICAS = 50
HOSTS = 2
WAIT_SECONDS = 60.0
LINE = "You are a patient support agent of shop"
_PAUSE = 0.5  # s between two commits: heartbeats and statistics settle


class Clocked(Database):
    """Notes when (``time.perf_counter``) its last COMMIT was sent."""

    committing = 0.0

    async def _commit(self, connection: AsyncConnection) -> None:
        self.committing = time.perf_counter()
        await super()._commit(connection)


@dataclass
class Times:
    """Milliseconds after COMMIT."""

    each: list[float] = field(default_factory=list)  # of every replica and commit
    last: list[float] = field(default_factory=list)  # of the last replica of each commit
    known: list[float] = field(default_factory=list)  # that ``sync --wait`` knows it


def run(scale: Scale) -> Sequence[Figure]:
    """Commit to live everywhere: fifty replicas, one commit after another."""
    replicas = REPLICAS if scale.agents >= 1000 else 4
    with postgres() as server, workspace() as folder:
        made = fleet(max(scale.agents // 10, 60)).copy(folder)
        times = run_async(_measure(made, server.fresh(), replicas, max(scale.samples // 10, 2)))
    what = f"commit to live, {replicas} replicas"
    quoted, worst = "quoted polls: LiteLLM, Flipt 30 s", "quoted polls: Flux 60 s, Argo CD 180 s"
    return [
        Figure(f"{what}, p50", p50(times.each), "ms", anchor=30_000, against=quoted),
        Figure(f"{what}, p99", p99(times.each), "ms", 150, anchor=60_000, against=worst),
        Figure("  the last replica, p50", p50(times.last), "ms"),
        Figure("  sync --wait returns, p50", p50(times.known), "ms"),
    ]


async def _measure(made: Fleet, url: str, replicas: int, commits: int) -> Times:
    times, database = Times(), Clocked(url)
    reconciler = Reconciler(Checker(default_catalog(), Opener(Identities())), database)
    await reconciler.sync(read_tree(made.root), SyncOptions())
    async with _running(made, url, replicas) as lines:
        for number in range(-2, commits):  # the first ones warm up
            await asyncio.sleep(_PAUSE)
            _save(made, number)
            outcome = await reconciler.sync(read_tree(made.root), SyncOptions())
            committed = database.committing
            assert outcome.head, "something was saved"
            await wait_for_replicas(database, outcome.head.version, WAIT_SECONDS)
            known = time.perf_counter()
            served = [await _served(lines, outcome.head.version) for _ in range(replicas)]
            if number >= 0:
                each = [(at - committed) * 1e3 for at in served]
                times.each += each
                times.last.append(max(each))
                times.known.append((known - committed) * 1e3)
    await database.aclose()
    return times


def _save(made: Fleet, number: int) -> None:
    """One line of one agent's prompt."""
    path = made.path(number % made.count)
    before = path.read_text()
    at = before.index(LINE)
    path.write_text(f"{before[:at]}{LINE} {number}.{before[before.index(chr(10), at) :]}")


async def _served(lines: asyncio.Queue[str], version: int) -> float:
    """When the next replica served ``version``."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            found, at = (await lines.get()).split()
            if int(found) == version:
                return float(at)


@asynccontextmanager
async def _running(made: Fleet, url: str, replicas: int) -> AsyncIterator[asyncio.Queue[str]]:
    """The replicas; what they say."""
    lines: asyncio.Queue[str] = asyncio.Queue()
    environ = made.environ() | {"AGENTSD_DATABASE_URL": url}
    hosts = [await _host(environ, replicas // HOSTS) for _ in range(HOSTS)]
    ears = [asyncio.create_task(_listen(host, lines)) for host in hosts]
    try:
        ready = 0
        while ready < HOSTS:  # before it, each tells of its first load
            ready += await lines.get() == "ready"
        yield lines
    finally:
        for host in hosts:
            assert host.stdin
            host.stdin.close()
        await asyncio.gather(*(host.wait() for host in hosts), *ears)


async def _host(environ: dict[str, str], count: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.replicas", str(count)),
        env=environ,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )


async def _listen(host: asyncio.subprocess.Process, lines: asyncio.Queue[str]) -> None:
    assert host.stdout
    async for line in host.stdout:
        await lines.put(line.decode().strip())


if __name__ == "__main__":
    main(run)
