"""What each text-to-speech vendor is asked, and what it may answer about its rate."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentsd.providers import base
from tests.providers.conftest import Make
from tests.providers.test_speech import CASES, KEY, spoken
from tests.vendors.async_ai_server import AsyncAIServer
from tests.vendors.deepgram_server import DeepgramSpeakServer
from tests.vendors.elevenlabs_server import ElevenLabsServer
from tests.vendors.hume_server import HumeServer
from tests.vendors.kokoro_server import KokoroServer
from tests.vendors.openai_server import OpenAIServer


async def test_what_async_ai_is_asked(make: Make) -> None:
    """Key and version in the query; model, voice and format in the first message; an empty last one."""
    async with AsyncAIServer() as server:
        case = CASES[0]
        await spoken(case.make(make, server, language="en"), ["Hi."])
    assert server.last.query == {"api_key": KEY, "version": "v1"}
    assert [json.loads(frame) for frame in server.last.frames] == [
        {
            "model_id": "asyncflow_v2.0",
            "voice": {"mode": "id", "id": "v"},
            "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 44100},
            "language": "en",
        },
        {"transcript": "Hi. ", "voice": {"mode": "id", "id": "v"}},
        {"transcript": ""},
    ]


async def test_what_elevenlabs_is_asked(make: Make) -> None:
    """Voice in the path, key in a header, model and format in the query, settings in the first message."""
    async with ElevenLabsServer() as server:
        tts = CASES[1].make(make, server, stability=0.5, language_code="en", voice_id="abc")
        await spoken(tts, ["Hi."])
    assert server.last.path == "/v1/text-to-speech/abc/stream-input"
    assert server.last.headers["xi-api-key"] == KEY
    assert server.last.query == {
        "model_id": "eleven_flash_v2_5",
        "output_format": "pcm_22050",
        "inactivity_timeout": "180",
        "language_code": "en",
    }
    assert [json.loads(frame) for frame in server.last.frames] == [
        {"text": " ", "voice_settings": {"stability": 0.5}},
        {"text": "Hi. ", "try_trigger_generation": True, "flush": True},
        {"text": ""},
    ]


async def test_what_deepgram_is_asked(make: Make) -> None:
    """A token header, the format in the query, and one flush."""
    async with DeepgramSpeakServer() as server:
        await spoken(CASES[2].make(make, server), ["Hi."])
    assert server.last.headers["authorization"] == f"Token {KEY}"
    query = {"model": "aura", "encoding": "linear16", "sample_rate": "16000", "container": "none"}
    assert server.last.query == query
    frames = [json.loads(frame) for frame in server.last.frames]
    assert frames == [{"type": "Speak", "text": "Hi. "}, {"type": "Flush"}]


async def test_what_hume_is_asked(make: Make) -> None:
    """Bare PCM as JSON, the voice with every text, then the rest and a close."""
    async with HumeServer() as server:
        await spoken(CASES[3].make(make, server, speed=1.1), ["Hi."])
    assert server.last.query == {
        "api_key": KEY,
        "version": "2",
        "instant_mode": "true",
        "format_type": "pcm",
        "strip_headers": "true",
        "no_binary": "true",
    }
    assert [json.loads(frame) for frame in server.last.frames] == [
        {"text": "Hi. ", "voice": {"id": "v"}, "speed": 1.1},
        {"flush": True},
        {"close": True},
    ]


@pytest.mark.parametrize("rates", [{"rate": 22050}, {"rate": 24000, "true_rate": 22050}])
async def test_a_voice_at_another_rate_is_an_error_that_says_what_to_do(make: Make, rates: Any) -> None:
    """Whether `ready` tells it or only the WAV header: the manifest's rate would play it wrong."""
    async with KokoroServer(**rates) as server:
        with pytest.raises(base.ProviderProtocolError, match="22050 Hz") as caught:
            await spoken(CASES[4].make(make, server))
    assert "tts.sample_rate: 22050" in caught.value.hint


async def test_wav_at_another_rate_is_an_error_too(make: Make) -> None:
    """A server's WAV header is believed, not the manifest."""
    async with OpenAIServer(rate=16000) as server:
        with pytest.raises(base.ProviderProtocolError, match="16000 Hz"):
            await spoken(CASES[6].make(make, server))


async def test_what_openai_speech_is_asked(make: Make) -> None:
    """One request for each sentence."""
    async with OpenAIServer() as server:
        await spoken(CASES[5].make(make, server, instructions="Calm."), ["One. Two."])
    assert [received.body for received in server.requests] == [
        {"model": "m", "voice": "alloy", "response_format": "pcm", "instructions": "Calm.", "input": text}
        for text in ("One.", "Two.")
    ]
    assert server.last.headers["authorization"] == f"Bearer {KEY}"
    assert server.last.path == "/v1/audio/speech"
