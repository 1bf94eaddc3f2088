"""GET /api/agents/{agent}/revisions: an agent's earlier states, newest first, from Postgres."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from aiohttp import web

from agentsd.control.status.revisions import steps_between
from agentsd.core.errors import AgentNotFound
from agentsd.core.names import is_uuid
from agentsd.core.text.revision_changes import changes_json
from agentsd.runtime.agents.snapshot import not_found
from agentsd.store.queries.agents import Revision, revision_page
from agentsd.web.agent_lookup import find, principal_of
from agentsd.web.context import PARTS, VIEWS
from agentsd.web.http.caching import cached, etag_of
from agentsd.web.http.json import to_json
from agentsd.web.http.problem import bad_request
from agentsd.web.views.agent import document_of, document_view
from agentsd.web.views.agent_cache import Views
from agentsd.web.views.pagination import boolean, parse_limit

LIMIT_DEFAULT = 20
LIMIT_MAX = 100
PAGE_BYTES = 2 << 20
"""Of documents and prompts on one page, which takes up to a second to read: then a page has fewer items."""

_ONE_AT_A_TIME = web.AppKey("revisions", asyncio.Semaphore)


def routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.get("/api/agents/{agent}/revisions", get)]


def install(app: web.Application) -> None:
    """Install a semaphore, so that any number of requests for pages take one thread."""
    app[_ONE_AT_A_TIME] = asyncio.Semaphore()


async def get(request: web.Request) -> web.Response:
    """Return ``{"items", "next_before"}``; ``limit`` and ``before`` (a version) page.

    503 while Postgres is away. ``diff=true``: each has ``changes`` against the one before it (null:
    there was none).

    A deleted agent's history is still found by its id; the part under another owner is visible to that
    owner only.
    """
    limit = parse_limit(request.query.get("limit"), default=LIMIT_DEFAULT, maximum=LIMIT_MAX)
    before = _version(request.query.get("before"))
    compared = boolean(request.query, "diff")
    ref, scope = request.match_info["agent"], principal_of(request).scope
    agent, known = _agent_id(request, ref)
    async with request.app[PARTS].database.transaction(snapshot=True) as connection:
        found, more = await revision_page(
            connection, agent, limit=limit + 1, size=PAGE_BYTES, before=before, owner=scope
        )
    if not found and not known:
        raise not_found(ref)
    async with request.app[_ONE_AT_A_TIME]:
        body = await asyncio.to_thread(
            _reply, found, limit, request.app[VIEWS], more=more, compared=bool(compared)
        )
    return cached(request, body, etag_of(body))


def _reply(found: list[Revision], limit: int, views: Views, *, more: bool, compared: bool) -> bytes:
    """Return the page. If there are more, the last one found only serves to compare its successor."""
    shown = found[: min(limit, len(found) - 1)] if more or len(found) > limit else found
    items = [revision_view(revision, views) for revision in shown]
    if compared:
        for item, changed in zip(items, steps_between(found), strict=False):
            item["changes"] = None if changed is None else changes_json(changed)
    return to_json({"items": items, "next_before": shown[-1].version if len(shown) < len(found) else None})


def revision_view(revision: Revision, views: Views) -> dict[str, Any]:
    """Return one historic state, with secrets masked."""
    return {
        "version": revision.version,
        "operation": revision.operation,
        "slug": revision.slug,
        "user": revision.owner,
        "source": revision.source,
        "path": revision.path,
        "digest": revision.digest.hex(),
        "commit": revision.commit,
        "run_id": revision.run_id,
        "created_at": revision.created_at,
        **document_view(document_of(revision, views.destinations), views.masker),
    }


def _agent_id(request: web.Request, ref: str) -> tuple[UUID, bool]:
    """Return the agent's id, and whether it exists now."""
    try:
        entry = find(request, ref)
    except AgentNotFound:
        if is_uuid(ref):
            return UUID(ref), False
        raise
    return (entry.row.id, True) if entry else (request.app[PARTS].registry.fallback.id, True)


def _version(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise bad_request("before must be a version: a whole number", param="before")
    return int(text)
