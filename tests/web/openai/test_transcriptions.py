"""/v1/audio/transcriptions and /translations in every format, with OpenAI's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from aiohttp import web

from agentsd.audio.decoder import decode_file
from agentsd.providers.base import ProviderRejected
from agentsd.providers.catalog import Catalog
from agentsd.providers.limits import OperatorLimits
from agentsd.providers.transport.sessions import HttpSessions
from tests.services.speech import WAV, spoken
from tests.vendors.openai_server import OpenAIServer, heard
from tests.web.conftest import Stack
from tests.web.openai.test_audio import PCM, TRANSCRIPTIONS, wav_of
from tests.web.openai.test_audio import voice as voice  # noqa: PLC0414  (a fixture)
from tests.web.openai.test_chat_completions import client_of

RECORDINGS = sorted((Path(__file__).parents[2] / "audio/recordings").iterdir())
VERBOSE = {
    "text": "Hello there. Bye.",
    "language": "english",
    "segments": [
        {
            "id": 0,
            "seek": 0,
            "start": 0.0,
            "end": 0.5,
            "text": " Hello <there>.",
            "avg_logprob": -0.2,
            "key": "x",
        },
        {"id": 1, "seek": 0, "start": 0.5, "end": 99.0, "text": " Bye --> now.", "no_speech_prob": 0.1},
    ],
    "words": [
        {"word": "Hello", "start": 0.0, "end": 0.2},
        {"word": "there.", "start": 0.2, "end": 0.5},
        {"word": "Bye.", "start": 0.6, "end": 0.9},
    ],
}
SRT = """\
1
00:00:00,000 --> 00:00:00,500
Hello <there>.

2
00:00:00,500 --> 00:00:01,000
Bye -> now.

"""
VTT = """\
WEBVTT

00:00:00.000 --> 00:00:00.500
Hello &lt;there&gt;.

00:00:00.500 --> 00:00:01.000
Bye -&gt; now.

