"""Ledger of one replica: it counts turns in memory, and adds what it counted to the store.

count       every turn that ends, at once, in microseconds
counters    usage every few seconds, activity once a minute: one transaction, numbered, so that a flush whose
            commit was not confirmed is added once
health      changes at once, at most once a second; what other replicas wrote is adopted
probes      of what fails (``prober``)

While the store is away, all of it waits in memory, within bounds; turns go on.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from prometheus_client import Counter

from agentsd.core.errors import AgentsdError, StoreError
from agentsd.providers.base import Leases
from agentsd.services.ledger.activity import ActivityBook
from agentsd.services.ledger.health import HealthBoard
from agentsd.services.ledger.prices import PriceBook
from agentsd.services.ledger.prober import Prober, VersionOf
from agentsd.services.ledger.series import AgentSeries
from agentsd.services.ledger.usage import UsageBook
from agentsd.services.turn_records.record import TurnFailure, TurnRecord
from agentsd.store.database import Database
from agentsd.store.ledger.activity import PRUNE_BATCH, ActivityRow, add_activity, prune_activity
from agentsd.store.ledger.flushes import claim_flush, prune_flushes
from agentsd.store.ledger.health import HEALTH_CHANNEL, load_health, prune_health, put_health
from agentsd.store.ledger.usage import UsageKey, UsageTotals, add_usage, prune_usage
from agentsd.store.listener import Listener
from agentsd.telemetry import Metrics

FLUSH_SECONDS = 2.0
"""Time between two flushes: what a replica that is killed may lose."""
HEALTH_SECONDS = 1.0
"""Least time between two writes of health."""
RETRY_SECONDS = 2.0
ADOPT_OVERLAP = timedelta(seconds=10)
"""Age of changes that are read again: transactions do not commit in the order of their clocks."""
PRUNE_SECONDS = 3600.0
FAREWELL_SECONDS = 5.0
"""Timeout of the last flush of a process that stops."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Retention:
    """Ages at which rows of the ledger are removed."""

    activity: timedelta = timedelta(days=8)
    usage: timedelta = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class _Flush:
    number: int
    activity: Sequence[ActivityRow] = ()
    usage: Sequence[tuple[UsageKey, UsageTotals]] = field(default=(), repr=False)


