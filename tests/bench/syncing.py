"""Syncing 10,000 sealed agents: cold and without a change, as a whole process and within the daemon."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from agentsd.control.sync.reconciler import Reconciler, SyncOptions
from agentsd.control.validation.checker import Checker
from agentsd.files.tree import read_tree, reread_files
from agentsd.providers.catalog import default_catalog
from agentsd.sops.identities import find_identities
from agentsd.sops.opener import Opener
from agentsd.store.database import Database
from tests.bench.fleet import Fleet, fleet
from tests.bench.opening import sample_of_decrypts
from tests.bench.processes import AGENTSD, Spent, postgres, spend, workspace
from tests.bench.report import Figure, Scale, main, p50
from tests.bench.wire import run as run_async

QUOTED = "quoted: ElevenLabs CLI"  # its own figures: 31 ms an agent at first, 316 s for 10,000 unchanged


def run(scale: Scale) -> Sequence[Figure]:
    """Syncing 10,000 sealed agents: cold and without a change, whole process and in the daemon."""
    made = fleet(scale.agents)
    cold, idle, urls = [], [], []
    with postgres() as server:
        for _ in range(max(1, scale.rounds // 2)):
            urls.append(server.fresh())
            cold.append(_sync(made, urls[-1]))
            idle += [_sync(made, urls[-1]) for _ in range(2)]
        with workspace() as folder:
            daemon = run_async(_in_daemon(made.copy(folder), urls[0], scale.rounds * 2))
    count = made.count
    sops = p50([one.cpu for one in sample_of_decrypts(made, 20)]) * count
    idle_wall = p50([one.wall for one in idle])
    figures = [
        _figure(
            f"cold sync, {count:,} agents",
            p50([one.wall for one in cold]),
            5,
            sops,
            "sops decrypt, CPU",
        ),
        _figure("  the same, CPU", p50([one.cpu for one in cold]), None, 0.031 * count, QUOTED),
        _figure(f"no-op sync, {count:,} agents", idle_wall, 1.2, 0.0316 * count, QUOTED),
        _figure("  the same, CPU", p50([one.cpu for one in idle])),
    ]
    goals = {"no-op resync in the daemon": 0.3}
    return figures + [_figure(name, p50(times), goals.get(name)) for name, times in daemon.items()]


def _figure(
    what: str, value: float, goal: float | None = None, anchor: float | None = None, against: str = ""
) -> Figure:
    return Figure(what, value, "s", goal, anchor=anchor, against=against)


def _sync(made: Fleet, url: str) -> Spent:
    environ = made.environ() | {"AGENTSD_DATABASE_URL": url}
    return spend([*AGENTSD, "sync", "--path", str(made.root)], environ)


async def _in_daemon(made: Fleet, url: str, rounds: int) -> dict[str, list[float]]:
    """Seconds of what a daemon's rounds consist of, once it knows the tree."""
    opener = Opener(find_identities(made.environ(), Path.home()))
    database = Database(url)
    reconciler = Reconciler(Checker(default_catalog(), opener, require_mac=True), database)
    options = SyncOptions(strict=False)
    tree = read_tree(made.root)
    await reconciler.sync(tree, options)

    async def resync() -> None:
        reconciler.forget()
        await reconciler.sync(read_tree(made.root, tree), options)

    async def unchanged() -> None:
        await reconciler.sync(tree, options)

    async def one_file() -> None:
        nonlocal tree
        path = made.path(made.count // 2)
        path.write_text(path.read_text().replace("You are", "You are so"))
        tree = reread_files(tree, [path.relative_to(made.root).as_posix()])
        await reconciler.sync(tree, options)

    works = {
        "no-op resync in the daemon": resync,
        "  reconcile, nothing new": unchanged,
        "  reconcile, one file saved": one_file,
    }
    times = {name: [await _timed(work) for _ in range(rounds)] for name, work in works.items()}
    await database.aclose()
    return times


async def _timed(work: Callable[[], Coroutine[Any, Any, None]]) -> float:
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main(run)
