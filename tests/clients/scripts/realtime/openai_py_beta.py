"""The official client of Python, its beta interface, which connects by wss:// only."""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from openai import AsyncOpenAI
from verdicts import (
    INSTRUCTIONS,
    INSTRUCTIONS_QUESTION,
    SECURE_URL,
    VOICE_MODEL,
    WEATHER,
    feature,
    read_speech,
)

QUESTION = {
    "type": "message",
    "role": "user",
    "content": [{"type": "input_text", "text": "Weather in Bonn?"}],
}


@asynccontextmanager
async def connect() -> AsyncIterator[Any]:
    """Yield a connection after its first event."""
    options: Any = {"ssl": ssl.create_default_context(cafile=os.environ["CERTIFICATE"])}
    async with (
        AsyncOpenAI(base_url=SECURE_URL) as client,
        client.beta.realtime.connect(model=VOICE_MODEL, websocket_connection_options=options) as connection,
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


@feature("realtime (beta): the flat session, a tool and its result")
async def call_function() -> None:
    async with connect() as connection:
        await connection.session.update(
            session={
                "instructions": INSTRUCTIONS, "modalities": ["text", "audio"], "voice": "alloy",
                "input_audio_format": "pcm16", "tools": [WEATHER], "temperature": 0.8,
                "turn_detection": {"type": "server_vad", "silence_duration_ms": 450},
            }
        )  # fmt: skip
        session = (await wait_for(connection, "session.updated")).session
        assert (session.instructions, session.turn_detection.silence_duration_ms) == (INSTRUCTIONS, 450)
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
        content = [{"type": "input_text", "text": INSTRUCTIONS_QUESTION}]
        await connection.conversation.item.create(item={**QUESTION, "content": content})
        await connection.response.create(response={"tool_choice": "none"})
        response = (await wait_for(connection, "response.done")).response
        assert INSTRUCTIONS in response.output[0].content[0].transcript


@feature("realtime (beta): speech to speech")
async def speak() -> None:
    async with connect() as connection:
        for piece in read_speech():
            await connection.input_audio_buffer.append(audio=base64.b64encode(piece).decode())
        await wait_for(connection, "conversation.item.input_audio_transcription.completed")
        assert (await wait_for(connection, "response.audio_transcript.done")).transcript
        assert (await wait_for(connection, "response.done")).response.status == "completed"
