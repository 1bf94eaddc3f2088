"""An event stream that waits for its source."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentsd.web.http.sse import SSE_HEADERS, KeptStream

SECONDS = 0.02


async def lines_of(
    write: Callable[[KeptStream], Awaitable[None]], lines: int, go_on: asyncio.Event
) -> list[bytes]:
    """The first lines of what a client gets; then ``go_on``, and the rest."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=SSE_HEADERS)
        async with KeptStream(request, response, SECONDS) as out:
            await write(out)
        await response.write_eof()
        return response

    app = web.Application()
    app.router.add_get("/", handle)
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession() as session,
        session.get(server.make_url("/")) as got,
    ):
        found = [await got.content.readline() for _ in range(lines)]
        go_on.set()
        return [*found, *(await got.read()).splitlines(keepends=True)]


async def test_a_silent_source_sends_comments_before_and_between_events() -> None:
    """Proxies and clients end a silent connection; parsers skip comments."""
    first, second = asyncio.Event(), asyncio.Event()

    async def write(out: KeptStream) -> None:
        assert not out.begun
        await first.wait()
        assert out.begun
        await out.write(b"data: 1\n\n")
        await second.wait()
        await out.write(b"data: 2\n\n")

    async with asyncio.timeout(10):
        found = await lines_of(write, 4, first) if second.set() is None else []
    assert found[:4] == [b": keep-alive\n", b"\n"] * 2
    assert [line for line in found if line.startswith(b"data")] == [b"data: 1\n", b"data: 2\n"]


async def test_a_source_that_answers_sends_events_only() -> None:
    """The head comes with the first event, so that an error before it can be a status."""

    async def write(out: KeptStream) -> None:
        assert not out.begun
        await out.write(b"data: 1\n\n")

    assert await lines_of(write, 0, asyncio.Event()) == [b"data: 1\n", b"\n"]
