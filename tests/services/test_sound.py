"""Rates, laws and the detector, on real speech."""

from __future__ import annotations

import math
import random
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.audio import g711
from agentsd.audio.resampler import Resampler, measure_milliseconds
from agentsd.audio.vad import RATE, VoiceDetector
from agentsd.core.manifest.turn import Turn
from agentsd.services.voicebot.speech_detector import SpeechDetector, SpeechSlice
from agentsd.services.voicebot.turn_detection import SpeechEnd, SpeechStart
from tests.services.speech import silence, spoken


def tone(hertz: float, rate: int, seconds: float = 0.5) -> bytes:
    """A sine."""
    count = int(rate * seconds)
    return array(
        "h", (int(10_000 * math.sin(2 * math.pi * hertz * n / rate)) for n in range(count))
    ).tobytes()


def loudness(pcm: bytes) -> float:
    """Root mean square of the middle half."""
    samples = array("h", pcm)
    middle = samples[len(samples) // 4 : len(samples) * 3 // 4]
    return math.sqrt(sum(sample * sample for sample in middle) / len(middle))


@given(st.binary(max_size=400).filter(lambda data: len(data) % 2 == 0))
def test_equal_rates_pass_through(pcm: bytes) -> None:
    """Byte for byte."""
    assert Resampler(24_000, 24_000).take(pcm) == pcm


@pytest.mark.parametrize(("source", "target"), [(44_100, 24_000), (24_000, 16_000), (8_000, 24_000)])
def test_pieces_make_what_the_whole_makes(source: int, target: int) -> None:
    """A stream that was cut anywhere sounds the same, and lasts as long."""
    pcm = tone(440, source)
    whole = Resampler(source, target).take(pcm, last=True)
    stream = Resampler(source, target)
    parts = b"".join(stream.take(pcm[at : at + 334]) for at in range(0, len(pcm), 334))
    parts += stream.take(b"", last=True)
    assert len(parts) == len(whole)
    pairs = zip(array("h", parts), array("h", whole), strict=True)
    assert max(abs(one - other) for one, other in pairs) <= 2  # its dither is random
    assert measure_milliseconds(whole, target) == pytest.approx(500, abs=1)


def test_what_the_target_cannot_hold_is_filtered_not_folded() -> None:
    """18 kHz at 44.1 kHz would become 6 kHz at 24 kHz; 1 kHz stays as loud as it was."""
    assert loudness(Resampler(44_100, 24_000).take(tone(18_000, 44_100), last=True)) < 20
    assert loudness(Resampler(44_100, 24_000).take(tone(1_000, 44_100), last=True)) == pytest.approx(
        7071, rel=0.02
    )


@pytest.mark.parametrize("law", ["u", "a"])
def test_a_telephones_sound_survives_both_ways(law: g711.Law) -> None:
    """Every byte comes back as itself, but for µ-law's second zero; samples within a law's step."""
    every = bytes(range(256))
    back = g711.encode_g711(law, g711.decode_g711(law, every))
    assert [byte for byte in range(256) if back[byte] != byte] == ([0x7F] if law == "u" else [])
    for sample in range(-32_000, 32_001, 13):
        heard = array("h", g711.decode_g711(law, g711.encode_g711(law, array("h", [sample]).tobytes())))[0]
        assert abs(heard - sample) <= max(16, abs(sample) / 16)


def test_speech_is_told_from_silence() -> None:
    """Most frames of a spoken sentence are speech; none of silence is, nor of a steady tone."""
    heard = list(VoiceDetector().probabilities(spoken(RATE)))
    assert sum(probability > 0.5 for probability in heard) > len(heard) * 0.6
    assert max(VoiceDetector().probabilities(silence(2, RATE))) < 0.3


def test_detectors_share_nothing() -> None:
    """What one hears does not move the other."""
    alone = list(VoiceDetector().probabilities(spoken(RATE)))
    one, other = VoiceDetector(), VoiceDetector()
    list(other.probabilities(silence(1, RATE)))
    assert list(one.probabilities(spoken(RATE))) == alone


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 48_000])
def test_an_ear_hears_an_utterance_with_its_beginning(rate: int) -> None:
    """One beginning and one end; the sound between holds what was spoken, and 300 ms of before."""
    ear = SpeechDetector(VoiceDetector(), rate, Turn())
    pcm = silence(1, rate) + spoken(rate) + silence(1, rate)
    heard = [one for part in ear.slices(pcm) for one in ear.hear(part)]
    assert [type(one) for one in heard if not isinstance(one, SpeechSlice)] == [SpeechStart, SpeechEnd]
    began, ended = heard[0], heard[-1]
    assert isinstance(began, SpeechStart)
    assert isinstance(ended, SpeechEnd)
    utterance = b"".join(one.pcm for one in heard if isinstance(one, SpeechSlice))
    assert utterance in pcm
    first = pcm.index(utterance) / 2 / rate * 1000
    assert first <= began.at_ms + 64
    assert 500 < first < 1000 + 100


def test_silence_stays_silent() -> None:
    """Nothing is heard in ten seconds of nothing."""
    ear = SpeechDetector(VoiceDetector(), 24_000, Turn())
    assert [one for part in ear.slices(silence(10)) for one in ear.hear(part)] == []


@pytest.mark.parametrize("noise", [0, 30, 150])
def test_silence_counts_from_the_last_sound(noise: int) -> None:
    """``silence_ms`` is kept to two frames, though the model's probability falls later; with noise, too."""
    rng = random.Random(1)
    clean = array("h", silence(1) + spoken() + silence(1))
    pcm = array("h", (max(-32_768, min(32_767, s + round(rng.gauss(0, noise)))) for s in clean)).tobytes()
    last = max(at for at, sample in enumerate(clean) if abs(sample) > 300) / 24
    ear, fed = SpeechDetector(VoiceDetector(), 24_000, Turn(silence_ms=500)), 0.0
    for part in ear.slices(pcm):
        fed += len(part) / 48
        if any(isinstance(one, SpeechEnd) for one in ear.hear(part)):
            break
    assert 480 <= fed - last <= 500 + 64
