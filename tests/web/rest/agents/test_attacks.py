"""What an attacker would try: rebinding, foreign pages, oversized and crooked requests, paths that climb.

Floods and slow clients are in ``test_connections``, cross-origin pages of a list in ``test_cors``, guessed
tokens in ``test_limits``, agents that connect to metadata addresses in ``tests/providers/test_outbound``.
"""

from __future__ import annotations

import gzip
import json
import logging
import re
from contextlib import suppress

import aiohttp
import pytest
from aiohttp import WSMsgType

from agentsd.web.openai.realtime.endpoint import EVENT_BYTES_MAX, MESSAGE_BYTES_MAX
from tests.web.conftest import Make, Stack, echo
from tests.web.middleware.test_request import TOKENS
from tests.web.sockets import HOST, JSON, connected, exchange, get

EVIL = "http://evil.example"
CHAT = {"model": "echo", "messages": [{"role": "user", "content": "x"}]}
POST = b"POST /v1/chat/completions HTTP/1.1\r\n" + HOST + JSON
BODY = json.dumps(CHAT).encode()
SECOND = get("/api/agents", "Connection: close")
_STATUS = re.compile(rb"^HTTP/1\.[01] (\d{3}) ", re.MULTILINE)


def statuses(answer: bytes) -> list[int]:
    """Of all replies in ``answer``."""
    return [int(found) for found in _STATUS.findall(answer)]


# Foreign pages


async def test_a_rebound_name_reaches_nothing(stack: Stack) -> None:
    """Neither by a method that changes something, nor by a socket, whatever port it names."""
    for host in ("evil.example", f"evil.example:{stack.url.rpartition(':')[2]}", "127.0.0.1.evil.example"):
        headers = {"Host": host, "Origin": f"http://{host}"}
        for method, path in (
            ("GET", "/api/agents"),
            ("POST", "/api/agents/echo/select"),
            ("POST", "/v1/chat/completions"),
            ("DELETE", "/api/agents/echo"),
            ("GET", "/metrics"),
        ):
            assert (await stack.ask(method, path, headers=headers))[0] == 403, (host, method, path)
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await stack.client.ws_connect(f"{stack.url}/v1/realtime?model=echo", headers=headers)
        assert caught.value.status == 403


async def test_a_foreign_page_can_do_nothing(stack: Stack) -> None:
    """Not with a form's types either, which browsers send without asking first."""
    kinds = ("application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data")
    for origin in (EVIL, "null", "https://127.0.0.1", "file://"):
        for kind in kinds:
            headers = {"Origin": origin, "Content-Type": kind}
            status, _ = await stack.ask("POST", "/v1/chat/completions", headers=headers, data=BODY)
            assert status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await stack.client.ws_connect(f"{stack.url}/v1/realtime?model=echo", headers={"Origin": origin})
        assert caught.value.status == 403
    status, _ = await stack.ask(
        "POST", "/v1/chat/completions", headers={"Content-Type": "text/plain"}, data=BODY
    )
    assert status == 415


async def test_two_hosts_are_no_host(stack: Stack) -> None:
    """A proxy and this server could each believe another one."""
    for first, second in (("localhost", "evil.example"), ("evil.example", "localhost"), ("localhost",) * 2):
        head = f"GET /api/agents HTTP/1.1\r\nHost: {first}\r\nHost: {second}\r\nConnection: close\r\n\r\n"
        assert statuses(await exchange(stack.url, head.encode())) == [400]


# Too much


async def test_a_large_body_is_refused(stack: Stack) -> None:
    """By its announced length before it is sent, by what came where none was announced, and unpacked."""
    async with connected(stack.url) as raw:
        await raw.send(POST + b"Content-Length: 900000000000\r\n\r\n")
        assert await raw.status() == 413
    chunk = b"%x\r\n%s\r\n" % (1 << 20, b" " * (1 << 20))
    async with connected(stack.url) as raw:
        await raw.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        try:
            for _ in range(9):
                await raw.send(chunk)
        except ConnectionError:
            pass
        assert await raw.status() == 413
    bomb = gzip.compress(b" " * (64 << 20))
    async with connected(stack.url) as raw:
        await raw.send(POST + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb)
        assert await raw.status() == 413