class Ledger:
    """Ledger of one replica. Its ``run_…`` methods are tasks; ``aclose`` flushes what is left."""

    def __init__(
        self,
        database: Database,
        leases: Leases,
        metrics: Metrics,
        *,
        version_of: VersionOf,
        changed: Callable[[Sequence[UUID]], None] = lambda _: None,
        prices: PriceBook | None = None,
        retention: Retention | None = None,
        series_max: int = 0,
        flush_seconds: float = FLUSH_SECONDS,
        prober: Prober | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.health = HealthBoard(changed)
        self.activity = ActivityBook()
        self.usage = UsageBook()
        self.prices = prices or PriceBook()
        self._series = AgentSeries(metrics, series_max) if series_max else None
        self._database = database
        self._version_of = version_of
        self._retention = retention or Retention()
        self._flush_seconds = flush_seconds
        self._prober = prober or Prober(database, leases, self.health, version_of)
        self._clock = clock
        self._replica = uuid4()
        self._flush: _Flush | None = None  # one that the store has not confirmed
        self._numbers = 0
        self._flushing = asyncio.Lock()
        self._seen: datetime | None = None  # the newest change of health that was read
        self._lost = Counter(
            "agentsd_ledger_lost_turns",
            "Turns whose activity was dropped, because the store was away for too long.",
            registry=metrics.registry,
        )

    def count(self, record: TurnRecord) -> None:
        """Count a turn that has ended. Costs microseconds."""
        now = self._clock()
        self.health.count(record)
        self.activity.count(record, now)
        self.usage.count(record, now)
        if self._series is not None:
            self._series.count(record)

    def note_test(
        self, agent: UUID, version: int, results: Iterable[tuple[str, str, TurnFailure | None]]
    ) -> None:
        """Take the outcome of a test into account: see ``HealthBoard.note_test``."""
        self.health.note_test(agent, version, results)

    async def run_counters(self) -> None:
        """Flush counters until cancelled, and remove what is old."""
        prune_at = self._clock() + random.uniform(0, PRUNE_SECONDS)  # noqa: S311  (replicas take turns)
        while True:
            await asyncio.sleep(self._flush_seconds)
            try:
                await self.flush()
                if self._clock() >= prune_at:
                    prune_at = self._clock() + PRUNE_SECONDS
                    await self._prune()
            except StoreError as error:
                _log.debug("the ledger is not written: %s", error.message)

    async def run_health(self) -> None:
        """Write changes of health until cancelled: the first one at once, later ones once a second."""
        while True:
            await self.health.dirty.wait()
            try:
                await self.write_health()
                await asyncio.sleep(HEALTH_SECONDS)
            except StoreError as error:
                _log.debug("health is not written: %s", error.message)
                await asyncio.sleep(RETRY_SECONDS)

    async def follow_health(self) -> None:
        """Adopt what other replicas write until cancelled."""
        async with aclosing(Listener(self._database.listener_dsn, channel=HEALTH_CHANNEL).hints()) as hints:
            async for hint in hints:
                if hint.kind == "lost":
                    continue
                try:
                    await self.adopt_health()
                except AgentsdError as error:
                    _log.debug("health is not read: %s", error.message)

    async def run_probes(self) -> None:
        """Probe what fails until cancelled."""
        await self._prober.run()

    async def flush(self, *, everything: bool = False) -> None:
        """Add what was counted to the store; with ``everything``, the minute that is not over, too.

        Raises ``StoreError``; what was not written is written by the next one.
        """
        async with self._flushing:
            await self._add_up()
            if self._flush is None:
                activity = self.activity.take_closed(self._clock(), everything=everything)
                usage = self.usage.take(self.prices)
                if not (activity or usage):
                    return
                self._numbers += 1
                self._flush = _Flush(self._numbers, activity, usage)
            else:
                self._lost.inc(self.activity.drop_oldest())
            await self._write(self._flush)
            self._flush = None

    async def write_health(self) -> None:
        """Write the changes of health. Raises ``StoreError``; then they are kept."""
        rows = self.health.take_unwritten()
        try:
            async with self._database.transaction() as connection:
                await put_health(connection, rows, self._prober.first)
        except BaseException:
            self.health.put_back(rows)
            self.health.dirty.set()
            raise

    async def adopt_health(self) -> None:
        """Take over what replicas have written since the last time. Raises ``StoreError``."""
        since = self._seen - ADOPT_OVERLAP if self._seen else None
        async with self._database.transaction(snapshot=True) as connection:
            rows = await load_health(connection, since)
        if rows:
            self._seen = rows[-1].updated_at
        self.health.adopt(rows)

    async def aclose(self) -> None:
        """Write what is left, if the store can be reached."""
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self.write_health()
                await self.flush()
                await self.flush(everything=True)

    async def _add_up(self) -> None:
        for _ in range(self.usage.chunks()):
            self.usage.add_up()
            await asyncio.sleep(0)  # other tasks run between two chunks
        await self.prices.learn(self.usage.list_clients())

    async def _write(self, flush: _Flush) -> None:
        async with self._database.transaction() as connection:
            if await claim_flush(connection, self._replica, flush.number):
                await add_activity(connection, flush.activity)
                await add_usage(connection, flush.usage)

    async def _prune(self) -> None:
        self.health.retain(lambda agent: self._version_of(agent) is not None)
        kept = self._retention
        await self._remove_all(prune_activity, kept.activity)
        await self._remove_all(prune_usage, kept.usage)
        async with self._database.transaction() as connection:
            await prune_flushes(connection)
            await prune_health(connection)

    async def _remove_all(self, prune: Callable[..., Awaitable[int]], keep: timedelta) -> None:
        removed = PRUNE_BATCH
        while removed == PRUNE_BATCH:
            async with self._database.transaction() as connection:
                removed = await prune(connection, keep)
