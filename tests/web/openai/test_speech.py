"""/v1/audio/speech in every format, with OpenAI's own client."""

from __future__ import annotations

import base64
import json
import sys
from typing import Any

import openai
import pytest

from agentsd.audio.decoder import decode_file
from tests.services.speech import spoken
from tests.vendors.base import Fault
from tests.vendors.openai_server import OpenAIServer, voice_of
from tests.web.conftest import Stack
from tests.web.openai.test_audio import PCM, SPEECH, TRANSCRIPTIONS, wav_of
from tests.web.openai.test_audio import voice as voice  # noqa: PLC0414  (a fixture)
from tests.web.openai.test_chat_completions import client_of

FORMATS = {
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
}


async def test_the_official_client_speaks_in_every_format(voice: Stack, vendor: OpenAIServer) -> None:
    """Its own default, mp3, and the others: what the vendor said is in it, whole and streamed."""
    vendor.audio = spoken(24_000)
    async with client_of(voice) as client:
        create = client.audio.speech.create
        default = await create(model="acme/voice", voice="alloy", input="Hello.")
        assert default.response.headers["content-type"] == "audio/mpeg"
        for name, kind in FORMATS.items():
            reply = await create(model="acme/voice", voice="alloy", input="Hello.", response_format=name)  # type: ignore[arg-type]
            assert reply.response.headers["content-type"] == kind
            assert len(decode_file(reply.content, 24_000, 60)) == pytest.approx(len(vendor.audio), rel=0.1)
        async with client.audio.speech.with_streaming_response.create(
            model="acme/deep", voice="alloy", input="Hello.", response_format="opus", speed=1.0
        ) as streamed:
            data = b"".join([chunk async for chunk in streamed.iter_bytes()])
            assert streamed.headers["x-sample-rate"] == "16000"
        assert data.startswith(b"OggS")
        assert "speed" not in vendor.last.body


async def events_of(voice: Stack, **body: Any) -> list[dict[str, Any]]:
    """The server-sent events of one speech."""
    body = {"model": "acme/voice", "input": "Hello.", "stream_format": "sse", **body}
    async with voice.client.post(voice.url + SPEECH, json=body) as reply:
        assert reply.content_type == "text/event-stream"
        frames = (await reply.text()).split("\n\n")
    return [json.loads(frame.removeprefix("data: ")) for frame in frames if frame]


async def test_speech_as_events(voice: Stack, vendor: OpenAIServer) -> None:
    """Deltas in base64, in the format that was asked for, and an end; without it after a failure."""
    events = await events_of(voice, response_format="pcm")
    assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
    assert b"".join(base64.b64decode(event["audio"]) for event in events[:-1]) == voice_of("Hello.")
    assert events[-1]["type"] == "speech.audio.done"
    assert set(events[-1]["usage"]) == {"input_tokens", "output_tokens", "total_tokens"}
    mp3 = await events_of(voice)
    assert base64.b64decode(mp3[0]["audio"]).startswith(b"ID3")
    vendor.fault = Fault.EARLY_CLOSE
    failed = await events_of(voice, input="word " * 400)
    assert failed[0]["type"] == "speech.audio.delta"
    assert failed[-1]["error"]["code"] == "provider_unavailable"


async def test_speed_is_passed_on_or_refused_by_name(voice: Stack, vendor: OpenAIServer) -> None:
    """Where the vendor has a speed it gets it; where it has none, or not this one, the client learns that."""
    voice.write("acme/steady.yaml", "name: Steady\ntts: {provider: deepgram.com, api_key: x}\n", sealed=True)
    await voice.sync()
    async with client_of(voice) as client:
        create = client.audio.speech.create
        await create(model="acme/voice", voice="alloy", input="Hello.", speed=1.5)
        assert vendor.last.body["speed"] == 1.5
        with pytest.raises(openai.BadRequestError) as refused:
            await create(model="acme/steady", voice="alloy", input="Hello.", speed=1.5)
    assert (refused.value.param, refused.value.code) == ("speed", "unsupported_option")
    assert "deepgram.com" in refused.value.message


async def test_without_the_extra(voice: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where PyAV is not installed, WAV and PCM go on; everything else is refused by name."""
    monkeypatch.setitem(sys.modules, "av", None)
    body = {"model": "acme/voice", "input": "Hello."}
    status, reply = await voice.ask("POST", SPEECH, json=body)
    assert (status, reply["error"]["param"]) == (400, "response_format")
    assert "cannot encode mp3" in reply["error"]["message"]
    async with voice.client.post(voice.url + SPEECH, json=body | {"response_format": "wav"}) as spoken_reply:
        assert spoken_reply.status == 200
    for data, wanted in ((wav_of(PCM), 200), (b"OggS" + bytes(99), 400)):
        headers = {"Content-Type": "audio/ogg"}
        path = f"{TRANSCRIPTIONS}?model=acme/voice"
        status, reply = await voice.ask("POST", path, data=data, headers=headers)
        assert status == wanted
    assert "the extra audio" in reply["error"]["message"]
