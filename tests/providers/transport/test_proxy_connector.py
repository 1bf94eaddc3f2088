"""Vendors through a real forward proxy: tunnels, plain requests, credentials, faults, outbound rules."""

from __future__ import annotations

import asyncio
import logging
import socket
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp.connector
import pytest
from aiohttp import web

from agentsd.core.errors import ProviderError
from agentsd.core.trust.outbound import Outbound
from agentsd.core.trust.proxies import ProxyRules
from agentsd.providers import base
from agentsd.providers.catalog import Catalog
from agentsd.providers.network import NetworkSettings
from agentsd.providers.transport.sessions import HttpSessions
from tests.providers.conftest import QUICK
from tests.vendors.certificates import make_certificate
from tests.vendors.deepgram_server import DeepgramListenServer
from tests.vendors.openai_server import OpenAIServer
from tests.vendors.proxy_server import ProxyFault, ProxyServer

ASK = {"messages": [{"role": "user", "content": "one two three"}]}
SECRET = "canary-9f1c"
BASIC = "Basic " + b64encode(f"me:{SECRET}".encode()).decode()
VENDOR = "http://vendor.test:8000"

Reach = Callable[..., Any]


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What names resolve to on this machine; the loop's own resolver answers, with nothing for others."""
    names: dict[str, list[str]] = {}
    original = asyncio.BaseEventLoop.getaddrinfo

    async def getaddrinfo(loop: Any, host: Any, port: Any, **options: Any) -> Any:
        if host in names:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (found, port)) for found in names[host]]
        if host == "127.0.0.1":
            return await original(loop, host, port, **options)
        raise socket.gaierror(socket.EAI_NONAME, "nothing here")

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return names


@pytest.fixture
async def proxy() -> AsyncIterator[ProxyServer]:
    """A proxy that knows no vendor yet."""
    async with ProxyServer() as server:
        yield server


@pytest.fixture
async def reach(catalog: Catalog, resolved: dict[str, list[str]]) -> AsyncIterator[Reach]:
    """``reach("llm", environ, outbound=…, **section)``: a provider whose operator has these variables."""
    opened: list[HttpSessions] = []

    def make(
        kind: str, environ: dict[str, str] | None = None, *, outbound: tuple[str, ...] = (), **section: Any
    ) -> Any:
        rules = ProxyRules.parse(environ or {})
        sessions = HttpSessions(outbound=Outbound.parse(outbound), proxies=rules)
        opened.append(sessions)
        usual = {} if "provider" in section else {"provider": "openai-compatible", "model": "m"}
        whole = {**usual, **QUICK, **section}
        return catalog.build(kind, catalog.settings_of(kind, whole), sessions)

    yield make
    for sessions in opened:
        await sessions.aclose()


async def failure(kind: str, provider: Any) -> ProviderError:
    """How a request fails."""

    async def text() -> AsyncIterator[str]:
        yield "Good morning."

    async def speak() -> None:
        assert [chunk async for chunk in provider.stream(text())]

    asks: dict[str, Callable[[], Awaitable[Any]]] = {
        "llm": lambda: provider.complete(ASK),
        "embedding": lambda: provider.embed(["x"]),
        "stt": lambda: listen(provider),
        "tts": speak,
    }
    with pytest.raises(ProviderError) as caught:
        await asks[kind]()
    return caught.value


async def listen(stt: Any) -> str:
    """What an STT hears in a second."""

    async def pcm() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"\x01\x00" * 1600

    return " ".join([one.text async for one in stt.stream(pcm()) if one.final])


async def test_plain_http_goes_as_requests_to_the_proxy(proxy: ProxyServer, reach: Reach) -> None:
    """The name is resolved there, and credentials go to the proxy only."""
    async with OpenAIServer() as vendor:
        proxy.names["vendor.test"] = vendor.port
        proxy.credentials = BASIC
        llm = reach("llm", {"HTTP_PROXY": f"http://me:{SECRET}@127.0.0.1:{proxy.port}"}, api_url=VENDOR)
        assert (await llm.complete(ASK))["choices"]
        assert [chunk async for chunk in llm.stream(ASK)]
        passage = proxy.passages[0]
        assert (passage.method, passage.target) == ("POST", f"{VENDOR}/v1/chat/completions")
        assert vendor.requests[0].headers["host"] == "vendor.test:8000"
        assert not any("proxy" in name for one in vendor.requests for name in one.headers)


