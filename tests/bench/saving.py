"""Save to live: from a saved file to the first new request that runs on it, with 10,000 agents loaded.

``agentsd up`` runs in a process of its own, as a user runs it. This process saves one line of a random
agent's prompt (by turns in place and by a rename over the old file, as editors do) and asks for that
agent, a new request every millisecond, until the answer shows the line: so a figure is at most one
millisecond and one request too high. It also watches the folder and listens to Postgres itself, with
the same tools as the daemon: that tells the parts apart.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from watchfiles import awatch

from agentsd.control.sync.watcher import DEBOUNCE_MS, STEP_MS
from agentsd.store.embedded.server import attach_server
from agentsd.store.listener import Listener
from tests.bench.fleet import Fleet, fleet, slug
from tests.bench.processes import Server, settle, up, workspace
from tests.bench.report import Figure, Scale, main, p50, p99
from tests.bench.wire import Connection, request
from tests.bench.wire import run as run_async

EVERY = 0.001  # s between two requests
LINE = "You are a patient support agent of shop"


@dataclass
class Marks:
    """When (``time.perf_counter``) the latest save was seen by others."""

    event: float = 0.0  # the file system's event
    notified: float = 0.0  # the notification that follows the commit


@dataclass
class Times:
    """Milliseconds of every save, and of its parts."""

    whole: list[float] = field(default_factory=list)
    event: list[float] = field(default_factory=list)
    commit: list[float] = field(default_factory=list)
    swap: list[float] = field(default_factory=list)


def run(scale: Scale) -> Sequence[Figure]:
    """Save to live: from a saved file to the first new request that runs on it."""
    with workspace() as folder:
        made = fleet(scale.agents).copy(folder)
        with up(made, folder) as server:
            settle(server, made.count)
            url = attach_server(folder / "postgres")
            assert url, "the embedded Postgres runs"
            times = run_async(_measure(made, server, url, scale.samples))
    quoted = "quoted polls: LiteLLM, Flipt"
    worst = "quoted polls: Flux 60 s, Argo CD 180 s"
    with_all = f"save to live, {made.count:,} agents loaded"
    return [
        Figure(f"{with_all}, p50", p50(times.whole), "ms", 20, anchor=30_000, against=f"{quoted} 30 s"),
        Figure(f"{with_all}, p99", p99(times.whole), "ms", 60, anchor=60_000, against=worst),
        Figure("  save → file event, p50", p50(times.event), "ms"),
        Figure("  file event → notification, p50", p50(times.commit), "ms"),
        Figure("  notification → live, p50", p50(times.swap), "ms"),
    ]


async def _measure(made: Fleet, server: Server, database: str, samples: int) -> Times:
    times, rng = Times(), random.Random(7)
    async with _observed(made.root, database) as marks:
        connection = await Connection.open(server.url)
        for number in range(-5, samples):  # the first ones warm up
            await asyncio.sleep(rng.uniform(0.05, 0.15))
            one = await _save(made, rng.randrange(made.count), number, connection, server.url, marks)
            if number >= 0:
                for name, value in one.items():
                    getattr(times, name).append(value * 1e3)
        connection.close()
    return times


async def _save(
    made: Fleet, agent: int, number: int, connection: Connection, url: str, marks: Marks
) -> dict[str, float]:
    """One save: seconds until it was live, and of the parts."""
    path = made.path(agent)
    before = path.read_text()
    at = before.index(LINE)
    new = f"{LINE} {number} of {agent}. Ask."
    text = before[:at] + new + before[before.index("\n", at) :]
    asked = request("GET", f"{url}/api/agents/{slug(agent).replace('/', '~')}")
    marks.event = marks.notified = 0.0
    began = _write(path, text, in_place=bool(number % 2))
    while True:
        asked_at = time.perf_counter()
        if new.encode() in await connection.send(asked):
            break
        await asyncio.sleep(max(0.0, asked_at + EVERY - time.perf_counter()))
    live = time.perf_counter()
    event, notified = marks.event or live, marks.notified or live
    return {
        "whole": live - began,
        "event": event - began,
        "commit": max(0.0, notified - event),
        "swap": live - notified,
    }


def _write(path: Path, text: str, *, in_place: bool) -> float:
    """Save as editors do; returns when the save was over but for its last system call."""
    if in_place:
        began = time.perf_counter()
        path.write_text(text)
        return began
    temporary = path.with_name(f".{path.name}.swp")
    temporary.write_text(text)
    began = time.perf_counter()
    temporary.replace(path)
    return began


@asynccontextmanager
async def _observed(root: Path, database: str) -> AsyncIterator[Marks]:
    marks = Marks()

    async def watch() -> None:
        async for _ in awatch(root, watch_filter=None, step=STEP_MS, debounce=DEBOUNCE_MS, rust_timeout=1000):
            marks.event = marks.event or time.perf_counter()

    async def listen() -> None:
        async for hint in Listener(database):
            if hint.kind == "changed":
                marks.notified = marks.notified or time.perf_counter()

    tasks = [asyncio.create_task(work()) for work in (watch, listen)]
    try:
        yield marks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    main(run)
