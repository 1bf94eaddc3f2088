"""Text-to-speech clients against servers that speak their vendors' protocols."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from agentsd.providers import base
from tests.providers.conftest import HASTY, Make
from tests.vendors.async_ai_server import AsyncAIServer
from tests.vendors.base import Fault, VendorServer
from tests.vendors.deepgram_server import DeepgramSpeakServer
from tests.vendors.elevenlabs_server import ElevenLabsServer
from tests.vendors.hume_server import HumeServer
from tests.vendors.kokoro_server import KokoroServer
from tests.vendors.openai_server import OpenAIServer, voice_of

KEY = "sk-canary-8c4b"
TEXT = ("Hel", "lo there. ", "I am 42 ", "years old, ", "prompt-canary.")


@dataclass(frozen=True)
class Case:
    """One vendor: its server, its manifest section, and how to read back the text that it was sent."""

    name: str
    server: Callable[..., VendorServer]
    section: dict[str, Any]
    url_field: str
    path: str
    text: Callable[[Any], str]
    rate: int = 24_000
    keyed: bool = True

    def make(self, make: Make, server: VendorServer, **more: Any) -> Any:
        base_url = server.url if self.name.startswith("openai") else server.ws_url
        key = {"api_key": KEY} if self.keyed else {}
        return make("tts", **{self.url_field: base_url + self.path, **key, **self.section, **more})


def texts(key: str) -> Callable[[Any], str]:
    def read(received: Any) -> str:
        return "".join(json.loads(frame).get(key) or "" for frame in received.frames)

    return read


CASES = [
    Case(
        "async.ai",
        AsyncAIServer,
        {"provider": "async.ai", "voice_id": "v", "sample_rate": 44100},
        "url",
        "/text_to_speech/websocket/ws",
        texts("transcript"),
        44100,
    ),
    Case(
        "elevenlabs.io",
        ElevenLabsServer,
        {"provider": "elevenlabs.io", "voice_id": "v", "sample_rate": 22050},
        "url",
        "",
        texts("text"),
        22050,
    ),
    Case(
        "deepgram.com",
        DeepgramSpeakServer,
        {"provider": "deepgram.com", "model": "aura", "sample_rate": 16000},
        "url",
        "/v1/speak",
        texts("text"),
        16000,
    ),
    Case(
        "hume.ai",
        HumeServer,
        {"provider": "hume.ai", "voice_id": "v"},
        "url",
        "/v0/tts/stream/input",
        texts("text"),
        48000,
    ),
    Case(
        "kokoro.local",
        KokoroServer,
        {"provider": "kokoro.local"},
        "url",
        "/ws/tts/live",
        lambda received: " ".join(received.frames[1:]),
        keyed=False,
    ),
    Case(
        "openai-pcm",
        OpenAIServer,
        {"provider": "openai-compatible", "model": "m", "voice": "alloy"},
        "api_url",
        "",
        lambda received: received.body["input"],
    ),
    Case(
        "openai-wav",
        OpenAIServer,
        {"provider": "openai-compatible", "model": "m", "voice": "alloy", "response_format": "wav"},
        "api_url",
        "",
        lambda received: received.body["input"],
    ),
]
EACH = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


async def of(pieces: Iterable[str]) -> AsyncIterator[str]:
    for piece in pieces:
        yield piece
        await asyncio.sleep(0)


async def spoken(tts: Any, pieces: Iterable[str] = TEXT) -> list[bytes]:
    return [chunk async for chunk in tts.stream(of(pieces))]


@EACH
async def test_audio_in_is_audio_out(make: Make, case: Case) -> None:
    """Byte for byte, in whole samples, at the declared rate; the vendor got the whole text."""
    async with case.server() as server:
        tts = case.make(make, server)
        chunks = await spoken(tts)
    sent = [case.text(received) for received in server.requests]
    assert b"".join(chunks) == voice_of(_said(case, sent))
    assert all(len(chunk) % 2 == 0 and chunk for chunk in chunks)
    assert " ".join(" ".join(sent).split()) == "".join(TEXT)
    assert tts.sample_rate == case.rate


def _said(case: Case, sent: list[str]) -> str:
    """What the server spoke: all that it was sent, but for what separates frames here."""
    if case.name == "elevenlabs.io":
        return "".join(sent)[1:]  # the first text is the opening space
    if case.name == "kokoro.local":
        return "Hello there.I am 42 years old, prompt-canary."
    return "".join(sent)


@EACH
async def test_nothing_to_say_is_nothing(make: Make, case: Case) -> None:
    """No text, or only spaces: no audio, no error, no hang."""
    async with case.server() as server:
        tts = case.make(make, server)
        assert await spoken(tts, []) == []
        assert await spoken(tts, [" ", "\n"]) == []


@EACH
async def test_one_client_speaks_again(make: Make, case: Case) -> None:
    """No end marker of one stream is left for the next, even after a stream that was cut short."""
    async with case.server() as server:
        tts = case.make(make, server)
        first = await spoken(tts)
        cut = tts.stream(of(TEXT))
        await anext(cut)
        await cut.aclose()
        assert await spoken(tts) == first


async def test_a_hundred_voices_do_not_mix(make: Make) -> None:
    """Agents of one vendor, side by side: each text goes out with its own key and voice, and is heard."""

    async def speak(number: int) -> None:
        tts = make(
            "tts",
            provider="elevenlabs.io",
            api_key=f"key-{number}",
            voice_id=f"voice-{number}",
            url=server.ws_url,
        )
        heard = b"".join([chunk async for chunk in tts.stream(of((f"I am {number}. ",)))])
        assert heard == voice_of(f"I am {number}. ")

    async with ElevenLabsServer() as server:
        await asyncio.gather(*(speak(number) for number in range(100)))
        assert len(server.requests) == 100
    for received in server.requests:
        number = received.headers["xi-api-key"].removeprefix("key-")
        assert f"/voice-{number}/" in received.path
        assert texts("text")(received).strip() == f"I am {number}."


FAULTS = [
    (Fault.STALL, base.ProviderTimeout),
    (Fault.SILENT, base.ProviderTimeout),
    (Fault.STALL_LATER, base.ProviderTimeout),
    (Fault.EARLY_CLOSE, base.ProviderUnavailable),
    (Fault.EARLY_END, base.ProviderUnavailable),
    (Fault.ERROR_FRAME, (base.ProviderRateLimited, base.ProviderUnavailable)),
    (Fault.MALFORMED_FRAME, base.ProviderProtocolError),
    (Fault.NUMBER_FRAME, base.ProviderProtocolError),
    (Fault.UNAUTHORIZED, base.ProviderAuthError),
    (Fault.FORBIDDEN, base.ProviderAuthError),
    (Fault.NOT_FOUND, base.ProviderNotFound),
    (Fault.RATE_LIMITED, base.ProviderRateLimited),
    (Fault.BROKEN, base.ProviderUnavailable),
    (Fault.REDIRECT, base.ProviderProtocolError),
]


@EACH
@pytest.mark.parametrize(("fault", "kind"), FAULTS)
async def test_every_fault_is_one_typed_error(make: Make, case: Case, fault: Fault, kind: Any) -> None:
    """No hang, no foreign exception, and neither the key, the text nor the vendor's words in it."""
    limits = HASTY if fault in (Fault.STALL, Fault.SILENT, Fault.STALL_LATER) else {}
    async with case.server(fault=fault) as server:
        tts = case.make(make, server, **limits)
        with pytest.raises(kind) as caught:
            await spoken(tts)
        assert len(server.requests) == 1  # a redirect was not followed
    said = str(caught.value)
    assert case.section["provider"] in said
    assert caught.value.hint
    assert not any(word in said for word in (KEY, "canary", "secret words"))


