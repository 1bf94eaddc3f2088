"""Retries, fallbacks, limits and metrics, against vendors' servers over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentsd.core.errors import ConfigError
from agentsd.providers import base
from agentsd.providers.base import Transcript
from agentsd.providers.catalog import Catalog
from agentsd.providers.resilience import builder as resilient
from agentsd.providers.resilience import chain
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.telemetry import Metrics
from tests.providers.conftest import HASTY, QUICK
from tests.vendors.base import Fault
from tests.vendors.deepgram_server import DeepgramListenServer, DeepgramSpeakServer
from tests.vendors.openai_server import OpenAIServer, heard, vector_of, voice_of
from tests.vendors.raw_server import RawServer
from tests.vendors.whisper_server import WhisperServer

ASK = {"messages": [{"role": "user", "content": "Hello"}]}
TEXT = ("Hello ", "there. ", "And more.")


class Bench:
    """Builds resilient providers and reads their metrics."""

    def __init__(self, catalog: Catalog, sessions: HttpSessions) -> None:
        self.metrics = Metrics()
        self._catalog = catalog
        self.sessions = sessions
        self.made: list[Any] = []

    def make(self, kind: str, section: dict[str, Any], *fallback: dict[str, Any]) -> Any:
        """The provider of ``section``."""
        whole = section | ({"fallback": list(fallback)} if fallback else {})
        settings = self._catalog.settings_of(kind, whole)
        provider = resilient.build_provider(self._catalog, kind, settings, self.sessions, self.metrics)
        self.made.append(provider)
        return provider

    def value(self, name: str, **labels: str) -> float:
        """A metric's value."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
