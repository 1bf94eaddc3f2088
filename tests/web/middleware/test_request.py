"""Host, origin, tokens, headers, logs: what holds for every request."""

from __future__ import annotations

import asyncio
import json
import logging
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import pytest

from agentsd.web.middleware.auth import AccessPolicy, FileTokens
from tests.web.conftest import CANARY, Make, Stack, echo

TOKEN = "a-token-of-more-than-16-letters"
TOKENS = AccessPolicy(FileTokens((sha256(TOKEN.encode()).digest(),)))
BEARER = {"Authorization": f"Bearer {TOKEN}"}


async def raw(stack: Stack | SimpleNamespace, data: bytes) -> bytes:
    """What the server answers to bytes on a socket."""
    port = int(stack.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    await writer.drain()
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


HOSTS = [
    ("127.0.0.1", 200),
    ("localhost:1", 200),
    ("evil.example", 403),
    ("evil.example:8080", 403),
    ("127.0.0.1.evil.example", 403),
    ("", 403),
]


async def test_a_rebound_name_is_refused(stack: Stack) -> None:
    """On every path, probes included: DNS rebinding ends here."""
    for host, status in HOSTS:
        for path in ("/api/agents", "/v1/models", "/readyz"):
            assert (await stack.get(path, headers={"Host": host}))[0] == status


async def test_no_host_at_all_is_refused(stack: Stack) -> None:
    """HTTP/1.0 may leave it out."""
    assert b" 403 " in (await raw(stack, b"GET /api/agents HTTP/1.0\r\n\r\n")).split(b"\r\n")[0]


async def test_a_foreign_page_cannot_change_or_chat(stack: Stack) -> None:
    """Unsafe methods with a foreign Origin are refused; ours are not."""
    body = {"messages": [{"role": "user", "content": "x"}]}
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "http://["):
        headers = {"Origin": origin}
        assert (await stack.ask("POST", "/api/agents/echo/select", headers=headers))[0] == 403
        assert (await stack.ask("POST", "/v1/chat/completions", headers=headers, json=body))[0] == 403
        assert (await stack.get("/api/agents", headers=headers))[0] == 200
    own = {"Origin": stack.url}
    assert (await stack.ask("POST", "/api/agents/echo/select", headers=own))[0] == 200


async def test_tokens_guard_all_but_the_probes(make: Make) -> None:
    """401 with a challenge, in the shape of the path; any Host will do for those who hold a token."""
    stack = await make(access=TOKENS)
    for path in ("/api/agents", "/v1/models", "/nothing", "/api/events"):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp5"}):
            async with stack.client.get(stack.url + path, headers=headers) as reply:
                assert reply.status == 401
                assert reply.headers["WWW-Authenticate"].startswith("Bearer")
                assert ("error" in await reply.json(content_type=None)) is path.startswith("/v1")
    assert (await stack.get("/api/agents", headers=BEARER))[0] == 200
    assert (await stack.get("/v1/models", headers={**BEARER, "Host": "agents.example"}))[0] == 200
    for path in ("/healthz", "/readyz"):
        assert (await stack.get(path, headers={"Host": "10.0.0.7:8080"}))[0] == 200
    async with stack.client.get(f"{stack.url}/metrics") as reply:
        assert reply.status == 200


async def test_the_official_client_sends_its_key(make: Make) -> None:
    """An API key of an OpenAI client is the bearer token."""
    import openai

    stack = await make(access=TOKENS)
    async with openai.AsyncOpenAI(base_url=f"{stack.url}/v1", api_key=TOKEN) as client:
        assert [model.id async for model in client.models.list()] == ["echo"]
    async with openai.AsyncOpenAI(base_url=f"{stack.url}/v1", api_key="wrong-key", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError):
            await client.models.list()


