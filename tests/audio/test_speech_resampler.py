"""The microphone's sound at the detector's rate is soxr's, without soxr's delay."""

from __future__ import annotations

import random

import numpy as np
import pytest

from agentsd.audio.resampler import Resampler
from agentsd.audio.speech_resampler import SpeechResampler, read_samples, write_samples
from agentsd.audio.vad import RATE, VoiceDetector
from tests.services.speech import silence, spoken

RATES = (8_000, 12_000, 16_000, 24_000, 32_000, 44_100, 48_000)


def sound_at(rate: int) -> bytes:
    """Speech between silences."""
    return silence(0.3, rate) + spoken(rate) + silence(0.3, rate)


def cut(pcm: bytes, seed: int = 1) -> list[bytes]:
    """Whole samples in pieces of any length, empty ones included."""
    rng, pieces = random.Random(seed), []
    while pcm:
        size = rng.choice((0, 2, 38, 320, 960, 1536, 40_000))
        pieces.append(pcm[:size])
        pcm = pcm[size:]
    return pieces


@pytest.mark.parametrize("rate", RATES)
def test_sound_is_that_of_soxr(rate: int) -> None:
    """To the dither of either, however it is cut; and other streams do not matter."""
    pcm, stream, other = sound_at(rate), SpeechResampler(rate, RATE), SpeechResampler(rate, RATE)
    found = []
    for piece in cut(pcm):
        found.append(stream.take(piece))
        other.take(piece[::-1])
    heard = np.concatenate(found) * 32768
    expected = np.frombuffer(Resampler(rate, RATE, "LQ").take(pcm, last=True), "<i2")[: len(heard)]
    assert np.abs(heard - expected).max() <= 3


@pytest.mark.parametrize("rate", RATES)
def test_the_detector_hears_the_same(rate: int) -> None:
    """Its values differ by what soxr's dither changes: it is another one wherever sound is cut otherwise."""
    pcm, stream, detector = sound_at(rate), SpeechResampler(rate, RATE), VoiceDetector()
    heard = [value for piece in cut(pcm) for value in detector.hear(stream.take(piece))]
    expected = list(VoiceDetector().probabilities(Resampler(rate, RATE, "LQ").take(pcm, last=True)))
    assert heard == pytest.approx(expected[: len(heard)], abs=0.03)
    assert len(heard) >= len(expected) - 1


@pytest.mark.parametrize("rate", [rate for rate in RATES if rate != 44_100])
def test_sound_is_hardly_late(rate: int) -> None:
    """Of every 20 ms all but 3 are there; soxr returns blocks of up to 60 ms."""
    stream, found = SpeechResampler(rate, RATE), 0
    for number in range(1, 40):
        found += len(stream.take(silence(0.02, rate)))
        assert number * 20 - 3 <= found * 1000 / RATE <= number * 20


def test_samples_and_sound_are_each_other() -> None:
    """16-bit values survive, and beyond full scale they are clipped."""
    pcm = np.arange(-32768, 32768, 7, dtype="<i2").tobytes()
    assert write_samples(read_samples(pcm)) == pcm
    loud = read_samples(b"\xff\x7f\x00\x80") * np.float32(2)
    assert write_samples(loud) == b"\xff\x7f\x00\x80"
