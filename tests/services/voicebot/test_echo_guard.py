"""The agent's own voice in the microphone: recognised at any delay and loudness, and nobody else's."""

from __future__ import annotations

import random
from array import array

import pytest

from agentsd.services.voicebot.echo_guard import EchoGuard
from tests.services.speech import silence, spoken

RATE = 24_000
SLICE = RATE // 5 * 2
FRAME = RATE * 32 // 1000 * 2


def changed(pcm: bytes, decibels: float, noise: int = 20) -> bytes:
    """The sound, quieter and with noise."""
    factor, rng = 10 ** (decibels / 20), random.Random(1)
    return array("h", (int(s * factor) + rng.randint(-noise, noise) for s in array("h", pcm))).tobytes()


def judge(played: bytes, heard: bytes, delay: float, frames: int = 14) -> bool:
    """Whether the first frames of the microphone are suspected while the sound is played."""
    guard = EchoGuard()
    for at in range(0, len(played), SLICE):
        part = played[at : at + SLICE]
        guard.add_played(part, len(part) / 48, 10 + at / 48_000)
    for at in range(0, frames * FRAME, FRAME):
        guard.add_heard(heard[at : at + FRAME], RATE, 10 + delay + (at + FRAME) / 48_000)
    return guard.suspects()


@pytest.mark.parametrize("decibels", [-12, -20, -30])
@pytest.mark.parametrize("delay", [0.03, 0.2, 0.9])
def test_an_echo_is_recognised(decibels: float, delay: float) -> None:
    """Later and quieter, with noise."""
    assert judge(spoken()[RATE // 2 :], changed(spoken()[RATE // 2 :], decibels), delay)


@pytest.mark.parametrize("decibels", [-3, -12, -20])
def test_a_caller_is_not_an_echo(decibels: float) -> None:
    """Other speech, however loud; as little is a voice while nothing is played."""
    backwards = array("h", reversed(array("h", spoken()))).tobytes()
    assert not judge(spoken()[RATE // 2 :], changed(backwards, decibels), 0.2)
    assert not judge(silence(2), changed(spoken()[RATE // 2 :], decibels), 0.2)


def test_a_louder_sound_is_not_an_echo() -> None:
    """A loudspeaker does not come back louder than it was."""
    assert not judge(changed(spoken()[RATE // 2 :], -20), spoken()[RATE // 2 :], 0.2)
