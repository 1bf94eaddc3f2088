"""Health of agents in memory: which section's vendor answered which version of an agent, or did not.

Turns and tests change it; what changed is written to the store, and what other replicas wrote is adopted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from agentsd.core.ledger.status import KindHealth
from agentsd.core.manifest.agent import SECTIONS
from agentsd.services.failures import REQUEST_CODES
from agentsd.services.turn_records.record import TurnAgent, TurnFailure, TurnRecord
from agentsd.store.ledger.health import TEST_KIND, HealthRow

AMBIGUOUS_REASONS = frozenset({"rejected", "silent"})
"""Reasons that may lie in one request as well: they count from the third turn in a row on."""
AMBIGUOUS_TURNS = 3


@dataclass(frozen=True, slots=True)
class AgentHealth:
    """Health of one agent. ``kinds`` by section; ``test`` is its latest test."""

    kinds: Mapping[str, HealthRow] = field(default_factory=dict)
    test: HealthRow | None = None

    @property
    def failing(self) -> bool:
        """Return whether some section fails."""
        return any(row.failing for row in self.kinds.values())


NO_HEALTH = AgentHealth()
"""Health of an agent that nothing was asked of."""


def list_kinds(health: AgentHealth, slug: str) -> list[KindHealth]:
    """Return the sections as ``core.ledger.status`` takes them."""
    return [row.describe(slug) for row in health.kinds.values()]


class HealthBoard:
    """Health of the agents of one process. ``changed(agents)`` is called after each change."""

    def __init__(self, changed: Callable[[Sequence[UUID]], None] = lambda _: None) -> None:
        self.dirty = asyncio.Event()  # something has to be written
        self._changed = changed
        self._agents: dict[UUID, AgentHealth] = {}
        self._unwritten: dict[tuple[UUID, str], HealthRow] = {}
        self._doubts: dict[tuple[UUID, str], int] = {}  # ambiguous failures in a row

    def find(self, agent: UUID) -> AgentHealth:
        """Return the health of one agent."""
        return self._agents.get(agent, NO_HEALTH)

    def list_failing(self) -> list[tuple[UUID, HealthRow]]:
        """Return the sections that fail."""
        return [
            (agent, row) for agent, one in self._agents.items() for row in one.kinds.values() if row.failing
        ]

    def count(self, record: TurnRecord) -> None:
        """Take a turn into account. What vendors answered is health; what a client did wrong is nothing."""
        if record.agent is None:
            return
        if record.taken_over is None:
            self._count_for(record.agent, record.providers, record.failure)
        else:  # the first one answered: by a hand-over
            self._count_for(record.agent, record.providers, None)
            self._count_for(record.taken_over, record.providers, record.failure)

    def _count_for(self, agent: TurnAgent, providers: Mapping[str, str], failure: TurnFailure | None) -> None:
        known = self._agents.get(agent.id, NO_HEALTH).kinds
        for kind, provider in providers.items():
            if failure is not None and failure.kind == kind:
                continue  # it broke off in the middle
            row = known.get(kind)
            if row is None or row.failing or row.version < agent.version:
                self._take(HealthRow(agent.id, kind, agent.version, False, _now(), provider))
            if self._doubts:
                self._doubts.pop((agent.id, kind), None)
        if failure is not None and self._counts(agent.id, failure):
            self._take(_make_failing_row(agent.id, agent.version, failure, failure.kind))

    def note_test(
        self, agent: UUID, version: int, results: Iterable[tuple[str, str, TurnFailure | None]]
    ) -> None:
        """Take the outcome of a test into account: (place, provider, failure) of every provider, in order.

        A section answers if one of its providers does: the others are its fallbacks.
        """
        found: dict[str, list[tuple[str, str, TurnFailure | None]]] = {}
        for result in results:
            found.setdefault(result[0].partition(".")[0], []).append(result)
        first: HealthRow | None = None
        for kind, tried in found.items():
            good = next((provider for _, provider, failure in tried if failure is None), None)
            if good is not None and kind in SECTIONS:
                self._take(HealthRow(agent, kind, version, False, _now(), good))
            for place, _, failure in tried:
                if failure is None:
                    continue
                first = first or _make_failing_row(agent, version, failure, place, TEST_KIND)
                if good is None and kind in SECTIONS:  # without a tool an agent still answers
                    self._take(_make_failing_row(agent, version, failure, place))
                    break
        self._take(first or HealthRow(agent, TEST_KIND, version, False, _now()))

    def note_probe(self, agent: UUID, version: int, kind: str, provider: str) -> None:
        """Take a free probe into account that was answered."""
        self._take(HealthRow(agent, kind, version, False, _now(), provider))

    def note_failure(self, agent: UUID, version: int, failure: TurnFailure) -> None:
        """Take a probe into account that failed."""
        self._take(_make_failing_row(agent, version, failure, failure.kind))

    def take_unwritten(self) -> list[HealthRow]:
        """Return what has to be written, and forget it; ``put_back`` it where that fails."""
        self.dirty.clear()
        rows, self._unwritten = list(self._unwritten.values()), {}
        return rows

    def put_back(self, rows: Iterable[HealthRow]) -> None:
        """Keep ``rows`` to be written, but for what changed since."""
        for row in rows:
            self._unwritten.setdefault((row.agent_id, row.kind), row)

    def adopt(self, rows: Iterable[HealthRow]) -> None:
        """Take over what replicas wrote, but for what has yet to be written here."""
        changed = []
        for row in rows:
            if (row.agent_id, row.kind) in self._unwritten:
                continue
            if self._keep(row):
                changed.append(row.agent_id)
        if changed:
            self._changed(changed)

    def retain(self, agents: Callable[[UUID], bool]) -> None:
        """Forget agents that do not exist any more."""
        for agent in [agent for agent in self._agents if not agents(agent)]:
            del self._agents[agent]

    def _counts(self, agent: UUID, failure: TurnFailure) -> bool:
        if failure.code in REQUEST_CODES:
            return False
        if failure.reason not in AMBIGUOUS_REASONS:
            return True
        key = (agent, failure.kind)
        self._doubts[key] = self._doubts.get(key, 0) + 1
        return self._doubts[key] >= AMBIGUOUS_TURNS

    def _take(self, row: HealthRow) -> None:
        if self._keep(row):
            self._unwritten[row.agent_id, row.kind] = row
            self.dirty.set()
            self._changed((row.agent_id,))

    def _keep(self, row: HealthRow) -> bool:
        """Keep a state. Return whether it is news: ``since`` stays that of the first of equal ones."""
        health = self._agents.get(row.agent_id, NO_HEALTH)
        if row.kind == TEST_KIND:
            self._agents[row.agent_id] = AgentHealth(health.kinds, row)
            return health.test is None or health.test.since != row.since
        known = health.kinds.get(row.kind)
        if known is not None and (known.version > row.version or _are_equal(known, row)):
            return False
        self._agents[row.agent_id] = AgentHealth({**health.kinds, row.kind: row}, health.test)
        return True


def _are_equal(known: HealthRow, row: HealthRow) -> bool:
    if not (known.failing or row.failing):
        return known.version == row.version
    return (known.version, known.failing, known.provider, known.reason, known.code, known.place) == (
        row.version,
        row.failing,
        row.provider,
        row.reason,
        row.code,
        row.place,
    )


def _make_failing_row(
    agent: UUID, version: int, failure: TurnFailure, place: str, kind: str | None = None
) -> HealthRow:
    return HealthRow(
        agent,
        kind or failure.kind,
        version,
        True,
        _now(),
        failure.provider,
        failure.reason,
        failure.code,
        place,
    )


def _now() -> datetime:
    return datetime.now(UTC)
