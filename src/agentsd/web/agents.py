"""/api/agents: read from memory. Writes are edits of files: see ``writing``."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from agentsd.runtime.pacing import Pacer
from agentsd.runtime.snapshot import Entry, Snapshot
from agentsd.web.encoding import to_json
from agentsd.web.lookup import CURRENT, find, principal_of, snapshot_of
from agentsd.web.pages import Query, page_of, parse_query
from agentsd.web.parts import PARTS, VIEWS
from agentsd.web.rendering import Views
from agentsd.web.replies import cached, etag_of, revalidated
from agentsd.web.views import fallback_view

_VARY_CURRENT = "Authorization, Cookie"


def routes() -> list[web.RouteDef]:
    """This resource's routes."""
    one = "/api/agents/{agent}"
    return [
        web.get(one, get_one),  # first: it is asked for most, and routes are tried in order
        web.get("/api/agents", get_many),
    ]


async def get_one(request: web.Request) -> web.Response:
    """One agent, by slug or id, or the current one."""
    ref = request.match_info["agent"]
    entry = find(request, ref)
    if entry is None:
        body = to_json(fallback_view(request.app[PARTS].registry.fallback))
        return cached(request, body, etag_of(body), vary=_VARY_CURRENT)
    rendered = request.app[VIEWS].of(entry)
    if ref == CURRENT:
        return cached(request, rendered.body, rendered.etag, vary=_VARY_CURRENT)
    return revalidated(request, rendered.body, rendered.etag, rendered.headers)


async def get_many(request: web.Request) -> web.Response:
    """A page of the list, in the order of slugs: ``{"items", "total", "next_cursor", "version"}``."""
    query = parse_query(request.query, [name for name, _ in request.query.items()])
    snapshot, views = snapshot_of(request), request.app[VIEWS]
    pacer = Pacer()
    slugs = await _filtered(snapshot, snapshot.slugs(principal_of(request).scope), views, query, pacer)
    page, cursor = page_of(slugs, query)
    bodies = []
    for slug in page:
        bodies.append(views.of(snapshot.entries[slug]).body)
        await pacer.turn()
    tail = to_json({"total": len(slugs), "next_cursor": cursor, "version": snapshot.version})
    body = b'{"items":[' + b",".join(bodies) + b"]," + tail[1:]
    link = query.next_link(request.path, cursor) if cursor else None
    return cached(request, body, etag_of(body), link=link)


async def _filtered(
    snapshot: Snapshot, slugs: Sequence[str], views: Views, query: Query, pacer: Pacer
) -> Sequence[str]:
    found = slugs
    if (query.owner, query.active, query.q) != (None, None, None):
        found = [slug for slug in found if _row_matches(snapshot.entries[slug], query)]
    if query.provider is not None:
        kept = []
        for slug in found:
            if views.names_provider(snapshot.entries[slug], query.provider):
                kept.append(slug)
            await pacer.turn()
        found = kept
    return found


def _row_matches(entry: Entry, query: Query) -> bool:
    row = entry.row
    return (
        (query.owner is None or row.owner == query.owner)
        and (query.active is None or row.is_active == query.active)
        and (query.q is None or query.q in row.slug.lower() or query.q in row.name.lower())
    )
