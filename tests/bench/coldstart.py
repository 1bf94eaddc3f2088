"""Cold start without Postgres, 10,000 agents: keeping the snapshot, starting from it, and what that costs.

Save-to-live is measured beside it, with a snapshot that is kept and without, by the means of ``saving``:
keeping it must not make a save slower.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from agentsd.runtime.snapshot_cache import file as snapshotfile
from agentsd.runtime.snapshot_cache.format import CachedSnapshot, SnapshotOrigin
from agentsd.store.database import SCHEMA_REVISION, Database
from agentsd.store.embedded.server import attach_server
from agentsd.store.queries import agents
from tests.bench.fleet import Fleet, fleet
from tests.bench.processes import AGENTSD, Server, postgres, serving, settle, spend, up, workspace
from tests.bench.report import Figure, Scale, main, p50, p99
from tests.bench.saving import Times, _measure
from tests.bench.wire import run as run_async

ORIGIN = SnapshotOrigin("bench", "main", SCHEMA_REVISION)
NOBODY = "postgresql://agentsd@127.0.0.1:1/agentsd"


def run(scale: Scale) -> Sequence[Figure]:
    """Cold start without Postgres: keeping the snapshot, starting from it, and what that costs a save."""
    made = fleet(scale.agents)
    writes, reads, ready, size = _from_disk(made, scale.rounds)
    with_it, without = _saves(made, scale.samples // 2, cached=True), _saves(made, scale.samples // 2)
    count = f"{made.count:,} agents"
    against = "the same without a cache"
    return [
        Figure(f"write the snapshot, {count}", p50(writes) * 1e3, "ms"),
        Figure("  its size", size / (1 << 20), "MiB"),
        Figure("read it back", p50(reads) * 1e3, "ms"),
        Figure("serve from disk: start of the process → ready", p50(ready), "s"),
        Figure(
            "save to live while it is kept, p50",
            p50(with_it.whole),
            "ms",
            anchor=p50(without.whole),
            against=against,
        ),
        Figure("  p99", p99(with_it.whole), "ms", anchor=p99(without.whole), against=against),
    ]


def _from_disk(made: Fleet, rounds: int) -> tuple[list[float], list[float], list[float], int]:
    """Seconds to write, to read, and until a whole process is ready; and bytes."""
    writes, reads, ready, size = [], [], [], 0
    with postgres() as server, workspace() as folder:
        environ = made.environ() | {"AGENTSD_DATABASE_URL": server.fresh()}
        spend([*AGENTSD, "sync", "--path", str(made.root)], environ)
        kept = run_async(_kept(environ["AGENTSD_DATABASE_URL"]))
        path = folder / "snapshot"
        for _ in range(rounds):
            began = time.perf_counter()
            size = snapshotfile.write_snapshot(path, kept, ORIGIN, time.time())
            writes.append(time.perf_counter() - began)
            began = time.perf_counter()
            assert snapshotfile.read_snapshot(path, ORIGIN)
            reads.append(time.perf_counter() - began)
        ready = [_start(made, kept, folder) for _ in range(max(rounds // 2, 1))]
    return writes, reads, ready, size


async def _kept(url: str) -> CachedSnapshot:
    database = Database(url)
    async with database.transaction(snapshot=True) as connection:
        loaded = await agents.load_all(connection)
    await database.aclose()
    return CachedSnapshot(loaded.head, loaded.rows)


def _start(made: Fleet, kept: CachedSnapshot, folder: Path) -> float:
    """``agentsd serve`` where Postgres is not there."""
    from agentsd.runtime.snapshot_cache.keeper import make_snapshot_path

    origin = SnapshotOrigin(Database(NOBODY).place, "main", SCHEMA_REVISION)
    snapshotfile.write_snapshot(make_snapshot_path(folder, origin), kept, origin, time.time())
    environ = made.environ() | {"AGENTSD_DATABASE_URL": NOBODY, "AGENTSD_CACHE_DIR": str(folder)}
    began = time.perf_counter()
    with serving([*AGENTSD, "serve", "--port", "0"], environ):  # it prints its URL once it serves
        return time.perf_counter() - began


def _saves(made: Fleet, samples: int, *, cached: bool = False) -> Times:
    with workspace() as folder:
        copy = made.copy(folder)
        settings = {"cache_dir": str(folder / "cache")} if cached else {}
        with up(copy, folder, **settings) as server:
            return _saved(copy, server, folder, samples)


def _saved(made: Fleet, server: Server, folder: Path, samples: int) -> Times:
    settle(server, made.count)
    url = attach_server(folder / "postgres")
    assert url, "the embedded Postgres runs"
    return run_async(_measure(made, server, url, samples))


if __name__ == "__main__":
    main(run)
