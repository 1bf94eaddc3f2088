"""Speech-to-text clients against servers that speak their vendors' protocols."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from agentsd.providers import base
from agentsd.providers.base import Transcript
from tests.providers.conftest import HASTY, Make
from tests.vendors.base import Fault, VendorServer
from tests.vendors.deepgram_server import DeepgramListenServer
from tests.vendors.openai_server import OpenAIServer, heard
from tests.vendors.whisper_server import WhisperServer

KEY = "sk-canary-8c4b"
SECOND = 32_000  # bytes of PCM at 16 kHz


def audio(seconds: float = 2.5, seed: bytes = b"") -> list[bytes]:
    """PCM in chunks of a tenth of a second."""
    noise = hashlib.sha256(seed).digest() * 100  # 3,200 bytes
    return [noise] * int(seconds * 10)


@dataclass(frozen=True)
class Case:
    """One vendor: its server and its manifest section."""

    name: str
    server: Callable[..., VendorServer]
    section: dict[str, Any]
    url_field: str
    path: str = ""
    keyed: bool = True
    streams: bool = True  # partial transcripts come before the end

    def make(self, make: Make, server: VendorServer, **more: Any) -> Any:
        base_url = server.ws_url if self.streams else server.url
        key = {"api_key": KEY} if self.keyed else {}
        return make("stt", **{self.url_field: base_url + self.path, **key, **self.section, **more})


CASES = [
    Case("whisper.local", WhisperServer, {"provider": "whisper.local"}, "url", keyed=False),
    Case("deepgram.com", DeepgramListenServer, {"provider": "deepgram.com"}, "url", "/v1/listen"),
    Case(
        "openai-compatible",
        OpenAIServer,
        {"provider": "openai-compatible", "model": "w"},
        "api_url",
        streams=False,
    ),
]
EACH = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


async def of(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
        await asyncio.sleep(0)


async def understood(stt: Any, pcm: Iterable[bytes]) -> list[Transcript]:
    return [transcript async for transcript in stt.stream(of(pcm))]


@EACH
async def test_the_vendor_hears_every_byte(make: Make, case: Case) -> None:
    """The final transcript is that of the whole audio; a streaming vendor has partial ones before."""
    async with case.server() as server:
        stt = case.make(make, server)
        transcripts = await understood(stt, audio())
    assert transcripts[-1] == Transcript(heard(b"".join(audio())), final=True)
    partial = [Transcript(heard(b"".join(audio(seconds))), final=False) for seconds in (1, 2)]
    assert transcripts[:-1] == (partial if case.streams else [])
    assert stt.sample_rate == 16_000


@EACH
async def test_nothing_was_said(make: Make, case: Case) -> None:
    """No audio: no transcript, no error, no hang."""
    async with case.server() as server:
        assert await understood(case.make(make, server), []) == []


@EACH
async def test_one_client_listens_again(make: Make, case: Case) -> None:
    """Nothing of one stream is left for the next, even after one that was cut short."""
    async with case.server() as server:
        stt = case.make(make, server)
        first = await understood(stt, audio())
        cut = stt.stream(of(audio(3)))
        await anext(cut)
        await cut.aclose()
        assert await understood(stt, audio()) == first


@EACH
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.STALL, base.ProviderTimeout),
        (Fault.SILENT, base.ProviderTimeout),
        (Fault.STALL_LATER, base.ProviderTimeout),
        (Fault.EARLY_CLOSE, base.ProviderUnavailable),
        (Fault.EARLY_END, base.ProviderUnavailable),
        (Fault.ERROR_FRAME, (base.ProviderRateLimited, base.ProviderUnavailable)),
        (Fault.MALFORMED_FRAME, base.ProviderProtocolError),
        (Fault.NUMBER_FRAME, base.ProviderProtocolError),
        (Fault.UNAUTHORIZED, base.ProviderAuthError),
        (Fault.NOT_FOUND, base.ProviderNotFound),
        (Fault.RATE_LIMITED, base.ProviderRateLimited),
        (Fault.BROKEN, base.ProviderUnavailable),
        (Fault.REDIRECT, base.ProviderProtocolError),
    ],
)
async def test_every_fault_is_one_typed_error(make: Make, case: Case, fault: Fault, kind: Any) -> None:
    """No hang, no foreign exception, and neither the key nor the vendor's words in it."""
    limits = HASTY if fault in (Fault.STALL, Fault.SILENT, Fault.STALL_LATER) else {}
    async with case.server(fault=fault) as server:
        stt = case.make(make, server, **limits)
        with pytest.raises(kind) as caught:
            await understood(stt, audio())
        assert len(server.requests) == 1
    said = str(caught.value)
    assert case.section["provider"] in said
    assert not any(word in said for word in (KEY, "secret words"))


