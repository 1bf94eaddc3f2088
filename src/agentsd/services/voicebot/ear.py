"""Speech detector of a microphone: voice detection, turn-taking, and the sound from just before."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from agentsd.audio import vad
from agentsd.audio.resampler import SAMPLE_BYTES, Resampler
from agentsd.core.manifest.agent import Turn
from agentsd.services.voicebot.turntaking import CONFIRM_FRAMES, Began, Ended, State, step

_LAG_MS = (CONFIRM_FRAMES + 2) * vad.FRAME_MS
"""By how much a detection is late, resampling included: the padding begins before that."""


@dataclass(frozen=True, slots=True)
class Speech:
    """Slice of sound that belongs to the caller's speech."""

    pcm: bytes


class Ear:
    """Speech detector of one call, at one rate. ``turn`` may change at any time."""

    def __init__(self, detector: vad.Detector, rate: int, turn: Turn) -> None:
        self.turn = turn
        self._detector: vad.Detector | None = detector
        self._resampler = Resampler(rate, vad.RATE, "LQ")
        self._slice = rate * vad.FRAME_MS // 1000 * SAMPLE_BYTES
        self._before: deque[bytes] = deque()
        self._state = State()

    @classmethod
    async def open(cls, rate: int, turn: Turn) -> Ear:
        """Return one with a voice detector of its own, until ``close``."""
        return cls(await vad.DETECTORS.take(), rate, turn)

    def close(self) -> None:
        """Give the voice detector back. Nothing is heard from now on."""
        detector, self._detector = self._detector, None
        if detector is not None:
            vad.DETECTORS.give_back(detector)

    def slices(self, pcm: bytes) -> Iterator[bytes]:
        """Cut ``pcm`` into about one frame each: what ``hear`` takes."""
        return (pcm[at : at + self._slice] for at in range(0, len(pcm), self._slice))

    def hear(self, pcm: bytes) -> list[Began | Speech | Ended]:
        """Return what a slice settled. In speech every slice is a ``SpeechSlice``.

        It comes after ``SpeechStart`` and before ``SpeechEnd``.
        """
        signals = [signal for signal in self._signals(pcm) if signal is not None]
        heard: list[Began | Speech | Ended] = [signal for signal in signals if isinstance(signal, Began)]
        ended = [signal for signal in signals if isinstance(signal, Ended)]
        if heard:
            heard.append(Speech(b"".join([*self._before, pcm])))
            self._before.clear()
        elif self._state.began is not None or ended:
            heard.append(Speech(pcm))
        else:
            self._keep(pcm)
        return [*heard, *ended]

    def forget(self) -> None:
        """Discard the speech in progress."""
        self._state = State(frames=self._state.frames)
        self._before.clear()

    def _signals(self, pcm: bytes) -> Iterator[Began | Ended | None]:
        if self._detector is None:
            return
        for probability in self._detector.probabilities(self._resampler.take(pcm)):
            self._state, signal = step(self._state, probability, self.turn)
            yield signal

    def _keep(self, pcm: bytes) -> None:
        self._before.append(pcm)
        most = (self.turn.prefix_padding_ms + _LAG_MS) // vad.FRAME_MS + 1
        while len(self._before) > most:
            self._before.popleft()
