"""Meter of sudden sound in the microphone: what may be the onset of speech, before a detector can say so.

A detector needs a whole frame of voice. Until it has judged that, a sound that is much louder than the room
is reason enough to hold the agent's voice, which costs nothing where it turns out to be a knock.
"""

from __future__ import annotations

import math
from collections import deque

from agentsd.audio.resampler import SAMPLE_BYTES, measure_milliseconds

RISE_DB = 15.0
"""How much louder than the room a sound is that may be speech."""

LEVEL_MIN_DB = -55.0
"""Level, in dB below full scale, under which nothing is taken for speech, however silent the room."""

ROOM_MS = 1000
"""Time over which the room's level is its lowest."""

DOUBT_MS = 96
"""How long a sudden sound may be speech without a detector's word: it judges two frames in that time."""

_SILENCE = 1e-10


class OnsetMeter:
    """Meter of one call's microphone."""

    def __init__(self) -> None:
        self._levels: deque[tuple[float, float]] = deque()  # (level in dB, ms)
        self._kept_ms = 0.0
        self._loud_ms: float | None = None  # since the sound rose

    @property
    def doubtful(self) -> bool:
        """Return whether a sound has just risen from the room's level."""
        return self._loud_ms is not None and self._loud_ms <= DOUBT_MS

    def hear(self, pcm: bytes, rate: int) -> None:
        """Take the next sound: 16-bit samples at ``rate``, some 10 to 30 ms of it."""
        level, ms = _measure_level(pcm), measure_milliseconds(pcm, rate)
        room = min((known for known, _ in self._levels), default=level)
        if level < max(room + RISE_DB, LEVEL_MIN_DB):
            self._loud_ms = None
        else:
            self._loud_ms = ms if self._loud_ms is None else self._loud_ms + ms
        self._levels.append((level, ms))
        self._kept_ms += ms
        while self._kept_ms > ROOM_MS:
            self._kept_ms -= self._levels.popleft()[1]


def _measure_level(pcm: bytes) -> float:
    import numpy as np

    samples = np.frombuffer(pcm, "<i2", len(pcm) // SAMPLE_BYTES).astype(np.float32)
    if not len(samples):
        return 10 * math.log10(_SILENCE)
    power = float(np.dot(samples, samples)) / len(samples) / 32768**2
    return 10 * math.log10(max(power, _SILENCE))
