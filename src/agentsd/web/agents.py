"""/api/agents: read from memory; writes are edits of files, so they answer 405 and name the file."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from agentsd.core.errors import AgentNotFound
from agentsd.core.names import from_url, slug_problem
from agentsd.runtime.pacing import Pacer
from agentsd.runtime.snapshot import Entry, Snapshot
from agentsd.web.encoding import to_json
from agentsd.web.lookup import CURRENT, find, snapshot_of
from agentsd.web.pages import Query, page_of, parse_query
from agentsd.web.parts import PARTS, VIEWS
from agentsd.web.problem import Problem
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
        web.post("/api/agents", refuse_create),
        *(web.route(method, one, refuse_change) for method in ("PUT", "PATCH", "DELETE")),
        *(web.post(f"{one}/{verb}", refuse_verb) for verb in ("set-default", "rollback")),
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
    slugs = await _filtered(snapshot, views, query, pacer)
    page, cursor = page_of(slugs, query)
    bodies = []
    for slug in page:
        bodies.append(views.of(snapshot.entries[slug]).body)
        await pacer.turn()
    tail = to_json({"total": len(slugs), "next_cursor": cursor, "version": snapshot.version})
    body = b'{"items":[' + b",".join(bodies) + b"]," + tail[1:]
    link = query.next_link(request.path, cursor) if cursor else None
    return cached(request, body, etag_of(body), link=link)


async def _filtered(snapshot: Snapshot, views: Views, query: Query, pacer: Pacer) -> Sequence[str]:
    found: Sequence[str] = views.order(snapshot)
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


async def refuse_create(request: web.Request) -> web.Response:
    """405: a new agent is a new file."""
    files = request.app[PARTS].files
    raise _refusal(
        "agents are files: this server is read-only",
        f"write {files}/NAME.yaml (or run: agentsd new NAME), then {_live(files)}",
        allow="GET, HEAD",
    )


async def refuse_change(request: web.Request) -> web.Response:
    """405 for PUT, PATCH and DELETE."""
    file = file_of(request)
    verb = "delete" if request.method == "DELETE" else "edit"
    raise _refusal(
        f"this server is read-only: the agent is the file {file}",
        f"{verb} {file}, then {_live(request.app[PARTS].files)}",
        allow="GET, HEAD",
        file=file,
    )


async def refuse_verb(request: web.Request) -> web.Response:
    """405 for set-default, rollback and test, each with what to do instead."""
    file, files = file_of(request), request.app[PARTS].files
    verb = request.path.rpartition("/")[2]
    hints = {
        "set-default": f"move `default: true` from the present default into {file}, then {_live(files)}",
        "rollback": f"restore an older state of {file} from git, then {_live(files)}",
        "test": "talk to the agent instead: POST /v1/chat/completions with its slug as the model",
    }
    raise _refusal(
        f"this server is read-only: {verb} is not offered, and the agent is the file {file}",
        hints[verb],
        allow="",
        file=file,
    )


def file_of(request: web.Request) -> str:
    """The manifest that describes (or would describe) the agent of the path: ``agents.d/acme/sales.yaml``."""
    files, ref = request.app[PARTS].files, request.match_info["agent"]
    try:
        entry = find(request, ref)
    except AgentNotFound:
        slug = from_url(ref)
        return f"{files}/NAME.yaml" if slug_problem(slug) else f"{files}/{slug}.yaml"
    return f"{files}/{entry.row.path}" if entry is not None else f"{files}/NAME.yaml"


def _live(files: str) -> str:
    return f"run: agentsd sync (where `agentsd up` or `agentsd watch` looks after {files}, saving is enough)"


def _refusal(detail: str, hint: str, *, allow: str, file: str | None = None) -> Problem:
    extra = {"file": file} if file else {}
    return Problem(405, "read_only", detail, hint=hint, headers={"Allow": allow}, extra=extra)
