"""POST /api/agents/{agent}/test: probes every provider of an agent for real.

``?checks=true`` runs the checks of its manifest, too. The status is 200 whatever was found: ``ok``
contains the result, and every failure comes with its fix.
"""

from __future__ import annotations

from aiohttp import web

from agentsd.services.verdict import judge
from agentsd.web.agent_lookup import find, lease
from agentsd.web.context import PARTS
from agentsd.web.http.json import to_json
from agentsd.web.openai.models import agent_headers
from agentsd.web.views.pagination import boolean


def routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.post("/api/agents/{agent}/test", test)]


async def test(request: web.Request) -> web.Response:
    """Probe the version that is served now, and return the findings."""
    checks = boolean(request.query, "checks") or False
    entry = find(request, request.match_info["agent"])
    async with lease(request, entry) as agent:
        verdict = await judge(agent, request.app[PARTS].knowledge, checks=checks)
        headers = agent_headers(agent)
    return web.Response(body=to_json(verdict.as_json()), content_type="application/json", headers=headers)
