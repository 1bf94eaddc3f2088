"""An event stream that waits for its source."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentsd.web.http.sse import SSE_HEADERS, KeptStream

SECONDS = 0.02


Write = Callable[[KeptStream], Awaitable[None]]


@asynccontextmanager
async def serving(write: Write, last: bytes = b"", seconds: float = 60) -> AsyncIterator[TestServer]:
    """A server whose only reply is what ``write`` sends, and ``last``."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=SSE_HEADERS)
        async with KeptStream(request, response, seconds) as out:
            await write(out)
            await out.end(last)
        return response

    app = web.Application()
    app.router.add_get("/", handle)
    async with TestServer(app) as server:
        yield server


@asynccontextmanager
async def asking(server: TestServer) -> AsyncIterator[aiohttp.ClientResponse]:
    """The reply of ``server``."""
    async with aiohttp.ClientSession() as session, session.get(server.make_url("/")) as got:
        yield got


async def lines_of(write: Write, lines: int, go_on: asyncio.Event) -> list[bytes]:
    """The first lines of what a client gets; then ``go_on``, and the rest."""
    async with serving(write, seconds=SECONDS) as server, asking(server) as got:
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


async def test_frames_that_follow_each_other_leave_in_one_packet() -> None:
    """As the vendor sent them; a frame that the source waits after is not held back for the next."""
    go_on = asyncio.Event()

    async def write(out: KeptStream) -> None:
        for number in range(3):
            await out.write(b"data: %d\n\n" % number)
        await go_on.wait()
        await out.write(b"data: 3\n\n")

    async with serving(write, b"data: [DONE]\n\n") as server, asking(server) as got:
        first, _ = await got.content.readchunk()
        assert first == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"
        go_on.set()
        assert await got.read() == b"data: 3\n\ndata: [DONE]\n\n"


async def test_a_writer_waits_for_a_client_that_does_not_read() -> None:
    """What an unread answer holds in memory is bounded."""
    written = 0
    stalled = asyncio.Event()

    async def write(out: KeptStream) -> None:
        nonlocal written
        try:
            async with asyncio.timeout(1):
                while written < 64_000_000:
                    await out.write(bytes(10_000))
                    written += 10_000
        finally:
            stalled.set()

    async with serving(write) as server:
        _reader, writer = await asyncio.open_connection(server.host, server.port, limit=1000)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await stalled.wait()
        writer.close()
    assert 0 < written < 32_000_000
