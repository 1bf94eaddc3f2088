"""/v1/audio and /v1/embeddings over real sockets, with OpenAI's own client."""

from __future__ import annotations

import asyncio
import io
import json
import wave
from typing import Any

import aiohttp
import openai
import pytest

from tests.vendors.base import Fault
from tests.vendors.openai_server import OpenAIServer, heard, vector_of, voice_of
from tests.web.conftest import CANARY, Stack, echo
from tests.web.openai.test_chat_completions import FAILURES, client_of

SPEECH, TRANSCRIPTIONS, EMBEDDINGS = "/v1/audio/speech", "/v1/audio/transcriptions", "/v1/embeddings"
VOICE = """\
name: Voice
language: en
tts: {{provider: openai-compatible, model: t, voice: v, api_key: {key}, api_url: "{url}", sample_rate: {rate},
  timeout_seconds: 1, idle_timeout_seconds: 1}}
stt: {{provider: openai-compatible, model: s, api_key: {key}, api_url: "{url}", timeout_seconds: 1}}
embedding: {{provider: openai-compatible, model: e, api_key: {key}, api_url: "{url}", timeout_seconds: 1}}
"""


@pytest.fixture
async def voice(stack: Stack, vendor: OpenAIServer) -> Stack:
    """A sealed agent that speaks, listens and embeds, one at another rate, and one that does nothing."""
    text = VOICE.format(key=CANARY, url=vendor.url, rate=24_000)
    stack.write("acme/voice.yaml", text, sealed=True)
    stack.write("acme/deep.yaml", text.replace("24000", "16000"), sealed=True)
    stack.write("echo-only.yaml", echo("Echo", default=True))
    await stack.sync()
    return stack


def wav_of(pcm: bytes, *, rate: int = 16_000, channels: int = 1, width: int = 2) -> bytes:
    """A WAV file as the standard library writes it."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(pcm)
    return file.getvalue()


async def test_the_official_client_speaks(voice: Stack, vendor: OpenAIServer) -> None:
    """Whole and streamed; pcm is the vendor's bytes, wav a file that the standard library reads."""
    async with client_of(voice) as client:
        spoken = await client.audio.speech.create(
            model="acme/voice", voice="alloy", input="Hello.", response_format="pcm"
        )
        assert spoken.content == voice_of("Hello.")
        async with client.audio.speech.with_streaming_response.create(
            model="acme/voice", voice="alloy", input="Hello there. How are you?", response_format="wav"
        ) as reply:
            assert (reply.headers["content-type"], reply.headers["x-sample-rate"]) == ("audio/wav", "24000")
            assert reply.headers["x-agent"] == "acme/voice"
            data = b"".join([chunk async for chunk in reply.iter_bytes()])
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)
        frames = file.readframes(len(data))
    assert frames == voice_of("Hello there.") + voice_of("How are you?")
    assert {request.headers["authorization"] for request in vendor.requests} == {f"Bearer {CANARY}"}


async def test_other_rates_are_converted(voice: Stack, vendor: OpenAIServer) -> None:
    """pcm is at 24 kHz whatever the voice's rate is; a recording reaches the vendor at its own."""
    vendor.audio = bytes(32_000)  # a second at 16 kHz
    body = {"model": "acme/deep", "input": "One.", "response_format": "pcm", "speed": 1.0}
    for wish, rate in (({}, 24_000), ({"sample_rate": 8_000}, 8_000), ({"response_format": "wav"}, 16_000)):
        async with voice.client.post(voice.url + SPEECH, json=body | wish) as reply:
            assert reply.headers["X-Sample-Rate"] == str(rate)
            assert len(await reply.read()) - 44 * ("response_format" in wish) == rate * 2
    status, _ = await voice.ask(
        "POST", f"{TRANSCRIPTIONS}?model=acme/deep", data=wav_of(bytes(96_000), rate=48_000),
        headers={"Content-Type": "audio/wav"},
    )  # fmt: skip
    assert (status, len(vendor.last.body["file"])) == (200, 44 + 32_000)