async def test_a_long_line_or_field_is_refused(stack: Stack) -> None:
    """8 kB each; the reply quotes nothing and names no library."""
    for data in (
        get("/" + "a" * 9000),
        get("/healthz", "X: " + "b" * 9000),
        get("/healthz", "c" * 9000 + ": x"),
    ):
        answer = await exchange(stack.url, data)
        assert statuses(answer) == [400]
        assert b"Server: agentsd\r\n" in answer
        for word in (b"aiohttp", b"Python", b"aaaa", b"bbbb", b"cccc"):
            assert word not in answer


async def test_a_large_socket_message_is_refused(stack: Stack) -> None:
    """An event of a megabyte is an error event; a message beyond the bound closes the socket (1009)."""
    async with stack.client.ws_connect(f"{stack.url}/v1/realtime?model=echo") as socket:
        await socket.send_str(json.dumps({"type": "x", "padding": "p" * EVENT_BYTES_MAX}))
        async for message in socket:
            event = json.loads(message.data)
            if event["type"] == "error":
                assert event["error"]["code"] == "body_too_large"
                break
        with suppress(ConnectionError):
            await socket.send_str("p" * (MESSAGE_BYTES_MAX + 1))
        async for message in socket:
            assert message.type is WSMsgType.TEXT
        assert socket.close_code in (1009, 1006)


