"""GET /v1/models: the active agents, as OpenAI lists models. ``id`` is the slug."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

from aiohttp import web

from agentsd.core.agent import AgentRow
from agentsd.core.errors import AgentNotFound
from agentsd.providers.base import LiveAgent
from agentsd.runtime.fallback import FALLBACK_SLUG
from agentsd.runtime.snapshot import Entry
from agentsd.web.encoding import to_json
from agentsd.web.lookup import CURRENT, find, snapshot_of
from agentsd.web.parts import PARTS
from agentsd.web.problem import Problem, bad_request
from agentsd.web.replies import cached, etag_of


def routes() -> list[web.RouteDef]:
    """This resource's routes."""
    kept: list[tuple[object, bytes, str]] = []

    async def get_many(request: web.Request) -> web.Response:
        snapshot = snapshot_of(request)
        if not kept or kept[0][0] is not snapshot:
            active = [entry.row for _, entry in sorted(snapshot.entries.items()) if entry.row.is_active]
            body = to_json(
                {"object": "list", "data": [model_view(row) for row in active] or [model_view(None)]}
            )
            kept[:] = [(snapshot, body, etag_of(body))]
        return cached(request, kept[0][1], kept[0][2])

    return [web.get("/v1/models", get_many), web.get("/v1/models/{model:.+}", get_one)]


async def get_one(request: web.Request) -> web.Response:
    """One model; a slug may be written with ``/``, ``%2F`` or ``~``."""
    entry = find_model(request, request.match_info["model"])
    body = to_json(model_view(entry.row if entry else None))
    return cached(request, body, etag_of(body))


def find_model(request: web.Request, model: str) -> Entry | None:
    """The agent for ``model``; nothing or ``current`` is the current one. None: the built-in one.

    Raises ``Problem`` 404 ``model_not_found``.
    """
    try:
        return find(request, model or CURRENT)
    except AgentNotFound as error:
        near = error.hint if error.hint.startswith("did you mean") else "GET /v1/models lists the agents"
        raise Problem(404, "model_not_found", error.message, hint=near, param="model") from None


def lease_model(request: web.Request, model: object) -> AbstractAsyncContextManager[LiveAgent]:
    """A lease on the agent that a request's ``model`` names. Raises ``Problem`` 400 and 404."""
    if not isinstance(model or "", str):
        raise bad_request("model must be a string: an agent's slug", param="model")
    entry = find_model(request, str(model or ""))
    return request.app[PARTS].registry.lease(str(entry.row.id) if entry else FALLBACK_SLUG)


def agent_headers(agent: LiveAgent) -> dict[str, str]:
    """Which agent and which version of it answers."""
    return {"X-Agent": agent.slug, "X-Agent-Version": str(agent.version)}


def model_view(row: AgentRow | None) -> dict[str, Any]:
    """``{"id", "object", "created" (seconds), "owned_by"}``; None is the built-in agent."""
    if row is None:
        return {"id": FALLBACK_SLUG, "object": "model", "created": 0, "owned_by": "agentsd"}
    return {
        "id": row.slug,
        "object": "model",
        "created": int(row.created_at.timestamp()),
        "owned_by": row.owner,
    }
