"""GET /healthz (the process answers) and /readyz (it has agents to serve, with or without Postgres)."""

from __future__ import annotations

import math
from typing import Any

from aiohttp import web

from agentsd.core.access import NOBODY, Principal
from agentsd.web.agent_lookup import get_principal
from agentsd.web.context import APP_CONTEXT, LEAVING, AppContext
from agentsd.web.http.conditional import JSON_TYPE
from agentsd.web.http.json import to_json

STORE_AWAY_SECONDS = 15.0
"""Seconds without contact after which the store counts as away."""


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.get("/healthz", get_liveness), web.get("/readyz", get_readiness)]


async def get_liveness(request: web.Request) -> web.Response:
    """Return 200, always."""
    return web.Response(body=b'{"status":"ok"}', content_type=JSON_TYPE)


async def get_readiness(request: web.Request) -> web.Response:
    """Return 503 before the first load and while the server is leaving, else 200, also without Postgres."""
    parts = request.app[APP_CONTEXT]
    status = "ready" if parts.follower.ready.is_set() else "loading"
    if request.app[LEAVING].is_set():
        status = "stopping"
    body = {"status": status, **make_state_view(parts, get_principal(request))}
    return web.Response(body=to_json(body), status=200 if status == "ready" else 503, content_type=JSON_TYPE)


def make_state_view(parts: AppContext, principal: Principal) -> dict[str, Any]:
    """Return the state of the runtime without a query to Postgres.

    ``age_seconds``: since Postgres last answered. ``failing_tasks``: background tasks that were
    restarted and have not run steadily since. ``from_disk``: an earlier run's snapshot is served, as
    old as ``age_seconds``. Only agents visible to the principal are counted; a probe without a token
    gets no count.
    """
    snapshot, scope = parts.registry.snapshot, principal.scope
    counts: dict[str, Any] = {}
    if principal is not NOBODY:
        counts["agents"] = len(snapshot.entries if scope is None else snapshot.slugs(scope))
        counts["degraded"] = len(parts.registry.problems(owner=scope))
    age = parts.follower.age()
    return {
        "version": snapshot.version,
        "age_seconds": round(age, 3) if age < math.inf else None,
        "from_disk": parts.follower.recalled is not None,
        "store": get_store_state(parts),
        "failing_tasks": [one.task for one in parts.supervisor.failing()] if parts.supervisor else [],
        **counts,
    }


def get_store_state(parts: AppContext) -> str:
    """Return ``ok``, ``read-only`` (Postgres answers but accepts no edit for now) or ``away``."""
    if parts.follower.problem or parts.follower.age() > STORE_AWAY_SECONDS:
        return "away"
    return "read-only" if parts.database.read_only else "ok"
