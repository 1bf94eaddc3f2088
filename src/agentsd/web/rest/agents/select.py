"""POST /api/agents/{agent}/select: this browser's current agent, kept in a cookie; works read-only."""

from __future__ import annotations

from aiohttp import web

from agentsd.web.agent_lookup import COOKIE, find
from agentsd.web.context import PARTS, VIEWS
from agentsd.web.http.caching import JSON
from agentsd.web.http.json import to_json
from agentsd.web.http.problem import Problem
from agentsd.web.views.agent import fallback_view

_YEAR = 365 * 24 * 3600


def routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.post("/api/agents/{agent}/select", select)]


async def select(request: web.Request) -> web.Response:
    """Select an agent. The cookie contains its id, so that the choice survives a rename."""
    entry = find(request, request.match_info["agent"])
    if entry is None:
        body = to_json(fallback_view(request.app[PARTS].registry.fallback))
        response = web.Response(body=body, content_type=JSON)
        response.del_cookie(COOKIE)
        return response
    if not entry.row.is_active:
        raise Problem(
            409,
            "agent_suspended",
            f"the agent {entry.row.slug!r} is suspended",
            hint="set `active: true` in its manifest, or choose another agent",
        )
    response = web.Response(body=request.app[VIEWS].of(entry).body, content_type=JSON)
    response.set_cookie(
        COOKIE, str(entry.row.id), max_age=_YEAR, httponly=True, samesite="Lax", secure=request.secure
    )
    return response
