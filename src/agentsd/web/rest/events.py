"""GET /api/events: changes, as server-sent events.

    id: 42-9f3c1a2b            version and stamp; a client that reconnects sends it as Last-Event-ID
    event: changed             these agents were created, replaced, renamed or removed
    event: condition           these agents' conditions or statuses, or the manifest ``condition``, changed
    event: run                 a sync was recorded
    event: resync              too much, or something unknown, has changed: read everything again
    data: {"version": 42, "slugs": ["acme/sales"], "statuses": {"acme/sales": "Failing"}}

The first event is ``hello``, or ``resync`` for a client that reconnects with another version's id.
Clients receive events of visible agents only; when a token ends, its streams end. A comment
every few seconds keeps proxies from closing the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

from aiohttp import web

from agentsd.core.access import Principal
from agentsd.runtime.agents.change_feed import ChangeEvent
from agentsd.runtime.agents.registry import Registry
from agentsd.runtime.agents.snapshot import Snapshot
from agentsd.runtime.follower.run_feed import RunEvent, RunFeed
from agentsd.web.agent_lookup import get_principal
from agentsd.web.context import AGENT_VIEWS, APP_CONTEXT, CLOSING, WEB_METRICS
from agentsd.web.http.json import to_json
from agentsd.web.http.sse import SSE_HEADERS, encode_event, write_frame
from agentsd.web.views.run_events import make_run_event_frame
from agentsd.web.views.statuses import AgentStatuses

HEARTBEAT_SECONDS = 15.0
_HEARTBEAT_FRAME = b": heartbeat\n\n"


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.get("/api/events", stream_events, allow_head=False)]


async def stream_events(request: web.Request) -> web.StreamResponse:
    """Stream until the client leaves, its token ends or the server stops."""
    app, principal = request.app, get_principal(request)
    book = app[APP_CONTEXT].access.book
    response = web.StreamResponse(headers=SSE_HEADERS)
    over = asyncio.ensure_future(_wait_until_over(app, principal))
    try:
        with app[WEB_METRICS].streams.labels("events").track_inprogress():
            await response.prepare(request)
            last_id = request.headers.get("Last-Event-ID")
            parts = app[APP_CONTEXT]
            async with aclosing(
                make_event_frames(
                    parts.registry, parts.timeline, principal.scope, over, last_id, app[AGENT_VIEWS].statuses
                )
            ) as sent:
                async for frame in sent:
                    if not book.valid(principal):
                        break  # ``over`` is about to be set
                    await write_frame(response, frame)
    finally:
        over.cancel()
    await response.write_eof()
    return response


async def _wait_until_over(app: web.Application, principal: Principal) -> None:
    """Wait until the server stops, or the token is revoked, changed or expired."""
    book = app[APP_CONTEXT].access.book
    waiting: list[asyncio.Future[Any]] = [
        asyncio.ensure_future(app[CLOSING].wait()),
        asyncio.ensure_future(book.ended(principal)),
    ]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()


async def make_event_frames(
    registry: Registry,
    timeline: RunFeed | None,
    owner: str | None,
    over: asyncio.Future[None],
    last_id: str | None,
    statuses: AgentStatuses | None = None,
) -> AsyncGenerator[bytes, None]:
    """Yield the frames of a stream. ``owner`` None: of all agents.

    It subscribes before it greets, so that no event is lost between the two.
    """
    with (
        registry.subscribe(owner) as changes,
        timeline.subscribe() if timeline else _subscribe_to_nothing() as happenings,
    ):
        yield _make_greeting(registry.snapshot, last_id)
        change = asyncio.ensure_future(anext(changes, None))
        happening = asyncio.ensure_future(happenings.get())
        try:
            while not over.done():
                either: set[asyncio.Future[Any]] = {over, change, happening}
                await asyncio.wait(either, timeout=HEARTBEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if over.done():
                    return  # later events are not for this client any more
                if change.done():
                    told = change.result()
                    if told is None:  # the registry closed
                        return
                    yield _make_change_frame(told, registry.snapshot, statuses or AgentStatuses())
                    change = asyncio.ensure_future(anext(changes, None))
                elif happening.done():
                    frame = make_run_event_frame(happening.result(), registry.snapshot.version, owner)
                    happening = asyncio.ensure_future(happenings.get())
                    if frame is not None:
                        yield frame
                else:
                    yield _HEARTBEAT_FRAME
        finally:
            change.cancel()
            happening.cancel()


@contextmanager
def _subscribe_to_nothing() -> Iterator[asyncio.Queue[RunEvent]]:
    """Return an empty queue, for a server without a timeline."""
    yield asyncio.Queue()


def _make_greeting(snapshot: Snapshot, last_id: str | None) -> bytes:
    ours = _make_event_id(snapshot)
    name = "hello" if last_id in (None, ours) else "resync"
    return encode_event(name, to_json({"version": snapshot.version, "slugs": []}), id=ours)


def _make_change_frame(told: ChangeEvent, snapshot: Snapshot, statuses: AgentStatuses) -> bytes:
    entries = ((slug, snapshot.entries.get(slug)) for slug in told.slugs)
    words = {slug: statuses.of(entry).word for slug, entry in entries if entry is not None}
    body = {"version": told.version, "slugs": told.slugs, "statuses": words}
    return encode_event(told.kind, to_json(body), id=_make_event_id(snapshot))


def _make_event_id(snapshot: Snapshot) -> str:
    return f"{snapshot.version}-{snapshot.stamp.hex[:8] if snapshot.stamp else 0}"
