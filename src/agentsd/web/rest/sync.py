"""GET /api/sync: state of the files, the store and the replicas.

The runtime's own state is always present; ``runs``, ``conditions`` and ``replicas`` come from
Postgres and are null while it is away. An admin gets everything, others the parts about their own
agents (see ``visibility``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from aiohttp import web
from pydantic import Field
from typing_extensions import TypedDict

from agentsd.core.access import Principal
from agentsd.core.errors import SessionLost, StoreError
from agentsd.runtime.agents.snapshot import Snapshot
from agentsd.store.leader_election import Leader, list_leaders
from agentsd.store.queries.pulls import PullState, list_pulls
from agentsd.store.queries.replicas import Replica, list_replicas
from agentsd.store.queries.runs import ManifestCondition, list_conditions, list_runs
from agentsd.web.agent_lookup import get_principal
from agentsd.web.context import APP_CONTEXT, AppContext
from agentsd.web.http.reply import make_reply
from agentsd.web.rest import plan as planning
from agentsd.web.rest.health import RuntimeState, StoreState, make_runtime_state
from agentsd.web.views import visibility as scoping
from agentsd.web.views.agent import ConditionReply
from agentsd.web.views.run_changes import RunChangesCache, RunReply, load_actors, make_run_reply

RUNS_MAX = 20
RUNS_SCANNED_MAX = 200
"""Number of recent runs that are searched for those of one owner."""
CONDITIONS_MAX = 1000
RUN_CHANGES = web.AppKey("run_changes", RunChangesCache)


@dataclass(frozen=True)
class AgentProblem(ConditionReply):
    """Agent that is not Ready."""

    slug: str


@dataclass(frozen=True)
class ManifestConditionReply:
    """Condition of one manifest; also of one that never became an agent."""

    source: str
    path: str
    slug: str
    type: str
    reason: str
    message: str
    since: datetime | None
    serving_version: Annotated[
        int | None, Field(description="The version that is served of its agent; null where there is none.")
    ]


@dataclass(frozen=True)
class ReplicaReply:
    """Replica with a recent heartbeat. Of `degraded`, only visible agents; host and tasks: admins only."""

    id: UUID
    host: str | None
    pid: int | None
    version: Annotated[int, Field(description="The version that it serves.")]
    degraded: Sequence[Mapping[str, Any]]
    started_at: datetime | None
    seen_at: datetime | None
    unopened: Annotated[int, Field(description="Agents that it has not opened yet.")]
    failing_tasks: Annotated[
        Sequence[Mapping[str, Any]],
        Field(description="Background tasks that were restarted: `task`, `failures` in a row, `message`."),
    ]


@dataclass(frozen=True)
class PullReply:
    """Source and its remote. The repository's location and the signer are for admins only."""

    source: str
    url: str | None
    ref: str
    path: Annotated[str, Field(description="The folder of the manifests in the repository.")]
    last_attempted: Annotated[str | None, Field(description="The commit that the ref was at.")]
    last_applied: str | None
    signer: str | None
    reason: str | None
    message: str
    attempted_at: datetime | None
    applied_at: datetime | None
    since: Annotated[datetime | None, Field(description="When `reason` became what it is.")]


class StoredState(TypedDict):
    """State that is read from Postgres; null while it is away."""

    store: StoreState
    runs: list[RunReply] | None
    conditions: Annotated[
        list[ManifestConditionReply] | None, Field(description="Those other than `Ready`, up to a thousand.")
    ]
    condition_counts: Annotated[dict[str, int] | None, Field(description="The number of each type.")]
    replicas: list[ReplicaReply] | None
    leaders: list[Leader] | None
    pulls: list[PullReply] | None


class SyncReply(RuntimeState, StoredState):
    """State of files, store and replicas. Fields from Postgres are null while it is away."""

    stamp: UUID | None
    replica: Annotated[UUID, Field(description="The one of `replicas` that responds.")]
    loaded_at: datetime | None
    store_problem: Annotated[str | None, Field(description="For admins: it contains the database's host.")]
    problems: list[AgentProblem]


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.get("/api/sync", get_sync_state), web.get("/api/sync/plan", planning.get_plan)]


