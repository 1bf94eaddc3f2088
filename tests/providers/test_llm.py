"""The OpenAI-compatible LLMs against a server that speaks their protocol."""

from __future__ import annotations

import asyncio
import traceback
from typing import Any

import pytest

from agentsd.core.errors import ProviderError
from agentsd.providers import base
from agentsd.providers.catalog import Catalog
from agentsd.providers.transport.sessions import HttpSessions
from tests.providers.conftest import HASTY, Make
from tests.vendors.base import Fault
from tests.vendors.openai_server import WORDS, OpenAIServer

KEY = "sk-canary-5d2e"
PROMPT = "prompt-canary-71"
REQUEST = {"messages": [{"role": "user", "content": PROMPT}]}


async def text_of(llm: Any, request: dict[str, Any] = REQUEST) -> str:
    return "".join(
        [
            choice["delta"].get("content", "")
            async for chunk in llm.stream(request)
            for choice in chunk["choices"]
        ]
    )


def groq(make: Make, server: OpenAIServer, **more: Any) -> Any:
    return make("llm", provider="groq.com", api_key=KEY, model="m", api_url=server.url, **more)


@pytest.mark.parametrize(
    ("provider", "more", "path"),
    [
        ("groq.com", {}, "/openai/v1/chat/completions"),
        ("mistral.ai", {}, "/v1/chat/completions"),
        ("openrouter.ai", {}, "/api/v1/chat/completions"),
        ("llama-cpp.local", {}, "/v1/chat/completions"),
        ("openai.com", {}, "/v1/chat/completions"),
        ("openai-compatible", {}, "/v1/chat/completions"),
        ("openai-compatible", {"completions_path": "/x/chat/completions"}, "/x/chat/completions"),
    ],
)
async def test_every_vendor_is_asked_in_its_own_way(
    make: Make, provider: str, more: dict[str, Any], path: str
) -> None:
    """Path, key and body are the vendor's, streamed and not."""
    async with OpenAIServer() as server:
        llm = make("llm", provider=provider, api_key=KEY, model="m", api_url=server.url, **more)
        answer = await llm.complete(REQUEST)
        streamed = await text_of(llm)
    assert answer["choices"][0]["message"]["content"] == streamed == "".join(WORDS)
    for request, stream in zip(server.requests, (False, True), strict=True):
        assert request.path == path
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["content-type"] == "application/json"
        assert request.body == {**REQUEST, "model": "m", "stream": stream}


async def test_a_key_that_is_absent_is_not_sent(make: Make) -> None:
    """A local server gets no Authorization header; a base URL may end with a slash."""
    async with OpenAIServer() as server:
        llm = make("llm", provider="llama-cpp.local", model="m", api_url=f"{server.url}/")
        await llm.complete(REQUEST)
    assert "authorization" not in server.last.headers
    assert server.last.path == "/v1/chat/completions"


async def test_openrouter_is_told_the_app(make: Make) -> None:
    """`app_url` and `app_name` become HTTP-Referer and X-Title, and are left out where absent."""
    async with OpenAIServer() as server:
        common = {"provider": "openrouter.ai", "api_key": KEY, "model": "m", "api_url": server.url}
        await make("llm", **common, app_url="https://example.org", app_name="Desk").complete(REQUEST)
        await make("llm", **common).complete(REQUEST)
    named, plain = server.requests
    assert (named.headers["http-referer"], named.headers["x-title"]) == ("https://example.org", "Desk")
    assert not {"http-referer", "x-title"} & plain.headers.keys()


async def test_the_manifests_defaults_hold_unless_the_request_says_otherwise(make: Make) -> None:
    """A null in a request is as good as absent; the model is never the client's choice."""
    async with OpenAIServer() as server:
        llm = groq(make, server, temperature=0.2, top_p=0.9, max_tokens=64)
        await llm.complete({**REQUEST, "temperature": 1, "top_p": None, "model": "other", "stream": True})
        await llm.complete({**REQUEST, "max_completion_tokens": 5})
    first, second = (request.body for request in server.requests)
    assert first == {
        **REQUEST,
        "temperature": 1,
        "top_p": 0.9,
        "max_tokens": 64,
        "model": "m",
        "stream": False,
    }
    assert "max_tokens" not in second


