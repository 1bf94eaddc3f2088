"""Prints what the store's work costs: ``python tests/store/measure_apply.py [agents]``.

Starts an embedded Postgres of its own, with its ordinary (durable) settings.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from agentsd.store.database import Database
from agentsd.store.embedded.server import EmbeddedPostgres
from agentsd.store.migrations import upgrade_schema
from agentsd.store.queries.agents import apply_plan, load_all, load_changed, load_stored, lock_applies
from tests.store.sample import change, manifest, plan_of, stamp, stored


async def timed(name: str, work: Callable[[], Awaitable[Any]], times: int = 1) -> None:
    """Print the median and the worst of ``times`` runs, in milliseconds."""
    took = []
    for _ in range(times):
        start = perf_counter()
        await work()
        took.append((perf_counter() - start) * 1000)
    print(f"{name:42} {median(took):9.1f} ms   worst {max(took):9.1f} ms   of {times}")


async def measure(url: str, count: int) -> None:
    """The figures for ``count`` agents."""
    database = Database(url)
    prompt = "You are a patient support agent. " * 20
    agents = [manifest(f"owner{i % 50}/agent-{i}.yaml", prompt=prompt) for i in range(count)]

    async def write(changes: list[Any]) -> None:
        async with database.transaction() as connection:
            await lock_applies(connection)
            await apply_plan(connection, plan_of(changes), stamp=stamp())

    async def load(function: Any, *args: Any) -> None:
        async with database.transaction(snapshot=True) as connection:
            await function(connection, *args)

    version = 0

    async def change_one() -> None:
        nonlocal version
        version += 1
        await write(
            [change("update", manifest(agents[7].path, id=agents[7].id, prompt=f"{prompt}{version}"))]
        )

    print(f"{count} agents, {len(agents[0].data or b'')} bytes each")
    await timed("first connection and head", lambda: load(load_changed, 0))
    await timed("create all", lambda: write([change("create", agent) for agent in agents]))
    await timed("load stored (a no-op sync)", lambda: load(load_stored, "main"), 5)
    await timed("load all (a runtime's start)", lambda: load(load_all), 5)
    await timed("change one, commit included", change_one, 200)
    head = (await stored(database)).version
    await timed("load changed (one row)", lambda: load(load_changed, head - 1), 200)
    edited = [replace(manifest(a.path, id=a.id, prompt=f"{prompt}!"), verified=False) for a in agents]
    await timed("update all", lambda: write([change("update", agent) for agent in edited]))
    await timed("delete all", lambda: write([change("delete", agent) for agent in agents]))
    await database.aclose()


def main() -> None:
    """Start, measure, stop."""
    with TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder) / "data")
        try:
            for name in ("first", "second"):
                start = perf_counter()
                url = server.start()
                print(
                    f"{name + ' start of the embedded Postgres':42} {(perf_counter() - start) * 1000:9.1f} ms"
                )
                if name == "first":
                    server.stop()
            start = perf_counter()
            upgrade_schema(url)
            print(f"{'migrate an empty database':42} {(perf_counter() - start) * 1000:9.1f} ms")
            asyncio.run(measure(url, int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
