"""/api/agents: read from memory. Writes are edits of files: see ``write``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from aiohttp import web
from pydantic import Field

from agentsd.core.ledger.status import AgentStatus
from agentsd.runtime.agents.cooperative import CooperativeYield
from agentsd.runtime.agents.snapshot import Snapshot, SnapshotEntry
from agentsd.web.agent_lookup import find_agent, get_principal, get_snapshot
from agentsd.web.context import AGENT_VIEWS, APP_CONTEXT
from agentsd.web.http.conditional import make_conditional_response
from agentsd.web.http.json import to_json
from agentsd.web.http.reply import Count, make_cached_reply
from agentsd.web.views.agent import AgentReply, AgentSummary, make_fallback_reply
from agentsd.web.views.agent_cache import AgentViewCache
from agentsd.web.views.pagination import (
    ListQuery,
    NextCursor,
    encode_cursor,
    make_next_link,
    parse_query,
    slice_page,
)
from agentsd.web.views.sort_order import SLUG_ORDER, ListedAgent, ListPlace, PagePicker
from agentsd.web.views.statuses import is_refused_file

_SLUGS_PER_CHUNK = 500


@dataclass(frozen=True)
class AgentPageEnd:
    """Part of a page after its items, which are encoded already."""

    total: Annotated[Count, Field(description="The number of agents, and of refused files, on all pages.")]
    refused: Annotated[Count, Field(description="Of these, files that never became an agent.")]
    next_cursor: NextCursor
    version: Count


@dataclass(frozen=True)
class AgentPage(AgentPageEnd):
    """Page of agents."""

    items: list[AgentReply | AgentSummary]


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    one = "/api/agents/{agent}"
    return [
        web.get(one, get_agent),  # first: it is requested most, and routes are tried in order
        web.get("/api/agents", get_agents),
    ]


async def get_agent(request: web.Request) -> web.Response:
    """Return one agent, by slug or id, or the current one."""
    entry = find_agent(request, request.match_info["agent"])
    if entry is None:
        return make_cached_reply(request, make_fallback_reply(request.app[APP_CONTEXT].registry.fallback))
    rendered = request.app[AGENT_VIEWS].of(entry)
    return make_conditional_response(request, rendered.body, rendered.etag, rendered.headers)


async def get_agents(request: web.Request) -> web.Response:
    """Return a page of the list."""
    query = parse_query(request.query, [name for name, _ in request.query.items()])
    body, cursor = await list_page(request, query)
    return make_cached_reply(request, body, link=make_next_link(request.path, request.query, cursor))


async def list_page(request: web.Request, query: ListQuery) -> tuple[bytes, str | None]:
    """Return an ``AgentPage`` as JSON, and the cursor of the next one."""
    snapshot, views = get_snapshot(request), request.app[AGENT_VIEWS]
    pacer, scope = CooperativeYield(), get_principal(request).scope
    listed = _Listed(snapshot, views, views.statuses.list_refused(snapshot, scope) if query.refused else {})
    slugs = await _filter_slugs(listed, scope, query, pacer)
    page, after = await _pick_page(listed, slugs, query, pacer)
    render = views.summary if query.view == "summary" else _make_renderer(views)
    bodies = []
    for slug in page:
        bodies.append(render(listed.find(slug)))
        await pacer.turn()
    cursor = encode_cursor(after, query.order) if after else None
    refused = sum(slug in listed.refused for slug in slugs) if listed.refused else 0
    tail = to_json(AgentPageEnd(len(slugs), refused, cursor, snapshot.version))
    return b'{"items":[' + b",".join(bodies) + b"]," + tail[1:], cursor


@dataclass(frozen=True, slots=True)
class _Listed:
    """Agents of a snapshot, and the refused files among them, by slug."""

    snapshot: Snapshot
    views: AgentViewCache
    refused: Mapping[str, SnapshotEntry]

    def slugs(self, owner: str | None) -> Sequence[str]:
        own = self.snapshot.slugs(owner)
        return sorted([*own, *self.refused]) if self.refused else own

    def find(self, slug: str) -> SnapshotEntry:
        return self.refused.get(slug) or self.snapshot.entries[slug]

    def status_of(self, entry: SnapshotEntry) -> AgentStatus:
        return _REFUSED if is_refused_file(entry) else self.views.statuses.of(entry)


_REFUSED = AgentStatus("File refused")


def _make_renderer(views: AgentViewCache) -> Callable[[SnapshotEntry], bytes]:
    return lambda entry: views.of(entry).body


async def _pick_page(
    listed: _Listed, slugs: Sequence[str], query: ListQuery, pacer: CooperativeYield
) -> tuple[Sequence[str], ListPlace | None]:
    if query.order == SLUG_ORDER:
        return slice_page(slugs, query)
    picker = PagePicker(query.order, query.after, query.limit)
    for some in _split_slugs(slugs):
        entries = map(listed.find, some)
        if query.order.name == "status":
            picker.add([ListedAgent(entry, listed.status_of(entry)) for entry in entries])
        else:
            picker.add(list(entries))
        await pacer.turn()
    return picker.page()


async def _filter_slugs(
    listed: _Listed, owner: str | None, query: ListQuery, pacer: CooperativeYield
) -> Sequence[str]:
    found = listed.slugs(owner)
    if (query.owner, query.active, query.q, query.condition, query.status) != (None,) * 5:
        kept = []
        for some in _split_slugs(found):
            kept += [slug for slug in some if _matches_query(listed, listed.find(slug), query)]
            await pacer.turn()
        found = kept
    if query.provider is not None:
        kept = []
        for slug in found:
            if listed.views.names_provider(listed.find(slug), query.provider):
                kept.append(slug)
            await pacer.turn()
        found = kept
    return found


def _split_slugs(slugs: Sequence[str]) -> Iterator[Sequence[str]]:
    """Split ``slugs`` into chunks, each of which takes well below a millisecond."""
    return (slugs[start : start + _SLUGS_PER_CHUNK] for start in range(0, len(slugs), _SLUGS_PER_CHUNK))


def _matches_query(listed: _Listed, entry: SnapshotEntry, query: ListQuery) -> bool:
    row = entry.row
    return (
        (query.owner is None or row.owner == query.owner)
        and (query.active is None or (row.is_active == query.active and not is_refused_file(entry)))
        and (query.status is None or listed.status_of(entry).word == query.status)
        and (query.condition is None or entry.condition.type == query.condition)
        and (query.q is None or query.q in row.slug.lower() or query.q in row.name.lower())
    )
