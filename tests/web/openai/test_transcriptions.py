"""/v1/audio/transcriptions and /translations in every format, with OpenAI's own client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from aiohttp import web

from tests.services.speech import WAV
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
