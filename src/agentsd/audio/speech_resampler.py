"""Resampler of a microphone's sound for the voice detector: soxr's filter ``LQ``, one table for all calls.

A stream of soxr keeps 34 kB of its own, so that those of thirty calls push each other out of a processor's
cache, and it returns sound in blocks of up to 60 ms. Here the filter is a matrix, read off soxr's answer to
impulses once for each rate; a call keeps the last few milliseconds, and sound is 3 ms late at most. Rates
without a short period (44.1 kHz) are left to soxr.
"""

from __future__ import annotations

from functools import cache
from math import gcd
from typing import TYPE_CHECKING, Any, NamedTuple

from agentsd.audio.resampler import Resampler

if TYPE_CHECKING:
    import numpy as np

    Samples = np.ndarray[Any, np.dtype[np.float32]]

PERIOD_MAX = 8
"""Samples of the source after which the filter repeats."""
BLOCK = 8
"""Periods that one row of the product computes."""
SMALLEST_TAP = 1e-6
"""Weight below which a sample does not count: less than a unit of 16 bits."""
DITHER_SAMPLES = 16_000
"""Samples after which the dither repeats."""
_PROBE = 6000
"""Samples of a probe, with the impulse near its middle."""
_FULL_SCALE = 32768


class SpeechFilter(NamedTuple):
    """Matrix from the samples around a block of the source to those of the target."""

    weights: Samples
    step: int  # samples of the source between two blocks
    before: int  # samples from before a block


class SpeechResampler:
    """Stream of sound from ``source`` hertz to ``target``, as samples from -1 to 1."""

    def __init__(self, source: int, target: int) -> None:
        import numpy as np

        self._filter = measure_filter(source, target)
        self._stream = Resampler(source, target, "LQ") if self._filter is None else None
        self._rest: Samples = np.zeros(self._filter.before if self._filter else 0, np.float32)
        self._count = 0  # samples that were dithered

    def take(self, pcm: bytes) -> Samples:
        """Return the resampled ``pcm`` (whole samples) as far as it is settled."""
        import numpy as np

        if self._filter is None:
            return read_samples(self._stream.take(pcm) if self._stream else pcm)
        weights, step, _ = self._filter
        width = len(weights)
        sound: Samples = np.concatenate((self._rest, np.frombuffer(pcm, "<i2")), dtype=np.float32)
        blocks = max(0, (len(sound) - width) // step + 1)
        self._rest = sound[blocks * step :].copy()
        rows: Samples = np.ndarray((blocks, width), np.float32, sound, 0, (step * 4, 4))
        found: Samples = rows.copy().dot(weights).reshape(-1)
        found += self._dither(len(found))
        return found

    def _dither(self, count: int) -> Samples:
        """Return the next values of the dither that 16-bit sound has from soxr."""
        import numpy as np

        noise, at = make_dither(), self._count
        self._count = (at + count) % DITHER_SAMPLES
        return noise[at : at + count] if at + count <= len(noise) else np.resize(noise, count)


def read_samples(pcm: bytes) -> Samples:
    """Return 16-bit sound as samples from -1 to 1."""
    import numpy as np

    samples: Samples = np.frombuffer(pcm, "<i2") / np.float32(_FULL_SCALE)
    return samples


def write_samples(samples: Samples) -> bytes:
    """Return samples from -1 to 1 as 16-bit sound."""
    import numpy as np

    units = np.rint(samples * _FULL_SCALE).clip(-_FULL_SCALE, _FULL_SCALE - 1)
    pcm: bytes = units.astype("<i2").tobytes()
    return pcm


@cache
def make_dither() -> Samples:
    """Make triangular noise of one unit of 16 bits: digital silence is not what the detector has learned."""
    import numpy as np

    parts = np.random.default_rng(1).uniform(-0.5, 0.5, (2, DITHER_SAMPLES))
    noise: Samples = np.tile(parts.sum(axis=0) / _FULL_SCALE, 2).astype(np.float32)
    return noise


@cache
def measure_filter(source: int, target: int) -> SpeechFilter | None:
    """Return the filter between two rates; None where they are equal, or their ratio is not simple."""
    import numpy as np

    divisor = gcd(source, target)
    period, found = source // divisor, target // divisor
    if source == target or period > PERIOD_MAX:
        return None
    middle = _PROBE // 2 // period
    answers = np.array([_probe(source, target, middle * period + phase) for phase in range(period)])
    reach = middle // 2
    taps = np.zeros((2 * reach, period, found))
    for number in range(2 * reach):  # periods from the output to the impulse
        at = (middle + reach - number) * found
        taps[number] = answers[:, at : at + found]
    flat = taps.reshape(-1, found)
    first, last = np.nonzero(np.abs(flat).max(axis=1) >= SMALLEST_TAP)[0][[0, -1]]
    width = int(last - first) + 1
    weights: Samples = np.zeros((width + (BLOCK - 1) * period, BLOCK * found), np.float32)
    for number in range(BLOCK):
        rows = slice(number * period, number * period + width)
        weights[rows, number * found : (number + 1) * found] = flat[first : last + 1] / _FULL_SCALE
    return SpeechFilter(weights, BLOCK * period, reach * period - int(first))


def _probe(source: int, target: int, at: int) -> Any:
    """Return soxr's answer to an impulse at a sample."""
    import numpy as np
    import soxr

    impulse = np.zeros(_PROBE)
    impulse[at] = 1
    stream = soxr.ResampleStream(source, target, 1, dtype="float64", quality="LQ")
    return stream.resample_chunk(impulse, last=True)
