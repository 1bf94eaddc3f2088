"""The official client of Python, its beta interface: wss:// only, so the server is behind TLS."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from openai import AsyncOpenAI
from realtime_features import API_KEY, MODEL, WEATHER, cut, feature, read_speech, run_features

QUESTION = {
    "type": "message",
    "role": "user",
    "content": [{"type": "input_text", "text": "Weather in Bonn?"}],
}


@asynccontextmanager
async def connect() -> AsyncIterator[Any]:
    """Yield a connection after its first event."""
    async with (
        AsyncOpenAI(api_key=API_KEY, base_url=os.environ["OPENAI_TLS_URL"]) as client,
        client.beta.realtime.connect(model=MODEL) as connection,
    ):
        assert (await connection.recv()).type == "session.created"
        yield connection


async def wait_for(connection: Any, kind: str) -> Any:
    """Return the next event of that type; an error is raised."""
    async for event in connection:
        if event.type == kind:
            return event
        assert event.type != "error", event.error
    raise EOFError


@feature("the flat session, a tool and its result")
async def call_function() -> None:
    async with connect() as connection:
        await connection.session.update(
            session={
                "instructions": "Be brief.", "modalities": ["text", "audio"], "voice": "alloy",
                "input_audio_format": "pcm16", "tools": [WEATHER], "temperature": 0.8,
                "turn_detection": {"type": "server_vad", "silence_duration_ms": 450},
            }
        )  # fmt: skip
        session = (await wait_for(connection, "session.updated")).session
        assert (session.instructions, session.turn_detection.silence_duration_ms) == ("Be brief.", 450)
        await connection.conversation.item.create(item=QUESTION)
        await wait_for(connection, "conversation.item.created")
        await connection.response.create()
        (call,) = (await wait_for(connection, "response.done")).response.output
        output = {"type": "function_call_output", "call_id": call.call_id, "output": "It rains."}
        await connection.conversation.item.create(item=output)
        await connection.response.create()
        assert (await wait_for(connection, "response.audio.delta")).delta
        response = (await wait_for(connection, "response.done")).response
        assert "It rains." in response.output[0].content[0].transcript


@feature("speech to speech")
async def speak() -> None:
    async with connect() as connection:
        for piece in cut(read_speech()):
            await connection.input_audio_buffer.append(audio=base64.b64encode(piece).decode())
        await wait_for(connection, "conversation.item.input_audio_transcription.completed")
        assert (await wait_for(connection, "response.audio_transcript.done")).transcript
        assert (await wait_for(connection, "response.done")).response.status == "completed"


run_features("openai")