async def test_speech_comes_before_it_is_over(voice: Stack, vendor: OpenAIServer) -> None:
    """The first sound is there while the vendor still speaks; leaving then ends the vendor's request."""
    vendor.delay = 0.05
    body = {"model": "acme/voice", "input": "word " * 400, "response_format": "pcm"}
    async with voice.client.post(voice.url + SPEECH, json=body) as reply:
        assert await reply.content.readany()
        assert not vendor.last.disconnected.is_set()
        reply.close()
        async with asyncio.timeout(60):
            await vendor.last.disconnected.wait()


BAD_SPEECH: list[tuple[dict[str, Any], str]] = [
    ({"response_format": "wma"}, "response_format"),
    ({"response_format": 7}, "response_format"),
    ({"input": " "}, "input"),
    ({"input": "x" * 20_000}, "input"),
    ({"input": 7}, "input"),
    ({"speed": 5}, "speed"),
    ({"speed": True}, "speed"),
    ({"speed": "fast"}, "speed"),
    ({"stream_format": "chunks"}, "stream_format"),
    ({"sample_rate": 1}, "sample_rate"),
    ({"model": 3}, "model"),
    ({"lang_code": "a"}, "lang_code"),
]


@pytest.mark.parametrize(("change", "param"), BAD_SPEECH, ids=lambda value: str(value)[:30])
async def test_a_wrong_wish_is_openais_400(voice: Stack, change: dict[str, Any], param: str) -> None:
    """Each names the field that is to blame."""
    body = {"model": "acme/voice", "input": "Hello.", **change}
    status, reply = await voice.ask("POST", SPEECH, json=body)
    assert (status, reply["error"]["param"], reply["error"]["type"]) == (400, param, "invalid_request_error")


async def test_a_vendors_failure_is_a_status(voice: Stack, vendor: OpenAIServer) -> None:
    """Speech, transcription and embedding map failures as chat does."""
    for fault, status, code in FAILURES:
        vendor.fault = fault
        asked = [
            (SPEECH, {"json": {"model": "acme/voice", "input": "Hello."}}),
            (EMBEDDINGS, {"json": {"model": "acme/voice", "input": "Hello."}}),
            (
                TRANSCRIPTIONS + "?model=acme/voice",
                {"data": b"\1\0" * 99, "headers": {"Content-Type": "audio/pcm"}},
            ),
        ]
        for path, options in asked:
            found, reply = await voice.ask("POST", path, **options)
            assert (found, reply["error"]["code"]) == (status, code), (fault, path)
            assert "secret words" not in json.dumps(reply)


async def test_a_failure_in_the_middle_cuts_the_speech(voice: Stack, vendor: OpenAIServer) -> None:
    """Half an answer does not pass for a whole one."""
    vendor.fault = Fault.EARLY_CLOSE
    body = {"model": "acme/voice", "input": "word " * 400}
    async with voice.client.post(voice.url + SPEECH, json=body) as reply:
        assert reply.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await reply.read()
    vendor.fault = None
    assert (await voice.get("/v1/models"))[0] == 200


async def test_an_agent_without_the_organ_is_a_400(voice: Stack) -> None:
    """Also the built-in one; the hint names the section."""
    for model in ("echo-only", "echo"):
        answers = [
            await voice.ask("POST", SPEECH, json={"model": model, "input": "Hello."}),
            await voice.ask("POST", EMBEDDINGS, json={"model": model, "input": "Hello."}),
            await voice.ask("POST", f"{TRANSCRIPTIONS}?model={model}", data=wav_of(b"\1\0" * 99),
                            headers={"Content-Type": "audio/wav"}),
        ]  # fmt: skip
        assert [(status, reply["error"]["code"]) for status, reply in answers] == [
            (400, "agent_unavailable")
        ] * 3
        assert "tts section" in answers[0][1]["error"]["message"]
    status, _ = await voice.ask("POST", SPEECH, json={"model": "nobody", "input": "Hello."})
    assert status == 404


PCM = b"".join(number.to_bytes(2, "little") for number in range(16_000))


