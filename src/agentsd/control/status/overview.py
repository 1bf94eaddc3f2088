"""Overview of all that the store records about the present state, read in one snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection

from agentsd.store import leader_election as leadership
from agentsd.store import writability
from agentsd.store.leader_election import Leader
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


async def load_overview(connection: AsyncConnection, source: str, *, runs_shown: int = 5) -> Overview:
    """Load the overview; ``source`` is the tree whose drift is looked for. Use a snapshot transaction."""
    stored = await agents.load_stored(connection, source)
    return Overview(
        now=await replicas.read_clock(connection),
        version=stored.version,
        agents=len(stored.agents),
        owners=len(stored.users),
        drifted=tuple(sorted(row.slug for row in stored.agents.values() if row.drifted)),
        knowledge=await knowledge.load_knowledge_stats(connection),
        leaders=await leadership.list_leaders(connection),
        replicas=await replicas.list_replicas(connection, within_seconds=REPLICA_SHOWN_SECONDS),
        pulls=await pulls.list_pulls(connection),
        runs=await runs.list_runs(connection, limit=runs_shown),
        conditions=await runs.list_conditions(connection),
        read_only=await writability.is_read_only(connection),
    )
