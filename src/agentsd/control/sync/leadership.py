"""Leadership: of several daemons on one database and source, exactly one applies.

A process that is about to reconcile asks ``term``; one on standby learns from ``gained`` when it
leads. The heartbeat has a thread of its own: planning a large tree keeps the event loop busy for
seconds, and that must not look like a frozen process. A loop that is stuck for minutes gives the
lead up.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Protocol

from agentsd.store.database import Database
from agentsd.store.leader_election import ElectionState, LeaderCandidate, Term
from agentsd.supervisor import Supervisor

STUCK_SECONDS = 180.0
"""An event loop that stalls for so long loses the lead."""

_STOP_SECONDS = 2.0

_log = logging.getLogger(__name__)


class LeaderGate(Protocol):
    """Right to apply, which a syncer asks for before it applies."""

    async def term(self) -> Term | None:
        """Return the right to apply, now; None: stand by. Raises ``StoreError`` where it cannot be
        determined.
        """

    def gained(self) -> AsyncGenerator[Term]:
        """Yield every term, from the present one on, for ever."""


class Leadership:
    """``LeaderGate`` of a process that is a candidate for the lead of one source while ``campaigning``."""

    def __init__(self, database: Database, source: str) -> None:
        self._source = source
        self._candidate = LeaderCandidate(database.listener_dsn, source, fit=self._lively)
        self._standing: ElectionState | None = None  # None: not known yet
        self._news = asyncio.Condition()
        self._seen = time.monotonic()  # when the event loop last ran

    @property
    def leads(self) -> bool:
        """Return whether this process led at the last heartbeat; ``term`` is authoritative."""
        return self._standing is not None and self._standing.term is not None

    async def term(self) -> Term | None:
        """Return the right to apply, now; None: stand by. Waits for the first answer of Postgres."""
        if self._standing is None:
            async with self._news:
                await self._news.wait_for(lambda: self._standing is not None)
        standing = self._standing
        if standing is None or standing.error is None:
            return standing.term if standing else None
        raise standing.error

    async def gained(self) -> AsyncGenerator[Term]:
        """Yield every term, from the present one on, for ever."""
        last: Term | None = None
        while True:
            async with self._news:
                await self._news.wait_for(lambda: self._term() not in (None, last))  # noqa: B023
                last = self._term()
            if last is not None:
                yield last

    def _term(self) -> Term | None:
        return self._standing.term if self._standing else None

    @asynccontextmanager
    async def campaigning(self, supervisor: Supervisor | None = None) -> AsyncIterator[None]:
        """Campaign for the lead; give it up at the end."""
        heart = _ElectionThread(self, asyncio.get_running_loop(), supervisor or Supervisor())
        heart.start()
        try:
            yield
        finally:
            heart.stop()
            await asyncio.to_thread(heart.join, _STOP_SECONDS)

    async def note(self, standing: ElectionState) -> None:
        """Take the result of the heartbeat's thread."""
        before = self._standing
        self._tell(before, standing)
        async with self._news:
            self._standing = standing
            self._news.notify_all()

    def tick(self) -> None:
        """Record that the event loop runs."""
        self._seen = time.monotonic()

    def _lively(self) -> bool:
        return time.monotonic() - self._seen < STUCK_SECONDS

    def _tell(self, before: ElectionState | None, now: ElectionState) -> None:
        extra = {"source": self._source}
        if now.term:
            level = logging.INFO if now.term.epoch > 1 else logging.DEBUG
            _log.log(level, "leading", extra=extra | {"epoch": now.term.epoch})
        elif before and before.term:
            _log.warning("lost the lead", extra=extra)
        elif now.leader and (before is None or before.leader != now.leader):
            _log.info("standing by", extra=extra | {"leader": str(now.leader)})


class _ElectionThread(threading.Thread):
    """Thread that sends heartbeats in an event loop of its own, and passes the results to the other."""

    def __init__(
        self, leadership: Leadership, main: asyncio.AbstractEventLoop, supervisor: Supervisor
    ) -> None:
        super().__init__(name="leadership", daemon=True)
        self._leadership = leadership
        self._main = main
        self._supervisor = supervisor
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None

    def run(self) -> None:
        with suppress(asyncio.CancelledError), asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._supervisor.run({"leadership": self._beat, "leadership_tick": self._tick}))

    def stop(self) -> None:
        """End the thread, from the other one."""
        with suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()

    async def _beat(self) -> None:
        async with aclosing(self._leadership._candidate.standings()) as standings:
            async for standing in standings:
                asyncio.run_coroutine_threadsafe(self._leadership.note(standing), self._main)

    async def _tick(self) -> None:
        while True:
            self._main.call_soon_threadsafe(self._leadership.tick)
            await asyncio.sleep(1.0)