async def test_keys_that_a_vendor_calls_otherwise(make: Make) -> None:
    """Mistral refuses unknown keys; OpenAI's newer models refuse `max_tokens`."""
    asked = {**REQUEST, "seed": 7, "stream_options": {"include_usage": True}, "max_completion_tokens": 9}
    async with OpenAIServer() as server:
        common = {"api_key": KEY, "model": "m", "api_url": server.url, "max_tokens": 64}
        await text_of(make("llm", provider="mistral.ai", **common), asked)
        await make("llm", provider="openai.com", **common).complete(REQUEST)
    mistral, openai = (request.body for request in server.requests)
    assert mistral == {**REQUEST, "random_seed": 7, "max_tokens": 9, "model": "m", "stream": True}
    assert openai == {**REQUEST, "max_completion_tokens": 64, "model": "m", "stream": False}


@pytest.mark.parametrize("options", [{"noisy": True}, {"done": False}, {"fault": Fault.SLOW_DRIP}])
async def test_every_faithful_stream_is_understood(make: Make, options: dict[str, Any]) -> None:
    """Comments, CRLF, other fields, an end without [DONE], bytes one by one: the text is whole."""
    async with OpenAIServer(**options) as server:
        assert await text_of(groq(make, server)) == "".join(WORDS)


async def test_usage_comes_where_it_is_asked_for(make: Make) -> None:
    """The last chunk has no choices and the usage."""
    async with OpenAIServer() as server:
        request = {**REQUEST, "stream_options": {"include_usage": True}}
        chunks = [chunk async for chunk in groq(make, server).stream(request)]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 5


STREAM_FAULTS = [
    (Fault.STALL, base.ProviderTimeout),
    (Fault.SILENT, base.ProviderTimeout),
    (Fault.STALL_LATER, base.ProviderTimeout),
    (Fault.EARLY_CLOSE, base.ProviderUnavailable),
    (Fault.EARLY_END, base.ProviderUnavailable),
    (Fault.ERROR_FRAME, base.ProviderRateLimited),
    (Fault.MALFORMED_FRAME, base.ProviderProtocolError),
    (Fault.NUMBER_FRAME, base.ProviderProtocolError),
    (Fault.UNAUTHORIZED, base.ProviderAuthError),
    (Fault.FORBIDDEN, base.ProviderAuthError),
    (Fault.NOT_FOUND, base.ProviderNotFound),
    (Fault.UNPROCESSABLE, base.ProviderRejected),
    (Fault.RATE_LIMITED, base.ProviderRateLimited),
    (Fault.BROKEN, base.ProviderUnavailable),
    (Fault.OVERLOADED, base.ProviderUnavailable),
    (Fault.REDIRECT, base.ProviderProtocolError),
]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(("fault", "kind"), STREAM_FAULTS)
async def test_every_fault_is_one_typed_error(
    make: Make, fault: Fault, kind: type[ProviderError], stream: bool
) -> None:
    """No hang, no foreign exception, and neither the key nor the vendor's words in the error."""
    limits = HASTY if fault in (Fault.STALL, Fault.SILENT, Fault.STALL_LATER) else {}
    async with OpenAIServer(fault=fault) as server:
        llm = groq(make, server, **limits)
        with pytest.raises(kind) as caught:
            await (text_of(llm) if stream else llm.complete(REQUEST))
        assert len(server.requests) == 1  # a redirect was not followed
    assert type(caught.value) is kind
    said = str(caught.value)
    assert "groq.com" in said
    assert caught.value.hint
    assert not any(word in said for word in (KEY, PROMPT, "secret words"))
    if isinstance(caught.value, base.ProviderRateLimited) and fault is Fault.RATE_LIMITED:
        assert caught.value.retry_after == 7.0


async def test_a_server_that_is_not_there_is_unavailable(make: Make) -> None:
    """A refused connection is retryable."""
    async with OpenAIServer() as server:
        llm = groq(make, server)
    with pytest.raises(base.ProviderUnavailable, match="cannot be reached"):
        await llm.complete(REQUEST)


async def test_a_host_that_does_not_exist_is_unavailable(make: Make) -> None:
    """The name's owner is told that it does not resolve."""
    llm = make("llm", provider="openai-compatible", model="m", api_url="http://nowhere.invalid")
    with pytest.raises(base.ProviderUnavailable, match=r"openai-compatible cannot be reached"):
        await llm.complete(REQUEST)


