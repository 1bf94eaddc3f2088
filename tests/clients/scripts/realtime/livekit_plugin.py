"""LiveKit's plug-in for OpenAI: the realtime model, and the realtime transcription."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from livekit import rtc
from livekit.agents import llm, stt, utils
from livekit.plugins import openai
from verdicts import (
    API_KEY,
    BASE_URL,
    INSTRUCTIONS,
    INSTRUCTIONS_QUESTION,
    VOICE_MODEL,
    feature,
    read_speech,
)


@llm.function_tool
async def weather(place: str) -> str:
    """Returns the weather of a place."""
    return "It rains."


@asynccontextmanager
async def open_session(**options: Any) -> AsyncIterator[Any]:
    """Yield a session whose errors fail the feature."""
    async with aiohttp.ClientSession() as http:
        model = openai.realtime.RealtimeModel(
            base_url=BASE_URL, model=VOICE_MODEL, api_key=API_KEY, http_session=http, **options
        )
        session = model.session()
        errors: list[Any] = []
        session.on("error", errors.append)
        await session.update_instructions(INSTRUCTIONS)
        try:
            yield session
        finally:
            await session.aclose()
            await model.aclose()
        assert not errors, errors[0].error


async def read_reply(reply: Any) -> tuple[str, int, list[Any]]:
    """Return the text, the number of frames and the calls of one generation."""
    text, frames, calls = "", 0, []

    async def read_messages() -> None:
        nonlocal text, frames
        async for message in reply.message_stream:
            async for delta in message.text_stream:
                text += delta
            async for _ in message.audio_stream:
                frames += 1

    async def read_calls() -> None:
        calls.extend([call async for call in reply.function_stream])

    await asyncio.gather(read_messages(), read_calls())
    return text, frames, calls


@feature("realtime: generate_reply()")
async def generate() -> None:
    async with open_session() as session:
        reply = await session.generate_reply(instructions="Say hello.")
        assert reply.user_initiated
        text, frames, _ = await read_reply(reply)
        assert text
        assert frames


@feature("realtime: update_instructions()")
async def instruct() -> None:
    async with open_session() as session:
        context = llm.ChatContext.empty()
        context.add_message(role="user", content=INSTRUCTIONS_QUESTION)
        await session.update_chat_ctx(context)
        text, _, _ = await read_reply(await session.generate_reply())
        assert INSTRUCTIONS in text, text


@feature("realtime: update_chat_ctx(): root, and the reply to it")
async def write() -> None:
    async with open_session() as session:
        context = llm.ChatContext.empty()
        context.add_message(role="user", content="How are you?")
        context.add_message(role="assistant", content="Well.")
        context.add_message(role="user", content="Where is Bonn?")
        await session.update_chat_ctx(context)
        text, _, _ = await read_reply(await session.generate_reply())
        assert "Where is Bonn?" in text
        context = session.chat_ctx.copy()
        context.items.insert(0, llm.ChatMessage(role="system", content=["You are old."], id="sys1"))
        del context.items[1]
        await session.update_chat_ctx(context)


@feature("realtime: tool, called, and its output")
async def call_tool() -> None:
    async with open_session() as session:
        await session.update_tools([weather])
        context = llm.ChatContext.empty()
        context.add_message(role="user", content="Weather in Bonn?")
        await session.update_chat_ctx(context)
        _, _, (call,) = await read_reply(await session.generate_reply())
        assert (call.name, call.arguments) == ("weather", '{"place": "Bonn"}')
        await asyncio.sleep(0.2)
        context = session.chat_ctx.copy()
        context.items.append(
            llm.FunctionCallOutput(call_id=call.call_id, name="weather", output="It rains.", is_error=False)
        )
        await session.update_chat_ctx(context)
        text, _, _ = await read_reply(await session.generate_reply())
        assert "It rains." in text


@feature("realtime: speech to speech")
async def speak() -> None:
    async with open_session() as session:
        made: asyncio.Queue[Any] = asyncio.Queue()
        words: asyncio.Queue[Any] = asyncio.Queue()
        session.on("generation_created", made.put_nowait)
        session.on("input_audio_transcription_completed", words.put_nowait)
        for piece in read_speech():
            session.push_audio(rtc.AudioFrame(piece, 24_000, 1, len(piece) // 2))
        text, frames, _ = await read_reply(await made.get())
        assert text
        assert frames
        assert not words.empty()


@feature("realtime: interrupt() and truncate()")
async def interrupt() -> None:
    async with open_session() as session:
        reply = await session.generate_reply(instructions="Tell a long story.")
        async for message in reply.message_stream:
            async for _ in message.audio_stream:
                break
            session.interrupt()
            session.truncate(message_id=message.message_id, modalities=["audio", "text"], audio_end_ms=10)
            break
        text, _, _ = await read_reply(await session.generate_reply(instructions="Go on."))
        assert text


@feature("realtime: STT(use_realtime=True)")
async def transcribe() -> None:
    async with aiohttp.ClientSession() as http, utils.http_context.open():
        recogniser = openai.STT(base_url=BASE_URL, model=VOICE_MODEL, api_key=API_KEY, use_realtime=True)
        recogniser._session = http  # outside of a job it has none of its own
        stream = recogniser.stream()
        for piece in read_speech():
            stream.push_frame(rtc.AudioFrame(piece, 24_000, 1, len(piece) // 2))
        async for event in stream:
            if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
                assert event.alternatives[0].text
                break
        await stream.aclose()
