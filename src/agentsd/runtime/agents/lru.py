"""Warmth: which agents are kept built. Those in use are; an agent that nobody asks for is not.

The bound counts agents, by least recent lease. A build holds plaintext and, once used, pooled
connections, so keeping all of 100,000 would cost gigabytes and keep every secret in memory;
opening one again costs about a millisecond, once.
"""

from __future__ import annotations

from collections import OrderedDict

from agentsd.runtime.agents.leases import Built
from agentsd.runtime.agents.snapshot import Entry
from agentsd.telemetry import Metrics


class Warm:
    """The entries that hold a build, least recently leased first."""

    def __init__(self, limit: int, drain_s: float, metrics: Metrics) -> None:
        self._limit = limit
        self._drain_s = drain_s
        self._metrics = metrics
        self._entries: OrderedDict[Entry, None] = OrderedDict()

    def touch(self, entry: Entry) -> None:
        """``entry`` was leased just now."""
        self._entries.move_to_end(entry)

    def heat(self, entry: Entry, built: Built) -> None:
        """Keep ``built`` (its hold goes to ``entry``) in place of what was there."""
        self.cool(entry)
        entry.built = built
        self._entries[entry] = None
        for _ in range(len(self._entries) - self._limit):
            self._evict_one(entry)
        self._metrics.warm.set(len(self._entries))

    def succeed(self, previous: Entry | None, entry: Entry, built: Built) -> None:
        """``entry`` takes the place of ``previous``, whose build is let go of when it is cooled."""
        if previous is not None:
            self._entries.pop(previous, None)
        entry.built = built
        self._entries[entry] = None

    def cool(self, entry: Entry) -> None:
        """Let go of the entry's build, if any; it closes after its last lease."""
        built, entry.built = entry.built, None
        if built is not None:
            self._entries.pop(entry, None)
            built.retire(self._drain_s, self._expired)
            self._metrics.warm.set(len(self._entries))

    def cool_all(self) -> None:
        """Let go of everything."""
        for entry in list(self._entries):
            self.cool(entry)

    def _evict_one(self, newcomer: Entry) -> None:
        """Cool the oldest one that is not leased; leased ones move to the young end."""
        for _ in range(len(self._entries)):
            oldest = next(iter(self._entries))
            if oldest is not newcomer and not oldest.interest and oldest.built and not oldest.built.leased:
                self.cool(oldest)
                return
            self._entries.move_to_end(oldest)

    def _expired(self) -> None:
        self._metrics.drain_timeouts.inc()
