"""The official client of Python, realtime."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from openai import AsyncOpenAI
from verdicts import INSTRUCTIONS, INSTRUCTIONS_QUESTION, VOICE_MODEL, WEATHER, feature, read_speech

QUESTION = {
    "type": "message",
    "role": "user",
    "content": [{"type": "input_text", "text": "Weather in Bonn?"}],
}


@asynccontextmanager
async def connect(**options: Any) -> AsyncIterator[Any]:
    """Yield a connection after its first event."""
    target = {} if "extra_query" in options else {"model": VOICE_MODEL}
    async with (
        AsyncOpenAI() as client,
        client.realtime.connect(**target, **options) as connection,
    ):
        assert (await connection.recv()).type == "session.created"
        yield connection


async def wait_for(connection: Any, *kinds: str) -> Any:
    """Return the next event of these types; an error is raised."""
    async for event in connection:
        if event.type in kinds:
            return event
        assert event.type != "error", event.error
    raise EOFError


@feature("realtime: session.update, whole")
async def update_session() -> None:
    async with connect() as connection:
        await connection.session.update(
            session={
                "type": "realtime", "instructions": INSTRUCTIONS, "tools": [WEATHER], "tool_choice": "auto",
                "max_output_tokens": 100, "output_modalities": ["audio"], "truncation": "auto",
                "audio": {"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "low"}}},
            }
        )  # fmt: skip
        session = (await wait_for(connection, "session.updated")).session
        assert session.instructions == INSTRUCTIONS
        assert session.tools[0].name == "weather"
        assert session.max_output_tokens == 100
        assert session.audio.input.turn_detection.type in ("semantic_vad", "server_vad")
        content = [{"type": "input_text", "text": INSTRUCTIONS_QUESTION}]
        await connection.conversation.item.create(item={**QUESTION, "content": content})
        await connection.response.create(response={"tool_choice": "none"})
        response = (await wait_for(connection, "response.done")).response
        assert INSTRUCTIONS in response.output[0].content[0].transcript


@feature("realtime: session.update, in part")
async def update_in_part() -> None:
    async with connect() as connection:
        session: Any = {"type": "realtime", "instructions": INSTRUCTIONS, "prompt": {"id": "pmpt_1"}}
        await connection.send({"type": "session.update", "event_id": "mine", "session": session})
        error = updated = None
        while not (error and updated):
            event = await connection.recv()
            error = event.error if event.type == "error" else error
            updated = event.session if event.type == "session.updated" else updated
        assert error.event_id == "mine"
        assert "prompt" in error.param
        assert updated.instructions == INSTRUCTIONS
        assert updated.prompt is None


@feature("realtime: function call and its output")
async def call_function() -> None:
    async with connect() as connection:
        await connection.session.update(
            session={"type": "realtime", "tools": [WEATHER], "instructions": INSTRUCTIONS}
        )
        await connection.conversation.item.create(item=QUESTION)
        await connection.response.create()
        done = await wait_for(connection, "response.function_call_arguments.done")
        assert done.name == "weather"
        (call,) = (await wait_for(connection, "response.done")).response.output
        output = {"type": "function_call_output", "call_id": call.call_id, "output": "It rains."}
        await connection.conversation.item.create(item=output)
        await connection.response.create()
        response = (await wait_for(connection, "response.done")).response
        assert "It rains." in response.output[0].content[0].transcript


@feature("realtime: response.create: metadata, conversation none, input")
async def answer_beside() -> None:
    async with connect() as connection:
        await connection.response.create(
            response={
                "conversation": "none", "metadata": {"topic": "x"}, "output_modalities": ["text"],
                "input": [QUESTION], "instructions": "Classify.", "max_output_tokens": 50,
            }
        )  # fmt: skip
        response = (await wait_for(connection, "response.done")).response
        assert response.metadata == {"topic": "x"}
        assert response.conversation_id is None
        assert "Weather in Bonn?" in response.output[0].content[0].text


@feature("realtime: items: root, retrieve, delete")
async def arrange_items() -> None:
    async with connect() as connection:
        await connection.conversation.item.create(item={**QUESTION, "id": "second"})
        await wait_for(connection, "conversation.item.done")
        await connection.conversation.item.create(item={**QUESTION, "id": "first"}, previous_item_id="root")
        assert (await wait_for(connection, "conversation.item.added")).previous_item_id is None
        await connection.conversation.item.retrieve(item_id="first")
        assert (await wait_for(connection, "conversation.item.retrieved")).item.id == "first"
        await connection.conversation.item.delete(item_id="first")
        await wait_for(connection, "conversation.item.deleted")


@feature("realtime: speech to speech")
async def speak() -> None:
    async with connect() as connection:
        for piece in read_speech():
            await connection.input_audio_buffer.append(audio=base64.b64encode(piece).decode())
        completed = await wait_for(connection, "conversation.item.input_audio_transcription.completed")
        assert completed.transcript
        assert (await wait_for(connection, "response.output_audio.delta")).delta
        assert (await wait_for(connection, "response.done")).response.status == "completed"


@feature("realtime: transcription session")
async def transcribe() -> None:
    async with connect(extra_query={"intent": "transcription"}) as connection:
        await connection.session.update(
            session={
                "type": "transcription",
                "audio": {"input": {"transcription": {"model": VOICE_MODEL, "language": "en"}}},
            }
        )
        assert (await wait_for(connection, "session.updated")).session.type == "transcription"
        for piece in read_speech():
            await connection.input_audio_buffer.append(audio=base64.b64encode(piece).decode())
        completed = await wait_for(connection, "conversation.item.input_audio_transcription.completed")
        assert completed.transcript
