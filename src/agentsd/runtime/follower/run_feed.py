"""Run feed: runs and manifests' conditions, published to subscribers as they are recorded.

A notification (``store.queries.runs.RUNS_CHANNEL``) announces that something was recorded; what, is
read from the store. While Postgres is unavailable nothing is published, and afterwards what was
missed is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, replace
from uuid import UUID

from psycopg import AsyncConnection

from agentsd.core.errors import AgentsdError
from agentsd.store.database import Database
from agentsd.store.listener import Listener
from agentsd.store.queries.runs import (
    RUNS_CHANNEL,
    ManifestCondition,
    SyncRun,
    list_conditions,
    list_runs,
    load_version_owners,
)

QUEUE_MAX = 256
"""Maximum queued events of a subscriber that does not read; the oldest are dropped first."""

_LOOK_BACK = 200
"""Number of recent runs that are searched for new ones."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunEvent:
    """Recorded run with the owners whose agents it changed, or the new condition of a manifest."""

    run: SyncRun | None = None
    owners: frozenset[str] = frozenset()
    condition: ManifestCondition | None = None


class RunFeed:
    """Feed of recorded runs and conditions. ``run`` it as a task."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._subscribers: set[asyncio.Queue[RunEvent]] = set()
        self._seen: frozenset[UUID] | None = None  # None: not loaded yet
        self._conditions: dict[tuple[str, str], ManifestCondition] = {}

    @property
    def conditions(self) -> Mapping[tuple[str, str], ManifestCondition]:
        """Return the conditions by source and path, as last read; another mapping after each change."""
        return self._conditions

    @contextmanager
    def subscribe(self) -> Iterator[asyncio.Queue[RunEvent]]:
        """Yield a queue of events from now on, for as long as the context lasts.

        It contains events of every owner: show them with care.
        """
        queue: asyncio.Queue[RunEvent] = asyncio.Queue(QUEUE_MAX)
        self._subscribers.add(queue)
        try:
            yield queue
        finally:
            self._subscribers.discard(queue)

    async def run(self) -> None:
        """Follow the record until cancelled; wait for a store that is unavailable."""
        listener = Listener(self._database.listener_dsn, channel=RUNS_CHANNEL)
        async with aclosing(listener.hints()) as hints:
            async for hint in hints:
                if hint.kind == "lost":
                    continue
                try:
                    await self._look()
                except AgentsdError as error:
                    _log.warning("the run feed is interrupted: %s", error.message)

    async def _look(self) -> None:
        async with self._database.transaction(snapshot=True) as conn:
            runs = await list_runs(conn, limit=_LOOK_BACK)
            conditions = {(one.source, one.path): one for one in await list_conditions(conn)}
            seen, self._seen = self._seen, frozenset(run.id for run in runs)
            new = [run for run in reversed(runs) if seen is not None and run.id not in seen]
            told = (
                [*await _make_run_events(conn, new), *_diff_conditions(self._conditions, conditions)]
                if seen is not None
                else []
            )
        if conditions != self._conditions:
            self._conditions = conditions
        for happening in told:
            for queue in self._subscribers:
                _put_event(queue, happening)


def _put_event(queue: asyncio.Queue[RunEvent], happening: RunEvent) -> None:
    if queue.full():
        with suppress(asyncio.QueueEmpty):
            queue.get_nowait()
    queue.put_nowait(happening)


async def _make_run_events(conn: AsyncConnection, new: list[SyncRun]) -> list[RunEvent]:
    owners = await load_version_owners(conn, {run.version for run in new if run.version is not None})
    return [RunEvent(run, owners.get(run.version or 0, frozenset())) for run in new]


def _diff_conditions(
    old: dict[tuple[str, str], ManifestCondition], new: dict[tuple[str, str], ManifestCondition]
) -> Iterator[RunEvent]:
    """Yield conditions that came, changed or went; one that went is reported as Ready."""
    for place, condition in new.items():
        if old.get(place) != condition:
            yield RunEvent(condition=condition)
    for place, condition in old.items():
        if place not in new:
            ready = replace(condition, type="Ready", reason="Recovered", message="", since=None)
            yield RunEvent(condition=ready)
