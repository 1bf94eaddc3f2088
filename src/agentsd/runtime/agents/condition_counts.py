"""Counts of conditions, and the agents that are not Ready: for metrics, status and the heartbeat."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from agentsd.runtime.agents.snapshot import AgentCondition, SnapshotEntry
from agentsd.telemetry import Metrics

_TYPES = ("Ready", "Degraded", "Invalid", "Suspended")


class ConditionCounts:
    """Number of agents in each condition. Every change costs the same, whatever their number."""

    def __init__(self, metrics: Metrics) -> None:
        self._gauges = {name: metrics.agents.labels(name) for name in _TYPES}
        self._counted: set[SnapshotEntry] = set()
        self._problems: dict[SnapshotEntry, None] = {}

    def add(self, entry: SnapshotEntry) -> None:
        """Count ``entry``, which is in the snapshot now."""
        self._counted.add(entry)
        self._gauges[entry.condition.type].inc()
        if entry.condition.type in ("Degraded", "Invalid"):
            self._problems[entry] = None

    def remove(self, entry: SnapshotEntry) -> None:
        """Stop counting ``entry``, which is not in the snapshot any more."""
        self._counted.discard(entry)
        self._gauges[entry.condition.type].dec()
        self._problems.pop(entry, None)

    def change(self, entry: SnapshotEntry, condition: AgentCondition) -> bool:
        """Give ``entry`` another condition. Return whether it differs from the previous one."""
        before = entry.condition
        counted = entry in self._counted  # just after a swap it may not be counted yet
        if counted:
            self.remove(entry)
        entry.condition = condition.after(before)
        if counted:
            self.add(entry)
        return before.type != condition.type or (before.type != "Ready" and before.reason != condition.reason)

    def problems(self, limit: int | None) -> Iterator[SnapshotEntry]:
        """Yield the agents that are Degraded or Invalid."""
        return islice(self._problems, limit)