@EACH
@pytest.mark.parametrize("fault", [Fault.SILENT, Fault.STALL_LATER])
async def test_cancelling_closes_the_vendors_socket(make: Make, case: Case, fault: Fault) -> None:
    """At once, whatever the vendor is doing."""
    async with case.server(fault=fault) as server:
        task = asyncio.create_task(understood(case.make(make, server), audio()))
        await server.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.last.disconnected.wait()


@EACH
async def test_the_microphones_own_failure_comes_through(make: Make, case: Case) -> None:
    """What fails in the source of the audio is not called the vendor's fault."""

    async def failing() -> AsyncIterator[bytes]:
        yield audio()[0]
        raise OSError("the microphone's")

    async with case.server() as server:
        with pytest.raises(OSError, match="the microphone's"):
            _ = [transcript async for transcript in case.make(make, server).stream(failing())]


@EACH
async def test_a_cancelled_source_does_not_hang(make: Make, case: Case) -> None:
    """A source that was cancelled from elsewhere ends the stream as a cancellation."""

    async def cancelled() -> AsyncIterator[bytes]:
        yield audio()[0]
        raise asyncio.CancelledError

    async with case.server() as server:
        stream = case.make(make, server).stream(cancelled())
        with pytest.raises(asyncio.CancelledError):
            await anext(stream)


@EACH
async def test_streams_side_by_side_do_not_mix(make: Make, case: Case) -> None:
    """Twenty callers at a time: each is told what it said."""

    async def talk(number: int) -> None:
        pcm = audio(seed=str(number).encode())
        transcripts = await understood(case.make(make, server), pcm)
        assert transcripts[-1].text == heard(b"".join(pcm))

    async with case.server() as server:
        await asyncio.gather(*(talk(number) for number in range(20)))


async def test_whisper_that_does_not_close(make: Make) -> None:
    """A final transcript after the end, and then silence: that was all."""
    async with WhisperServer(closes=False) as server:
        transcripts = await understood(CASES[0].make(make, server, language="en"), audio(0.5))
    assert transcripts == [Transcript(heard(b"".join(audio(0.5))), final=True)]
    assert server.last.path == "/api/stt/stream"
    assert server.last.query == {"sample_rate": "16000", "language": "en"}
    assert server.last.frames == [*audio(0.5), "end"]


async def test_what_deepgram_is_asked(make: Make) -> None:
    """A token header, everything else in the query, binary audio, then the two end messages."""
    async with DeepgramListenServer() as server:
        await understood(CASES[1].make(make, server, smart_format=False), audio(0.2))
    assert server.last.headers["authorization"] == f"Token {KEY}"
    assert server.last.query == {
        "model": "nova-3",
        "language": "en",
        "smart_format": "false",
        "encoding": "linear16",
        "sample_rate": "16000",
        "channels": "1",
        "interim_results": "true",
        "endpointing": "500",
        "vad_events": "true",
    }
    assert server.last.frames == [*audio(0.2), '{"type":"Finalize"}', '{"type":"CloseStream"}']


async def test_what_openai_transcription_is_asked(make: Make) -> None:
    """One form with a WAV file and the manifest's fields."""
    async with OpenAIServer() as server:
        await understood(CASES[2].make(make, server, language="en", prompt="SOPS"), audio(0.2))
    form = server.last.body
    assert form.pop("file")[:4] == b"RIFF"
    assert form == {"model": "w", "language": "en", "prompt": "SOPS", "response_format": "json"}
    assert server.last.path == "/v1/audio/transcriptions"
    assert server.last.headers["authorization"] == f"Bearer {KEY}"


async def test_silence_has_no_transcript(make: Make) -> None:
    """An empty text is no transcript."""
    async with OpenAIServer(transcript=" ") as server:
        assert await understood(CASES[2].make(make, server), audio(0.2)) == []
