"""Overview of all that the store records about the present state, read in one snapshot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from psycopg import AsyncConnection

from agentsd.core.ledger.status import STATUS_WORDS, AgentStatus, StatusCause, StatusWord, decide_status
from agentsd.core.manifest.agent import StoredAgent
from agentsd.store import leader_election as leadership
from agentsd.store import writability
from agentsd.store.leader_election import Leader
from agentsd.store.ledger.health import TEST_KIND, HealthRow, load_health
from agentsd.store.queries import agents, knowledge, pulls, replicas, runs
from agentsd.store.queries.knowledge import KnowledgeStats
from agentsd.store.queries.pulls import PullState
from agentsd.store.queries.replicas import LIVE_SECONDS, Replica
from agentsd.store.queries.runs import ManifestCondition, SyncRun

REPLICA_SHOWN_SECONDS = 300.0
"""Period for which a replica that ended without notice is shown."""


@dataclass(frozen=True, slots=True)
class DegradedAgent:
    """Agent whose newest version some replicas cannot run."""

    slug: str
    type: str  # Degraded or Invalid
    reason: str
    message: str
    replicas: tuple[str, ...]  # host:pid


@dataclass(frozen=True, slots=True)
class FailingTask:
    """Background task of a replica that was restarted and has not run steadily since."""

    task: str
    replica: str  # host:pid
    failures: int  # in a row
    message: str


@dataclass(frozen=True, slots=True)
class AgentStanding:
    """Agent, or refused file, whose status says that something has to be done."""

    slug: str
    status: StatusWord
    reason: str
    message: str
    fix: str
    field: str  # of the manifest, to be edited
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Overview:
    """Present state of agents, runs and replicas."""

    now: datetime  # by the clock of Postgres, like every time here
    version: int
    agents: int
    owners: int
    drifted: tuple[str, ...]
    knowledge: KnowledgeStats
    leaders: Sequence[Leader]
    replicas: Sequence[Replica]
    pulls: Sequence[PullState]
    runs: Sequence[SyncRun]
    conditions: Sequence[ManifestCondition]
    read_only: bool = False  # Postgres accepts no writes: a standby, or fenced off
    statuses: Mapping[str, int] = field(default_factory=dict)  # word → agents, and refused files
    standing: Sequence[AgentStanding] = ()  # those that fail or are refused, the worst first

    @property
    def failing_tasks(self) -> list[FailingTask]:
        """Return the failing background tasks of all living replicas, by name."""
        found = [
            FailingTask(str(task.get("task")), replica.place, _read_count(task), str(task.get("message", "")))
            for replica in self.replicas
            if replica.silent(self.now) < LIVE_SECONDS
            for task in replica.failing_tasks
        ]
        return sorted(found, key=lambda one: (one.task, one.replica))

    @property
    def ailing(self) -> list[DegradedAgent]:
        """Return the degraded agents by agent and reason, with the replicas that are affected."""
        found: dict[tuple[str, str, str], list[tuple[Mapping[str, str], str]]] = {}
        for replica in self.replicas:
            for agent in replica.degraded:
                key = (str(agent.get("slug")), str(agent.get("type")), str(agent.get("reason")))
                found.setdefault(key, []).append((agent, replica.place))
        return [
            DegradedAgent(*key, str(told[0][0].get("message", "")), tuple(place for _, place in told))
            for key, told in sorted(found.items())
        ]


def _read_count(task: Mapping[str, object]) -> int:
    failures = task.get("failures")
    return failures if isinstance(failures, int) else 1


def list_standing(
    stored: Iterable[StoredAgent],
    conditions: Sequence[ManifestCondition],
    degraded: Mapping[str, StatusCause],
    health: Sequence[HealthRow],
) -> tuple[dict[str, int], list[AgentStanding]]:
    """Return the number of agents by status, and those that fail or are refused, the worst first. Pure.

    A refused file that never became an agent counts, too. ``degraded``: what replicas made of it, by slug.
    """
    refused = {
        (one.source, one.path): StatusCause(
            one.reason, one.message, one.since, f"correct the file: agentsd validate {one.path}"
        )
        for one in conditions
        if one.type == "Invalid"
    }
    slugs = {(one.source, one.path): one.slug for one in conditions}
    states: dict[UUID, list[HealthRow]] = {}
    for row in health:
        if row.kind != TEST_KIND:
            states.setdefault(row.agent_id, []).append(row)
    found: list[tuple[str, AgentStatus]] = []
    for agent in stored:
        cause = refused.pop((agent.source, agent.path), None) or degraded.get(agent.slug)
        kinds = [row.describe(agent.slug) for row in states.get(agent.id, ())]
        found.append(
            (agent.slug, decide_status(agent.version, active=agent.active, refused=cause, health=kinds))
        )
    found += [(slugs[place], AgentStatus("File refused", cause)) for place, cause in refused.items()]
    bad = [
        _make_standing(slug, status) for slug, status in found if status.word in ("Failing", "File refused")
    ]
    bad.sort(key=lambda one: (-STATUS_WORDS.index(one.status), one.slug))
    return dict(Counter(status.word for _, status in found)), bad


def _make_standing(slug: str, status: AgentStatus) -> AgentStanding:
    cause = status.cause or StatusCause("", "")
    return AgentStanding(slug, status.word, cause.reason, cause.message, cause.fix, cause.field, cause.since)


def _find_degraded(found: Sequence[Replica], now: datetime) -> dict[str, StatusCause]:
    """Return, by slug, what living replicas cannot run."""
    causes = {}
    for replica in found:
        if replica.silent(now) < LIVE_SECONDS:
            for agent in replica.degraded:
                reason, message = str(agent.get("reason")), str(agent.get("message", ""))
                causes[str(agent.get("slug"))] = StatusCause(reason, message)
    return causes


async def load_overview(connection: AsyncConnection, source: str, *, runs_shown: int = 5) -> Overview:
    """Load the overview; ``source`` is the tree whose drift is looked for. Use a snapshot transaction."""
    stored = await agents.load_stored(connection, source)
    now = await replicas.read_clock(connection)
    found = await replicas.list_replicas(connection, within_seconds=REPLICA_SHOWN_SECONDS)
    conditions = await runs.list_conditions(connection)
    statuses, standing = list_standing(
        stored.agents.values(), conditions, _find_degraded(found, now), await load_health(connection)
    )
    return Overview(
        now=now,
        version=stored.version,
        agents=len(stored.agents),
        owners=len(stored.users),
        drifted=tuple(sorted(row.slug for row in stored.agents.values() if row.drifted)),
        knowledge=await knowledge.load_knowledge_stats(connection),
        leaders=await leadership.list_leaders(connection),
        replicas=found,
        pulls=await pulls.list_pulls(connection),
        runs=await runs.list_runs(connection, limit=runs_shown),
        conditions=conditions,
        read_only=await writability.is_read_only(connection),
        statuses=statuses,
        standing=standing,
    )