async def bench(
    catalog: Catalog, sessions: HttpSessions, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    """With pauses that cost no time; everything that was made is closed."""
    monkeypatch.setattr(chain, "RETRY_PAUSE_SECONDS", 0.001)
    bench = Bench(catalog, sessions)
    yield bench
    for provider in bench.made:
        await provider.aclose()


def llm(server: OpenAIServer | RawServer, model: str = "m", **more: Any) -> dict[str, Any]:
    """A section of an OpenAI-compatible LLM at ``server``."""
    return {**QUICK, "provider": "openai-compatible", "model": model, "api_url": server.url, **more}


def tts(server: OpenAIServer | RawServer, voice: str = "v", **more: Any) -> dict[str, Any]:
    """The same as a voice."""
    return {**llm(server), "voice": voice, **more}


async def text_of(pieces: Sequence[str] = TEXT) -> AsyncIterator[str]:
    """Text as an LLM streams it."""
    for piece in pieces:
        await asyncio.sleep(0)
        yield piece


async def sound_of(pcm: bytes) -> AsyncIterator[bytes]:
    """PCM in slices."""
    for start in range(0, len(pcm), 3200):
        await asyncio.sleep(0)
        yield pcm[start : start + 3200]


async def said(provider: base.LLM) -> str:
    """A streamed answer's text."""
    chunks = [chunk async for chunk in provider.stream(ASK)]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


async def spoken(provider: base.TTS, pieces: Sequence[str] = TEXT) -> bytes:
    """All of a speech."""
    return b"".join([pcm async for pcm in provider.stream(text_of(pieces))])


@pytest.mark.parametrize("fault", [Fault.BROKEN, Fault.OVERLOADED])
async def test_what_may_pass_is_tried_again(bench: Bench, fault: Fault) -> None:
    """Whole and streamed; the metrics count every try, and the errors by class."""
    async with OpenAIServer(fault=fault) as server:
        server.times = 2
        provider = bench.make("llm", llm(server))
        assert await said(provider) == "This is a test."
        server.fault, server.times = fault, 1
        assert (await provider.complete(ASK))["choices"][0]["message"]["content"] == "This is a test."
    labels = {"kind": "llm", "provider": "openai-compatible"}
    assert bench.value("agentsd_provider_requests_total", **labels) == 5
    assert bench.value("agentsd_provider_retries_total", **labels) == 3
    assert bench.value("agentsd_provider_errors_total", **labels, error="ProviderUnavailable") == 3
    assert bench.value("agentsd_provider_failures_total", **labels) == 0
    assert bench.value("agentsd_provider_first_seconds_count", **labels) == 2


ONCE = [
    (Fault.UNAUTHORIZED, base.ProviderAuthError),
    (Fault.NOT_FOUND, base.ProviderNotFound),
    (Fault.UNPROCESSABLE, base.ProviderRejected),
    (Fault.RATE_LIMITED, base.ProviderRateLimited),  # "again in 7 seconds": nobody waits that long
    (Fault.STALL, base.ProviderTimeout),
]


@pytest.mark.parametrize(("fault", "error"), ONCE)
async def test_what_will_not_pass_is_tried_once(
    bench: Bench, fault: Fault, error: type[base.ProviderError]
) -> None:
    """A wrong key stays wrong, and after a time-out the caller has waited long enough."""
    async with OpenAIServer(fault=fault) as server:
        provider = bench.make("llm", llm(server, **HASTY))
        with pytest.raises(error):
            await said(provider)
        assert len(server.requests) == 1


async def test_nothing_is_tried_again_once_the_answer_began(bench: Bench) -> None:
    """Nobody hears the beginning of one answer and the end of another."""
    async with OpenAIServer(fault=Fault.EARLY_CLOSE) as server, OpenAIServer() as other:
        provider = bench.make("llm", llm(server), llm(other))
        with pytest.raises(base.ProviderUnavailable):
            await said(provider)
        assert (len(server.requests), len(other.requests)) == (1, 0)


async def test_retries_can_be_switched_off(bench: Bench) -> None:
    """``retries: 0`` asks once."""
    async with OpenAIServer(fault=Fault.BROKEN) as server:
        with pytest.raises(base.ProviderUnavailable):
            await bench.make("llm", llm(server, retries=0)).complete(ASK)
        assert len(server.requests) == 1


@pytest.mark.parametrize("fault", [Fault.UNAUTHORIZED, Fault.RATE_LIMITED, Fault.BROKEN, Fault.STALL])
async def test_who_stands_in_takes_over(bench: Bench, fault: Fault) -> None:
    """Each with its own key and model, and none with another's."""
    async with OpenAIServer(fault=fault) as first, OpenAIServer(words=["Here."]) as second:
        provider = bench.make(
            "llm", llm(first, "one", api_key="key-one", **HASTY), llm(second, "two", api_key="key-two")
        )
        assert await said(provider) == "Here."
        assert second.last.headers["authorization"] == "Bearer key-two"
        assert (first.last.body["model"], second.last.body["model"]) == ("one", "two")
        assert b"key-one" not in repr(second.last).encode()


async def test_who_failed_rests_while_another_stands_in(bench: Bench) -> None:
    """The next call does not wait for the broken one again; without any other it is asked all the same."""
    async with OpenAIServer(fault=Fault.STALL) as first, OpenAIServer() as second:
        provider = bench.make("llm", llm(first, **HASTY), llm(second))
        for _ in range(3):
            assert await said(provider) == "This is a test."
        assert (len(first.requests), len(second.requests)) == (1, 3)
        second.fault = Fault.UNAUTHORIZED
        first.fault = None
        assert await said(provider) == "This is a test."


async def test_if_nobody_answers_the_first_ones_error_is_told(bench: Bench) -> None:
    """It is the manifest's first choice that has to be mended."""
    async with OpenAIServer(fault=Fault.NOT_FOUND) as first, OpenAIServer(fault=Fault.BROKEN) as second:
        with pytest.raises(base.ProviderNotFound):
            await bench.make("llm", llm(first), llm(second)).complete(ASK)


async def test_a_speech_is_sent_again_from_its_first_word(bench: Bench) -> None:
    """What the failed one was given already, the next one gets too; then what comes."""
    async with OpenAIServer(fault=Fault.BROKEN) as first, OpenAIServer() as second:
        provider = bench.make("tts", tts(first, retries=1), tts(second, "other"))
        assert provider.sample_rate == 24_000
        assert await spoken(provider) == voice_of("Hello there.") + voice_of("And more.")
        assert len(first.requests) == 2
        assert {request.body["voice"] for request in second.requests} == {"other"}


async def test_a_socket_that_closes_early_is_replaced(bench: Bench) -> None:
    """Over WebSockets too, where the text is on its way while the answer fails."""
    async with DeepgramSpeakServer(fault=Fault.OVERLOADED) as first, OpenAIServer() as second:
        section = {**QUICK, "provider": "deepgram.com", "api_key": "k", "url": first.ws_url + "/v1/speak"}
        provider = bench.make("tts", section, tts(second))
        assert await spoken(provider) == voice_of("Hello there.") + voice_of("And more.")
        first.fault = None


async def test_who_stands_in_is_heard_at_the_first_ones_rate(bench: Bench) -> None:
    """24 kHz becomes 8 kHz: a third of the bytes."""
    async with OpenAIServer(fault=Fault.UNAUTHORIZED) as first, OpenAIServer(audio=bytes(48_000)) as second:
        provider = bench.make("tts", tts(first, sample_rate=8_000), tts(second))
        assert len(await spoken(provider, ["One."])) == 16_000


async def test_a_failing_text_is_no_failure_of_the_voice(bench: Bench) -> None:
    """An LLM's error while it is spoken comes out as it is; nobody stands in for the voice."""

    async def broken() -> AsyncIterator[str]:
        yield "Hello "
        raise base.ProviderUnavailable("the LLM is away")

    async with OpenAIServer() as first, OpenAIServer() as second:
        provider = bench.make("tts", tts(first), tts(second))
        with pytest.raises(base.ProviderUnavailable, match="the LLM is away"):
            async for _ in provider.stream(broken()):
                pass
        assert second.requests == []


PCM = bytes(range(256)) * 100


async def test_speech_is_heard_by_who_stands_in(bench: Bench) -> None:
    """All of it, though the first one took some of it."""
    async with DeepgramListenServer(fault=Fault.UNAUTHORIZED) as first, WhisperServer() as second:
        section = {**QUICK, "provider": "deepgram.com", "api_key": "k", "url": first.ws_url + "/v1/listen"}
        provider = bench.make("stt", section, {**QUICK, "provider": "whisper.local", "url": second.ws_url})
        transcripts = [transcript async for transcript in provider.stream(sound_of(PCM))]
        assert transcripts[-1] == Transcript(heard(PCM), final=True)
    labels = {"kind": "stt", "provider": "deepgram.com"}
    assert bench.value("agentsd_provider_errors_total", **labels, error="ProviderAuthError") == 1
    assert bench.value("agentsd_provider_failures_total", **labels) == 1


async def test_embeddings_have_who_stands_in_of_the_same_space_only(bench: Bench) -> None:
    """Vectors of another model could not be compared with those that are stored."""
    async with OpenAIServer(fault=Fault.BROKEN) as first, OpenAIServer() as second:
        provider = bench.make("embedding", llm(first, "e"), llm(second, "e"))
        assert await provider.embed(["one"]) == [vector_of("one", 8)]
        with pytest.raises(ConfigError, match="compared"):
            bench.make("embedding", llm(first, "e"), llm(second, "another"))


async def test_a_chain_that_cannot_be_built_leaves_nothing_behind(bench: Bench) -> None:
    """The first one's claim on its session is given back when the second one is refused."""
    async with OpenAIServer() as server:
        with pytest.raises(base.ProviderRejected, match="header"):
            bench.make("llm", llm(server), llm(server, api_key="with a line break\n"))
        await asyncio.sleep(0)
    assert bench.sessions.holders() == {}


async def test_calls_beyond_the_limit_wait_and_then_are_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One place: the second call waits for it; one that waits too long is a rate limit, and is counted."""
    async with OpenAIServer() as server:
        provider = bench.make("llm", llm(server, max_concurrency=1, retries=0))
        stream = provider.stream(ASK)
        await anext(stream)
        second = asyncio.ensure_future(provider.complete(ASK))
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(server.requests) == 1
        await stream.aclose()
        assert (await second)["choices"]

        monkeypatch.setattr(chain, "QUEUE_SECONDS", 0.01)
        stream = provider.stream(ASK)
        await anext(stream)
        with pytest.raises(base.ProviderRateLimited, match="too many calls at once"):
            await provider.complete(ASK)
        await stream.aclose()
    labels = {"kind": "llm", "provider": "openai-compatible", "error": "Busy"}
    assert bench.value("agentsd_provider_errors_total", **labels) == 1


async def test_leaving_closes_the_vendors_stream(bench: Bench) -> None:
    """Through all layers, for every kind of stream."""
    async with OpenAIServer(delay=0.01, words=["word "] * 1000) as server:
        stream = bench.make("llm", llm(server)).stream(ASK)
        await anext(stream)
        await stream.aclose()
        await asyncio.wait_for(server.last.disconnected.wait(), 60)
    async with OpenAIServer(delay=0.01) as server:
        speech = bench.make("tts", tts(server)).stream(text_of(["word " * 2000]))
        await anext(speech)
        await speech.aclose()
        await asyncio.wait_for(server.last.disconnected.wait(), 60)


@asynccontextmanager
async def answering(body: bytes, status: int = 200, **headers: str) -> AsyncIterator[str]:
    """A vendor that answers everything with these bytes; yields its URL."""

    async def answer(request: web.Request) -> web.Response:
        kind = {"Content-Type": "application/json"}
        return web.Response(body=body, status=status, headers=kind | headers)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    server = TestServer(app)
    await server.start_server()
    try:
        yield f"{server.make_url('')}".rstrip("/")
    finally:
        await server.close()


async def test_what_a_client_did_not_foresee_is_the_vendors_error(bench: Bench) -> None:
    """A number that no float holds: typed, in our own words, counted, and the fallback answers."""
    huge = b'{"data":[{"index":0,"embedding":[' + b"9" * 400 + b"]}]}"
    async with answering(huge) as odd, OpenAIServer() as good:
        section = {**QUICK, "provider": "openai-compatible", "model": "m"}
        provider = bench.make("embedding", {**section, "api_url": odd})
        with pytest.raises(base.ProviderError) as caught:
            await provider.embed(["a"])
        assert "999" not in str(caught.value)
        both = bench.make("embedding", {**section, "api_url": odd}, {**section, "api_url": good.url})
        assert len(await both.embed(["a"])) == 1


class Panic(BaseException):
    """What native code raises beside ``Exception``, as pyo3 does."""


@pytest.mark.parametrize("kind", [LookupError, SystemExit, Panic, RecursionError])
async def test_whatever_a_plug_in_raises_is_its_error(bench: Bench, kind: type[BaseException]) -> None:
    """Whole and streamed; what is sent to it stays the sender's own error."""

    class Broken:
        sample_rate = 16_000

        async def embed(self, texts: Sequence[str]) -> list[list[float]]:
            raise kind("sk-canary")

        async def stream(self, text: AsyncIterator[str]) -> AsyncIterator[bytes]:
            async for _ in text:
                raise kind("sk-canary")
            yield b""

        async def aclose(self) -> None: ...

    member: chain.ChainMember[Any] = chain.ChainMember(Broken(), "tts", "broken.example", bench.metrics)
    with pytest.raises(base.ProviderProtocolError, match=rf"broken\.example.*{kind.__name__}") as caught:
        await chain.Chain([member]).once(lambda one: one.embed([]))
    assert "canary" not in str(caught.value)
    with pytest.raises(base.ProviderProtocolError, match=kind.__name__):
        await spoken(resilient.ResilientTTS(chain.Chain([member])))

    async def cut() -> AsyncIterator[str]:
        raise ConnectionResetError
        yield ""

    with pytest.raises(ConnectionResetError):
        [pcm async for pcm in resilient.ResilientTTS(chain.Chain([member])).stream(cut())]
    labels = {"kind": "tts", "provider": "broken.example", "error": "ProviderProtocolError"}
    assert bench.value("agentsd_provider_errors_total", **labels) == 2


@pytest.mark.parametrize("said", ["Mon, 01 Jan 99999999999 00:00:00 GMT", "9" * 4000])
async def test_no_retry_after_is_more_than_a_refusal(bench: Bench, said: str) -> None:
    async with answering(b"{}", 429, **{"Retry-After": said}) as url:
        provider = bench.make(
            "embedding", {**QUICK, "provider": "openai-compatible", "model": "m", "api_url": url}
        )
        with pytest.raises(base.ProviderRateLimited):
            await provider.embed(["a"])
