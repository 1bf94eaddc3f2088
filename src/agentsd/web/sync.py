"""GET /api/sync: how the files, the store and the replicas stand.

What the runtime knows is always there; ``runs``, ``conditions`` and ``replicas`` come from
Postgres and are null while it is away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from aiohttp import web

from agentsd.core.errors import StoreError
from agentsd.store.replicas import list_replicas
from agentsd.store.runs import ManifestCondition, list_conditions, list_runs
from agentsd.web.encoding import to_json
from agentsd.web.health import state_of
from agentsd.web.parts import PARTS, Parts
from agentsd.web.replies import JSON
from agentsd.web.views import condition_view

RUNS = 20
CONDITIONS_MAX = 1000


def routes() -> list[web.RouteDef]:
    """This resource's routes."""
    return [web.get("/api/sync", get)]


async def get(request: web.Request) -> web.Response:
    """Never fails for want of Postgres."""
    parts = request.app[PARTS]
    snapshot = parts.registry.snapshot
    known = state_of(parts) | {"stamp": snapshot.stamp, "loaded_at": snapshot.loaded_at}
    problem = parts.follower.problem
    known["store_problem"] = problem.message if problem else None
    problems = [{"slug": slug, **condition_view(condition)} for slug, condition in parts.registry.problems()]
    try:
        told = await _ask(parts)
    except StoreError:
        told = dict.fromkeys(("runs", "conditions", "condition_counts", "replicas")) | {"store": "away"}
    return web.Response(body=to_json(known | {"problems": problems} | told), content_type=JSON)


async def _ask(parts: Parts) -> dict[str, Any]:
    async with parts.database.transaction(snapshot=True) as connection:
        runs = await list_runs(connection, limit=RUNS)
        conditions = await list_conditions(connection)
        replicas = await list_replicas(connection)
    return {
        "store": "ok",
        "runs": [asdict(run) for run in runs],
        **_conditions(conditions),
        "replicas": [asdict(replica) for replica in replicas],
    }


def _conditions(conditions: Sequence[ManifestCondition]) -> dict[str, Any]:
    """Those that are not Ready, and how many there are of each type: a healthy tree of 10,000 stays short."""
    told = [asdict(condition) for condition in conditions if condition.type != "Ready"]
    counts = Counter(condition.type for condition in conditions)
    return {"conditions": told[:CONDITIONS_MAX], "condition_counts": dict(counts)}
