"""GET /api/agents/{agent}/revisions: an agent's earlier states, newest first, from Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from uuid import UUID

from aiohttp import web
from psycopg import AsyncConnection
from pydantic import Field

from agentsd.control.status.revisions import revision_changes
from agentsd.core.errors import AgentNotFound
from agentsd.core.names import is_uuid
from agentsd.core.text.render import FieldChangeJson
from agentsd.core.text.revision_changes import changes_to_json
from agentsd.runtime.agents.snapshot import make_not_found_error
from agentsd.store.queries.agents import Revision, load_revision_page
from agentsd.store.queries.audit import load_version_audit_entries
from agentsd.store.queries.runs import load_run_triggers
from agentsd.web.agent_lookup import find_agent, get_principal
from agentsd.web.context import AGENT_VIEWS, APP_CONTEXT
from agentsd.web.http.json import to_json
from agentsd.web.http.reply import Count, Hex, make_cached_reply
from agentsd.web.views.agent import ManifestReply, load_document, mask_document
from agentsd.web.views.agent_cache import AgentViewCache
from agentsd.web.views.pagination import (
    NextCursor,
    encode_place,
    make_next_link,
    parse_boolean,
    parse_page_query,
)
from agentsd.web.views.run_changes import AUDIT_LAG

LIMIT_DEFAULT = 20
LIMIT_MAX = 100
PAGE_BYTES = 2 << 20
"""Bytes of documents and prompts on one page, up to a second's work: beyond it a page has fewer items."""

_Authors = Mapping[int, tuple[str | None, str | None]]
"""Who edited by API or command, and what started the run, by version."""

_PAGE_SEMAPHORE = web.AppKey("revisions", asyncio.Semaphore)


@dataclass(frozen=True)
class RevisionReply(ManifestReply):
    """Historic state of an agent."""

    version: Count
    operation: str
    slug: str
    user: str
    source: str
    path: str
    digest: Hex
    commit: str | None
    run_id: UUID | None
    created_at: datetime
    actor: Annotated[str | None, Field(description="Who made it by API or command.")]
    trigger: Annotated[str | None, Field(description="What started its run: watch, api, cli or pull.")]


@dataclass(frozen=True)
class ComparedRevision(RevisionReply):
    """Historic state of an agent, where `diff` asks for its changes."""

    changes: Annotated[
        Sequence[FieldChangeJson] | None,
        Field(description="The differences from the revision before; null for the first."),
    ]


@dataclass(frozen=True)
class RevisionPage:
    """Page of revisions, newest first."""

    items: list[ComparedRevision | RevisionReply]
    next_cursor: NextCursor


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.get("/api/agents/{agent}/revisions", get_revisions)]


def install_semaphore(app: web.Application) -> None:
    """Install a semaphore, so that any number of requests for pages take one thread."""
    app[_PAGE_SEMAPHORE] = asyncio.Semaphore()


async def get_revisions(request: web.Request) -> web.Response:
    """Return a page of revisions. 503 while Postgres is away.

    ``diff=true``: each has ``changes`` against the one before it (null: there was none).

    A deleted agent's history is still found by its id; the part under another owner is visible to that
    owner only.
    """
    query = parse_page_query(request.query, "revision", "diff", default=LIMIT_DEFAULT, maximum=LIMIT_MAX)
    before, compared = query.number, parse_boolean(request.query, "diff")
    ref, scope = request.match_info["agent"], get_principal(request).scope
    agent, known = _find_agent_id(request, ref)
    async with request.app[APP_CONTEXT].database.transaction(snapshot=True) as connection:
        found, more = await load_revision_page(
            connection, agent, limit=query.limit + 1, size=PAGE_BYTES, before=before, owner=scope
        )
        authors = await _load_authors(connection, found, scope)
    if not found and not known:
        raise make_not_found_error(ref)
    async with request.app[_PAGE_SEMAPHORE]:
        page, body = await asyncio.to_thread(
            _make_page,
            found,
            query.limit,
            request.app[AGENT_VIEWS],
            authors,
            more=more,
            compared=bool(compared),
        )
    link = make_next_link(request.path, request.query, page.next_cursor)
    return make_cached_reply(request, body, link=link)


async def _load_authors(
    connection: AsyncConnection, found: Sequence[Revision], scope: str | None
) -> _Authors:
    """Return who made each revision, by version."""
    if not found:
        return {}
    since = min(one.created_at for one in found) - AUDIT_LAG
    entries = await load_version_audit_entries(connection, [one.version for one in found], since=since)
    names = {one.slug for one in found}
    actors = {
        entry.detail["to_version"]: entry.actor
        for entry in entries
        if entry.target in names and (scope is None or entry.owner == scope)
    }
    triggers = await load_run_triggers(connection, [one.run_id for one in found if one.run_id is not None])
    return {
        one.version: (
            actors.get(one.version),
            triggers.get(one.run_id) if one.run_id is not None else None,
        )
        for one in found
    }


def _make_page(
    found: list[Revision],
    limit: int,
    views: AgentViewCache,
    authors: _Authors,
    *,
    more: bool,
    compared: bool,
) -> tuple[RevisionPage, bytes]:
    """Return the page. If there are more, the last one found only serves to compare its successor."""
    shown = found[: min(limit, len(found) - 1)] if more or len(found) > limit else found
    items = [make_revision_reply(revision, views, *authors[revision.version]) for revision in shown]
    if compared:
        items = [
            ComparedRevision(**vars(item), changes=None if changed is None else changes_to_json(changed))
            for item, changed in zip(items, revision_changes(found, views.masker), strict=False)
        ]
    cursor = encode_place("revision", shown[-1].version) if len(shown) < len(found) else None
    page = RevisionPage(list(items), cursor)
    return page, to_json(page)


def make_revision_reply(
    revision: Revision, views: AgentViewCache, actor: str | None, trigger: str | None
) -> RevisionReply:
    """Return one historic state, with secrets masked."""
    return RevisionReply(
        version=revision.version,
        operation=revision.operation,
        slug=revision.slug,
        user=revision.owner,
        source=revision.source,
        path=revision.path,
        digest=revision.digest.hex(),
        commit=revision.commit,
        run_id=revision.run_id,
        created_at=revision.created_at,
        actor=actor,
        trigger=trigger,
        **mask_document(load_document(revision, views.destinations), views.masker),
    )


def _find_agent_id(request: web.Request, ref: str) -> tuple[UUID, bool]:
    """Return the agent's id, and whether it exists now."""
    try:
        entry = find_agent(request, ref)
    except AgentNotFound:
        if is_uuid(ref):
            return UUID(ref), False
        raise
    return (entry.row.id, True) if entry else (request.app[APP_CONTEXT].registry.fallback.id, True)
