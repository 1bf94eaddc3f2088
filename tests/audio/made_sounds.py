"""Sounds made by formulas; ``features/*.npy`` holds what Pipecat makes of them (``write_features.py``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

RATE = 16_000
SAMPLES = 8 * RATE
EVERY = 20
"""One of so many frames is kept."""

Samples = np.ndarray[Any, np.dtype[np.float32]]


def sweep() -> Samples:
    """From 50 to 7,950 Hz."""
    time = np.arange(SAMPLES) / RATE
    return (0.3 * np.sin(2 * np.pi * (50 + 3950 * time / 8) * time)).astype(np.float32)


def voice() -> Samples:
    """Four seconds of silence, then harmonics of a gliding 120 Hz that swell and fade."""
    time = np.arange(SAMPLES) / RATE
    phase = 2 * np.pi * np.cumsum(120 + 20 * np.sin(2 * np.pi * 0.7 * time)) / RATE
    tone = sum(np.sin(k * phase) / k for k in range(1, 25))
    return (0.1 * tone * np.maximum(0, np.sin(2 * np.pi * 2 * time)) * (time >= 4)).astype(np.float32)


def noise() -> Samples:
    """A linear congruence, with an offset."""
    numbers = (np.arange(1, SAMPLES + 1, dtype=np.uint64) * np.uint64(2654435761)) % np.uint64(1 << 32)
    return (numbers.astype(np.float64) / (1 << 32) - 0.4).astype(np.float32)


def nothing() -> Samples:
    """Silence."""
    return np.zeros(SAMPLES, np.float32)


SOUNDS: Mapping[str, Callable[[], Samples]] = {
    "sweep": sweep,
    "voice": voice,
    "noise": noise,
    "nothing": nothing,
}
