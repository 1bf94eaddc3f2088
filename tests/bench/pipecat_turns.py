"""Turn-taking of Pipecat, for an interpreter that has it: ``python pipecat_turns.py FOLDER MODEL_MS``.

The set-up that its documents recommend: Silero with ``stop_secs`` 0.2, and the default strategies of user
turns, Smart Turn v3 among them. FOLDER has ``cases.json``, a list of ``{"file", "words": [[from, to]]}`` in
ms, and the sounds (16,000 Hz, 16 bits, mono). The sound's own clock counts, not the machine's: an opinion of
the model comes MODEL_MS later. The recogniser is one that is never late: at each pause that Pipecat notices,
the words before it are there, and final. Prints one line of JSON for each case.
"""

from __future__ import annotations

import asyncio
import json
import selectors
import sys
import time
from pathlib import Path


class SoundClock:
    """Time as the sound counts it, in seconds; Pipecat takes it for the machine's."""

    now = 1000.0

    @classmethod
    def read(cls):
        """Return the present time."""
        return cls.now


time.time = time.monotonic = SoundClock.read  # before Pipecat is imported, which keeps references

from loguru import logger  # noqa: E402
from pipecat.audio.vad.silero import SileroVADAnalyzer  # noqa: E402
from pipecat.audio.vad.vad_analyzer import VADParams  # noqa: E402
from pipecat.frames.frames import (  # noqa: E402
    EndFrame,
    InputAudioRawFrame,
    StartFrame,
    STTMetadataFrame,
    TranscriptionFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline  # noqa: E402
from pipecat.pipeline.worker import PipelineParams, PipelineWorker  # noqa: E402
from pipecat.processors.audio.vad_processor import VADProcessor  # noqa: E402
from pipecat.processors.frame_processor import FrameProcessor  # noqa: E402
from pipecat.services.stt_latency import DEEPGRAM_TTFS_P99  # noqa: E402
from pipecat.turns.user_turn_processor import UserTurnProcessor  # noqa: E402
from pipecat.turns.user_turn_strategies import UserTurnStrategies  # noqa: E402
from pipecat.workers.runner import WorkerRunner  # noqa: E402

RATE = 16_000
FRAME_MS = 20
MODEL = "_process_speech_segment"
"""Name of the function that asks the end-of-turn model."""


class Leap(selectors.DefaultSelector):
    """Selector that does not wait for the next timer: the sound's clock leaps to it."""

    def select(self, timeout=None):
        """Return what is ready now."""
        ready = super().select(0)
        if not ready and timeout:
            SoundClock.now += timeout
        return ready


class SoundLoop(asyncio.SelectorEventLoop):
    """Event loop on the sound's clock. What others run in a thread is done at once."""

    model_seconds = 0.0

    def __init__(self):
        super().__init__(Leap())

    def time(self):
        """Return the present time."""
        return SoundClock.now

    def run_in_executor(self, executor, func, *args):
        """Call ``func``; the model's opinion comes later."""
        result = self.create_future()
        value = func(*args)
        if getattr(func, "__name__", "") == MODEL:
            self.call_later(self.model_seconds, result.set_result, value)
        else:
            result.set_result(value)
        return result


class Recogniser(FrameProcessor):
    """Gives the final words at once, at each pause."""

    def __init__(self, words, clock):
        super().__init__()
        self._words, self._clock, self._last = words, clock, 0.0

    async def process_frame(self, frame, direction):
        """See ``FrameProcessor``."""
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, StartFrame):
            await self.push_frame(STTMetadataFrame(service_name="prompt", ttfs_p99_latency=DEEPGRAM_TTFS_P99))
        if isinstance(frame, VADUserStoppedSpeakingFrame):
            last, self._last = self._last, self._clock()
            if any(begun < self._last and over > last for begun, over in self._words):
                await self.push_frame(TranscriptionFrame("words", "caller", "", finalized=True))


async def try_case(sound, words):
    """Return when turns began and ended, in ms of the sound."""
    began = None
    starts, ends = [], []

    def clock():
        return (SoundClock.now - began) * 1000 if began is not None else 0.0

    turns = UserTurnProcessor(user_turn_strategies=UserTurnStrategies())

    @turns.event_handler("on_user_turn_started")
    async def on_started(*_):
        starts.append(clock())

    @turns.event_handler("on_user_turn_stopped")
    async def on_stopped(*_):
        ends.append(clock())

    vad = VADProcessor(vad_analyzer=SileroVADAnalyzer(params=VADParams(stop_secs=0.2)))
    worker = PipelineWorker(
        Pipeline([vad, Recogniser(words, clock), turns]),
        cancel_on_idle_timeout=False,
        enable_rtvi=False,
        params=PipelineParams(audio_in_sample_rate=RATE),
    )
    ready = asyncio.Event()

    @worker.event_handler("on_pipeline_started")
    async def on_ready(*_):
        ready.set()

    async def play():
        nonlocal began
        await ready.wait()
        began = SoundClock.now
        size = RATE * FRAME_MS // 1000 * 2
        for at in range(0, len(sound), size):
            due = began + (at + size) / (RATE * 2)
            await asyncio.sleep(max(0.0, due - SoundClock.now))
            await worker.queue_frame(InputAudioRawFrame(sound[at : at + size], RATE, 1))
        await worker.queue_frame(EndFrame())

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await asyncio.gather(runner.run(), play())
    return {"starts": starts, "ends": ends}


def main(folder, model_ms):
    """Try every case."""
    logger.remove()
    SoundLoop.model_seconds = model_ms / 1000
    for number, case in enumerate(json.loads((folder / "cases.json").read_text())):
        with asyncio.Runner(loop_factory=SoundLoop) as loop:
            found = loop.run(try_case((folder / case["file"]).read_bytes(), case["words"]))
        print(json.dumps({"case": number, **found}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
