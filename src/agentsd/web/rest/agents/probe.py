"""POST /api/agents/{agent}/test: probes every provider of an agent for real.

``?checks=true`` runs the checks of its manifest, too. The status is 200 whatever was found: ``ok``
contains the result, and every failure comes with its fix.
"""

from __future__ import annotations

from aiohttp import web

from agentsd.services.verdict import judge_agent
from agentsd.web.agent_lookup import find_agent, lease_agent
from agentsd.web.context import APP_CONTEXT
from agentsd.web.http.reply import make_reply
from agentsd.web.openai.models import make_agent_headers
from agentsd.web.views.pagination import parse_boolean


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.post("/api/agents/{agent}/test", probe_agent)]


async def probe_agent(request: web.Request) -> web.Response:
    """Probe the version that is served now, and return the findings."""
    checks = parse_boolean(request.query, "checks") or False
    entry = find_agent(request, request.match_info["agent"])
    async with lease_agent(request, entry) as agent:
        parts = request.app[APP_CONTEXT]
        verdict = await judge_agent(agent, parts.knowledge, checks=checks)
        if parts.ledger is not None:
            results = ((one.at, one.provider, one.failure) for one in verdict.providers)
            parts.ledger.note_test(agent.id, agent.version, results)
        return make_reply(verdict.as_json(), headers=make_agent_headers(agent))
