"""GET /v1/models: the active agents, as OpenAI lists models. ``id`` is the slug."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Annotated, Literal, cast

from aiohttp import web
from pydantic import Field

from agentsd.core.errors import AgentNotFound
from agentsd.core.manifest.agent import AgentRow
from agentsd.providers.base import LiveAgent
from agentsd.runtime.agents.cooperative import CooperativeYield
from agentsd.runtime.agents.snapshot import Snapshot, SnapshotEntry
from agentsd.web.agent_lookup import (
    CURRENT_REF,
    can_see_fallback,
    find_agent,
    get_principal,
    get_snapshot,
    lease_agent,
)
from agentsd.web.context import ABILITIES, APP_CONTEXT
from agentsd.web.http.conditional import compute_etag, make_cached_response
from agentsd.web.http.json import to_json
from agentsd.web.http.problem import Problem
from agentsd.web.http.reply import Count, make_cached_reply
from agentsd.web.views.abilities import list_live_abilities

MODEL_LISTS_MAX = 256
"""Maximum number of cached lists, one per owner."""

ModelName = Annotated[
    str | None,
    Field(description="An agent: its slug, its id, or `current`, the default.", examples=["current"]),
]


Ability = Literal["chat", "embeddings", "realtime", "speech", "transcription"]


@dataclass(frozen=True)
class ModelReply:
    """Agent as OpenAI lists models; `name` and `abilities` in addition, which clients ignore."""

    id: str
    created: Annotated[Count, Field(description="Seconds since 1970.")]
    owned_by: str
    name: Annotated[str, Field(description="The agent's display name.")]
    abilities: Annotated[
        tuple[Ability, ...],
        Field(description="What can be asked of it: `chat` is also `/v1/responses` and `/v1/completions`."),
    ]
    object: Literal["model"] = "model"

    @classmethod
    def of(cls, row: AgentRow, abilities: tuple[str, ...]) -> ModelReply:
        """Return the reply for an agent with a row."""
        known = cast("tuple[Ability, ...]", abilities)
        return cls(row.slug, int(row.created_at.timestamp()), row.owner, row.name, known)


@dataclass(frozen=True)
class ModelList:
    """All active agents."""

    data: Annotated[list[ModelReply], Field(min_length=1)]
    object: Literal["list"] = "list"


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    kept: dict[str | None, tuple[object, bytes, str]] = {}  # by visible owner; None: all

    async def get_many(request: web.Request) -> web.Response:
        snapshot, scope = get_snapshot(request), get_principal(request).scope
        known = kept.get(scope)
        if known is None or known[0] is not snapshot:
            body = to_json(ModelList(await _list_models(request, snapshot, scope)))
            if len(kept) >= MODEL_LISTS_MAX:
                kept.clear()
            known = kept[scope] = (snapshot, body, compute_etag(body))
        return make_cached_response(request, known[1], known[2])

    return [web.get("/v1/models", get_many), web.get("/v1/models/{model:.+}", get_model)]


async def _list_models(request: web.Request, snapshot: Snapshot, scope: str | None) -> list[ModelReply]:
    cache, pacer = request.app[ABILITIES], CooperativeYield()
    models = []
    for slug in snapshot.slugs(scope):
        row = snapshot.entries[slug].row
        if row.is_active:
            models.append(ModelReply.of(row, cache.find(row)))
            await pacer.turn()
    registry = request.app[APP_CONTEXT].registry
    if models or not can_see_fallback(registry, get_principal(request)):
        return models
    return [make_fallback_reply(registry.fallback)]


async def get_model(request: web.Request) -> web.Response:
    """Return one model; its slug may be written with ``/``, ``%2F`` or ``~``."""
    entry = find_model(request, request.match_info["model"])
    if entry is None:
        return make_cached_reply(request, make_fallback_reply(request.app[APP_CONTEXT].registry.fallback))
    return make_cached_reply(request, ModelReply.of(entry.row, request.app[ABILITIES].find(entry.row)))


def find_model(request: web.Request, model: str) -> SnapshotEntry | None:
    """Return the agent for ``model``; empty or ``current`` is the current one. None: the built-in one.

    Raise ``Problem`` 404 ``model_not_found``.
    """
    try:
        return find_agent(request, model or CURRENT_REF)
    except AgentNotFound as error:
        near = error.hint if error.hint.startswith("did you mean") else "GET /v1/models lists the agents"
        raise Problem(404, "model_not_found", error.message, hint=near, param="model") from None


def lease_model(request: web.Request, model: str | None) -> AbstractAsyncContextManager[LiveAgent]:
    """Lease the agent that a request's ``model`` names. Raise ``Problem`` 404."""
    return lease_agent(request, find_model(request, model or ""))


def make_agent_headers(agent: LiveAgent) -> dict[str, str]:
    """Return headers with the slug and version of the agent that answers."""
    return {"X-Agent": agent.slug, "X-Agent-Version": str(agent.version)}


def make_fallback_reply(agent: LiveAgent) -> ModelReply:
    """Return the fallback agent, which has no row."""
    abilities = cast("tuple[Ability, ...]", list_live_abilities(agent))
    return ModelReply(agent.slug, 0, "agentsd", agent.spec.name or agent.slug, abilities)
