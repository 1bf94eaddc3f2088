"""Turn-taking of Pipecat, for an interpreter that has it: ``python pipecat_turns.py FOLDER AT_A_TIME``.

The set-up that its documents recommend: Silero with ``stop_secs`` 0.2, and the default strategies of user
turns, Smart Turn v3 among them. FOLDER has ``cases.json``, a list of ``{"file", "words": [[from, to]]}`` in
ms, and the sounds (16,000 Hz, 16 bits, mono), which are played in real time. The recogniser is one that is
never late: at each pause that Pipecat notices, the words before it are there, and final. Prints one line of
JSON for each case.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from loguru import logger
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADParams
from pipecat.frames.frames import (
    EndFrame,
    InputAudioRawFrame,
    StartFrame,
    STTMetadataFrame,
    TranscriptionFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.audio.vad_processor import VADProcessor
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.stt_latency import DEEPGRAM_TTFS_P99
from pipecat.turns.user_turn_processor import UserTurnProcessor
from pipecat.turns.user_turn_strategies import UserTurnStrategies
from pipecat.workers.runner import WorkerRunner

RATE = 16_000
FRAME_MS = 20


class Recogniser(FrameProcessor):
    """Gives the final words at once, at each pause."""

    def __init__(self, words, clock):
        super().__init__()
        self._words, self._clock, self._last = words, clock, 0.0

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, StartFrame):
            await self.push_frame(STTMetadataFrame(service_name="prompt", ttfs_p99_latency=DEEPGRAM_TTFS_P99))
        if isinstance(frame, VADUserStoppedSpeakingFrame):
            last, self._last = self._last, self._clock()
            if any(begun < self._last and over > last for begun, over in self._words):
                await self.push_frame(TranscriptionFrame("words", "caller", "", finalized=True))


async def try_case(folder, number, case):
    """Return when turns began and ended, in ms of the sound."""
    sound = (folder / case["file"]).read_bytes()
    began = None
    starts, ends = [], []

    def clock():
        return (time.monotonic() - began) * 1000 if began is not None else 0.0

    turns = UserTurnProcessor(user_turn_strategies=UserTurnStrategies())

    @turns.event_handler("on_user_turn_started")
    async def on_started(*_):
        starts.append(clock())

    @turns.event_handler("on_user_turn_stopped")
    async def on_stopped(*_):
        ends.append(clock())

    vad = VADProcessor(vad_analyzer=SileroVADAnalyzer(params=VADParams(stop_secs=0.2)))
    worker = PipelineWorker(
        Pipeline([vad, Recogniser(case["words"], clock), turns]),
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
        began = time.monotonic()
        size = RATE * FRAME_MS // 1000 * 2
        for at in range(0, len(sound), size):
            due = began + (at + size) / (RATE * 2)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await worker.queue_frame(InputAudioRawFrame(sound[at : at + size], RATE, 1))
        await worker.queue_frame(EndFrame())

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await asyncio.gather(runner.run(), play())
    print(json.dumps({"case": number, "starts": starts, "ends": ends}), flush=True)


async def main(folder, at_a_time):
    """Try every case."""
    logger.remove()
    room = asyncio.Semaphore(at_a_time)

    async def one(number, case):
        async with room:
            await try_case(folder, number, case)

    cases = json.loads((folder / "cases.json").read_text())
    await asyncio.gather(*(one(number, case) for number, case in enumerate(cases)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
