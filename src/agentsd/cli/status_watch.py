"""``agentsd status --watch``: the screen refreshed, or events, line by line."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from agentsd.cli.compose.factories import open_database
from agentsd.cli.output import get_stdout, print_lines
from agentsd.control.status.diff import OverviewEvent, diff_overviews
from agentsd.control.status.overview import Overview, load_overview
from agentsd.core.errors import StoreUnavailable
from agentsd.core.names import escape_unprintable
from agentsd.core.text.render import Line
from agentsd.store.database import Database
from agentsd.store.listener import Listener
from agentsd.store.queries.runs import RUNS_CHANNEL
from agentsd.supervisor import Supervisor

if TYPE_CHECKING:
    from agentsd.settings import Settings

PERIOD_SECONDS = 2.0
"""Seconds between reads of what no notification covers: replicas, leaders, elapsed times."""

_RUNS = 50

_STYLES = {
    **dict.fromkeys(
        ("refused", "failed", "failing", "Failing", "File refused", "Invalid", "Degraded", "nobody", "away"),
        "red",
    ),
    **dict.fromkeys(("Orphaned", "Suspended", "left", "drifted"), "yellow"),
    **dict.fromkeys(("applied", "Ready", "joined", "leads", "healed", "back"), "green"),
}


DrawOverview = Callable[[Overview, str, int], Iterable[Line]]
"""An overview, where the database is, and the terminal's width → the screen."""


async def watch_status(settings: Settings, form: str, limit: int, draw: DrawOverview) -> None:
    """Watch until interrupted. A store that goes away is waited for, and reported as away."""
    async with open_database(settings, start=False) as database, _listen_for_runs(database) as woken:
        if form == "text" and get_stdout().is_terminal:
            with _open_screen():
                await _refresh_screen(settings, database, woken, limit, draw)
        else:
            await _follow_events(settings, database, woken, form)


async def _refresh_screen(
    settings: Settings, database: Database, woken: asyncio.Event, limit: int, draw: DrawOverview
) -> None:
    """Draw the newest overview, over the last one."""
    async for found in _iterate_overviews(settings, database, woken, limit):
        size = shutil.get_terminal_size()
        if found is None:
            lines: list[Line] = [(("red", "Postgres is away"), ("dim", "  waiting"))]
        else:
            lines = list(draw(found, database.place, size.columns))
        sys.stdout.write("\x1b[H\x1b[J")
        print_lines(get_stdout(), lines[: size.lines - 1])
        sys.stdout.flush()


async def _follow_events(settings: Settings, database: Database, woken: asyncio.Event, form: str) -> None:
    """Print one line for each event, the first for the current state."""
    last: Overview | None = None
    away = False
    async for found in _iterate_overviews(settings, database, woken, _RUNS):
        if found is None:
            _print_events([OverviewEvent("store", "postgres", "away")] if not away else [], form)
            away = True
            continue
        _print_events([OverviewEvent("store", "postgres", "back")] if away else [], form)
        away = False
        if last is None:
            counts = {"agents": found.agents, "owners": found.owners, "replicas": len(found.replicas)}
            _print_events([OverviewEvent("status", "agents", str(found.version), "", counts)], form)
        else:
            _print_events(diff_overviews(last, found), form)
        last = found


async def _iterate_overviews(
    settings: Settings, database: Database, woken: asyncio.Event, limit: int
) -> AsyncIterator[Overview | None]:
    """Yield the overview now, at every new record, and on a period; None while the store is away."""
    while True:
        woken.clear()
        try:
            async with database.transaction(snapshot=True) as conn:
                found = await load_overview(conn, settings.source, runs_shown=limit)
            yield found
        except StoreUnavailable:
            yield None
        try:
            async with asyncio.timeout(PERIOD_SECONDS):
                await woken.wait()
        except TimeoutError:
            continue


@asynccontextmanager
async def _listen_for_runs(database: Database) -> AsyncIterator[asyncio.Event]:
    """Yield an event that is set whenever a run is recorded."""
    woken = asyncio.Event()

    async def listen() -> None:
        async for _ in Listener(database.listener_dsn, channel=RUNS_CHANNEL):
            woken.set()

    async with Supervisor().group() as tasks:
        tasks.start("listen", listen)
        yield woken


def _print_events(events: Iterable[OverviewEvent], form: str) -> None:
    for event in events:
        if form == "json":
            sys.stdout.write(json.dumps(event.body(), ensure_ascii=False, default=str) + "\n")
        else:
            print_lines(get_stdout(), [_format_event(event)])
    sys.stdout.flush()


def _format_event(event: OverviewEvent) -> Line:
    told = {name: value for name, value in event.more.items() if value not in (None, 0, {}, "")}
    counts = ", ".join(f"{value} {name}" for name, value in dict(told.pop("counts", {})).items() if value)
    parts = [f"{name} {value}" for name, value in told.items()] + ([counts] if counts else [])
    text = "  ".join([escape_unprintable(event.text)] * bool(event.text) + parts)
    style = _STYLES.get(event.state, "")
    return (
        ("dim", f"{event.kind:<10}"),
        ("bold", f"{escape_unprintable(event.name)} "),
        (style, event.state),
        ("", f"  {text}"),
    )


@contextmanager
def _open_screen() -> Iterator[None]:
    """Open a screen of its own; the previous content of the terminal comes back."""
    sys.stdout.write("\x1b[?1049h\x1b[?25l")
    try:
        yield
    finally:
        sys.stdout.write("\x1b[?25h\x1b[?1049l")
        sys.stdout.flush()
