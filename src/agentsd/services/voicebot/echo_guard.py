"""Recognition of the agent's own voice in the microphone, by correlation with what was played.

A loudspeaker comes back later and more quietly, but in the same shape. The newest sound of the microphone is
looked for in what was played up to a second before. No echo is removed: a sound that resembles is only not
taken for an interruption, unless the recogniser hears other words in it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from agentsd.audio.resampler import SAMPLE_BYTES

if TYPE_CHECKING:
    import numpy as np

    Samples = np.ndarray[Any, np.dtype[np.float32]]

RATE = 8000
"""Hertz at which sounds are compared."""
HEARD_SECONDS = 0.4
"""Sound of the microphone that is compared."""
HEARD_SECONDS_MIN = 0.2
LAG_SECONDS_MAX = 1.2
"""Longest delay between sending a sound and hearing it."""
MARGIN_SECONDS = 0.1
"""Inaccuracy of the clocks."""
PLAYED_SECONDS_MAX = 60.0
"""Sound that was sent and not played yet, of which an echo is recognised."""
LIKENESS = 0.4
"""Normalised correlation of an echo; of other speech it is below 0.25."""
LOUDNESS_MAX = 0.7
"""Amplitude beside what was played: a louder sound is not its echo."""
SILENCE = 3e-4
"""Amplitude (of 1) below which there is nothing to compare."""


class EchoGuard:
    """Sound of both directions of one call. Times are in seconds of the call's clock."""

    def __init__(self) -> None:
        self.known = False  # an echo was recognised in this call
        self._played: deque[tuple[float, Any]] = deque()  # (when it begins to play, samples)
        self._heard: deque[tuple[bytes, int]] = deque()  # (sound, its rate): reduced when it is compared
        self._heard_seconds = self._heard_ended = 0.0

    def add_played(self, pcm: bytes, ms: float, starts: float) -> None:
        """Add sound that lasts ``ms`` and begins to play at ``starts``."""
        samples = _reduce_rate(pcm, round(len(pcm) / SAMPLE_BYTES / ms * 1000) if ms else RATE)
        self._played.append((starts, samples.astype("float16")))  # 16 kB a second
        while self._played and self._played[0][0] < starts - PLAYED_SECONDS_MAX:
            self._played.popleft()

    def add_heard(self, pcm: bytes, rate: int, at: float) -> None:
        """Add sound of the microphone at ``rate`` that ended at ``at``."""
        self._heard.append((pcm, rate))
        self._heard_seconds += len(pcm) / (SAMPLE_BYTES * rate)
        self._heard_ended = at
        while self._heard_seconds > HEARD_SECONDS + 0.05:
            oldest, its_rate = self._heard.popleft()
            self._heard_seconds -= len(oldest) / (SAMPLE_BYTES * its_rate)
        horizon = at - HEARD_SECONDS - LAG_SECONDS_MAX - 1
        while self._played and self._played[0][0] + len(self._played[0][1]) / RATE < horizon:
            self._played.popleft()

    def suspects(self) -> bool:
        """Return whether the newest sound of the microphone resembles what was played. Takes about 1 ms."""
        import numpy as np

        if not self._heard or not self._played:
            return False
        pieces = [_reduce_rate(pcm, rate) for pcm, rate in self._heard]
        heard = np.concatenate(pieces)[-int(HEARD_SECONDS * RATE) :]
        amplitude = float(np.sqrt(np.mean(heard * heard)))
        if len(heard) < HEARD_SECONDS_MIN * RATE or amplitude < SILENCE:
            return False
        ended = self._heard_ended
        played = self._find_played(ended - len(heard) / RATE - LAG_SECONDS_MAX, ended + MARGIN_SECONDS)
        likeness, loudness = _correlate(heard, played)
        found = likeness >= LIKENESS and amplitude <= LOUDNESS_MAX * loudness
        self.known = self.known or found
        return found

    def _find_played(self, begin: float, end: float) -> Samples:
        """Return what was played between two moments, with silence in its gaps."""
        import numpy as np

        sound: Samples = np.zeros(int((end - begin) * RATE), np.float32)
        for starts, samples in self._played:
            at = round((starts - begin) * RATE)
            first, last = max(at, 0), min(at + len(samples), len(sound))
            if first < last:
                sound[first:last] = samples[first - at : last - at]
        return sound


def _reduce_rate(pcm: bytes, rate: int) -> Samples:
    """Return 16-bit samples at ``RATE``, from -1 to 1; good enough to be compared, not to be heard."""
    import numpy as np

    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32) / 32768
    factor, rest = divmod(rate, RATE)
    if factor >= 1 and not rest:
        whole = len(samples) // factor * factor
        reduced: Samples = samples[:whole].reshape(-1, factor).mean(axis=1, dtype=np.float32)
        return reduced
    count = len(samples) * RATE // rate
    places = np.arange(count, dtype=np.float32) * (rate / RATE)
    stretched: Samples = np.interp(places, np.arange(len(samples)), samples).astype(np.float32)
    return stretched


def _correlate(heard: Samples, played: Samples) -> tuple[float, float]:
    """Return the best normalised correlation at any delay, and the amplitude of what was played there."""
    import numpy as np

    count = len(heard)
    size = 1 << (len(played) + count - 1).bit_length()
    spectrum = np.fft.rfft(played, size) * np.conj(np.fft.rfft(heard, size))
    products = np.fft.irfft(spectrum, size)[: len(played) - count + 1]
    sums = np.concatenate(([0.0], np.cumsum(played.astype(np.float64) ** 2)))
    powers = sums[count:] - sums[:-count]
    floor = count * SILENCE**2
    own = float(np.sqrt(np.dot(heard, heard)))
    likeness = np.where(powers > floor, products / (np.sqrt(np.maximum(powers, floor)) * own), 0.0)
    best = int(np.argmax(likeness))
    return float(likeness[best]), float(np.sqrt(powers[best] / count))
