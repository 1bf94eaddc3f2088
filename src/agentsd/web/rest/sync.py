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
from agentsd.core.errors import StoreError
from agentsd.store.leader_election import list_leaders
from agentsd.store.queries.pulls import Pull, list_pulls
from agentsd.store.queries.replicas import list_replicas
from agentsd.store.queries.runs import ManifestCondition, list_conditions, list_runs
from agentsd.web.agent_lookup import principal_of
from agentsd.web.context import PARTS, Parts
from agentsd.web.http.caching import JSON
from agentsd.web.http.json import to_json
from agentsd.web.rest import plan as planning
from agentsd.web.rest.health import state_of
from agentsd.web.views import visibility as scoping
from agentsd.web.views.agent import condition_view

RUNS = 20
RUNS_AMONG = 200
"""How far back the runs are looked for that concern one owner."""
CONDITIONS_MAX = 1000
_STORED = ("runs", "conditions", "condition_counts", "replicas", "leaders", "pulls")


def routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.get("/api/sync", get), web.get("/api/sync/plan", planning.get)]


async def get(request: web.Request) -> web.Response:
    """Return the state, also without Postgres."""
    parts, principal = request.app[PARTS], principal_of(request)
    snapshot = parts.registry.snapshot
    known = state_of(parts, principal) | {"stamp": snapshot.stamp, "loaded_at": snapshot.loaded_at}
    known["replica"] = parts.follower.replica_id
    found = parts.registry.problems(owner=principal.scope)
    problems = [{"slug": slug, **condition_view(condition)} for slug, condition in found]
    try:
        told = await _ask(parts, principal)
    except StoreError:
        told = dict.fromkeys(_STORED) | {"store": "away"}
    known["store_problem"] = _problem(parts) if principal.is_admin else None  # it names the database's host
    return web.Response(body=to_json(known | {"problems": problems} | told), content_type=JSON)


def _problem(parts: Parts) -> str | None:
    problem = parts.follower.problem
    if problem is None and parts.database.read_only:
        problem = parts.database.read_only_error()
    return problem.message if problem else None


async def _ask(parts: Parts, principal: Principal) -> dict[str, Any]:
    scope = principal.scope
    async with parts.database.transaction(snapshot=True) as connection:
        runs = await list_runs(connection, limit=RUNS if scope is None else RUNS_AMONG)
        conditions = await list_conditions(connection)
        replicas = await list_replicas(connection)
        pulled = await list_pulls(connection)
        leaders = await list_leaders(connection) if scope is None else []  # they name hosts and sources
    if scope is not None:
        snapshot = parts.registry.snapshot
        versions = {snapshot.entries[slug].row.version for slug in snapshot.slugs(scope)}
        runs = scoping.runs_of(runs, scope, versions)[:RUNS]
        conditions = scoping.conditions_of(conditions, scope)
    told = [asdict(replica) for replica in replicas]
    return {
        "store": "read-only" if parts.database.read_only else "ok",
        "runs": [asdict(run) for run in runs],
        **_conditions(conditions),
        "leaders": [asdict(leader) for leader in leaders],
        "replicas": told if scope is None else scoping.replicas_of(told, scope),
        "pulls": [pull_view(pull, scope) for pull in pulled],
    }


def pull_view(pull: Pull, scope: str | None) -> dict[str, Any]:
    """Return one source and its remote. The repository's location and the signers are for admins only."""
    hidden = {} if scope is None else {"url": None, "message": "", "signer": None}
    return asdict(pull) | hidden


def _conditions(conditions: Sequence[ManifestCondition]) -> dict[str, Any]:
    """Return the conditions other than Ready, and the number of each type.

    So the response for a healthy tree of 10,000 stays short.
    """
    told = [asdict(condition) for condition in conditions if condition.type != "Ready"]
    counts = Counter(condition.type for condition in conditions)
    return {"conditions": told[:CONDITIONS_MAX], "condition_counts": dict(counts)}
