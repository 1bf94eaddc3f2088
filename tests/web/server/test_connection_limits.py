"""Floods and slow clients, on raw sockets. The limits are short; what is asserted is what happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import web

from agentsd.telemetry import Metrics
from agentsd.web.context import WEB_METRICS
from agentsd.web.metrics import WebMetrics
from agentsd.web.middleware.auth import AccessPolicy
from agentsd.web.middleware.request import request_middleware
from agentsd.web.server.connection_limits import ConnectionLimits
from agentsd.web.server.server import bind_sockets, start_server
from tests.web.conftest import Make, Stack
from tests.web.sockets import HOST, JSON, PATIENCE, connected, exchange, get

QUICK = ConnectionLimits(head_seconds=0.3, body_seconds=0.3, body_rate=1 << 30, sweep_seconds=0.05)
CHAT = b"POST /v1/chat/completions HTTP/1.1\r\n" + HOST + JSON
BODY = b'{"messages": [{"role": "user", "content": "x"}]}'


async def made(make: Make, **bounds: Any) -> Stack:
    """A server with such bounds, and patience in all others."""
    return await make(bounds=ConnectionLimits(**{"sweep_seconds": 0.05, **bounds}))


def cut(stack: Stack, reason: str) -> float:
    """How many connections were refused or closed for that reason."""
    value = stack.metrics.registry.get_sample_value("agentsd_http_connections_cut_total", {"reason": reason})
    return value or 0.0


async def test_a_slow_head_is_given_up(make: Make) -> None:
    """Byte after byte without ever ending: 408 and a closed connection."""
    stack = await make(bounds=QUICK)
    async with connected(stack.url) as raw:
        await raw.send(b"GET /api/agents HTTP/1.1\r\nHost: localhost\r\n")
        answer = asyncio.create_task(raw.rest())
        while not answer.done():
            try:
                await raw.send(b"x")
            except ConnectionError:
                break
            await asyncio.wait({answer}, timeout=0.02)
        assert (await answer).startswith(b"HTTP/1.1 408 ")
    assert cut(stack, "head") == 1


async def test_a_client_that_says_nothing_is_given_up(make: Make) -> None:
    """Without a reply: it asked nothing."""
    stack = await make(bounds=QUICK)
    async with connected(stack.url) as raw:
        assert await raw.rest() == b""


async def test_a_later_slow_head_is_given_up(make: Make) -> None:
    """The first request's good manners buy the second one nothing."""
    stack = await make(bounds=QUICK)
    async with connected(stack.url) as raw:
        await raw.send(get("/healthz"))
        assert await raw.status() == 200
        await raw.reader.readexactly(len(b'{"status":"ok"}'))
        await raw.send(b"GET /api/agents HTTP/1.1\r\n")
        assert (await raw.rest()).startswith(b"HTTP/1.1 408 ")


async def test_between_requests_there_is_time(make: Make) -> None:
    """A kept-alive connection is not a slow one, however often it is looked at."""
    stack = await make(bounds=ConnectionLimits(head_seconds=0.2, sweep_seconds=600))
    keeper = stack.running.keeper
    async with connected(stack.url) as raw:
        for _ in range(3):
            await raw.send(get("/healthz"))
            assert await raw.status() == 200
            await raw.reader.readexactly(len(b'{"status":"ok"}'))
            for kept in list(keeper._kept.values()):
                kept.look(keeper.now() + 30)
        assert len(keeper) == 1
    assert cut(stack, "head") == 0


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 1000\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"]
)
async def test_a_slow_body_is_given_up(make: Make, framing: bytes) -> None:
    """408 in the shape of the path, and a closed connection."""
    stack = await make(bounds=QUICK)
    async with connected(stack.url) as raw:
        await raw.send(CHAT + framing)
        answer = await raw.rest()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"body_too_slow"' in answer
    assert cut(stack, "body") == 1