async def get_sync_state(request: web.Request) -> web.Response:
    """Return the state, also without Postgres."""
    return make_reply(await load_sync_state(request))


async def load_sync_state(request: web.Request) -> SyncReply:
    """Return the state that the principal of the request may see."""
    parts, principal = request.app[APP_CONTEXT], get_principal(request)
    snapshot = parts.registry.snapshot
    found = parts.registry.problems(owner=principal.scope)
    try:
        try:
            stored = await _load_stored_state(parts, principal, request.app[RUN_CHANGES])
        except SessionLost:  # Postgres may answer a new one
            stored = await _load_stored_state(parts, principal, request.app[RUN_CHANGES])
    except StoreError:
        stored = StoredState(
            store="away",
            runs=None,
            conditions=None,
            condition_counts=None,
            replicas=None,
            leaders=None,
            pulls=None,
        )
    return {
        **make_runtime_state(parts, principal),
        **stored,
        "stamp": snapshot.stamp,
        "replica": parts.follower.replica_id,
        "loaded_at": snapshot.loaded_at,
        "store_problem": _describe_problem(parts) if principal.is_admin else None,
        "problems": [AgentProblem(**vars(ConditionReply.of(one)), slug=slug) for slug, one in found],
    }


def _describe_problem(parts: AppContext) -> str | None:
    problem = parts.follower.problem
    if problem is None and parts.database.read_only:
        problem = parts.database.read_only_error()
    return problem.message if problem else None


async def _load_stored_state(parts: AppContext, principal: Principal, cache: RunChangesCache) -> StoredState:
    snapshot = parts.registry.snapshot
    scope = principal.scope
    async with parts.database.transaction(snapshot=True) as connection:
        runs = await list_runs(connection, limit=RUNS_MAX if scope is None else RUNS_SCANNED_MAX)
        conditions = await list_conditions(connection)
        replicas = await list_replicas(connection)
        pulls = await list_pulls(connection)
        leaders = await list_leaders(connection) if scope is None else []  # they contain hosts and sources
        if scope is not None:
            versions = {snapshot.entries[slug].row.version for slug in snapshot.slugs(scope)}
            runs = scoping.filter_runs(runs, scope, versions)[:RUNS_MAX]
            conditions = scoping.filter_conditions(conditions, scope)
        changes = await cache.load(connection, runs, scope)
        actors = await load_actors(connection, runs, scope)
    unwell = [one for one in conditions if one.type != "Ready"][:CONDITIONS_MAX]
    return {
        "store": "read-only" if parts.database.read_only else "ok",
        "runs": [make_run_reply(one, changes, actors) for one in runs],
        # a healthy tree of 10,000 has many conditions, all Ready: their number will do
        "conditions": [make_manifest_condition_reply(one, snapshot) for one in unwell],
        "condition_counts": Counter(one.type for one in conditions),
        "replicas": [make_replica_reply(one, scope) for one in replicas],
        "leaders": leaders,
        "pulls": [make_pull_reply(one, scope) for one in pulls],
    }


def make_manifest_condition_reply(condition: ManifestCondition, snapshot: Snapshot) -> ManifestConditionReply:
    """Return a condition with the version that is served of the agent of its manifest."""
    entry = snapshot.entries.get(condition.slug)
    there = entry and (entry.row.path, entry.row.source) == (condition.path, condition.source)
    serving = (entry.good or entry.row).version if entry and there else None
    return ManifestConditionReply(**asdict(condition), serving_version=serving)


def make_replica_reply(replica: Replica, scope: str | None) -> ReplicaReply:
    """Return a replica, reduced to what users of the owner ``scope`` may see; None: an admin."""
    told = asdict(replica)
    if scope is not None:
        degraded = scoping.filter_degraded(replica.degraded, scope)
        told |= {"host": None, "pid": None, "unopened": 0, "degraded": degraded, "failing_tasks": []}
    return ReplicaReply(**told)


def make_pull_reply(pull: PullState, scope: str | None) -> PullReply:
    """Return one source and its remote. The repository's location and the signer are for admins only."""
    hidden = {} if scope is None else {"url": None, "message": "", "signer": None}
    return PullReply(**asdict(pull) | hidden)
