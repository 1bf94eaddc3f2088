"""An agent in Pipecat 1.14, as its documentation builds one: ``python pipecat_agent.py VENDORS_URL``.

Needs ``pip install 'pipecat-ai[openai,silero,websocket]==1.14.0' uvicorn``.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys

import uvicorn
from fastapi import FastAPI, WebSocket
from loguru import logger
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADParams
from pipecat.frames.frames import Frame, InputAudioRawFrame, InterruptionFrame, OutputAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.serializers.base_serializer import FrameSerializer
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.services.openai.stt import OpenAISTTService
from pipecat.services.openai.tts import OpenAITTSService
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.turns.user_stop import SpeechTimeoutUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies
from pipecat.workers.runner import WorkerRunner

RATE_IN, RATE_OUT = 16_000, 24_000
VAD_STOP_SECONDS = 0.2
SILENCE_SECONDS = 0.5


class BareSound(FrameSerializer):
    """Samples as they are."""

    async def serialize(self, frame: Frame) -> str | bytes | None:
        if isinstance(frame, OutputAudioRawFrame):
            return frame.audio
        return "confirmed" if isinstance(frame, InterruptionFrame) else None

    async def deserialize(self, data: str | bytes) -> Frame | None:
        if isinstance(data, str):
            return None
        return InputAudioRawFrame(audio=data, sample_rate=RATE_IN, num_channels=1)


async def serve_call(websocket: WebSocket, vendors: str, kind: str) -> None:
    """Run one pipeline until its caller leaves."""
    transport = FastAPIWebsocketTransport(
        websocket,
        FastAPIWebsocketParams(
            audio_in_enabled=True,
            audio_out_enabled=True,
            audio_out_auto_silence=False,
            serializer=BareSound(),
        ),
    )
    api = {"api_key": "none", "base_url": f"{vendors}/v1"}
    stt = OpenAISTTService(**api, settings=OpenAISTTService.Settings(model="m"))
    llm = OpenAILLMService(**api, settings=OpenAILLMService.Settings(model="m"))
    tts = OpenAITTSService(**api, settings=OpenAITTSService.Settings(model=kind, voice="alloy"))
    waits = SpeechTimeoutUserTurnStopStrategy(user_speech_timeout=SILENCE_SECONDS - VAD_STOP_SECONDS)
    user, assistant = LLMContextAggregatorPair(
        LLMContext([{"role": "system", "content": "You are terse."}]),
        user_params=LLMUserAggregatorParams(
            vad_analyzer=SileroVADAnalyzer(params=VADParams(stop_secs=VAD_STOP_SECONDS)),
            user_turn_strategies=UserTurnStrategies()
            if kind == "smart"
            else UserTurnStrategies(stop=[waits]),
        ),
    )
    parts = [transport.input(), stt, user, llm, tts, transport.output(), assistant]
    worker = PipelineWorker(
        Pipeline(parts),
        params=PipelineParams(audio_in_sample_rate=RATE_IN, audio_out_sample_rate=RATE_OUT),
        idle_timeout_secs=None,
    )

    @transport.event_handler("on_client_disconnected")
    async def leave(_transport: object, _client: object) -> None:
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


def make_app(vendors: str) -> FastAPI:
    """Return the addresses."""
    app = FastAPI()

    @app.websocket("/{kind}")
    async def call(websocket: WebSocket, kind: str) -> None:
        await websocket.accept()
        await serve_call(websocket, vendors, kind)

    return app


async def main(vendors: str) -> None:
    """Serve."""
    logger.remove()
    logger.add(sys.stderr, level=os.environ.get("LEVEL", "ERROR"))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(make_app(vendors), log_level="error"))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    await server.serve(sockets=[listener])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
