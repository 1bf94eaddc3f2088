"""Sudden sounds in a microphone, before a detector has judged them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from agentsd.services.voicebot.onset_meter import DOUBT_MS, OnsetMeter
from tests.services.speech import spoken

RATE = 24_000
PIECE_MS = 20


def pieces(pcm: bytes) -> Iterator[bytes]:
    """What a microphone sends at a time."""
    size = RATE * PIECE_MS // 1000 * 2
    return (pcm[at : at + size] for at in range(0, len(pcm), size))


def hiss(seconds: float, decibels: float) -> bytes:
    """Noise of that level below full scale."""
    samples = np.random.default_rng(1).normal(0, 32768 * 10 ** (decibels / 20), int(seconds * RATE))
    return bytes(samples.clip(-32768, 32767).astype("<i2").tobytes())


def doubts(pcm: bytes) -> list[bool]:
    """After each piece: whether it may be the onset of speech."""
    meter, found = OnsetMeter(), []
    for piece in pieces(pcm):
        meter.hear(piece, RATE)
        found.append(meter.doubtful)
    return found


@pytest.mark.parametrize("room", [-90.0, -65.0, -50.0])
def test_speech_is_suspected_within_its_first_pieces(room: float) -> None:
    """In a studio and in an office."""
    samples = np.frombuffer(spoken(), "<i2")
    voice = samples[np.nonzero(np.abs(samples) > 1500)[0][0] :].tobytes()
    found = doubts(hiss(0.6, room) + voice)
    assert not any(found[:30])
    assert any(found[30:32])


@pytest.mark.parametrize("level", [-60.0, -40.0, -20.0])
def test_a_steady_sound_is_not_suspected(level: float) -> None:
    """Neither a fan nor a street."""
    assert not any(doubts(hiss(3, level)))


def test_a_sudden_noise_is_suspected_for_a_moment_only() -> None:
    """It may go on for as long as it likes; the voice is held until a detector would have spoken."""
    found = doubts(hiss(0.6, -70) + hiss(3, -25))
    assert sum(found) == DOUBT_MS // PIECE_MS
    assert found[30]


def test_silence_is_none() -> None:
    """Not even its first piece, nor an empty one."""
    assert not any(doubts(bytes(RATE)))
    meter = OnsetMeter()
    meter.hear(b"", RATE)
    assert not meter.doubtful
