"""Ends of turns in real speech: Piper's voice, Silero's detector, the end-of-turn model."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

import numpy as np
import pytest

from agentsd.audio import turn_model
from agentsd.audio.vad import FRAME_MS, VoiceDetector
from agentsd.core.manifest.turn import Turn, Waits
from agentsd.services.voicebot.speech_detector import SpeechDetector
from agentsd.services.voicebot.turn_detection import SpeechEnd, SpeechStart
from agentsd.services.voicebot.turn_judge import TurnJudge
from tests.services.sentences import RATE, speak

SMART = Turn(detection="smart")
WHOLE = (
    ("When do you open tomorrow?", "en-us"),
    ("I need a doctor.", "en-us"),
    ("Mein Name ist Anna Müller.", "de"),
)
BROKEN = (
    ("I want to cancel my order because", "it came too late.", "en-us"),
    ("So I was thinking that maybe we could", "meet on Friday.", "en-us"),
    ("Meine Nummer ist, ähm", "fünf fünf eins zwei.", "de"),
)


@cache
def model() -> Any:
    """The real model; the test is skipped where it is not installed."""
    path = turn_model.find_turn_model()
    if path is None:
        pytest.skip(f"the end-of-turn model is not installed: {turn_model.INSTALL}")
    return turn_model.open_session(path)


def answer_at_once(pcm: bytes) -> asyncio.Future[float | None]:
    """What the model says, before the next frame: no clock decides what a test sees."""
    opinion: asyncio.Future[float | None] = asyncio.get_running_loop().create_future()
    opinion.set_result(turn_model.compute_probability(model(), pcm))
    return opinion


async def signals(pcm: bytes, turn: Turn, rate: int = RATE) -> list[SpeechStart | SpeechEnd]:
    """What is settled in a sound, in a room that is not quite silent."""
    model()
    ear = SpeechDetector(VoiceDetector(), rate, turn, lambda: TurnJudge(answer_at_once))
    heard = [one for part in ear.slices(room(pcm)) for one in ear.hear(part)]
    return [one for one in heard if isinstance(one, (SpeechStart, SpeechEnd))]


def room(pcm: bytes) -> bytes:
    """The sound in a room that is not quite silent."""
    hiss = np.random.default_rng(1).normal(0, 6, len(pcm) // 2)
    return bytes((np.frombuffer(pcm, "<i2") + hiss).clip(-32768, 32767).astype("<i2").tobytes())


def silence(seconds: float, rate: int = RATE) -> bytes:
    """Nothing."""
    return bytes(int(seconds * rate) * 2)


@pytest.mark.parametrize(("text", "language"), WHOLE)
async def test_a_finished_thought_ends_sooner_than_by_silence(text: str, language: str) -> None:
    """The wait is ``sure``, and a frame or two for the voice to fade."""
    sound = silence(0.5) + speak(text, language) + silence(1.5)
    _, smart = await signals(sound, SMART)
    _, plain = await signals(sound, Turn())
    assert isinstance(smart, SpeechEnd)
    assert plain.at_ms - smart.at_ms >= 500 - 200 - 2 * FRAME_MS


@pytest.mark.parametrize(
    ("text", "turn", "after_ms"),
    [(BROKEN[0][0], SMART, 500), (WHOLE[0][0], SMART, 200), (BROKEN[0][0], Turn(silence_ms=2000), 200)],
)
async def test_a_pause_is_likely_the_end_unless_the_model_doubts_it(
    text: str, turn: Turn, after_ms: int
) -> None:
    """Then it is after ``silence_ms``; every sound makes it a pause."""
    model()
    turn = turn.model_copy(update={"wait_ms": Waits(sure=2000, unsure=2000)})
    ear = SpeechDetector(VoiceDetector(), RATE, turn, lambda: TurnJudge(answer_at_once))
    before = silence(0.5) + speak(text)
    sound = room(before + silence(0.8) + speak("Friday.")[:8000])
    likely = []
    for at in range(0, len(sound), 640):
        for part in ear.slices(sound[at : at + 640]):
            ear.hear(part)
        if ear.likely_over:
            likely.append((at + 640 - len(before)) / RATE / 2 * 1000)
    assert after_ms - FRAME_MS <= likely[0] <= after_ms + FRAME_MS + 20
    assert likely[-1] <= 800 + 4 * FRAME_MS


@pytest.mark.parametrize(("rate", "silence_ms"), [(24_000, 200), (24_000, 500), (8000, 500)])
def test_silence_is_kept_to_the_frame(rate: int, silence_ms: int) -> None:
    """From the last sound to the end, in 20 ms of a microphone each, wherever the frames fall."""
    voice, piece = speak("When do you open tomorrow?", "en-us", rate), rate // 50 * 2
    waits = []
    for shift in range(8):
        before = silence(0.5 + shift * 0.004, rate) + voice
        sound = room(before + silence(1, rate))
        ear = SpeechDetector(VoiceDetector(), rate, Turn(silence_ms=silence_ms))
        ended = next(
            at + piece
            for at in range(0, len(sound), piece)
            for part in ear.slices(sound[at : at + piece])
            if any(isinstance(one, SpeechEnd) for one in ear.hear(part))
        )
        waits.append((ended - len(before)) / rate / 2 * 1000)
    assert abs(sum(waits) / len(waits) - silence_ms) <= FRAME_MS / 2
    assert max(abs(wait - silence_ms) for wait in waits) <= FRAME_MS + 20


@pytest.mark.parametrize(("begun", "rest", "language"), BROKEN)
async def test_speech_after_a_pause_in_mid_thought_joins_the_turn(
    begun: str, rest: str, language: str
) -> None:
    """A second of thinking; silence alone makes two turns of it."""
    sound = silence(0.5) + speak(begun, language) + silence(1.0) + speak(rest, language) + silence(2.8)
    assert [type(one) for one in await signals(sound, SMART)] == [SpeechStart, SpeechEnd]
    assert [type(one) for one in await signals(sound, Turn())] == [SpeechStart, SpeechEnd] * 2


async def test_an_unfinished_thought_ends_after_the_longer_wait() -> None:
    """Nobody goes on: the turn ends at ``unsure``, not never."""
    begun, _, language = BROKEN[0]
    first = speak(begun, language)
    started, ended = await signals(silence(0.5) + first + silence(2.8), SMART)
    quiet_ms = ended.at_ms - 500 - len(first) / RATE / 2 * 1000
    assert isinstance(started, SpeechStart)
    assert 2500 - 5 * FRAME_MS <= quiet_ms <= 2500 + 5 * FRAME_MS


async def test_a_telephone_s_rate_is_heard_as_well() -> None:
    """8 kHz."""
    begun, rest, language = BROKEN[0]
    first, second = speak(begun, language, 8000), speak(rest, language, 8000)
    sound = silence(0.5, 8000) + first + silence(1.0, 8000) + second + silence(2.8, 8000)
    assert len(await signals(sound, SMART, 8000)) == 2


@pytest.fixture
def shared() -> turn_model.TurnModel:
    """A model of its own, in its thread."""
    model()
    return turn_model.TurnModel()


async def test_calls_share_one_model_and_a_crowd_is_refused(shared: turn_model.TurnModel) -> None:
    """So many may wait; the next is refused at once, and all is as before when they have their answers."""
    said = speak("When do you open tomorrow?")
    asked = [shared.judge(said) for _ in range(turn_model.WAITING_MAX + 2)]
    assert asked[turn_model.WAITING_MAX :] == [None, None]
    waited = [one for one in asked if one is not None]
    for late in waited[1:-1]:
        late.cancel()
    assert await waited[0] == await waited[-1] == turn_model.compute_probability(model(), said)
    again = shared.judge(said)
    assert again is not None
    assert await again == await waited[0]


async def test_a_model_that_cannot_be_read_has_no_opinion(
    shared: turn_model.TurnModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is None, not an error: silence decides."""
    monkeypatch.setattr(turn_model, "find_turn_model", lambda: None)
    opinion = shared.judge(b"")
    assert opinion is not None
    assert await opinion is None
