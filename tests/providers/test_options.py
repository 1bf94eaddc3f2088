"""Options of one request: passed on by the vendors that have them, refused by name by the others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentsd.core.errors import OptionRefused
from agentsd.providers.base import Transcript
from agentsd.providers.catalog import Catalog
from agentsd.providers.options import ListeningOptions, SpeechOptions, tune_client
from agentsd.providers.resilience.builder import build_provider
from agentsd.providers.stt.deepgram import add_times
from agentsd.providers.stt.timed_transcripts import parse_segments
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.telemetry import Metrics
from tests.vendors.kokoro_server import KokoroServer

OPENAI = {"provider": "openai-compatible", "model": "m", "api_url": "http://127.0.0.1:9"}
VOICES: list[tuple[dict[str, Any], tuple[float, ...], tuple[float, ...]]] = [
    ({**OPENAI, "voice": "v"}, (0.25, 4), ()),
    ({"provider": "kokoro.local"}, (0.25, 4), ()),
    ({"provider": "elevenlabs.io", "voice_id": "v", "api_key": "x"}, (0.7, 1.2), (0.5, 2)),
    ({"provider": "hume.ai", "voice_id": "v", "api_key": "x"}, (0.5, 2), (0.25, 4)),
    ({"provider": "deepgram.com", "api_key": "x"}, (), (2,)),
    ({"provider": "async.ai", "voice_id": "v", "api_key": "x"}, (), (2,)),
]
EARS: list[tuple[dict[str, Any], set[str]]] = [
    (OPENAI, {"language", "prompt", "temperature", "timestamp_granularities", "model"}),
    ({"provider": "deepgram.com", "api_key": "x"}, {"language", "timestamp_granularities"}),
    ({"provider": "whisper.local"}, {"language"}),
]
ASKED = {
    "language": ListeningOptions(language="de"),
    "prompt": ListeningOptions(prompt="SOPS"),
    "temperature": ListeningOptions(temperature=0.5),
    "timestamp_granularities": ListeningOptions(words=True),
    "model": ListeningOptions(translate=True),
}


@pytest.fixture
def sessions() -> HttpSessions:
    """No connection is opened."""
    return HttpSessions()


def refusal_of(client: Any, options: Any) -> str | None:
    """The field that is refused."""
    try:
        tune_client(client, "vendor", options)
    except OptionRefused as error:
        return error.param
    return None


@pytest.mark.parametrize(("section", "good", "bad"), VOICES, ids=lambda value: str(value)[:32])
async def test_speeds(
    catalog: Catalog,
    sessions: HttpSessions,
    section: dict[str, Any],
    good: tuple[float, ...],
    bad: tuple[float, ...],
) -> None:
    """Each within what its vendor has."""
    voice = catalog.build("tts", catalog.settings_of("tts", section), sessions)
    assert [refusal_of(voice, SpeechOptions(speed)) for speed in good] == [None] * len(good)
    assert [refusal_of(voice, SpeechOptions(speed)) for speed in bad] == ["speed"] * len(bad)
    assert refusal_of(voice, SpeechOptions()) is None
    await voice.aclose()
    await sessions.aclose()


@pytest.mark.parametrize(("section", "known"), EARS, ids=[section["provider"] for section, _ in EARS])
async def test_what_recognisers_take(
    catalog: Catalog, sessions: HttpSessions, section: dict[str, Any], known: set[str]
) -> None:
    """Everything else by name; times of segments are never refused."""
    ear = catalog.build("stt", catalog.settings_of("stt", section), sessions)
    refused = {param for param, options in ASKED.items() if refusal_of(ear, options) == param}
    assert refused == set(ASKED) - known
    assert refusal_of(ear, ListeningOptions(segments=True)) is None
    await ear.aclose()
    await sessions.aclose()


async def test_a_fallback_without_the_option_is_not_asked(catalog: Catalog, sessions: HttpSessions) -> None:
    """The first that has it speaks; the voice itself is as it was."""
    async with KokoroServer() as server:
        section = {
            "provider": "deepgram.com",
            "api_key": "x",
            "fallback": [{"provider": "kokoro.local", "url": server.ws_url + server.path}],
        }
        voice: Any = build_provider(catalog, "tts", catalog.settings_of("tts", section), sessions, Metrics())
        tuned = tune_client(voice, "vendor", SpeechOptions(2.0))

        async def text() -> Any:
            yield "Hello."

        assert b"".join([pcm async for pcm in tuned.stream(text())])
        frame = server.last.frames[0]
        assert isinstance(frame, str)
        assert json.loads(frame)["speed"] == 2.0
        assert len(voice.chain.members) == 2
        assert tuned.chain.members[0].name == "kokoro.local"
        await voice.aclose()
        await sessions.aclose()


def test_deepgrams_times() -> None:
    """Of the result and of its words, as they are written."""
    words = [{"word": "hello", "punctuated_word": "Hello.", "start": 1.0, "end": 1.4}]
    message = {"start": 1.0, "duration": 0.5, "channel": {"alternatives": [{"words": words}]}}
    timed = add_times(Transcript("Hello.", final=True), message)
    assert (timed.start, timed.end, [word.text for word in timed.words]) == (1.0, 1.5, ["Hello."])
    assert add_times(Transcript("Hello.", final=True), {"start": "x"}).start is None


@pytest.mark.parametrize(
    "answer",
    [
        {"text": "a", "segments": None},
        {"text": "a", "segments": [7, {"text": 7}, {"start": 1}]},
        {"text": "a", "words": [{"word": 7}, {"word": "a", "start": "x"}, None]},
        {"text": "a", "language": "<b>", "words": 7},
    ],
)
def test_malformed_times_are_dropped(answer: dict[str, Any]) -> None:
    """The text alone is left."""
    assert parse_segments(answer) == []


def test_words_go_to_their_segments() -> None:
    """Numbers that are not finite are no times; the last segment has the rest of the words."""
    words = [{"word": str(at), "start": at, "end": at + 1} for at in range(4)]
    segments = [
        {"text": "0 1", "start": 0, "end": 2, "avg_logprob": float("nan")},
        {"text": "2 3", "start": 2, "end": 3, "temperature": True},
    ]
    first, second = parse_segments({"segments": segments, "words": words, "language": "german"})
    assert [word.text for word in first.words] == ["0", "1"]
    assert [word.text for word in second.words] == ["2", "3"]
    assert (first.scores, second.scores, first.language) == ({}, {}, "german")
