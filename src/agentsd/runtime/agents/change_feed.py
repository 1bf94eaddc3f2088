"""Change feed: events for subscribers (server-sent events, the UI), in bounded queues."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from agentsd.core.names import derive_owner
from agentsd.telemetry import Metrics

QUEUE_MAX = 256
SLUGS_MAX = 1000


@dataclass(frozen=True, slots=True)
class ChangeEvent:
    """Event about changed agents.

    ``changed``: these agents were created, replaced, renamed (both names) or removed.
    ``condition``: these agents' conditions are other than they were.
    ``resync``: too many changes at once to list; read everything again.
    """

    kind: Literal["changed", "condition", "resync"]
    version: int
    slugs: tuple[str, ...] = ()


class Subscription:
    """Queue of one subscriber: ``async for event in subscription``. Ends when the registry closes.

    With an ``owner`` it receives events of that owner's agents only.
    """

    def __init__(self, metrics: Metrics, owner: str | None = None) -> None:
        self.owner = owner
        self._events: deque[ChangeEvent] = deque()
        self._filled = asyncio.Event()
        self._closed = False
        self._metrics = metrics

    def put(self, event: ChangeEvent) -> None:
        """Queue ``event``; a full queue becomes one ``resync`` instead of growing."""
        if len(self._events) >= QUEUE_MAX:
            self._events.clear()
            self._metrics.resyncs.inc()
            event = ChangeEvent("resync", event.version)
        self._events.append(event)
        self._filled.set()

    def close(self) -> None:
        """End the iteration once the queue is empty."""
        self._closed = True
        self._filled.set()

    def __aiter__(self) -> AsyncIterator[ChangeEvent]:
        return self

    async def __anext__(self) -> ChangeEvent:
        while not self._events:
            if self._closed:
                raise StopAsyncIteration
            self._filled.clear()
            await self._filled.wait()
        return self._events.popleft()


class ChangeFeed:
    """Publisher of change events to every subscriber."""

    def __init__(self, metrics: Metrics) -> None:
        self._subscriptions: set[Subscription] = set()
        self._metrics = metrics

    @contextmanager
    def subscribe(self, owner: str | None = None) -> Iterator[Subscription]:
        """Yield a subscription for as long as the context lasts; for an ``owner``, or for all."""
        subscription = Subscription(self._metrics, owner)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def publish(self, kind: Literal["changed", "condition"], version: int, slugs: Collection[str]) -> None:
        """Publish ``slugs``; more than ``SLUGS_MAX`` of them are published as a ``resync``."""
        owned = dict[str, list[str]]()
        if any(subscription.owner is not None for subscription in self._subscriptions):
            for slug in slugs:
                owned.setdefault(derive_owner(slug), []).append(slug)
        for subscription in self._subscriptions:
            theirs = slugs if subscription.owner is None else owned.get(subscription.owner)
            if theirs:
                subscription.put(_make_event(kind, version, theirs))

    def close(self) -> None:
        """End every subscription."""
        for subscription in self._subscriptions:
            subscription.close()


def _make_event(kind: Literal["changed", "condition"], version: int, slugs: Collection[str]) -> ChangeEvent:
    if len(slugs) > SLUGS_MAX:
        return ChangeEvent("resync", version)
    return ChangeEvent(kind, version, tuple(sorted(slugs)))
