"""Figures of the registry alone, with real seals: ``python -m tests.runtime.measure_registry [AGENTS]``."""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID, uuid4

from agentsd.core.manifest.agent import AgentRow
from agentsd.providers.catalog import default_catalog
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.runtime.agents.builder import Builder
from agentsd.runtime.agents.registry import Registry
from agentsd.store.queries.agents import Head, LoadedRows
from agentsd.telemetry import Metrics
from tests.runtime.agents.test_swaps import memory
from tests.runtime.world import new_keys, text_of

NOW = datetime.now(UTC)
URL = "http://127.0.0.1:9"


class NoHistory:
    """A store that answers at once: nothing is known."""

    async def owners(self, seals: Collection[bytes]) -> Mapping[bytes, str]:
        """Nobody's."""
        return {}

    async def older(self, row: AgentRow) -> Sequence[AgentRow]:
        """Nothing."""
        return ()


def row_of(text: str, number: int, version: int = 1) -> AgentRow:
    """One agent out of the sealed ``text``."""
    agent = UUID(int=number + 1)
    data = text.replace(text.split()[1], str(agent)).encode()
    slug = f"owner/agent-{number}"
    return AgentRow(
        id=agent,
        slug=slug,
        owner="owner",
        source="main",
        path=f"{slug}.yaml",
        version=version,
        digest=sha256(data).digest(),
        is_default=False,
        is_active=True,
        name=slug,
        commit=None,
        created_at=NOW,
        updated_at=NOW,
        data=data,
    )


@asynccontextmanager
async def pauses(what: str) -> AsyncIterator[None]:
    """Print how long the loop was held up at most.

    In CPU time of this thread, so that what else the machine does is not counted.
    """
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            start = time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - start)

    task = asyncio.create_task(watch())
    await asyncio.sleep(0)
    start = time.perf_counter()
    yield
    seconds = time.perf_counter() - start
    await asyncio.sleep(0.01)
    task.cancel()
    print(f"{what}: {seconds:.2f} s; loop held up for {longest * 1e3:.2f} ms at most")


def percentiles(what: str, seconds: list[float]) -> None:
    """Print median and 99th percentile in microseconds."""
    seconds.sort()
    tail = seconds[len(seconds) * 99 // 100]
    print(f"{what}: p50 {statistics.median(seconds) * 1e6:.1f} us, p99 {tail * 1e6:.1f} us")


async def main(count: int) -> None:
    """All figures for ``count`` agents."""
    keys = new_keys()
    text = keys.seal(text_of(URL))
    sessions, metrics = HttpSessions(), Metrics()
    builder = Builder(keys.opener(), default_catalog(), sessions, trusted_origins=[URL])
    registry = Registry(builder, NoHistory(), metrics)
    stamp = uuid4()
    rows = tuple(row_of(text, number) for number in range(count))
    documents = sum(len(row.data) for row in rows)
    gc.collect()
    used = memory()
    async with pauses(f"load {count}"):
        await registry.load(LoadedRows(Head(1, stamp), rows))
    gc.collect()
    each = (memory() - used) / count
    print(f"memory: {each:.0f} bytes per agent on top of its row ({documents // count} of document)")
    if count > 20_000:
        gc.freeze()
    async with pauses("verify all"):
        while await registry.openings.verify():
            pass
    gc.collect()
    print(f"memory after verifying: {(memory() - used) / count:.0f} bytes per agent")
    cold, warm = [], []
    for number in range(1000):
        start = time.perf_counter()
        async with registry.lease(f"owner/agent-{number}"):
            cold.append(time.perf_counter() - start)
    for number in range(20_000):
        start = time.perf_counter()
        async with registry.lease(f"owner/agent-{number % 1000}"):
            pass
        warm.append(time.perf_counter() - start)
    percentiles("first lease (opens)", cold)
    percentiles("lease of a warm agent", warm)
    gc.collect()
    print(f"memory with 1000 warm: {(memory() - used) / count:.0f} bytes per agent")
    for what, base in (("warm", 0), ("cold", 5000)):
        times = []
        for number in range(200):
            row = row_of(text.replace("model: one", f"model: m{number}"), base + number, 2 + number)
            start = time.perf_counter()
            await registry.update(LoadedRows(Head(2 + number, stamp), (row,)))
            times.append(time.perf_counter() - start)
        percentiles(f"update of one {what} agent, opening included", times)
    times = []
    for number in range(200):
        row = replace(registry.snapshot.ids[UUID(int=1 + number)].row, is_active=False, version=1000 + number)
        start = time.perf_counter()
        await registry.update(LoadedRows(Head(1000 + number, stamp), (row,)))
        times.append(time.perf_counter() - start)
    percentiles("update of one agent, swap alone", times)
    again = tuple(row_of(text.replace("model: one", "model: two"), number, 5000) for number in range(count))
    async with pauses(f"update of all {count}"):
        await registry.update(LoadedRows(Head(5000, stamp), again))
    await registry.aclose(drain_s=0)
    await sessions.aclose()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