async def test_a_silent_socket_is_closed(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that only answers pings holds no place for ever."""
    monkeypatch.setattr("agentsd.web.openai.realtime.endpoint.IDLE_SECONDS", 0.2)
    async with stack.client.ws_connect(f"{stack.url}/v1/realtime?model=echo") as socket:
        async for message in socket:
            assert message.type is WSMsgType.TEXT
        assert socket.close_code == 1001


# Paths and names

CLIMBING = (
    "..%2f", "..%2F..%2f..%2fetc%2fpasswd", "%00", "echo%00", "~..~", "..~..~etc~passwd", "~", "%2e%2e",
    "%2e%2e%2f", "..%5c..%5c", "....%2f%2f", "%c0%ae%c0%ae%c0%af", "..%252f..%252f", "acme~..~..~x",
    "~etc~passwd",
    "_user", "acme~_user", "_user.yaml", "_defaults", "echo%0d%0aX-Injected:%20yes", "echo%0aX-Injected: yes",
    "%ff%fe", "%F0%9F%92%A9", "a" * 4000, "$%7Bjndi:x%7D", "%27%20OR%201=1--", "{{7*7}}", "-rf",
    ".git~config",
)  # fmt: skip


@pytest.mark.parametrize("name", CLIMBING)
async def test_no_name_climbs_out_of_the_tree(make: Make, name: str) -> None:
    """Every method on every route of an agent: refused, without a trace of the file system or the name."""
    stack = await make()
    for method, path in (
        ("GET", f"/api/agents/{name}"),
        ("PUT", f"/api/agents/{name}"),
        ("PATCH", f"/api/agents/{name}"),
        ("DELETE", f"/api/agents/{name}"),
        ("POST", f"/api/agents/{name}/select"),
        ("POST", f"/api/agents/{name}/set-default"),
        ("GET", f"/api/agents/{name}/revisions"),
        ("GET", f"/v1/models/{name}"),
    ):
        head = f"{method} {path} HTTP/1.1\r\n".encode() + HOST + JSON
        answer = await exchange(stack.url, head + b"Content-Length: 2\r\nConnection: close\r\n\r\n{}")
        found = statuses(answer)
        assert len(found) == 1, (method, answer[:200])
        assert 400 <= found[0] < 500, (method, answer[:200])
        fields = answer.partition(b"\r\n\r\n")[0].lower()
        assert b"\r\nx-injected" not in fields
        assert b"root:" not in answer
        assert str(stack.root.parent).encode() not in answer
    around = {path.name for path in stack.root.parent.iterdir()} - {".sops-test.yaml"}
    assert around == {"agents.d"}
    assert list(stack.root.iterdir()) == []


@pytest.mark.parametrize("break_", ["\\r\\n", "\\n", "\\r", "\\e[2J"])
async def test_a_name_with_a_line_break_reaches_no_header(stack: Stack, break_: str) -> None:
    """A name may be any text, and stays in bodies: headers carry slugs and versions only."""
    text = echo("Support").replace("Support", f'"Support{break_}X-Injected: yes"', 1)
    stack.write("support.yaml", text)
    await stack.sync()
    chat = {**CHAT, "model": "support"}
    for request in (
        stack.client.get(f"{stack.url}/api/agents/support"),
        stack.client.post(f"{stack.url}/api/agents/support/select"),
        stack.client.post(f"{stack.url}/v1/chat/completions", json=chat),
        stack.client.post(f"{stack.url}/v1/chat/completions", json={**chat, "stream": True}),
    ):
        async with request as reply:
            assert reply.status == 200
            assert "X-Injected" not in reply.headers
            assert not [value for value in reply.headers.values() if "Injected" in value or "\x1b" in value]


# Crooked requests

CROOKED = {
    "two lengths": b"Content-Length: 4\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY,
    "two equal lengths": b"Content-Length: %d\r\n" % len(BODY) * 2 + b"\r\n" + BODY,
    "a list of lengths": b"Content-Length: 4, %d\r\n\r\n" % len(BODY) + BODY,
    "a signed length": b"Content-Length: +%d\r\n\r\n" % len(BODY) + BODY,
    "a hexadecimal length": b"Content-Length: 0x%x\r\n\r\n" % len(BODY) + BODY,
    "a length with a gap": b"Content-Length: 1 0\r\n\r\n" + BODY,
    "a negative length": b"Content-Length: -1\r\n\r\n" + BODY,
    "chunks and a length": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a length and chunks": b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two codings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "chunks that are not last": b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "an unknown coding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a coding before a tab": b"Transfer-Encoding:\tchunked\x0b\r\n\r\n0\r\n\r\n",
    "a field with a blank": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded field": b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a field without a name": b": x\r\n\r\n",
    "a line without a colon": b"nonsense\r\n\r\n",
    "a bare line feed": b"X: y\nContent-Length: 0\r\n\r\n",
    "a bare carriage return": b"X: y\rX-Injected: z\r\n\r\n",
    "a null": b"X: \x00\r\n\r\n",
    "a chunk size that is none": b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nabcde\r\n0\r\n\r\n",
    "a negative chunk": b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n0\r\n\r\n",
    "an endless chunk size": b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\nx",
    "a chunk that ends elsewhere": b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("what", CROOKED)
async def test_a_crooked_request_smuggles_nothing(stack: Stack, what: str) -> None:
    """What two parsers could read differently is refused, and nothing after it on the connection counts."""
    answer = await exchange(stack.url, POST + CROOKED[what] + SECOND)
    assert statuses(answer) in ([400], [400, 400]), answer[:300]
    assert b'"items"' not in answer
    assert b"x-injected" not in answer.lower()


@pytest.mark.parametrize("method", ["BREW", "PROPFIND", "TRACE", "CONNECT", "get", "PRI", "X" * 64])
async def test_an_unknown_method_is_refused(stack: Stack, method: str) -> None:
    """405 or 400, and no echo of the request."""
    target = "localhost:80" if method == "CONNECT" else "/api/agents"
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nX-Canary: seen\r\nConnection: close\r\n\r\n"
    answer = await exchange(stack.url, head.encode())
    assert statuses(answer)[0] in (400, 404, 405)
    assert b"seen" not in answer


@pytest.mark.parametrize("version", ["", " HTTP/0.9", " HTTP/2.0", " HTTP/9.9", " HTTP/1.x", " ICE/1.0"])
async def test_another_version_is_refused(stack: Stack, version: str) -> None:
    """Not one of the past, nor one of the future, nor another protocol."""
    head = f"GET /api/agents{version}\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = await exchange(stack.url, head.encode())
    assert re.match(rb"HTTP/\d\.\d (400|505) ", answer)


async def test_refusals_log_nothing_of_what_was_sent(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a wrong token, nor a path, nor a line that is no HTTP, nor an injected log line."""
    caplog.set_level(logging.DEBUG)
    stack = await make(access=TOKENS)
    await exchange(
        stack.url,
        get("/api/agents/canary%0d%0aERROR", "Authorization: Bearer canary-token", "Connection: close"),
    )
    await exchange(stack.url, b"canary \x00\r\n\r\n")
    await exchange(stack.url, get("/healthz", "X: canary\x01\x7f", "Connection: close"))
    assert "canary" not in caplog.text