async def test_a_server_that_is_not_http_is_a_protocol_error(make: Make) -> None:
    """Something else listens on the port."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        llm = make("llm", provider="openai-compatible", model="m", api_url=f"http://127.0.0.1:{port}")
        with pytest.raises(base.ProviderProtocolError):
            await llm.complete(REQUEST)


async def test_a_url_that_cannot_be_used_is_refused(catalog: Catalog, sessions: HttpSessions) -> None:
    """A port beyond 65535 passes the pattern, but not the builder."""
    section = {"provider": "openai-compatible", "model": "m", "api_url": "http://h:99999"}
    with pytest.raises(base.ProviderRejected, match="URL"):
        catalog.build("llm", catalog.settings_of("llm", section), sessions)


async def test_a_key_with_a_line_break_is_refused_when_it_is_built(make: Make) -> None:
    """Sealing a file often seals its last line break; the error says so, without the key."""
    with pytest.raises(base.ProviderRejected, match="key") as caught:
        make("llm", provider="groq.com", api_key=f"{KEY}\n", model="m")
    assert "line break" in caught.value.hint
    assert KEY not in str(caught.value)


async def test_a_traceback_does_not_hold_the_key(make: Make) -> None:
    """Nor the prompt: the library's own error is not shown beneath ours."""
    async with OpenAIServer(fault=Fault.EARLY_CLOSE) as server:
        with pytest.raises(base.ProviderUnavailable) as caught:
            await groq(make, server).complete(REQUEST)
    shown = "".join(traceback.format_exception(caught.value))
    assert KEY not in shown
    assert PROMPT not in shown


async def test_text_that_json_cannot_hold_is_refused(make: Make) -> None:
    """A lone surrogate is the request's fault, not the vendor's."""
    async with OpenAIServer() as server:
        with pytest.raises(base.ProviderRejected, match="JSON"):
            await groq(make, server).complete({"messages": [{"role": "user", "content": "\ud800"}]})
    assert server.requests == []


async def test_closing_the_iterator_closes_the_upstream(make: Make) -> None:
    """The server sees its client go at once, so it stops generating."""
    async with OpenAIServer(fault=Fault.STALL_LATER) as server:
        chunks = groq(make, server).stream(REQUEST)
        assert (await anext(chunks))["choices"]
        await chunks.aclose()
        await server.last.disconnected.wait()


@pytest.mark.parametrize("fault", [Fault.STALL, Fault.STALL_LATER])
async def test_cancelling_closes_the_upstream(make: Make, fault: Fault) -> None:
    """A cancelled task leaves no request behind, before the first byte and after."""
    async with OpenAIServer(fault=fault) as server:
        task = asyncio.create_task(text_of(groq(make, server)))
        await server.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.last.disconnected.wait()


async def test_a_connection_is_used_again(make: Make, sessions: HttpSessions) -> None:
    """Ten answers, streamed and not, run over one connection."""
    async with OpenAIServer() as server:
        llm = groq(make, server)
        for _ in range(5):
            await llm.complete(REQUEST)
            await text_of(llm)
        (origin,) = sessions.opened()
        connector = sessions._pools[sessions.owner, origin, None].session.connector  # type: ignore[union-attr]
        assert sum(len(connections) for connections in connector._conns.values()) == 1  # type: ignore[union-attr]
    assert len(server.requests) == 10


async def test_a_hundred_streams_do_not_mix(make: Make) -> None:
    """Agents of one vendor with different keys, side by side on one session: each gets its own answer."""

    async def ask(number: int) -> None:
        llm = make(
            "llm", provider="groq.com", api_key=f"key-{number}", model=f"m-{number}", api_url=server.url
        )
        request = {"messages": [{"role": "user", "content": f"{number}"}]}
        assert await text_of(llm, request) == f"I am m-{number}."

    class Naming(OpenAIServer):
        def answer(self, body: dict[str, Any]) -> list[str]:
            return ["I am ", body["model"], "."]

    async with Naming() as server:
        await asyncio.gather(*(ask(number) for number in range(100)))
    for request in server.requests:
        number = request.body["messages"][0]["content"]
        assert request.headers["authorization"] == f"Bearer key-{number}"
        assert request.body["model"] == f"m-{number}"
