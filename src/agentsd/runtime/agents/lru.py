"""LRU cache of built agents. Agents in use stay built; others are evicted.

The bound counts agents, by least recent lease. A build contains plaintext and, once used, pooled
connections, so keeping all of 100,000 would cost gigabytes and keep every secret in memory;
opening one again costs about a millisecond, once.
"""

from __future__ import annotations

from collections import OrderedDict

from agentsd.runtime.agents.leases import BuiltAgent
from agentsd.runtime.agents.snapshot import SnapshotEntry
from agentsd.telemetry import Metrics


class BuiltAgentCache:
    """Entries that hold a build, least recently leased first."""

    def __init__(self, limit: int, drain_s: float, metrics: Metrics) -> None:
        self._limit = limit
        self._drain_s = drain_s
        self._metrics = metrics
        self._entries: OrderedDict[SnapshotEntry, None] = OrderedDict()

    def list_entries(self) -> list[SnapshotEntry]:
        """Return the entries, least recently leased first."""
        return list(self._entries)

    def touch(self, entry: SnapshotEntry) -> None:
        """Record that ``entry`` was leased just now."""
        self._entries.move_to_end(entry)

    def heat(self, entry: SnapshotEntry, built: BuiltAgent) -> None:
        """Keep ``built`` (its hold goes to ``entry``) in place of the previous build."""
        self.cool(entry)
        entry.built = built
        self._entries[entry] = None
        for _ in range(len(self._entries) - self._limit):
            self._evict_one(entry)
        self._metrics.warm.set(len(self._entries))

    def succeed(self, previous: SnapshotEntry | None, entry: SnapshotEntry, built: BuiltAgent) -> None:
        """Put ``entry`` in the place of ``previous``, whose build is released when it is evicted."""
        if previous is not None:
            self._entries.pop(previous, None)
        entry.built = built
        self._entries[entry] = None

    def cool(self, entry: SnapshotEntry) -> None:
        """Release the entry's build, if any; it closes after its last lease."""
        built, entry.built = entry.built, None
        if built is not None:
            self._entries.pop(entry, None)
            built.retire(self._drain_s, self._expired)
            self._metrics.warm.set(len(self._entries))

    def cool_all(self) -> None:
        """Release every build."""
        for entry in list(self._entries):
            self.cool(entry)

    def _evict_one(self, newcomer: SnapshotEntry) -> None:
        """Evict the oldest entry that is not leased; leased ones move to the young end."""
        for _ in range(len(self._entries)):
            oldest = next(iter(self._entries))
            if oldest is not newcomer and not oldest.interest and oldest.built and not oldest.built.leased:
                self.cool(oldest)
                return
            self._entries.move_to_end(oldest)

    def _expired(self) -> None:
        self._metrics.drain_timeouts.inc()
