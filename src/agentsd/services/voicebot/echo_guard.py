"""Recognition of the agent's own voice in the microphone, by the envelope of what was played.

A loudspeaker comes back later and more quietly, but with the same rise and fall. The loudness of the last
frames is compared with that of the sound that was played up to a second before. No echo is removed: a sound
that resembles is only not taken for an interruption, unless the recogniser hears other words in it.
"""

from __future__ import annotations

import math
from collections import deque

FRAME_MS = 32
FRAMES_MIN = 8
"""Frames of speech that can be compared: about a quarter of a second."""
FRAMES_MAX = 32
FRAMES_SURE = 16
LAG_FRAMES_MAX = 32
"""Longest delay between sending a sound and hearing it: about a second."""
HISTORY_FRAMES = FRAMES_MAX + LAG_FRAMES_MAX + 4
SHORT_LIKENESS, LONG_LIKENESS = 0.85, 0.7
"""Correlation of the envelopes from which they are alike, of few frames and of many."""
LOUDNESS_MAX_DB = -6.0
"""A sound that is louder than this beside what was played is not its echo."""
SWING_MIN_DB = 3.0
"""A sound without rise and fall resembles any other."""
FLOOR_DB = -70.0


class EchoGuard:
    """Envelopes of both directions of one call. Times are in seconds of the call's clock."""

    def __init__(self) -> None:
        self.known = False  # an echo was recognised in this call
        self._played: deque[tuple[int, float]] = deque(maxlen=4 * HISTORY_FRAMES)  # (frame number, dB)
        self._heard: deque[tuple[int, float]] = deque(maxlen=FRAMES_MAX)

    def add_played(self, pcm: bytes, ms: float, starts: float) -> None:
        """Add sound that begins to play at ``starts``."""
        count = max(1, round(ms / FRAME_MS))
        size = max(2, len(pcm) // count // 2 * 2)
        first = round(starts * 1000 / FRAME_MS)
        for number in range(count):
            part = pcm[number * size : (number + 1) * size]
            if part:
                self._played.append((first + number, measure_loudness(part)))

    def add_heard(self, pcm: bytes, at: float) -> None:
        """Add a frame of the microphone that ended at ``at``."""
        self._heard.append((round(at * 1000 / FRAME_MS), measure_loudness(pcm)))

    def forget_heard(self) -> None:
        """Begin anew with the microphone: other speech is compared."""
        self._heard.clear()

    def suspects(self) -> bool:
        """Return whether the last frames of the microphone resemble what was played."""
        if len(self._heard) < FRAMES_MIN:
            return False
        played = dict(self._played)
        heard = list(self._heard)
        needed = LONG_LIKENESS if len(heard) >= FRAMES_SURE else SHORT_LIKENESS
        found = any(_is_alike(heard, played, lag, needed) for lag in range(LAG_FRAMES_MAX + 1))
        self.known = self.known or found
        return found


def _is_alike(heard: list[tuple[int, float]], played: dict[int, float], lag: int, needed: float) -> bool:
    first = heard[0][0]
    pairs = [(level, played.get(first + at - lag, FLOOR_DB)) for at, (_, level) in enumerate(heard)]
    ours, theirs = [one for one, _ in pairs], [other for _, other in pairs]
    if max(theirs) <= FLOOR_DB:
        return False
    if _mean_of_loudest(ours) - _mean_of_loudest(theirs) > LOUDNESS_MAX_DB:
        return False
    return _correlate(ours, theirs) >= needed


def _mean_of_loudest(levels: list[float]) -> float:
    loudest = sorted(levels)[-max(1, len(levels) // 2) :]
    return sum(loudest) / len(loudest)


def _correlate(ours: list[float], theirs: list[float]) -> float:
    """Return the correlation of two envelopes, 0 for one without rise and fall."""
    count = len(ours)
    mean, other_mean = sum(ours) / count, sum(theirs) / count
    one, other = [level - mean for level in ours], [level - other_mean for level in theirs]
    power, other_power = sum(level * level for level in one), sum(level * level for level in other)
    if min(power, other_power) < SWING_MIN_DB**2 * count:
        return 0.0
    return sum(left * right for left, right in zip(one, other, strict=True)) / math.sqrt(power * other_power)


def measure_loudness(pcm: bytes) -> float:
    """Return the loudness of 16-bit samples in dB below full scale."""
    import numpy as np

    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32)
    power = float(np.dot(samples, samples)) / max(1, len(samples)) / 32768**2
    return max(FLOOR_DB, 10 * math.log10(power)) if power > 0 else FLOOR_DB