async def test_every_reply_has_the_security_headers(stack: Stack) -> None:
    """Errors and streams included; the server does not tell its libraries."""
    for path in ("/api/agents", "/nothing", "/v1/nothing", "/healthz", "/api/events"):
        async with stack.client.get(stack.url + path) as reply:
            assert reply.headers["X-Content-Type-Options"] == "nosniff"
            assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
            assert reply.headers["Server"] == "agentsd"
            assert "Cache-Control" in reply.headers


TARGETS = (
    "/api/agents/%00", "/api/agents/%ff", "/api/agents/%F0%9F%A6%8A", "/api/agents/" + "x" * 5000,
    "/api/agents/..%2f..%2fetc", "/api//agents", "/%", "/api/agents/a/b/c", "/v1/models/%00", "/api/agents/~",
    "/api/agents/{agent}", "/v1/models/%2e%2e", "/v1/models/a%2Fb%2fc",
)  # fmt: skip


async def test_an_odd_path_is_a_404(stack: Stack) -> None:
    """Whatever is asked for, it is not there; nothing breaks."""
    for target in TARGETS:
        head = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        answer = await raw(stack, head.encode())
        assert answer.split(b" ")[1] == b"404", target
        assert json.loads(answer.partition(b"\r\n\r\n")[2])


POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
NOT_HTTP = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: \x00\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
    b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    POST + b"Content-Length: x\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n",
    POST + b"Content-Encoding: gzip\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnope",
)


async def test_what_is_not_http_is_a_400(stack: Stack, caplog: pytest.LogCaptureFixture) -> None:
    """A refusal and a short log line that quotes nothing."""
    caplog.set_level(logging.DEBUG)
    for data in NOT_HTTP:
        answer = await raw(stack, data)
        assert answer.split(b" ")[1] == b"400", data[:100]
    assert "aaaaaa" not in caplog.text
    assert "Traceback" not in caplog.text


