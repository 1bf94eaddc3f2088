"""Run feed: runs and manifests' conditions, published to subscribers as they are recorded.

A notification (``store.queries.runs.RUNS_CHANNEL``) announces that something was recorded; what, is
read from the store. While Postgres is unavailable nothing is published, and afterwards what was
missed is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, replace
from uuid import UUID

from psycopg import AsyncConnection

from agentsd.core.errors import AgentsdError
from agentsd.store.database import Database
from agentsd.store.listener import Listener
from agentsd.store.queries.runs import (
    RUNS,
    ManifestCondition,
    Run,
    list_conditions,
    list_runs,
    owners_of_versions,
)

QUEUE_MAX = 256
"""What a subscriber that does not read is owed at most; the oldest goes first."""

_LOOK_BACK = 200
"""Runs that are looked at for new ones."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Happening:
    """Recorded run with the owners whose agents it changed, or the new condition of a manifest."""

    run: Run | None = None
    owners: frozenset[str] = frozenset()
    condition: ManifestCondition | None = None


class Timeline:
    """Feed of recorded runs and conditions. ``run`` it as a task."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._subscribers: set[asyncio.Queue[Happening]] = set()
        self._seen: frozenset[UUID] | None = None  # None: not looked yet
        self._conditions: dict[tuple[str, str], ManifestCondition] = {}

    @contextmanager
    def subscribe(self) -> Iterator[asyncio.Queue[Happening]]:
        """Yield a queue of events from now on, for as long as the context lasts.

        It contains events of every owner: show them with care.
        """
        queue: asyncio.Queue[Happening] = asyncio.Queue(QUEUE_MAX)
        self._subscribers.add(queue)
        try:
            yield queue
        finally:
            self._subscribers.discard(queue)

    async def run(self) -> None:
        """Follow the record until cancelled; wait for a store that is unavailable."""
        listener = Listener(self._database.listener_dsn, channel=RUNS)
        async with aclosing(listener.hints()) as hints:
            async for hint in hints:
                if hint.kind == "lost":
                    continue
                try:
                    await self._look()
                except AgentsdError as error:
                    _log.warning("the timeline misses something for now: %s", error.message)

    async def _look(self) -> None:
        async with self._database.transaction(snapshot=True) as conn:
            runs = await list_runs(conn, limit=_LOOK_BACK)
            conditions = {(one.source, one.path): one for one in await list_conditions(conn)}
            seen, self._seen = self._seen, frozenset(run.id for run in runs)
            new = [run for run in reversed(runs) if seen is not None and run.id not in seen]
            told = (
                [*await _runs(conn, new), *_changed(self._conditions, conditions)] if seen is not None else []
            )
        self._conditions = conditions
        for happening in told:
            for queue in self._subscribers:
                _put(queue, happening)


def _put(queue: asyncio.Queue[Happening], happening: Happening) -> None:
    if queue.full():
        with suppress(asyncio.QueueEmpty):
            queue.get_nowait()
    queue.put_nowait(happening)


async def _runs(conn: AsyncConnection, new: list[Run]) -> list[Happening]:
    owners = await owners_of_versions(conn, {run.version for run in new if run.version is not None})
    return [Happening(run, owners.get(run.version or 0, frozenset())) for run in new]


def _changed(
    old: dict[tuple[str, str], ManifestCondition], new: dict[tuple[str, str], ManifestCondition]
) -> Iterator[Happening]:
    """Yield conditions that came, changed or went; one that went is reported as Ready."""
    for place, condition in new.items():
        if old.get(place) != condition:
            yield Happening(condition=condition)
    for place, condition in old.items():
        if place not in new:
            ready = replace(condition, type="Ready", reason="Recovered", message="", since=None)
            yield Happening(condition=ready)
