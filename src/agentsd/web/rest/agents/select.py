"""POST /api/agents/{agent}/select: this browser's current agent, kept in a cookie; works read-only."""

from __future__ import annotations

from aiohttp import web

from agentsd.web.agent_lookup import AGENT_COOKIE, find_agent
from agentsd.web.context import AGENT_VIEWS, APP_CONTEXT
from agentsd.web.http.problem import Problem
from agentsd.web.http.reply import make_reply
from agentsd.web.views.agent import make_fallback_reply

_COOKIE_SECONDS = 365 * 24 * 3600


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.post("/api/agents/{agent}/select", select_agent)]


async def select_agent(request: web.Request) -> web.Response:
    """Select an agent. The cookie contains its id, so that the choice survives a rename."""
    entry = find_agent(request, request.match_info["agent"])
    if entry is None:
        response = make_reply(make_fallback_reply(request.app[APP_CONTEXT].registry.fallback))
        response.del_cookie(AGENT_COOKIE)
        return response
    if not entry.row.is_active:
        raise Problem(
            409,
            "agent_suspended",
            f"the agent {entry.row.slug!r} is suspended",
            hint="set `active: true` in its manifest, or choose another agent",
        )
    response = make_reply(request.app[AGENT_VIEWS].of(entry).body)
    response.set_cookie(
        AGENT_COOKIE,
        str(entry.row.id),
        max_age=_COOKIE_SECONDS,
        httponly=True,
        samesite="Lax",
        secure=request.secure,
    )
    return response