async def test_a_slow_upload_is_given_up(make: Make) -> None:
    """Also of a recording, which is read piece by piece, as a form too."""
    stack = await make(bounds=QUICK)
    for kind in (b"audio/wav", b"multipart/form-data; boundary=b"):
        head = b"POST /v1/audio/transcriptions?model=echo HTTP/1.1\r\n" + HOST
        async with connected(stack.url) as raw:
            await raw.send(head + b"Content-Type: " + kind + b"\r\nContent-Length: 1000\r\n\r\n--b\r\n")
            assert (await raw.rest()).startswith(b"HTTP/1.1 408 ")


async def test_a_body_at_a_fair_rate_may_take_long(make: Make) -> None:
    """The time grows with what has come: here, a second for each byte."""
    stack = await made(make, body_seconds=0.05, body_rate=1)
    async with connected(stack.url) as raw:
        await raw.send(CHAT + b"Content-Length: %d\r\n\r\n" % len(BODY))
        for byte in BODY:
            await raw.send(bytes((byte,)))
            await asyncio.sleep(0.004)
        assert await raw.status() == 200


async def test_an_endless_head_is_refused(make: Make) -> None:
    """By its size in all, and by the number of its fields."""
    stack = await made(make, head_bytes=20_000)
    many = get("/api/agents", *(f"X-{number}: {'v' * 1000}" for number in range(30)))
    assert (await exchange(stack.url, many))[:12] in (b"HTTP/1.1 431", b"")
    stack = await made(make)
    fields = get("/api/agents", *(f"X-{number}: v" for number in range(200)))
    assert (await exchange(stack.url, fields)).split(b" ")[1] == b"400"


async def test_a_head_in_pieces_is_a_head(make: Make) -> None:
    """Its end is found across packets."""
    stack = await made(make)
    async with connected(stack.url) as raw:
        for byte in get("/healthz", "Connection: close"):
            await raw.send(bytes((byte,)))
            await asyncio.sleep(0)
        assert await raw.status() == 200


async def test_an_address_has_so_many_connections(make: Make) -> None:
    """One more gets 503; when one goes, another one may come."""
    stack = await made(make, per_address=3)
    keeper = stack.running.keeper
    async with AsyncExitStack() as stacked:
        raws = [await stacked.enter_async_context(connected(stack.url)) for _ in range(3)]
        for raw in raws:
            await raw.send(get("/healthz"))
            assert await raw.status() == 200
        answer = await exchange(stack.url, b"")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 5\r\n" in answer
        raws[0].writer.close()
        async with asyncio.timeout(PATIENCE):
            while len(keeper) > 2:
                await asyncio.sleep(0.01)
        async with connected(stack.url) as raw:
            await raw.send(get("/healthz"))
            assert await raw.status() == 200
    assert cut(stack, "address") == 1


async def test_a_server_has_so_many_connections(make: Make) -> None:
    """In all, whoever they are."""
    stack = await made(make, total=1)
    async with connected(stack.url) as raw:
        await raw.send(get("/healthz"))
        assert await raw.status() == 200
        assert (await exchange(stack.url, b"")).startswith(b"HTTP/1.1 503 ")
    assert cut(stack, "full") == 1


@pytest.fixture
async def large() -> AsyncIterator[tuple[str, Metrics]]:
    """A server whose reply fills every buffer, and that gives up soon on who does not read it."""

    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * (64 << 20))

    metrics = Metrics()
    web_metrics = WebMetrics(metrics)
    app = web.Application(middlewares=[request_middleware(AccessPolicy(), web_metrics)])
    app[WEB_METRICS] = web_metrics
    app.add_routes([web.get("/healthz", handler)])
    bounds = ConnectionLimits(stall_seconds=0.2, sweep_seconds=0.05)
    running = await start_server(app, bind_sockets("127.0.0.1", 0), bounds=bounds)
    yield running.url, metrics
    await running.stop()


async def test_a_reply_that_nobody_reads_is_given_up(large: tuple[str, Metrics]) -> None:
    """A client that stops reading holds the reply for no longer than that."""
    url, metrics = large
    async with connected(url) as raw:
        await raw.send(get("/healthz"))
        async with asyncio.timeout(PATIENCE):
            while not metrics.registry.get_sample_value(
                "agentsd_http_connections_cut_total", {"reason": "stalled"}
            ):
                await asyncio.sleep(0.02)
        assert len(await raw.rest()) < 64 << 20
