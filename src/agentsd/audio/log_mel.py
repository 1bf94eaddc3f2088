"""Log-mel features of speech, in the form of transformers' ``WhisperFeatureExtractor`` (and Pipecat's).

The sound is brought to zero mean and unit variance; then Slaney's mel scale, a periodic Hann window of 25 ms
every 10 ms, decadic logarithms bounded to 80 dB below the loudest.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Floats = np.ndarray[Any, np.dtype[Any]]

RATE = 16_000
"""Samples per second."""
WINDOW = 400
HOP = 160
MELS = 80

LINEAR_HERTZ_MAX = 1000.0
"""End of the linear part of Slaney's scale."""
MELS_PER_HERTZ = 3 / 200
LOG_STEP = 27.0
"""Mels for each factor of ``LOG_FACTOR`` above the linear part."""
LOG_FACTOR = 6.4

POWER_MIN = 1e-10
VARIANCE_MIN = 1e-7
RANGE = 8.0
"""Decades below the loudest at which a feature is cut off: 80 dB."""


def compute_log_mel(samples: Floats) -> Floats:
    """Return float32 features, shape (80, len(samples) / 160), of samples at 16 kHz from -1 to 1."""
    import numpy as np

    sound = np.asarray(samples, dtype=np.float32)
    sound = (sound - sound.mean()) / np.sqrt(sound.var() + VARIANCE_MIN)
    padded = np.pad(sound.astype(np.float64), WINDOW // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][: len(sound) // HOP]
    spectrum = np.fft.rfft(frames * _make_window(), axis=-1)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    logs = np.log10(np.maximum(POWER_MIN, power @ _make_filters()))
    bounded = np.maximum(logs, logs.max() - RANGE)
    features: Floats = np.ascontiguousarray(((bounded + 4.0) / 4.0).T, dtype=np.float32)
    return features


@cache
def _make_window() -> Floats:
    import numpy as np

    return np.hanning(WINDOW + 1)[:-1]


@cache
def _make_filters() -> Floats:
    """Return triangular filters of equal area, shape (201, 80)."""
    import numpy as np

    edges = _to_hertz(np.linspace(0.0, _to_mels(RATE / 2), MELS + 2))
    bins = np.linspace(0, RATE / 2, WINDOW // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    filters: Floats = np.maximum(0, np.minimum(rising, falling)) * 2 / (edges[2:] - edges[:-2])
    return filters


def _to_mels(hertz: float) -> float:
    """Return the mels of a frequency in the logarithmic part of the scale."""
    import math

    return LINEAR_HERTZ_MAX * MELS_PER_HERTZ + LOG_STEP * math.log(hertz / LINEAR_HERTZ_MAX, LOG_FACTOR)


def _to_hertz(mels: Floats) -> Floats:
    import numpy as np

    bend = LINEAR_HERTZ_MAX * MELS_PER_HERTZ
    logarithmic = LINEAR_HERTZ_MAX * np.power(LOG_FACTOR, (mels - bend) / LOG_STEP)
    hertz: Floats = np.where(mels < bend, mels / MELS_PER_HERTZ, logarithmic)
    return hertz
