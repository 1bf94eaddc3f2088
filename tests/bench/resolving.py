"""Resolving and switching an agent within a runtime's process: a lease on it, warm and for the first time."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path

from agentsd.control.sync.reconciler import Reconciler, SyncOptions
from agentsd.control.validation.checker import Checker
from agentsd.files.tree import read_tree
from agentsd.providers.catalog import default_catalog
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.runtime.agents.builder import Builder
from agentsd.runtime.agents.document_history import StoreDocumentHistory
from agentsd.runtime.agents.registry import Registry
from agentsd.sops.identities import find_identities
from agentsd.sops.opener import Opener
from agentsd.store.database import Database
from agentsd.store.queries import agents
from agentsd.telemetry import Metrics
from tests.bench.fleet import Fleet, fleet, slug
from tests.bench.processes import postgres
from tests.bench.report import Figure, Scale, main, p50, p99
from tests.bench.wire import run as run_async

WARM = 100  # agents that a process talks to by turns


def run(scale: Scale) -> Sequence[Figure]:
    """Resolving and switching an agent within a runtime's process."""
    made = fleet(scale.agents)
    with postgres() as server:
        warm, first = run_async(_measure(made, server.fresh(), scale.samples))
    name = f"switch among {made.count:,} agents"
    return [
        Figure(f"{name}, p50", p50(warm), "ms", anchor=100, against="the mission: < 100 ms"),
        Figure(f"{name}, p99", p99(warm), "ms", 1.0, anchor=100, against="the mission: < 100 ms"),
        Figure("  to one that was never used (opens its seal), p50", p50(first), "ms"),
        Figure("  to one that was never used, p99", p99(first), "ms"),
    ]


async def _measure(made: Fleet, url: str, samples: int) -> tuple[list[float], list[float]]:
    """Milliseconds to lease a warm agent, and one that is leased for the first time."""
    database, sessions = Database(url), HttpSessions()
    opener = Opener(find_identities(made.environ(), Path.home()))
    await Reconciler(Checker(default_catalog(), opener), database).sync(read_tree(made.root), SyncOptions())
    metrics = Metrics()
    builder = Builder(opener, default_catalog(), sessions)
    registry = Registry(builder, StoreDocumentHistory(database), metrics)
    async with database.transaction(snapshot=True) as connection:
        await registry.load(await agents.load_all(connection))
    rng = random.Random(7)
    fresh = [slug(number) for number in rng.sample(range(made.count), min(samples + WARM, made.count))]
    first = [await _lease(registry, ref) for ref in fresh]
    known = fresh[-WARM:]
    warm = [await _lease(registry, rng.choice(known)) for _ in range(samples * 50)]
    await registry.aclose()
    await sessions.aclose()
    await database.aclose()
    return warm, first[WARM // 10 :]


async def _lease(registry: Registry, ref: str) -> float:
    await asyncio.sleep(0)
    started = time.perf_counter()
    async with registry.lease(ref):
        return (time.perf_counter() - started) * 1e3


if __name__ == "__main__":
    main(run)
