"""Speech detector of a microphone: voice detection, turn-taking, and the sound from just before."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from agentsd.audio import vad
from agentsd.audio.resampler import SAMPLE_BYTES
from agentsd.audio.speech_resampler import SpeechResampler, write_samples
from agentsd.core.manifest.turn import Turn
from agentsd.services.voicebot.turn_detection import (
    CONFIRM_FRAMES,
    DetectionState,
    SpeechEnd,
    SpeechStart,
    advance_state,
)
from agentsd.services.voicebot.turn_judge import TurnJudge

QUIET_BELOW_VOICE_DB = 24.0
"""A frame that is quieter than the voice by this is silence, though the model's probability falls only
over the next 100 ms: ``silence_ms`` counts from the last sound."""

RISE_WEIGHT, FALL_WEIGHT = 0.2, 0.05
"""Weights of a louder and of a quieter frame in the mean level of the voice: it trails off before its end."""

PAUSE_MS = 200
"""Silence after which the recogniser is told to finish, beside the wait for the end."""

JUDGED_LATE_MS = vad.FRAME_MS
"""Silence that has passed, on average, beside the whole frames of it when these are judged: half of the frame
with the last sound, what the resampler keeps back, and half of a microphone's piece. A wait counts from the
last sound, so that it ends at the frame nearest to it."""

_SLICE_FRAMES_MAX = 2
"""Frames that a slice may complete."""

_LAG_MS = (CONFIRM_FRAMES + 2) * vad.FRAME_MS
"""Delay of a detection, resampling included: the padding begins before that."""


@dataclass(frozen=True, slots=True)
class SpeechSlice:
    """Slice of sound that belongs to the caller's speech."""

    pcm: bytes