"""
FILE = ("speech.wav", wav_of(PCM), "audio/wav")


class TimedServer(OpenAIServer):
    """A vendor with times, where it is asked for them."""

    async def _transcribe(self, request: web.Request, form: dict[str, Any]) -> web.StreamResponse:
        if form["response_format"] != "verbose_json":
            return await super()._transcribe(request, form)
        return web.json_response(VERBOSE)


class PlainServer(TimedServer):
    """A vendor whose model has no times, as gpt-4o-transcribe, Voxtral and older vLLM."""

    async def _transcribe(self, request: web.Request, form: dict[str, Any]) -> web.StreamResponse:
        if form["response_format"] != "json":
            error = {"message": "secret words", "param": "response_format", "code": "unsupported_value"}
            return web.json_response({"error": error}, status=400)
        return await super()._transcribe(request, form)


@pytest.fixture
async def timed(voice: Stack) -> Any:
    """An agent whose recogniser has times."""
    async with TimedServer() as server:
        section = f'{{provider: openai-compatible, model: s, api_url: "{server.url}"}}'
        voice.write("timed.yaml", f"name: Timed\nstt: {section}\n")
        await voice.sync()
        yield server


async def test_the_official_client_sends_every_format(voice: Stack, vendor: OpenAIServer) -> None:
    """By name and type, as its users have them; the vendor gets PCM at its own rate."""
    async with client_of(voice) as client:
        for path in RECORDINGS:
            written = await client.audio.transcriptions.create(model="acme/voice", file=path)
            pcm = vendor.last.body["file"][44:]
            assert written.text == heard(pcm)
            assert 1.7 < len(pcm) / 32_000 < 2.5, path.name
    data = next(path for path in RECORDINGS if path.suffix == ".webm").read_bytes()
    headers = {"Content-Type": "audio/webm;codecs=opus"}
    status, reply = await voice.ask("POST", f"{TRANSCRIPTIONS}?model=acme/voice", data=data, headers=headers)
    assert (status, reply["text"]) == (200, heard(vendor.last.body["file"][44:]))


async def test_times_where_the_vendor_has_them(voice: Stack, timed: TimedServer) -> None:
    """Segments, words and subtitles; only known members, within the recording."""
    async with client_of(voice) as client:
        create = client.audio.transcriptions.create
        both = await create(
            model="timed", file=FILE, response_format="verbose_json",
            timestamp_granularities=["segment", "word"],
        )  # fmt: skip
        assert timed.last.body["timestamp_granularities[]"] == "word"  # the last one
        assert (both.language, both.duration) == ("english", 1.0)
        assert both.segments is not None
        assert [(each.start, each.end) for each in both.segments] == [(0.0, 0.5), (0.5, 1.0)]
        assert both.segments[0].avg_logprob == -0.2
        assert "key" not in both.segments[0].to_dict()
        assert [word.word for word in both.words or ()] == ["Hello", "there.", "Bye."]
        words = await create(
            model="timed", file=FILE, response_format="verbose_json", timestamp_granularities=["word"]
        )
        assert words.segments is None
        assert await create(model="timed", file=FILE, response_format="srt") == SRT
        assert await create(model="timed", file=FILE, response_format="vtt") == VTT


async def test_subtitles_without_times_cover_the_recording(voice: Stack) -> None:
    """One cue; words cannot be had, and that is said by name."""
    async with client_of(voice) as client:
        create = client.audio.transcriptions.create
        srt = await create(model="acme/voice", file=FILE, response_format="srt")
        assert srt == f"1\n00:00:00,000 --> 00:00:01,000\n{heard(PCM)}\n\n"
        with pytest.raises(openai.BadRequestError) as refused:
            await create(
                model="acme/voice", file=FILE, response_format="verbose_json",
                timestamp_granularities=["word"],
            )  # fmt: skip
    assert refused.value.param == "timestamp_granularities"


async def test_a_model_that_refuses_times(voice: Stack) -> None:
    """Subtitles come without them; words are refused by name, in our own words."""
    async with PlainServer() as server, client_of(voice) as client:
        section = f'{{provider: openai-compatible, model: gpt-4o-transcribe, api_url: "{server.url}"}}'
        voice.write("plain.yaml", f"name: Plain\nstt: {section}\n")
        await voice.sync()
        create = client.audio.transcriptions.create
        srt = await create(model="plain", file=FILE, response_format="srt")
        assert srt == f"1\n00:00:00,000 --> 00:00:01,000\n{heard(PCM)}\n\n"
        verbose = await create(model="plain", file=FILE, response_format="verbose_json")
        assert (verbose.text, verbose.segments) == (heard(PCM), None)
        with pytest.raises(openai.BadRequestError) as refused:
            await create(
                model="plain", file=FILE, response_format="verbose_json", timestamp_granularities=["word"]
            )
    assert refused.value.param == "timestamp_granularities"


LANGUAGES = {
    "en-US": "en",
    "pt_BR": "pt",
    "zh-Hans-CN": "zh",
    "haw": "haw",
    "EN": "en",
    "auto": None,
    "": None,
}


async def test_languages_as_browsers_have_them(voice: Stack, vendor: OpenAIServer) -> None:
    """Whisper takes ISO 639 alone; ``auto`` is several servers' word for none. A name is refused."""
    url = f"{TRANSCRIPTIONS}?model=acme/voice&language="
    headers = {"Content-Type": "audio/wav"}
    for asked, sent in LANGUAGES.items():
        status, _ = await voice.ask("POST", url + asked, data=wav_of(PCM), headers=headers)
        assert (status, vendor.last.body.get("language")) == (200, sent), asked
    status, reply = await voice.ask("POST", url + "english", data=wav_of(PCM), headers=headers)
    assert (status, reply["error"]["param"]) == (400, "language")


async def test_very_short_and_very_long_speech(catalog: Catalog, vendor: OpenAIServer) -> None:
    """OpenAI refuses less than 0.1 s and more than 25 MiB: the one gets silence, the other is compressed."""
    sessions = HttpSessions(limits=OperatorLimits(recording=100_000))
    section = {"provider": "openai-compatible", "model": "s", "api_url": vendor.url}
    ear = catalog.build("stt", catalog.settings_of("stt", section), sessions)
    sound = spoken(16_000)
    await listen(ear, sound[:320])
    assert vendor.last.body["file"][44:] == sound[:320] + bytes(6_080)
    vendor.transcript = "All of it."
    assert await listen(ear, sound * 4) == ["All of it."]
    assert len(decode_file(vendor.last.body["file"], 16_000, 60)) == pytest.approx(4 * len(sound), rel=0.02)
    with pytest.raises(ProviderRejected, match="AGENTSD_MAX_UPLOAD"):
        await listen(ear, sound * 12)
    await ear.aclose()
    await sessions.aclose()


