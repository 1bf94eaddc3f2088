"""Resampler of streamed PCM. Audio is 16-bit signed little-endian mono.

soxr does the work, which keeps the audible range free of aliasing for 0.5 ms of CPU a second of
sound; in plain Python a filter of that length costs a hundred times as much. It is imported by the
first call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import soxr

Quality = Literal["LQ", "HQ"]
"""``HQ`` for listeners and recognisers; ``LQ`` has less delay, and is enough for speech detection."""

SAMPLE_BYTES = 2


class Resampler:
    """Stream of sound from ``source`` hertz to ``target``. Equal rates pass through untouched."""

    def __init__(self, source: int, target: int, quality: Quality = "HQ") -> None:
        self._stream: soxr.ResampleStream | None = None
        if source != target:
            import soxr

            self._stream = soxr.ResampleStream(source, target, 1, dtype="int16", quality=quality)

    def take(self, pcm: bytes, *, last: bool = False) -> bytes:
        """Return the resampled ``pcm`` (whole samples); some milliseconds are held back until ``last``."""
        if self._stream is None:
            return pcm
        import numpy as np

        chunk = np.frombuffer(pcm, dtype="<i2")
        done: bytes = self._stream.resample_chunk(chunk, last=last).tobytes()
        return done


def import_library() -> None:
    """Import what resampling needs. It takes 70 ms: call it in a thread, beside the event loop."""
    import numpy  # noqa: F401
    import soxr  # noqa: F401


def measure_milliseconds(pcm: bytes, rate: int) -> float:
    """Return how long ``pcm`` lasts."""
    return len(pcm) * 1000 / (rate * SAMPLE_BYTES)