class SpeechDetector:
    """Speech detector of one call, at one rate. ``turn`` may change at any time."""

    def __init__(
        self,
        detector: vad.VoiceDetector,
        rate: int,
        turn: Turn,
        make_judge: Callable[[], TurnJudge] = TurnJudge,
    ) -> None:
        self.turn = turn
        self._detector: vad.VoiceDetector | None = detector
        self._make_judge = make_judge
        self._judge: TurnJudge | None = None  # where a model decides
        self._resampler = SpeechResampler(rate, vad.RATE)
        self._slice = rate * vad.FRAME_MS // 1000 * SAMPLE_BYTES
        self._before: deque[bytes] = deque()
        self._state = DetectionState()
        self._voice_level: float | None = None

    @property
    def stirring(self) -> bool:
        """Return whether there is a voice right now, or what may become one: one frame is enough."""
        state = self._state
        return state.quiet == 0 if state.began is not None else state.loud > 0

    @property
    def speaking(self) -> bool:
        """Return whether speech has begun and not ended."""
        return self._state.began is not None

    @property
    def paused(self) -> bool:
        """Return whether the caller has been silent for ``PAUSE_MS``, and may have finished."""
        return self._state.began is not None and self.quiet_ms >= PAUSE_MS

    @property
    def likely_over(self) -> bool:
        """Return whether the pause is likely the end: by its length, unless the model doubts it."""
        doubted = self._judge is not None and self._judge.doubts
        return self.paused and (not doubted or self.quiet_ms >= self.turn.silence_ms)

    @property
    def quiet_ms(self) -> int:
        """Return how long the caller has been silent, about; 0 during a sound."""
        quiet = self._state.quiet
        return quiet * vad.FRAME_MS + JUDGED_LATE_MS if quiet else 0

    @property
    def speech_ms(self) -> int:
        """Return how long the current speech is, without the silence at its end."""
        state = self._state
        return 0 if state.began is None else (state.frames - state.began - state.quiet) * vad.FRAME_MS

    @property
    def wait_ms(self) -> int:
        """Return the silence that ends the current speech, as far as it is known."""
        return self.turn.silence_ms if self._judge is None else self._judge.choose_wait(self.turn)

    async def consider(self) -> None:
        """Wait for the model's opinion of the pause, if the next slice could end the speech without it."""
        judge, state = self._judge, self._state
        if judge is not None and (state.quiet + _SLICE_FRAMES_MAX) * vad.FRAME_MS >= self._frames_ms:
            await judge.settle()

    @classmethod
    async def open(cls, rate: int, turn: Turn) -> SpeechDetector:
        """Return one with a voice detector of its own."""
        return cls(await vad.open_detector(), rate, turn)

    def close(self) -> None:
        """Hear nothing from now on."""
        self._detector = None
        if self._judge is not None:
            self._judge.forget()

    def slices(self, pcm: bytes) -> Iterator[bytes]:
        """Cut ``pcm`` into about one frame each: what ``hear`` takes."""
        return (pcm[at : at + self._slice] for at in range(0, len(pcm), self._slice))

    def hear(self, pcm: bytes) -> list[SpeechStart | SpeechSlice | SpeechEnd]:
        """Return what a slice settled. In speech every slice is a ``SpeechSlice``.

        It comes after ``SpeechStart`` and before ``SpeechEnd``.
        """
        signals = [signal for signal in self._signals(pcm) if signal is not None]
        heard: list[SpeechStart | SpeechSlice | SpeechEnd] = [
            signal for signal in signals if isinstance(signal, SpeechStart)
        ]
        ended = [signal for signal in signals if isinstance(signal, SpeechEnd)]
        if heard:
            heard.append(SpeechSlice(b"".join([*self._before, pcm])))
            self._before.clear()
        elif self._state.began is not None or ended:
            heard.append(SpeechSlice(pcm))
        else:
            self._keep(pcm)
        return [*heard, *ended]

    def forget(self) -> None:
        """Discard the speech in progress."""
        self._state = DetectionState(frames=self._state.frames)
        self._before.clear()
        if self._judge is not None:
            self._judge.forget()

    def _signals(self, pcm: bytes) -> Iterator[SpeechStart | SpeechEnd | None]:
        if self._detector is None:
            return
        sound = self._resampler.take(pcm)
        judge = self._find_judge()
        if judge is not None:
            judge.hear(write_samples(sound), speaking=self.speaking)
        for probability in self._detector.hear(sound):
            heard = self._weigh(probability, self._detector.level)
            self._state, signal = advance_state(self._state, heard, self.turn, self._frames_ms)
            if judge is not None:
                self._consult(judge, signal)
            yield signal

    @property
    def _frames_ms(self) -> int:
        """Return the silence in whole frames after which the wait is over."""
        return self.wait_ms - JUDGED_LATE_MS

    def _find_judge(self) -> TurnJudge | None:
        """Return the judge of pauses, made at the first sound after the settings ask for one."""
        if self.turn.detection == "silence":
            self._judge = None
        elif self._judge is None:
            self._judge = self._make_judge()
        return self._judge

    def _consult(self, judge: TurnJudge, signal: SpeechStart | SpeechEnd | None) -> None:
        """Ask the model once in each pause; what it said of one does not hold for the next."""
        if isinstance(signal, SpeechEnd):
            judge.forget()
        elif self._state.quiet == 0:
            judge.forget_opinion()
        elif self.paused:
            judge.ask()

    def _weigh(self, probability: float, level: float) -> float:
        """Return the probability, or 0 for a frame that is silent beside the voice."""
        voice = self._voice_level
        if self._state.began is None:
            self._voice_level = level if self._state.loud == 0 or voice is None else max(voice, level)
            return probability
        if voice is not None and level < voice - QUIET_BELOW_VOICE_DB:
            return 0.0
        if probability >= self.turn.threshold and voice is not None:
            weight = RISE_WEIGHT if level > voice else FALL_WEIGHT
            self._voice_level = voice + weight * (level - voice)
        return probability

    def _keep(self, pcm: bytes) -> None:
        self._before.append(pcm)
        most = (self.turn.prefix_padding_ms + _LAG_MS) // vad.FRAME_MS + 1
        while len(self._before) > most:
            self._before.popleft()