async def test_the_official_client_transcribes(voice: Stack, vendor: OpenAIServer) -> None:
    """json, text, verbose_json and streamed; the vendor gets the very samples."""
    async with client_of(voice) as client:
        create = client.audio.transcriptions.create
        file = ("speech.wav", wav_of(PCM), "audio/wav")
        assert (await create(model="acme/voice", file=file)).text == heard(PCM)
        text = await create(model="acme/voice", file=file, response_format="text")
        assert text == heard(PCM) + "\n"
        verbose = await create(model="acme/voice", file=file, response_format="verbose_json")
        assert (verbose.text, verbose.duration, verbose.language) == (heard(PCM), 1.0, "en")
        events = [event async for event in await create(model="acme/voice", file=file, stream=True)]
        assert [event.type for event in events] == ["transcript.text.delta", "transcript.text.done"]
        assert events[-1].text == heard(PCM)  # type: ignore[union-attr]
        with pytest.raises(openai.BadRequestError, match="json, text, srt, vtt, verbose_json"):
            await create(model="acme/voice", file=file, response_format="diarized_json")


async def test_raw_bodies_are_transcribed(voice: Stack, vendor: OpenAIServer) -> None:
    """WAV and PCM without a form; stereo is mixed."""
    stereo = b"".join(sample * 2 for sample in (PCM[i : i + 2] for i in range(0, len(PCM), 2)))
    asked = [
        ("audio/wav", wav_of(PCM)),
        ("audio/wav", wav_of(stereo, channels=2)),
        ("audio/pcm", PCM),
        ("audio/pcm;rate=16000;channels=2", stereo),
    ]
    for kind, data in asked:
        status, reply = await voice.ask(
            "POST", f"{TRANSCRIPTIONS}?model=acme/voice", data=data, headers={"Content-Type": kind}
        )
        assert (status, reply["text"]) == (200, heard(PCM)), kind
        assert vendor.last.body["file"][44:] == PCM


WITHOUT_FILE = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nx\r\n--b--'


async def test_a_recording_that_is_none_is_a_400(voice: Stack) -> None:
    """Not WAV, empty, another type, no file, and too large: each says what to send."""
    url = f"{TRANSCRIPTIONS}?model=acme/voice"
    asked = [
        ("audio/mpeg", b"ID3 not a wav", 400),
        ("audio/wav", wav_of(b""), 400),
        ("audio/pcm;rate=x", PCM, 400),
        ("audio/pcm", b"", 400),
        ("application/json", b"{}", 415),
        ("audio/wav", io.BytesIO(bytes((25 << 20) + 1)), 413),
        ("multipart/form-data; boundary=b", WITHOUT_FILE, 400),
        ("multipart/form-data", b"x", 400),
    ]  # fmt: skip
    for kind, data, wanted in asked:
        status, reply = await voice.ask("POST", url, data=data, headers={"Content-Type": kind})
        assert (status, reply["error"]["type"]) == (wanted, "invalid_request_error"), kind


FORM = {"Content-Type": "multipart/form-data; boundary=x"}
PACKED = {"Content-Type": "audio/wav", "Content-Encoding": "gzip"}


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (FORM, b"--x\r\nno header\r\n\r\n--x--\r\n"),
        (FORM, b"--x\r\nX: " + b"y" * 9000 + b"\r\n\r\n--x--\r\n"),
        (FORM, b"--x\r\nContent-Disposition: form-data; name=file\r\n"),
        (PACKED, b"no gzip at all"),
    ],
    ids=["header", "long line", "cut", "gzip"],
)
async def test_a_garbled_upload_is_a_400(voice: Stack, headers: dict[str, str], body: bytes) -> None:
    """Whatever aiohttp raises while it reads it."""
    status, reply = await voice.ask("POST", TRANSCRIPTIONS, data=body, headers=headers)
    assert (status, reply["error"]["type"]) == (400, "invalid_request_error")


async def test_the_official_client_embeds(voice: Stack) -> None:
    """Its own default (base64) and plain numbers; one text and many, in order."""
    async with client_of(voice) as client:
        packed = await client.embeddings.create(model="acme/voice", input=["one", "two"])
        plain = await client.embeddings.create(model="acme/voice", input="one", encoding_format="float")
        assert plain.data[0].embedding == vector_of("one", 8)
        assert [row.embedding for row in packed.data] == [
            pytest.approx(vector_of(text, 8), abs=1e-6) for text in ("one", "two")
        ]
        assert packed.model == "acme/voice"
        for change in ({"input": []}, {"input": ""}, {"dimensions": 0}):
            with pytest.raises(openai.BadRequestError):
                await client.embeddings.create(**({"model": "acme/voice", "input": "x"} | change))  # type: ignore[arg-type]
