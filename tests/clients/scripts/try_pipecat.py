"""Pipecat's services for OpenAI, each in a pipeline of its own."""

from __future__ import annotations

from pathlib import Path

from pipecat.frames.frames import (
    LLMContextFrame,
    LLMTextFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.services.openai.stt import OpenAISTTService
from pipecat.services.openai.tts import OpenAITTSService
from pipecat.tests.utils import run_test
from verdicts import ANSWER, BASE_URL, MODEL, RECORDING, TRANSCRIPT, feature, run_features

MESSAGES = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "What is the capital of France?"},
]


@feature("OpenAILLMService")
async def _() -> None:
    service = OpenAILLMService(settings=OpenAILLMService.Settings(model=MODEL), base_url=BASE_URL)
    down, _up = await run_test(service, frames_to_send=[LLMContextFrame(context=LLMContext(MESSAGES))])
    text = "".join(frame.text for frame in down if isinstance(frame, LLMTextFrame))
    assert ANSWER in text, (text, down)


@feature("OpenAITTSService")
async def _() -> None:
    service = OpenAITTSService(
        settings=OpenAITTSService.Settings(model=MODEL, voice="alloy"), base_url=BASE_URL
    )
    down, _up = await run_test(service, frames_to_send=[TTSSpeakFrame("Hello.")])
    sound = b"".join(frame.audio for frame in down if isinstance(frame, TTSAudioRawFrame))
    assert len(sound) > 20_000, down


@feature("OpenAISTTService")
async def _() -> None:
    service = OpenAISTTService(settings=OpenAISTTService.Settings(model=MODEL), base_url=BASE_URL)
    with Path(RECORDING).open("rb") as file:
        frames = [frame async for frame in service.run_stt(file.read())]
    assert isinstance(frames[0], TranscriptionFrame), frames
    assert TRANSCRIPT in frames[0].text


run_features("realtime.pipecat_service")