async def listen(ear: Any, pcm: bytes) -> list[str]:
    """What is heard, in pieces that cut samples."""

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(pcm), 3_333):
            yield pcm[at : at + 3_333]

    return [part.text async for part in ear.stream(pieces())]


def form_of(*parts: tuple[str, bytes], end: bytes = b"--x--\r\n") -> bytes:
    """A form by hand: (what follows ``form-data``, contents) of each part."""
    head = b"--x\r\nContent-Disposition: form-data; "
    return b"".join(head + name.encode() + b"\r\n\r\n" + data + b"\r\n" for name, data in parts) + end


MODEL = ("name=model", b"timed")
SOUND = wav_of(PCM)
WORD = ('name="timestamp_granularities[0]"', b"word")
AS_VERBOSE = ("name=response_format", b"verbose_json")
FORMS: dict[str, list[tuple[str, bytes]]] = {
    "the file before the fields": [('name="file"; filename="a.wav"', SOUND), MODEL],
    "without a suffix": [MODEL, ('name="file"; filename="blob"', SOUND)],
    "without a name": [MODEL, ('name="file"', SOUND)],
    "a wrong suffix": [MODEL, ('name="file"; filename="a.mp3"', SOUND)],
    "a name in another script": [MODEL, ("name=\"file\"; filename*=UTF-8''%E5%A3%B0.wav", SOUND)],
    "a wrong type": [MODEL, ('name="file"; filename="a.m4a"\r\nContent-Type: audio/x-m4a', SOUND)],
    "a type that is none": [MODEL, ('name="file"; filename="a"\r\nContent-Type: undefined', SOUND)],
    "empty fields": [MODEL, ("name=language", b""), ("name=prompt", b""), ('name="file"; filename=a', SOUND)],
}
BAD_FORMS: dict[str, tuple[list[tuple[str, bytes]], str | None, str]] = {
    "a path": ([MODEL, ('name="file"', b"./speech.mp3")], "file", "file=@PATH"),
    "another field": ([MODEL, ('name="audio"; filename="a.wav"', SOUND * 3)], "audio", "the field file"),
    "empty": ([MODEL, ('name="file"; filename="a.wav"', b"")], "file", "is empty"),
    "two": ([MODEL, *[('name="file"; filename="a.wav"', SOUND)] * 2], "file", "more than one"),
    "text": ([MODEL, ('name="file"; filename="a.txt"', b"hello")], "file", "not in a known format"),
    "an unknown field": ([MODEL, ("name=vad_filter", b"true"), ("name=file", SOUND)], "vad_filter", "known"),
}


async def test_forms_as_clients_write_them(voice: Stack, timed: TimedServer) -> None:
    """Names and types are not believed; what cannot be read is refused with what to do."""
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    for name, parts in FORMS.items():
        status, reply = await voice.ask("POST", TRANSCRIPTIONS, data=form_of(*parts), headers=headers)
        assert (status, reply.get("text")) == (200, heard(PCM)), name
    numbered = form_of(MODEL, AS_VERBOSE, WORD, ("name=file", SOUND))
    status, reply = await voice.ask("POST", TRANSCRIPTIONS, data=numbered, headers=headers)
    assert (status, len(reply["words"])) == (200, 3)
    for name, (parts, param, words) in BAD_FORMS.items():
        status, reply = await voice.ask("POST", TRANSCRIPTIONS, data=form_of(*parts), headers=headers)
        assert (status, reply["error"]["param"]) == (400, param), name
        assert words in reply["error"]["message"], name
    headers = {"Content-Type": "multipart/form-data"}
    status, reply = await voice.ask("POST", TRANSCRIPTIONS, data=numbered, headers=headers)
    assert status == 400
    assert "no boundary" in reply["error"]["message"]


