"""Pages of other origins: none, unless they are listed; and then without cookies."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from agentsd.cli.compose.policies import make_policies
from agentsd.settings import Settings
from agentsd.telemetry import Metrics
from agentsd.web.middleware.auth import AccessPolicy
from tests.web.conftest import Make, Stack
from tests.web.middleware.test_request import BEARER, TOKENS

UI = "https://ui.example:8443"
OTHER = "https://evil.example"
ASK = {"messages": [{"role": "user", "content": "x"}]}


async def listed(make: Make, access: AccessPolicy = TOKENS, **settings: Any) -> Stack:
    """A server that lists ``UI``."""
    guards = make_policies(Settings(cors_origins=UI, **settings), Metrics())
    access = AccessPolicy(access.tokens, access.hosts, origins=guards.cors.origins)
    return await make(access=access, guards=guards)


def preflight(origin: str, headers: str = "authorization,content-type,x-stainless-os") -> dict[str, str]:
    """What a browser asks before it sends."""
    return {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": headers,
    }


async def test_a_listed_page_may_ask_and_read(make: Make) -> None:
    """The preflight needs no token; replies name the origin, expose our fields, and never allow cookies."""
    stack = await listed(make)
    url = f"{stack.url}/v1/chat/completions"
    async with stack.client.options(url, headers=preflight(UI)) as reply:
        assert reply.status == 204
        assert reply.headers["Access-Control-Allow-Origin"] == UI
        assert "PATCH" in reply.headers["Access-Control-Allow-Methods"]
        assert reply.headers["Access-Control-Allow-Headers"] == "authorization,content-type,x-stainless-os"
        assert {"Origin", "Access-Control-Request-Headers"} <= set(reply.headers["Vary"].split(", "))
        assert reply.headers["Server"] == "agentsd"
    async with stack.client.post(url, headers={**BEARER, "Origin": UI}, json=ASK) as reply:
        assert reply.status == 200
        assert reply.headers["Access-Control-Allow-Origin"] == UI
        assert {"ETag", "Location", "RateLimit", "Retry-After"} <= set(
            reply.headers["Access-Control-Expose-Headers"].split(", ")
        )
        assert "Access-Control-Allow-Credentials" not in reply.headers


async def test_streams_and_refusals_can_be_read_too(make: Make) -> None:
    """An event stream, a 401, a 404: a page should know why."""
    stack = await listed(make)
    for path, headers, status in (
        ("/api/events", BEARER, 200),
        ("/api/agents", {}, 401),
        ("/api/agents/none", BEARER, 404),
    ):
        async with stack.client.get(f"{stack.url}{path}", headers={**headers, "Origin": UI}) as reply:
            assert reply.status == status
            assert reply.headers["Access-Control-Allow-Origin"] == UI
            assert "Origin" in reply.headers["Vary"].split(", ")


async def test_another_page_gets_nothing(make: Make) -> None:
    """No answer to its preflight, no header that would let it read, no change by it."""
    stack = await listed(make)
    near = (OTHER, "https://ui.example", "http://ui.example:8443", f"{UI}.evil.example", "null", f"{UI}/")
    for origin in near:
        headers = {**BEARER, "Origin": origin}
        async with stack.client.get(f"{stack.url}/api/agents", headers=headers) as reply:
            assert "Access-Control-Allow-Origin" not in reply.headers
            assert "Origin" in reply.headers["Vary"]
        url = f"{stack.url}/v1/chat/completions"
        async with stack.client.options(url, headers=preflight(origin)) as reply:
            assert reply.status == 401
            assert "Access-Control-Allow-Origin" not in reply.headers
        if origin != f"{UI}/":
            assert (await stack.ask("POST", "/v1/chat/completions", headers=headers, json=ASK))[0] == 403


async def test_without_a_list_there_is_no_cors(stack: Stack) -> None:
    """No header at all, and 403 for a preflight."""
    async with stack.client.get(f"{stack.url}/api/agents", headers={"Origin": UI}) as reply:
        assert not [name for name in reply.headers if name.startswith("Access-Control")]
    async with stack.client.options(f"{stack.url}/api/agents", headers=preflight(UI)) as reply:
        assert reply.status == 403


@pytest.mark.parametrize("names", ["a\tb", "a: b", "a,,b", "x" * 3000, "ü"])
async def test_odd_field_names_are_not_repeated(make: Make, names: str) -> None:
    """What is no list of names, or endless, is not allowed."""
    stack = await listed(make)
    async with stack.client.options(f"{stack.url}/api/agents", headers=preflight(UI, names)) as reply:
        assert reply.status == 204
        assert "Access-Control-Allow-Headers" not in reply.headers


async def test_sockets_open_for_listed_pages_only(make: Make) -> None:
    """Browsers send no preflight for a WebSocket: the origin itself is checked."""
    stack = await listed(make)
    url = f"{stack.url}/v1/realtime?model=echo"
    async with stack.client.ws_connect(url, headers={**BEARER, "Origin": UI}) as socket:
        assert (await socket.receive_json())["type"] == "session.created"
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await stack.client.ws_connect(url, headers={**BEARER, "Origin": OTHER})
    assert caught.value.status == 403


async def test_hsts_is_said_behind_a_proxy_with_tls_only(make: Make) -> None:
    """As the trusted proxy tells; over plain HTTP it would mean nothing."""
    told = {**BEARER, "X-Forwarded-Proto": "https"}
    trusting = await listed(make, trusted_proxies="127.0.0.1")
    async with trusting.client.get(f"{trusting.url}/api/agents", headers=told) as reply:
        assert reply.headers["Strict-Transport-Security"].startswith("max-age=")
    async with trusting.client.get(f"{trusting.url}/api/agents", headers=BEARER) as reply:
        assert "Strict-Transport-Security" not in reply.headers
    plain = await listed(make)
    async with plain.client.get(f"{plain.url}/api/agents", headers=told) as reply:
        assert "Strict-Transport-Security" not in reply.headers
