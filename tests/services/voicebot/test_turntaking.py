"""When speech begins and ends, by values."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.manifest.turn import Turn
from agentsd.services.voicebot.turn_detection import DetectionState, SpeechEnd, SpeechStart, advance_state

PLAIN = Turn(threshold=0.5, prefix_padding_ms=100, silence_ms=96)


def signals(probabilities: Iterable[float], turn: Turn = PLAIN) -> list[SpeechStart | SpeechEnd]:
    """What was settled, in order."""
    state, told = DetectionState(), []
    for probability in probabilities:
        state, signal = advance_state(state, probability, turn)
        if signal is not None:
            told.append(signal)
    return told


def test_speech_begins_with_the_second_frame_and_is_told_with_padding() -> None:
    """Ten frames of silence are 320 ms; the speech after them is told as begun 100 ms earlier."""
    assert signals([0.0] * 10 + [0.9] * 2) == [SpeechStart(220)]


def test_a_click_is_no_speech() -> None:
    """One frame alone, however loud, begins nothing."""
    assert signals([0.0, 1.0] * 20) == []


def test_padding_does_not_reach_before_the_start() -> None:
    """Time does not become negative."""
    assert signals([0.9, 0.9]) == [SpeechStart(0)]


def test_silence_ends_speech_and_a_short_pause_does_not() -> None:
    """Three frames are 96 ms."""
    assert signals([0.9] * 4 + [0.0] * 2 + [0.9] + [0.0] * 3) == [SpeechStart(0), SpeechEnd(320)]


def test_what_lies_between_the_levels_keeps_speech_but_does_not_begin_it() -> None:
    """A voice that trails off is still a voice."""
    assert signals([0.4] * 20) == []
    assert signals([0.9] * 2 + [0.4] * 20) == [SpeechStart(0)]


def test_speech_without_an_end_is_cut() -> None:
    """After ``max_seconds``; what goes on is a new utterance."""
    turn = Turn(max_seconds=0.32, prefix_padding_ms=0)
    assert signals([0.9] * 12, turn) == [SpeechStart(0), SpeechEnd(320, cut=True), SpeechStart(320)]


@given(st.lists(st.floats(0, 1), max_size=300))
def test_begins_and_ends_by_turns(probabilities: list[float]) -> None:
    """Whatever is heard: first a beginning, then an end, and times never go back."""
    told = signals(probabilities, Turn(silence_ms=64, prefix_padding_ms=0))
    assert all(isinstance(one, SpeechStart) for one in told[::2])
    assert all(isinstance(one, SpeechEnd) for one in told[1::2])
    assert [one.at_ms for one in told] == sorted(one.at_ms for one in told)
