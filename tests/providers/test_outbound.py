"""Outbound rules on real sockets: what a name resolves to is what counts, at every connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from agentsd.core.errors import ProviderError
from agentsd.core.trust.outbound import Outbound
from agentsd.providers.base import ProviderForbidden, ProviderUnreachable
from agentsd.providers.catalog import Catalog
from agentsd.providers.errors import VendorRef
from agentsd.providers.network import Timeouts
from agentsd.providers.transport.endpoint import Endpoint
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.providers.transport.websocket import Socket
from agentsd.runtime.agents.builder import Builder, DocumentRefused
from agentsd.sops.identities import find_identities
from agentsd.sops.opener import Opener
from tests.providers.conftest import QUICK
from tests.vendors.openai_server import OpenAIServer

WHO = VendorRef("openai-compatible", "llm")
ASK = {"messages": [{"role": "user", "content": "x"}]}


def resolving(monkeypatch: pytest.MonkeyPatch, answers: Mapping[str, list[str]]) -> list[str]:
    """The names asked for. The loop's own resolver answers instead of a DNS server; a name's answers
    are used one after the other, the last one for ever."""
    loop, asked = asyncio.get_running_loop(), []
    original, left = loop.getaddrinfo, {name: list(found) for name, found in answers.items()}

    async def getaddrinfo(host: Any, port: Any, **options: Any) -> Any:
        if host not in left:
            return await original(host, port, **options)
        asked.append(host)
        found = left[host].pop(0) if len(left[host]) > 1 else left[host][0]
        family = socket.AF_INET6 if ":" in found else socket.AF_INET
        address = (found, port, 0, 0) if ":" in found else (found, port)
        return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)]

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    return asked


async def refusal(sessions: HttpSessions, url: str, *, websocket: bool = False) -> ProviderError:
    """The error of connecting to ``url``."""
    endpoint = Endpoint(sessions, url, WHO, {}, Timeouts(connect=2, first=2))
    with pytest.raises(ProviderError) as caught:
        await (Socket.connect(endpoint, {}) if websocket else post(endpoint))
    await endpoint.aclose()
    return caught.value


async def post(endpoint: Endpoint) -> None:
    """One request."""
    async with endpoint.post(b"{}"):
        pass


@pytest.mark.parametrize("scheme", ["http", "https", "ws", "wss"])
async def test_a_name_that_leads_to_the_metadata_address_is_refused(
    monkeypatch: pytest.MonkeyPatch, sessions: HttpSessions, scheme: str
) -> None:
    """After DNS, for every scheme, with a message that says so and is not worth repeating."""
    for address in ("169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fd00:ec2::254"):
        resolving(monkeypatch, {"harmless.example": [address]})
        error = await refusal(sessions, f"{scheme}://harmless.example/x", websocket=scheme.startswith("ws"))
        assert isinstance(error, ProviderForbidden)
        assert "metadata" in error.message
        assert not error.retryable


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "[2002:a9fe:a9fe::]",
        "[64:ff9b::a9fe:a9fe]",
        "[fe80::1]",
    ],
)
async def test_a_literal_address_is_refused_before_anything_is_opened(
    sessions: HttpSessions, host: str
) -> None:
    """When the provider is built."""
    with pytest.raises(ProviderForbidden):
        Endpoint(sessions, f"http://{host}/latest/meta-data", WHO, {}, Timeouts())


@pytest.mark.parametrize(
    "host", ["2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.16689662", "0xa9.0xfe.43518"]
)
async def test_numeric_spellings_lead_nowhere(sessions: HttpSessions, host: str) -> None:
    """Decimal, octal, hexadecimal and short forms, which C's resolver understands."""
    for scheme in ("http", "ws"):
        error = await refusal(sessions, f"{scheme}://{host}/x", websocket=scheme == "ws")
        assert not isinstance(error, ProviderUnreachable) or "does not resolve" in error.message


async def test_a_name_may_not_change_its_mind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rebinding: the first answer was fine, the second one is not; each connection is checked."""
    sessions = HttpSessions(dns_cache_seconds=0, keepalive_seconds=0.0)
    async with OpenAIServer() as vendor:
        port = urlsplit(vendor.url).port
        asked = resolving(monkeypatch, {"rebound.example": ["127.0.0.1", "169.254.169.254"]})
        endpoint = Endpoint(
            sessions, f"http://rebound.example:{port}/v1/nothing", WHO, {"Connection": "close"}, Timeouts()
        )
        with pytest.raises(ProviderError) as first:
            await post(endpoint)
        with pytest.raises(ProviderForbidden):
            await post(endpoint)
        assert not isinstance(first.value, ProviderForbidden)
        assert asked == ["rebound.example"] * 2
        await endpoint.aclose()
    await sessions.aclose()


async def test_only_what_is_listed_is_connected_to(monkeypatch: pytest.MonkeyPatch, catalog: Catalog) -> None:
    """By name, by suffix or by the network of the address that it led to."""
    resolving(monkeypatch, {name: ["127.0.0.1"] for name in ("llm.ours.example", "other.example")})
    async with OpenAIServer() as vendor:
        port = urlsplit(vendor.url).port

        async def answers(host: str, *listed: str) -> bool:
            sessions = HttpSessions(outbound=Outbound.parse(listed))
            section = {
                "provider": "openai-compatible",
                "model": "m",
                "api_url": f"http://{host}:{port}",
                **QUICK,
            }
            llm: Any = None
            try:
                llm = catalog.build("llm", catalog.settings_of("llm", section), sessions)
                return bool(await llm.complete(ASK))
            except ProviderForbidden as error:
                return "AGENTSD_OUTBOUND" not in error.hint
            finally:
                await sessions.aclose()

        assert await answers("llm.ours.example", "*.ours.example")
        assert await answers("other.example", "127.0.0.0/8")
        assert not await answers("other.example", "*.ours.example")
        assert not await answers("other.example", "10.0.0.0/8")
        assert not await answers("127.0.0.1", "*.ours.example")


async def test_a_redirect_is_not_followed(sessions: HttpSessions) -> None:
    """Not to elsewhere, nor anywhere: a server on an allowed host cannot send us on."""

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 307 T\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(redirect, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        for scheme in ("http", "ws"):
            error = await refusal(sessions, f"{scheme}://127.0.0.1:{port}/", websocket=scheme == "ws")
            assert "redirect" in error.message


def test_an_agent_with_such_a_url_has_a_condition(catalog: Catalog, tmp_path: Any) -> None:
    """Its reason names the rule, its message the section."""
    builder = Builder(Opener(find_identities({}, tmp_path), None), catalog, HttpSessions())
    section = {"provider": "openai-compatible", "model": "m", "api_url": "http://169.254.169.254"}
    with pytest.raises(DocumentRefused) as caught:
        builder.build("llm", catalog.settings_of("llm", section), "default")
    assert caught.value.reason == "OutboundForbidden"
    assert "metadata" in caught.value.message
    assert "169.254" not in caught.value.message
