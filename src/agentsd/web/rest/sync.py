"""GET /api/sync: state of the files, the store and the replicas.

The runtime's own state is always present; ``runs``, ``conditions`` and ``replicas`` come from
Postgres and are null while it is away. An admin gets everything, others the parts about their own
agents (see ``visibility``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from aiohttp import web

from agentsd.core.access import Principal
from agentsd.core.errors import SessionLost, StoreError
from agentsd.store.leader_election import list_leaders
from agentsd.store.queries.pulls import PullState, list_pulls
from agentsd.store.queries.replicas import list_replicas
from agentsd.store.queries.runs import ManifestCondition, list_conditions, list_runs
from agentsd.web.agent_lookup import get_principal
from agentsd.web.context import APP_CONTEXT, AppContext
from agentsd.web.http.conditional import JSON_TYPE
from agentsd.web.http.json import to_json
from agentsd.web.rest import plan as planning
from agentsd.web.rest.health import make_state_view
from agentsd.web.views import visibility as scoping
from agentsd.web.views.agent import make_condition_view

RUNS_MAX = 20
RUNS_SCANNED_MAX = 200
"""Number of recent runs that are searched for those of one owner."""
CONDITIONS_MAX = 1000
_STORED_FIELDS = ("runs", "conditions", "condition_counts", "replicas", "leaders", "pulls")


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.get("/api/sync", get_sync_state), web.get("/api/sync/plan", planning.get_plan)]


async def get_sync_state(request: web.Request) -> web.Response:
    """Return the state, also without Postgres."""
    parts, principal = request.app[APP_CONTEXT], get_principal(request)
    snapshot = parts.registry.snapshot
    known = make_state_view(parts, principal) | {"stamp": snapshot.stamp, "loaded_at": snapshot.loaded_at}
    known["replica"] = parts.follower.replica_id
    found = parts.registry.problems(owner=principal.scope)
    problems = [{"slug": slug, **make_condition_view(condition)} for slug, condition in found]
    try:
        try:
            told = await _load_stored_state(parts, principal)
        except SessionLost:  # Postgres may answer a new one
            told = await _load_stored_state(parts, principal)
    except StoreError:
        told = dict.fromkeys(_STORED_FIELDS) | {"store": "away"}
    known["store_problem"] = (
        _describe_problem(parts) if principal.is_admin else None
    )  # the text contains the database's host
    return web.Response(body=to_json(known | {"problems": problems} | told), content_type=JSON_TYPE)


def _describe_problem(parts: AppContext) -> str | None:
    problem = parts.follower.problem
    if problem is None and parts.database.read_only:
        problem = parts.database.read_only_error()
    return problem.message if problem else None


async def _load_stored_state(parts: AppContext, principal: Principal) -> dict[str, Any]:
    scope = principal.scope
    async with parts.database.transaction(snapshot=True) as connection:
        runs = await list_runs(connection, limit=RUNS_MAX if scope is None else RUNS_SCANNED_MAX)
        conditions = await list_conditions(connection)
        replicas = await list_replicas(connection)
        pulled = await list_pulls(connection)
        leaders = await list_leaders(connection) if scope is None else []  # they contain hosts and sources
    if scope is not None:
        snapshot = parts.registry.snapshot
        versions = {snapshot.entries[slug].row.version for slug in snapshot.slugs(scope)}
        runs = scoping.filter_runs(runs, scope, versions)[:RUNS_MAX]
        conditions = scoping.filter_conditions(conditions, scope)
    told = [asdict(replica) for replica in replicas]
    return {
        "store": "read-only" if parts.database.read_only else "ok",
        "runs": [asdict(run) for run in runs],
        **_make_conditions_view(conditions),
        "leaders": [asdict(leader) for leader in leaders],
        "replicas": told if scope is None else scoping.filter_replicas(told, scope),
        "pulls": [make_pull_view(pull, scope) for pull in pulled],
    }


def make_pull_view(pull: PullState, scope: str | None) -> dict[str, Any]:
    """Return one source and its remote. The repository's location and the signers are for admins only."""
    hidden = {} if scope is None else {"url": None, "message": "", "signer": None}
    return asdict(pull) | hidden


def _make_conditions_view(conditions: Sequence[ManifestCondition]) -> dict[str, Any]:
    """Return the conditions other than Ready, and the number of each type.

    So the response for a healthy tree of 10,000 stays short.
    """
    told = [asdict(condition) for condition in conditions if condition.type != "Ready"]
    counts = Counter(condition.type for condition in conditions)
    return {"conditions": told[:CONDITIONS_MAX], "condition_counts": dict(counts)}
