"""Detection of the beginning and end of speech: a pure function of probabilities, one for each frame.

Speech begins when two frames in a row are above the threshold (a click is one), and ends after a wait
below it: ``silence_ms``, or what ``turn_judge`` chose. Leaving takes less than entering: between the two
levels a voice trails off.
"""

from __future__ import annotations

from dataclasses import dataclass

from agentsd.audio.vad import FRAME_MS
from agentsd.core.manifest.turn import Turn

CONFIRM_FRAMES = 2
"""Frames of speech in a row that begin speech: the delay of a barge-in is 64 ms."""

HYSTERESIS = 0.15
"""How far below the threshold a frame must be to count as silence, as in Silero's own iterator."""


@dataclass(frozen=True, slots=True)
class SpeechStart:
    """Beginning of speech, ``at_ms`` after the first frame, padding included."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class SpeechEnd:
    """End of speech, ``at_ms`` after the first frame; ``cut`` where it was only too long."""

    at_ms: int
    cut: bool = False


@dataclass(frozen=True, slots=True)
class DetectionState:
    """State of the detection after some frames."""

    frames: int = 0
    loud: int = 0  # frames of speech in a row, before speech has begun
    quiet: int = 0  # frames of silence in a row, during speech
    began: int | None = None  # first frame of the current speech


DetectionStep = tuple[DetectionState, SpeechStart | SpeechEnd | None]


def advance_state(
    state: DetectionState, probability: float, turn: Turn, wait_ms: int | None = None
) -> DetectionStep:
    """Return the state after one more frame, and what that frame settled.

    ``wait_ms`` of silence end speech; ``turn.silence_ms`` where it is None.
    """
    if state.began is None:
        return _advance_in_silence(state, probability, turn)
    wait_ms = turn.silence_ms if wait_ms is None else wait_ms
    return _advance_in_speech(state, state.began, probability, turn, wait_ms)


def _advance_in_silence(state: DetectionState, probability: float, turn: Turn) -> DetectionStep:
    frames = state.frames + 1
    loud = state.loud + 1 if probability >= turn.threshold else 0
    if loud < CONFIRM_FRAMES:
        return DetectionState(frames, loud), None
    began = frames - loud
    at_ms = max(0, began * FRAME_MS - turn.prefix_padding_ms)
    return DetectionState(frames, began=began), SpeechStart(at_ms)


def _advance_in_speech(
    state: DetectionState, began: int, probability: float, turn: Turn, wait_ms: int
) -> DetectionStep:
    frames = state.frames + 1
    quiet = state.quiet + 1 if probability < max(turn.threshold - HYSTERESIS, 0.01) else 0
    over = quiet * FRAME_MS >= wait_ms
    cut = (frames - began) * FRAME_MS >= turn.max_seconds * 1000
    if over or cut:
        return DetectionState(frames), SpeechEnd(frames * FRAME_MS, cut=not over)
    return DetectionState(frames, quiet=quiet, began=began), None
