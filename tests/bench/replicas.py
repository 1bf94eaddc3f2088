"""Many runtimes in one process: each with its own pool, LISTEN connection, registry and heartbeat.

``python -m tests.bench.replicas COUNT`` with ``AGENTSD_DATABASE_URL``: prints ``ready``, and then a line
``VERSION SECONDS`` (``time.perf_counter``, the machine's) whenever one of them serves a version.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

from agentsd.providers.catalog import Catalog, default_catalog
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.runtime.agents.builder import Builder
from agentsd.runtime.agents.document_history import StoreDocumentHistory
from agentsd.runtime.agents.registry import Registry
from agentsd.runtime.follower.follower import Follower
from agentsd.sops.identities import find_identities
from agentsd.sops.opener import Opener
from agentsd.store.database import Database
from agentsd.telemetry import Metrics
from tests.bench.wire import run


def main() -> None:
    """Run until standard input ends."""
    run(_replicas(int(sys.argv[1]), os.environ["AGENTSD_DATABASE_URL"]))


async def _replicas(count: int, url: str) -> None:
    async with AsyncExitStack() as stack:
        opener = Opener(find_identities(os.environ, Path.home()))
        catalog, sessions = default_catalog(), HttpSessions()
        stack.push_async_callback(sessions.aclose)
        made = [await _replica(stack, url, opener, catalog, sessions) for _ in range(count)]
        for follower in made:
            await follower.ready.wait()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def _replica(
    stack: AsyncExitStack, url: str, opener: Opener, catalog: Catalog, sessions: HttpSessions
) -> Follower:
    """One runtime, whose verifier rests: its work is not what is measured."""
    database, metrics = Database(url, pool_size=2), Metrics()
    stack.push_async_callback(database.aclose)
    registry = Registry(
        Builder(opener, catalog, sessions, metrics=metrics), StoreDocumentHistory(database), metrics
    )
    stack.push_async_callback(registry.aclose)
    follower = Follower(database, registry, metrics)
    follower.verifier.pause()
    tasks = [asyncio.create_task(follower.run()), asyncio.create_task(_tell(registry))]

    async def end() -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    stack.push_async_callback(end)
    return follower


async def _tell(registry: Registry) -> None:
    with registry.subscribe() as changes:
        async for event in changes:
            print(event.version, time.perf_counter(), flush=True)


if __name__ == "__main__":
    main()