async def test_websockets_go_through_a_tunnel(proxy: ProxyServer, reach: Reach) -> None:
    """Those without TLS, too: many proxies do not pass an upgrade on."""
    async with DeepgramListenServer() as vendor:
        proxy.names["vendor.test"] = vendor.port
        proxy.credentials = BASIC
        environ = {"ALL_PROXY": f"http://me:{SECRET}@127.0.0.1:{proxy.port}"}
        url = "ws://vendor.test:8000/v1/listen"
        stt = reach("stt", environ, provider="deepgram.com", api_key="k", model="nova-3", url=url)
        assert await listen(stt)
        assert [(one.method, one.target) for one in proxy.passages] == [("CONNECT", "vendor.test:8000")]
        assert proxy.passages[0].headers["proxy-authorization"] == BASIC
        assert "authorization" not in proxy.passages[0].headers  # the vendor's key is in the tunnel
        assert "proxy-authorization" not in vendor.last.headers


@pytest.mark.parametrize("tls", [False, True])
async def test_tls_goes_through_a_tunnel(
    reach: Reach, tmp_path: Path, tls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the vendor's certificate, whether or not the proxy itself has one."""
    certificate, context = make_certificate(tmp_path, "vendor.test", "127.0.0.1")
    trusting = aiohttp.connector._make_ssl_context(True)
    trusting.load_verify_locations(certificate)
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", trusting)

    async def answer(request: web.Request) -> web.Response:
        choice = {"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
        return web.json_response({"object": "chat.completion", "choices": [choice]})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    names = {"vendor.test": runner.addresses[0][1], "other.test": runner.addresses[0][1]}
    async with ProxyServer(names, context if tls else None) as proxy:
        environ = {"https_proxy": proxy.url}
        llm = reach("llm", environ, api_url="https://vendor.test", api_key="k")
        assert (await llm.complete(ASK))["choices"][0]["message"]["content"] == "yes"
        assert [(one.method, one.target) for one in proxy.passages] == [("CONNECT", "vendor.test:443")]
        wrong = await failure("llm", reach("llm", environ, api_url="https://other.test"))
        assert isinstance(wrong, base.ProviderUnreachable)
        assert ("TLS" in wrong.message) is not tls  # within another one, Python reports a lost connection
        assert "proxy" not in wrong.message
    await runner.cleanup()


FAULTS: dict[str, tuple[type[ProviderError], str]] = {
    "407": (base.ProviderAuthError, "does not accept the credentials (407)"),
    "403": (base.ProviderForbidden, "refuses to connect to it (403)"),
    "502": (base.ProviderUnreachable, "cannot connect to it (502)"),
    "stall": (base.ProviderTimeout, "did not answer in time"),
    "close": (base.ProviderUnreachable, "closed the connection"),
    "garbage": (base.ProviderUnreachable, "does not answer as an HTTP proxy"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("own", [False, True])
async def test_a_failing_proxy_is_named(
    proxy: ProxyServer, reach: Reach, caplog: pytest.LogCaptureFixture, fault: str, own: bool
) -> None:
    """In our own words, by what names it: an address or a password of the operator reaches nobody."""
    caplog.set_level(logging.DEBUG)
    proxy.status = int(fault) if fault.isdigit() else 0
    proxy.fault = None if fault.isdigit() else ProxyFault(fault)
    environ = {"HTTPS_PROXY": f"http://me:{SECRET}@127.0.0.1:{proxy.port}"}
    section = {"proxy": proxy.url} if own else {}
    limits = {"connect_timeout_seconds": 0.2} if fault == "stall" else {}
    llm = reach("llm", {} if own else environ, api_url="https://vendor.test", **section, **limits)
    error = await failure("llm", llm)
    kind, words = FAULTS[fault]
    assert type(error) is kind
    assert words in error.message
    assert ("the proxy of its section" if own else "the proxy of HTTPS_PROXY") in error.message
    told = f"{error} {error!r} {caplog.text}"
    assert not [word for word in (SECRET, BASIC, "secret words", str(proxy.port)) if word in told]


@pytest.mark.parametrize("status", [407, 502])
async def test_a_proxy_may_refuse_a_websocket(proxy: ProxyServer, reach: Reach, status: int) -> None:
    """The same errors."""
    proxy.status = status
    url = "ws://vendor.test:8000/v1/listen"
    stt = reach("stt", {"HTTP_PROXY": proxy.url}, provider="deepgram.com", api_key="k", model="n", url=url)
    error = await failure("stt", stt)
    assert type(error) is FAULTS[str(status)][0]
    assert FAULTS[str(status)][1] in error.message


async def test_a_proxy_that_asks_for_credentials_is_not_taken_for_the_vendor(
    proxy: ProxyServer, reach: Reach
) -> None:
    """A request of plain HTTP gets the proxy's 407 as an answer; in a tunnel a 407 is the vendor's own."""
    proxy.status = 407
    error = await failure("llm", reach("llm", {"HTTP_PROXY": proxy.url}, api_url=VENDOR, api_key="k"))
    assert isinstance(error, base.ProviderAuthError)
    assert "HTTP_PROXY" in error.message
    assert "HTTP_PROXY" in error.hint
    section = await failure("llm", reach("llm", proxy=proxy.url, api_url=VENDOR))
    assert "operator" in section.hint


async def test_an_answer_that_is_cut_on_its_way(proxy: ProxyServer, reach: Reach) -> None:
    """Like one that the vendor cut: incomplete, never taken for whole."""
    async with OpenAIServer() as vendor:
        proxy.names["vendor.test"] = vendor.port
        proxy.fault = ProxyFault.CUT
        llm = reach("llm", {"HTTP_PROXY": proxy.url}, api_url=VENDOR)
        assert isinstance(await failure("llm", llm), base.ProviderUnavailable)
        with pytest.raises(base.ProviderUnavailable):
            assert [chunk async for chunk in llm.stream(ASK)]


async def test_a_proxy_that_is_not_there(reach: Reach) -> None:
    """Unreachable, and it is the proxy that is."""
    error = await failure(
        "llm", reach("llm", {"HTTPS_PROXY": "http://127.0.0.1:9"}, api_url="https://vendor.test")
    )
    assert isinstance(error, base.ProviderUnreachable)
    assert "the proxy of HTTPS_PROXY cannot be reached" in error.message


async def test_what_is_excepted_is_reached_directly(proxy: ProxyServer, reach: Reach) -> None:
    """And this machine's own addresses, which would be the proxy's there."""
    async with OpenAIServer() as vendor:
        llm = reach("llm", {"ALL_PROXY": proxy.url}, api_url=vendor.url)
        assert (await llm.complete(ASK))["choices"]
    assert proxy.passages == []


async def test_a_section_s_own_proxy_comes_first(proxy: ProxyServer, reach: Reach) -> None:
    """Before the operator's, and whatever ``NO_PROXY`` excepts; it gets no credentials of the operator."""
    async with OpenAIServer() as vendor:
        proxy.names["vendor.test"] = vendor.port
        environ = {"HTTP_PROXY": f"http://me:{SECRET}@127.0.0.1:9", "NO_PROXY": "*"}
        llm = reach("llm", environ, api_url=VENDOR, proxy=proxy.url)
        assert (await llm.complete(ASK))["choices"]
        assert "proxy-authorization" not in proxy.passages[0].headers


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("rebound.test", "169.254.169.254"),
        ("0xa9fea9fe", "169.254.169.254"),  # which C's resolver reads as an address
        ("metadata.google.internal", None),
        ("metadata", None),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https", "ws"])
async def test_a_proxy_is_not_asked_for_metadata(
    proxy: ProxyServer, reach: Reach, resolved: dict[str, list[str]], host: str, here: str | None, scheme: str
) -> None:
    """By what the name resolves to here, and by the names that such services have."""
    if here:
        resolved[host] = [here]
    environ, url = {"ALL_PROXY": proxy.url}, f"{scheme}://{host}:8000"
    if scheme == "ws":
        stt = reach("stt", environ, provider="deepgram.com", api_key="k", model="nova-3", url=url)
        error = await failure("stt", stt)
    else:
        error = await failure("llm", reach("llm", environ, api_url=url))
    assert isinstance(error, base.ProviderForbidden)
    assert "metadata" in error.message
    assert proxy.passages == []


async def test_a_list_of_hosts_holds_behind_a_proxy(
    proxy: ProxyServer, reach: Reach, resolved: dict[str, list[str]]
) -> None:
    """By name; by network only where the name resolves here, and with all that it resolves to."""
    resolved["inside.test"] = ["10.1.2.3"]
    resolved["both.test"] = ["10.1.2.3", "192.0.2.1"]
    proxy.status = 502
    for host, listed, allowed in (
        ("vendor.test", "*.test", True),
        ("vendor.test", "other.example", False),
        ("vendor.test", "10.0.0.0/8", False),  # only the proxy knows its address
        ("inside.test", "10.0.0.0/8", True),
        ("both.test", "10.0.0.0/8", False),
    ):
        try:
            error = await failure(
                "llm", reach("llm", {"ALL_PROXY": proxy.url}, outbound=(listed,), api_url=f"http://{host}")
            )
        except base.ProviderForbidden as refusal:
            error = refusal
        assert isinstance(error, base.ProviderForbidden) is not allowed


async def test_a_section_s_proxy_is_held_to_the_rules_itself(
    proxy: ProxyServer, reach: Reach, resolved: dict[str, list[str]]
) -> None:
    """As a destination is: addresses at once, names by what they resolve to. The operator's is not."""
    resolved["proxy.test"] = ["169.254.7.7"]
    with pytest.raises(base.ProviderForbidden):
        reach("llm", api_url=VENDOR, proxy="http://169.254.169.254:3128")
    error = await failure("llm", reach("llm", api_url=VENDOR, proxy="http://proxy.test:3128"))
    assert isinstance(error, base.ProviderForbidden)
    with pytest.raises(base.ProviderForbidden):
        reach("llm", outbound=("vendor.test",), api_url=VENDOR, proxy=proxy.url)
    proxy.status = 502
    listed = ("vendor.test",)
    operators = await failure("llm", reach("llm", {"HTTP_PROXY": proxy.url}, outbound=listed, api_url=VENDOR))
    assert not isinstance(operators, base.ProviderForbidden)


async def test_every_vendor_takes_its_section_s_proxy(
    proxy: ProxyServer, reach: Reach, catalog: Catalog
) -> None:
    """Built-in vendors that use a network, one by one."""
    proxy.status = 407
    tried = 0
    for kind in ("llm", "tts", "stt", "embedding"):
        for vendor in catalog.of(kind).values():
            if not issubclass(vendor.settings, NetworkSettings):
                continue
            section = {**minimal(vendor.settings), "proxy": proxy.url}
            provider = reach(kind, **section)
            error = await failure(kind, provider)
            assert "proxy of its section" in error.message, vendor.name
            tried += 1
    assert tried == len(proxy.passages) > 10


def minimal(settings: type[NetworkSettings]) -> dict[str, Any]:
    """A section with the fields that a vendor needs, at a host that only the proxy knows."""
    required = {name: field for name, field in settings.model_fields.items() if field.is_required()}
    section = {name: (field.examples or ["x"])[0] for name, field in required.items()}
    for name, default in settings.url_fields().items():
        scheme = (default or section.get(name) or "http:").partition(":")[0]
        section[name] = f"{scheme}://vendor.test"
    return {**section, "provider": settings.provider_name()}
