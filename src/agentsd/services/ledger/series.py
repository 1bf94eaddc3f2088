"""Prometheus series of each agent, if the operator asks for them: of no more than a number of agents."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prometheus_client import Counter, Histogram

from agentsd.services.turn_records.record import TurnRecord
from agentsd.telemetry import Metrics

OTHERS = "others"
"""Label of the agents beyond the limit, together."""
_BUCKETS_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class AgentSeries:
    """Series of the first ``limit`` agents that have a turn; of all others together."""

    def __init__(self, metrics: Metrics, limit: int) -> None:
        registry = metrics.registry
        self._limit = limit
        self._turns = Counter(
            "agentsd_agent_turns", "Turns of an agent by their end.", ["agent", "reason"], registry=registry
        )
        self._first = Histogram(
            "agentsd_agent_first_seconds",
            "Of an agent, to the first token or, where it speaks, sound.",
            ["agent"],
            buckets=_BUCKETS_SECONDS,
            registry=registry,
        )
        self._names: dict[UUID, str] = {}
        self._children: dict[tuple[str, str], Any] = {}

    def count(self, record: TurnRecord) -> None:
        """Count a turn."""
        if record.agent is None:
            return
        name = self._find_name(record.agent.id, record.agent.slug)
        key = (name, record.reason)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._turns.labels(*key)
        child.inc()
        times = record.times
        first = times.first_token if times.first_sound is None else times.first_sound
        asked = times.began if times.speech_ended is None else times.speech_ended
        if first is not None:
            self._first.labels(name).observe(max(first - asked, 0.0))

    def _find_name(self, agent: UUID, slug: str) -> str:
        name = self._names.get(agent)
        if name is None:
            if len(self._names) >= self._limit:
                return OTHERS
            name = self._names[agent] = slug
        return name