@EACH
@pytest.mark.parametrize("fault", [Fault.SILENT, Fault.STALL_LATER])
async def test_cancelling_closes_the_vendors_socket(make: Make, case: Case, fault: Fault) -> None:
    """At once, before the first audio and after it."""
    async with case.server(fault=fault) as server:
        task = asyncio.create_task(spoken(case.make(make, server)))
        await server.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.last.disconnected.wait()


@EACH
async def test_closing_the_iterator_closes_the_vendors_socket(make: Make, case: Case) -> None:
    """Barge-in: whoever stops listening stops the vendor, while the text is still being written."""
    forever = asyncio.Event()

    async def writing() -> AsyncIterator[str]:
        yield "One sentence. Two sentences. "
        await forever.wait()

    async with case.server(fault=Fault.STALL_LATER) as server:
        audio = case.make(make, server).stream(writing())
        assert await anext(audio)
        await audio.aclose()
        await server.last.disconnected.wait()


@EACH
@pytest.mark.parametrize("failure", [TimeoutError, base.ProviderUnavailable, base.ProviderTimeout])
async def test_the_texts_own_failure_comes_through(make: Make, case: Case, failure: Any) -> None:
    """An LLM that fails in the middle is not the voice's fault, and is not hidden by it."""

    async def failing() -> AsyncIterator[str]:
        yield "One sentence. "
        raise failure("the model's")

    async with case.server() as server:
        with pytest.raises(failure, match="the model's"):
            _ = [chunk async for chunk in case.make(make, server).stream(failing())]


@EACH
async def test_streams_side_by_side_do_not_mix(make: Make, case: Case) -> None:
    """Twenty agents of one vendor at a time: keys, voices and texts stay apart."""

    async def say(number: int) -> None:
        key = {"api_key": f"key-{number}"} if case.keyed else {}
        tts = case.make(make, server, **key)
        text = f"agent{number}speaks"
        assert voice_of(text) in b"".join(await spoken(tts, [text]))

    async with case.server() as server:
        await asyncio.gather(*(say(number) for number in range(20)))
    for received in server.requests if case.keyed else []:
        number = case.text(received).split("agent")[1].split("speaks")[0]
        keys = (
            received.headers.get("authorization", "").rpartition(" ")[2],
            received.headers.get("xi-api-key"),
            received.query.get("api_key"),
        )
        assert f"key-{number}" in keys
