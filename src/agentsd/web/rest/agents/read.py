"""/api/agents: read from memory. Writes are edits of files: see ``write``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from aiohttp import web

from agentsd.runtime.agents.cooperative import Pacer
from agentsd.runtime.agents.snapshot import Entry, Snapshot
from agentsd.web.agent_lookup import find, principal_of, snapshot_of
from agentsd.web.context import PARTS, VIEWS
from agentsd.web.http.caching import cached, etag_of, revalidated
from agentsd.web.http.json import to_json
from agentsd.web.views.agent import fallback_view
from agentsd.web.views.agent_cache import Views
from agentsd.web.views.pagination import Query, encode_cursor, page_of, parse_query
from agentsd.web.views.sorting import SLUGS, Picker, Place

_AT_ONCE = 500


def routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    one = "/api/agents/{agent}"
    return [
        web.get(one, get_one),  # first: it is asked for most, and routes are tried in order
        web.get("/api/agents", get_many),
    ]


async def get_one(request: web.Request) -> web.Response:
    """Return one agent, by slug or id, or the current one."""
    entry = find(request, request.match_info["agent"])
    if entry is None:
        body = to_json(fallback_view(request.app[PARTS].registry.fallback))
        return cached(request, body, etag_of(body))
    rendered = request.app[VIEWS].of(entry)
    return revalidated(request, rendered.body, rendered.etag, rendered.headers)


async def get_many(request: web.Request) -> web.Response:
    """Return a page of the list: ``{"items", "total", "next_cursor", "version"}``."""
    query = parse_query(request.query, [name for name, _ in request.query.items()])
    snapshot, views = snapshot_of(request), request.app[VIEWS]
    pacer = Pacer()
    slugs = await _filtered(snapshot, snapshot.slugs(principal_of(request).scope), views, query, pacer)
    page, after = await _page(snapshot, slugs, query, pacer)
    render = views.summary if query.view == "summary" else _whole(views)
    bodies = []
    for slug in page:
        bodies.append(render(snapshot.entries[slug]))
        await pacer.turn()
    cursor = encode_cursor(after, query.order) if after else None
    tail = to_json({"total": len(slugs), "next_cursor": cursor, "version": snapshot.version})
    body = b'{"items":[' + b",".join(bodies) + b"]," + tail[1:]
    link = query.next_link(request.path, cursor) if cursor else None
    return cached(request, body, etag_of(body), link=link)


def _whole(views: Views) -> Callable[[Entry], bytes]:
    return lambda entry: views.of(entry).body


async def _page(
    snapshot: Snapshot, slugs: Sequence[str], query: Query, pacer: Pacer
) -> tuple[Sequence[str], Place | None]:
    if query.order == SLUGS:
        return page_of(slugs, query)
    picker = Picker(query.order, query.after, query.limit)
    for some in _chunks(slugs):
        picker.add([snapshot.entries[slug] for slug in some])
        await pacer.turn()
    return picker.page()


async def _filtered(
    snapshot: Snapshot, slugs: Sequence[str], views: Views, query: Query, pacer: Pacer
) -> Sequence[str]:
    found = slugs
    if (query.owner, query.active, query.q, query.condition) != (None, None, None, None):
        kept = []
        for some in _chunks(found):
            kept += [slug for slug in some if _matches(snapshot.entries[slug], query)]
            await pacer.turn()
        found = kept
    if query.provider is not None:
        kept = []
        for slug in found:
            if views.names_provider(snapshot.entries[slug], query.provider):
                kept.append(slug)
            await pacer.turn()
        found = kept
    return found


def _chunks(slugs: Sequence[str]) -> Iterator[Sequence[str]]:
    """Split ``slugs`` into chunks, each of which takes well below a millisecond."""
    return (slugs[start : start + _AT_ONCE] for start in range(0, len(slugs), _AT_ONCE))


def _matches(entry: Entry, query: Query) -> bool:
    row = entry.row
    return (
        (query.owner is None or row.owner == query.owner)
        and (query.active is None or row.is_active == query.active)
        and (query.condition is None or entry.condition.type == query.condition)
        and (query.q is None or query.q in row.slug.lower() or query.q in row.name.lower())
    )
