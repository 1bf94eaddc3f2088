"""GET /api/events: what changes, as server-sent events.

    id: 42-9f3c1a2b            version and stamp; a client that reconnects sends it as Last-Event-ID
    event: changed             these agents were created, replaced, renamed or removed
    event: condition           these agents fare otherwise than before
    event: resync              too much, or something unknown, has changed: read everything again
    data: {"version": 42, "slugs": ["acme/sales"]}

The first event is ``hello``, or ``resync`` for a client that comes back with another version's id.
A comment every few seconds keeps proxies from closing the line.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp import web

from agentsd.runtime.changes import ChangeEvent
from agentsd.runtime.registry import Registry
from agentsd.runtime.snapshot import Snapshot
from agentsd.web.encoding import to_json
from agentsd.web.parts import CLOSING, PARTS, WEB_METRICS
from agentsd.web.streams import SSE_HEADERS, event, write

HEARTBEAT_SECONDS = 15.0
_HEARTBEAT = b": heartbeat\n\n"


def routes() -> list[web.RouteDef]:
    """This resource's routes."""
    return [web.get("/api/events", get, allow_head=False)]


async def get(request: web.Request) -> web.StreamResponse:
    """Stream until the client leaves or the server stops."""
    app = request.app
    response = web.StreamResponse(headers=SSE_HEADERS)
    with app[WEB_METRICS].streams.labels("events").track_inprogress():
        await response.prepare(request)
        last_id = request.headers.get("Last-Event-ID")
        async with aclosing(frames(app[PARTS].registry, app[CLOSING], last_id)) as sent:
            async for frame in sent:
                await write(response, frame)
    await response.write_eof()
    return response


async def frames(
    registry: Registry, closing: asyncio.Event, last_id: str | None
) -> AsyncGenerator[bytes, None]:
    """Subscribed first, greeted second: nothing falls between the two."""
    with registry.subscribe() as changes:
        yield _greeting(registry.snapshot, last_id)
        stop = asyncio.ensure_future(closing.wait())
        change = asyncio.ensure_future(anext(changes, None))
        try:
            while not stop.done():
                await asyncio.wait(
                    {stop, change}, timeout=HEARTBEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                if not change.done():
                    yield _HEARTBEAT
                    continue
                told = change.result()
                if told is None:  # the registry closed
                    return
                yield _frame(told, registry.snapshot)
                change = asyncio.ensure_future(anext(changes, None))
        finally:
            stop.cancel()
            change.cancel()


def _greeting(snapshot: Snapshot, last_id: str | None) -> bytes:
    ours = _id(snapshot)
    name = "hello" if last_id in (None, ours) else "resync"
    return event(name, to_json({"version": snapshot.version, "slugs": []}), id=ours)


def _frame(told: ChangeEvent, snapshot: Snapshot) -> bytes:
    return event(told.kind, to_json({"version": told.version, "slugs": told.slugs}), id=_id(snapshot))


def _id(snapshot: Snapshot) -> str:
    return f"{snapshot.version}-{snapshot.stamp.hex[:8] if snapshot.stamp else 0}"