async def test_logs_hold_routes_and_nothing_that_a_client_wrote(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """Method, route template, status, milliseconds: no path, query, token, prompt or body."""
    caplog.set_level(logging.DEBUG)
    stack = await make(access=TOKENS)
    stack.write("support.yaml", echo("Support"))
    await stack.sync()
    body = {"model": "support", "messages": [{"role": "user", "content": f"prompt {CANARY}"}]}
    async with stack.client.post(f"{stack.url}/v1/chat/completions", json=body, headers=BEARER):
        pass
    await stack.get("/api/agents?q=needle-in-query", headers=BEARER)
    await stack.get("/api/agents/needle-in-path", headers=BEARER)
    lines = [record.getMessage() for record in caplog.records if record.name == "agentsd.access"]
    assert any(line.startswith("GET /api/agents/{agent} 404 ") for line in lines)
    assert any(line.startswith("POST /v1/chat/completions 200 ") for line in lines)
    for word in (CANARY, "needle", TOKEN):
        assert word not in caplog.text


async def test_metrics_count_by_route_template(stack: Stack) -> None:
    """Clients cannot make new series."""
    for number in range(5):
        await stack.get(f"/api/agents/x{number}")
        await stack.get(f"/nothing/{number}")
    await stack.ask("PROPFIND", "/nothing")
    text = (await (await stack.client.get(f"{stack.url}/metrics")).read()).decode()
    line = 'agentsd_http_requests_total{method="GET",route="/api/agents/{agent}",status="404"} 5.0'
    assert line in text
    assert 'method="OTHER",route="(none)"' in text
    assert "nothing" not in text


async def test_an_unexpected_error_is_a_500_that_tells_nothing(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    """The place is logged, the text is not."""
    from aiohttp import web

    from agentsd.telemetry import Metrics
    from agentsd.web.metrics import WebMetrics
    from agentsd.web.middleware.request import request_middleware
    from agentsd.web.server.server import bind_sockets, start_server

    async def broken(_: web.Request) -> Any:
        raise ValueError(CANARY)

    access = AccessPolicy()
    access.book.replace(())
    app = web.Application(middlewares=[request_middleware(access, WebMetrics(Metrics()))])
    app.add_routes([web.get("/broken", broken), web.get("/v1/broken", broken)])
    running = await start_server(app, bind_sockets("127.0.0.1", 0))
    try:
        async with stack.client.get(f"{running.url}/broken") as reply:
            assert (reply.status, (await reply.json(content_type=None))["code"]) == (500, "internal")
        async with stack.client.get(f"{running.url}/v1/broken") as reply:
            assert (reply.status, (await reply.json())["error"]["code"]) == (500, "internal")
    finally:
        await running.stop()
    assert "unexpected ValueError" in caplog.text
    assert CANARY not in caplog.text


async def _served(*routes: Any) -> Any:
    """An app behind the border; stop it."""
    from aiohttp import web

    from agentsd.telemetry import Metrics
    from agentsd.web.metrics import WebMetrics
    from agentsd.web.middleware.request import request_middleware
    from agentsd.web.server.server import bind_sockets, start_server

    access = AccessPolicy()
    access.book.replace(())
    app = web.Application(middlewares=[request_middleware(access, WebMetrics(Metrics()))])
    app.add_routes(routes)
    return await start_server(app, bind_sockets("127.0.0.1", 0))


UPGRADE = (
    b"GET /call HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.mark.parametrize("error", [ValueError(CANARY), ExceptionGroup(CANARY, [KeyError(CANARY)])])
async def test_no_error_page_is_written_into_an_open_websocket(
    stack: Stack, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """What breaks after the upgrade cuts the connection: bytes of HTTP would be frames to the client."""
    from aiohttp import web

    async def broken(request: web.Request) -> Any:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("hello")
        raise error

    running = await _served(web.get("/call", broken))
    try:
        answer = await raw(SimpleNamespace(url=running.url), UPGRADE)
    finally:
        await running.stop()
    head, _, frames = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101")
    assert frames == b"\x81\x05hello"
    assert f"unexpected {type(error).__name__}" in caplog.text
    assert CANARY not in caplog.text


async def test_no_error_page_is_written_into_a_stream(stack: Stack) -> None:
    """What breaks in the middle of a reply cuts it; it does not look whole."""
    from aiohttp import web

    async def broken(request: web.Request) -> Any:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        raise ValueError(CANARY)

    running = await _served(web.get("/stream", broken))
    try:
        answer = await raw(
            SimpleNamespace(url=running.url), b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
    finally:
        await running.stop()
    assert answer.endswith(b"data: 1\n\n\r\n")
    assert answer.count(b"HTTP/1.1") == 1


async def test_a_call_that_breaks_ends_with_an_error_event(stack: Stack) -> None:
    """And with 1011; nothing of the error's text is told."""
    from aiohttp import WSMsgType, web

    from agentsd.web.openai.realtime.endpoint import close_broken_call

    async def broken(request: web.Request) -> Any:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await close_broken_call(
            socket, ExceptionGroup("", [ConnectionError(), ExceptionGroup("", [KeyError(CANARY)])])
        )
        return socket

    running = await _served(web.get("/call", broken))
    try:
        async with stack.client.ws_connect(f"{running.url}/call") as socket:
            event = await socket.receive_json()
            end = await socket.receive()
    finally:
        await running.stop()
    assert (event["type"], event["error"]["code"]) == ("error", "internal")
    assert CANARY not in str(event)
    assert (end.type, end.data) == (WSMsgType.CLOSE, 1011)


async def test_the_files_of_a_page_are_not_lines_of_the_log(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    """A view reads some thirty of them; one that is missing is worth a line."""
    caplog.set_level(logging.INFO)
    for path in ("/ui/agents", "/ui/static/x/js/shell.js", "/ui/static/x/js/none.js"):
        async with stack.client.get(stack.url + path) as reply:
            await reply.read()
    lines = [record.getMessage() for record in caplog.records if record.name == "agentsd.access"]
    assert [line.rsplit(" ", 2)[0] for line in lines] == [
        "GET /ui/agents 200",
        "GET /ui/static/{edition}/{name} 404",
    ]
