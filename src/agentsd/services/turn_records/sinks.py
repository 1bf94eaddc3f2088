"""Sinks of turns: each has a bounded queue of its own, so that none delays or fails a turn or another sink.

sinks = TurnSinks(metrics)
sinks.add("traces", export_trace)
sinks.count("ledger", ledger.count)
sinks.put(record)

A *counter* is called at once, so that it misses no turn: it must take microseconds, and do no I/O.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Protocol

from prometheus_client import Counter

from agentsd.services.turn_records.record import TurnRecord
from agentsd.telemetry import Metrics

SINK_QUEUE_MAX = 1000
"""Turns that wait for a slow sink; further ones are dropped for it, and counted."""

_log = logging.getLogger(__name__)

Sink = Callable[[TurnRecord], Awaitable[None]]
"""Receiver of turns, one at a time and in order."""

TurnCounter = Callable[[TurnRecord], None]
"""Receiver of turns that is called when they end."""


class TurnSink(Protocol):
    """Where turns go that have ended."""

    def put(self, record: TurnRecord) -> None:
        """Take one turn. Never waits and never raises."""


class TurnSinks:
    """Distributor of the turns of one process."""

    def __init__(self, metrics: Metrics) -> None:
        self._turns = Counter(
            "agentsd_turns",
            "Turns of conversations by interface and end.",
            ["channel", "reason"],
            registry=metrics.registry,
        )
        self._dropped = Counter(
            "agentsd_turn_sink_dropped",
            "Turns that a slow or failing sink did not get.",
            ["sink"],
            registry=metrics.registry,
        )
        self._counters: dict[tuple[str, str], Any] = {}
        self._queues: list[_SinkQueue] = []
        self._tallies: list[tuple[str, TurnCounter]] = []

    def count(self, name: str, counter: TurnCounter) -> None:
        """Call ``counter`` with every further turn, at once."""
        self._tallies.append((name, counter))

    def of_token(self, token: str) -> TurnSink:
        """Return a sink for the turns that the holder of ``token`` asks for."""
        return _TokenSink(self, token)

    def add(self, name: str, sink: Sink, *, limit: int = SINK_QUEUE_MAX) -> None:
        """Send every further turn to ``sink``."""
        self._queues.append(_SinkQueue(name, sink, limit, self._dropped.labels(name)))

    def put(self, record: TurnRecord) -> None:
        """Count ``record`` and queue it for every sink. Never waits and never raises."""
        key = (record.channel, record.reason)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = self._turns.labels(*key)
        counter.inc()
        for name, tally in self._tallies:
            try:
                tally(record)
            except Exception as error:
                self._dropped.labels(name).inc()
                _log_failure(name, error)
        for queue in self._queues:
            queue.put(record)

    async def aclose(self) -> None:
        """Stop the sinks. What is queued is dropped."""
        for queue in self._queues:
            await queue.aclose()


class _TokenSink:
    """Sink that writes into each turn who asked for it."""

    __slots__ = ("_sinks", "_token")

    def __init__(self, sinks: TurnSinks, token: str) -> None:
        self._sinks = sinks
        self._token = token

    def put(self, record: TurnRecord) -> None:
        self._sinks.put(replace(record, token=self._token))


def _log_failure(name: str, error: Exception) -> None:
    _log.warning("a sink of turns failed", extra={"sink": name, "error": type(error).__name__})


class _SinkQueue:
    """Queue of one sink; its task runs only while there is something in it."""

    def __init__(self, name: str, sink: Sink, limit: int, dropped: Any) -> None:
        self._name = name
        self._sink = sink
        self._limit = limit
        self._dropped = dropped
        self._waiting: deque[TurnRecord] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def put(self, record: TurnRecord) -> None:
        if self._closed or len(self._waiting) >= self._limit:
            self._dropped.inc()
            return
        self._waiting.append(record)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._drain())

    async def aclose(self) -> None:
        self._closed = True
        self._dropped.inc(len(self._waiting))
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _drain(self) -> None:
        try:
            while self._waiting:
                record = self._waiting.popleft()
                try:
                    await self._sink(record)
                except Exception as error:
                    self._dropped.inc()
                    _log_failure(self._name, error)
        finally:
            self._task = None