async def test_bare_recordings_of_a_wrong_type(voice: Stack, vendor: OpenAIServer) -> None:
    """The first bytes decide, also against ``audio/pcm``; a program that sends no type sends this one."""
    data = next(path for path in RECORDINGS if path.suffix == ".webm").read_bytes()
    for kind in ("audio/pcm", "application/octet-stream", "audio/wav", "video/webm;codecs=vp9,opus"):
        headers = {"Content-Type": kind}
        status, reply = await voice.ask(
            "POST", f"{TRANSCRIPTIONS}?model=acme/voice", data=data, headers=headers
        )
        assert (status, reply["text"]) == (200, heard(vendor.last.body["file"][44:])), kind
        assert len(vendor.last.body["file"]) > 50_000


async def test_options_are_passed_on(voice: Stack, timed: TimedServer) -> None:
    """What the vendor's interface has reaches it, for this request alone; so do translations."""
    async with client_of(voice) as client:
        create = client.audio.transcriptions.create
        await create(model="timed", file=FILE, language="de", prompt="SOPS", temperature=0.3)
        sent = timed.last.body
        assert (sent["language"], sent["prompt"], sent["temperature"]) == ("de", "SOPS", "0.3")
        await create(model="timed", file=FILE, temperature=0)
        assert not {"language", "prompt", "temperature"} & set(timed.last.body)
        with pytest.deprecated_call():  # in the newest client
            english = await client.audio.translations.create(model="timed", file=FILE, prompt="SOPS")
        assert english.text == heard(PCM)
        assert timed.last.path == "/v1/audio/translations"
        assert timed.last.body["prompt"] == "SOPS"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"prompt": "SOPS"}, "prompt"),
    ({"temperature": "0.5"}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"language": "x y"}, "language"),
    ({"include[]": "logprobs"}, "include"),
    ({"known_speaker_names[]": "Ann"}, "known_speaker_names"),
    ({"chunking_strategy": "server_vad"}, "chunking_strategy"),
    ({"timestamp_granularities[]": "word"}, "timestamp_granularities"),
    ({"timestamp_granularities[]": "letter"}, "timestamp_granularities"),
    ({"timestamp_granularities[]": "word", "response_format": "verbose_json"}, "timestamp_granularities"),
    ({"response_format": "srt", "stream": "true"}, "stream"),
    ({"response_format": "diarized_json"}, "response_format"),
]


async def test_what_cannot_be_done_is_refused_by_name(voice: Stack) -> None:
    """Nothing is dropped without a word; a language is passed on where the vendor has it."""
    voice.write("plain.yaml", 'name: Plain\nstt: {provider: whisper.local, url: "ws://127.0.0.1:9"}\n')
    await voice.sync()

    async def send(path: str, fields: dict[str, str]) -> tuple[int, Any]:
        form = aiohttp.FormData({"model": "plain", **fields})
        form.add_field("file", WAV.read_bytes(), filename="a.wav", content_type="audio/wav")
        return await voice.ask("POST", path, data=form)

    for fields, param in REFUSED:
        status, reply = await send(TRANSCRIPTIONS, fields)
        assert (status, reply["error"]["param"]) == (400, param), fields
    status, reply = await send("/v1/audio/translations", {})
    assert (status, reply["error"]["code"]) == (400, "unsupported_option")
    assert "cannot translate" in reply["error"]["message"]


async def test_harmful_recordings_are_a_400(voice: Stack) -> None:
    """Names the field, quotes nothing of the file."""
    for data in (
        b"\x1aE\xdf\xa3" + b"\xff" * 5_000,
        b"#EXTM3U\nfile:///etc/passwd\n",
        b"OggS" + bytes(5_000),
    ):
        headers = {"Content-Type": "audio/webm"}
        status, reply = await voice.ask(
            "POST", f"{TRANSCRIPTIONS}?model=acme/voice", data=data, headers=headers
        )
        assert (status, reply["error"]["param"]) == (400, "file")
        assert "passwd" not in reply["error"]["message"]
