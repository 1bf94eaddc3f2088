"""Pipecat's service for OpenAI's Realtime API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pipecat.adapters.schemas.function_schema import FunctionSchema
from pipecat.adapters.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    InputAudioRawFrame,
    LLMFullResponseEndFrame,
    LLMRunFrame,
    LLMTextFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineTask
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.openai.realtime.events import (
    AudioConfiguration,
    AudioInput,
    InputAudioNoiseReduction,
    InputAudioTranscription,
    SemanticTurnDetection,
    SessionProperties,
)
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from verdicts import (
    API_KEY,
    INSTRUCTIONS,
    INSTRUCTIONS_QUESTION,
    SOCKET_URL,
    VOICE_MODEL,
    feature,
    read_speech,
)


class Watcher(FrameProcessor):
    """Last processor: keeps every frame that comes."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Any] = []
        self.came = asyncio.Event()

    async def process_frame(self, frame: Any, direction: Any) -> None:
        """Keep a frame."""
        await super().process_frame(frame, direction)
        self.frames.append(frame)
        self.came.set()
        await self.push_frame(frame, direction)

    async def wait_for(self, kind: type, count: int = 1) -> None:
        """Wait until that many frames of a kind came; a frame of an error is raised."""
        while sum(isinstance(frame, kind) for frame in self.frames) < count:
            self.came.clear()
            await self.came.wait()
            for frame in self.frames:
                assert not isinstance(frame, ErrorFrame), frame.error


@asynccontextmanager
async def run_pipeline(tools: list[Any], messages: list[Any], audio: AudioInput) -> AsyncIterator[Any]:
    """Yield a running pipeline's task, its last and its first processor."""
    properties = SessionProperties(instructions=INSTRUCTIONS, audio=AudioConfiguration(input=audio))
    service = OpenAIRealtimeLLMService(
        api_key=API_KEY,
        base_url=SOCKET_URL,
        settings=OpenAIRealtimeLLMService.Settings(model=VOICE_MODEL, session_properties=properties),
    )

    async def weather(params: Any) -> None:
        await params.result_callback({"weather": "It rains."})

    service.register_function("weather", weather)
    context = LLMContext(messages, ToolsSchema(standard_tools=tools)) if tools else LLMContext(messages)
    pair = LLMContextAggregatorPair(context)
    first, last = Watcher(), Watcher()
    task = PipelineTask(
        Pipeline([pair.user(), first, service, last, pair.assistant()]), cancel_on_idle_timeout=False
    )
    runner = PipelineRunner(handle_sigint=False)
    running = asyncio.create_task(runner.run(task))
    try:
        yield task, last, first
    finally:
        await task.queue_frame(EndFrame())
        await asyncio.wait({running}, timeout=5)
        if not running.done():
            await task.cancel()


WEATHER = FunctionSchema(
    name="weather",
    description="Returns the weather of a place.",
    properties={"place": {"type": "string"}},
    required=["place"],
)
QUESTION = {"role": "user", "content": "Weather in Bonn?"}


@feature("realtime: a written question")
async def write() -> None:
    question = {"role": "user", "content": INSTRUCTIONS_QUESTION}
    async with run_pipeline([], [question], AudioInput()) as (task, last, _):
        await task.queue_frame(LLMRunFrame())
        await last.wait_for(LLMFullResponseEndFrame)
        text = "".join(frame.text for frame in last.frames if isinstance(frame, LLMTextFrame))
        assert INSTRUCTIONS in text, text
        assert any(isinstance(frame, TTSAudioRawFrame) for frame in last.frames)


@feature("realtime: one tool, called")
async def call_tool() -> None:
    async with run_pipeline([WEATHER], [QUESTION], AudioInput()) as (task, last, _):
        await task.queue_frame(LLMRunFrame())
        await last.wait_for(LLMFullResponseEndFrame, 2)
        text = "".join(frame.text for frame in last.frames if isinstance(frame, LLMTextFrame))
        assert "It rains." in text, text


@feature("realtime: semantic turn detection, speech to speech")
async def speak() -> None:
    audio = AudioInput(
        turn_detection=SemanticTurnDetection(eagerness="high"),
        transcription=InputAudioTranscription(),
        noise_reduction=InputAudioNoiseReduction(type="near_field"),
    )
    async with run_pipeline([], [], audio) as (task, last, first):
        await task.queue_frame(LLMRunFrame())
        await last.wait_for(LLMFullResponseEndFrame)
        for piece in read_speech():
            await task.queue_frame(InputAudioRawFrame(piece, 24_000, 1))
        await last.wait_for(LLMFullResponseEndFrame, 2)
        assert any(isinstance(frame, TranscriptionFrame) for frame in first.frames)
