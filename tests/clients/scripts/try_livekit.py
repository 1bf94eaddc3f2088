"""LiveKit's plug-in for OpenAI: the model, the voice and the recogniser, without a room."""

from __future__ import annotations

from livekit import rtc
from livekit.agents import function_tool, llm, utils
from livekit.plugins import openai
from verdicts import ANSWER, BASE_URL, MODEL, RECORDING, TRANSCRIPT, feature, run_features

QUESTION = "What is the capital of France?"


def make_context() -> llm.ChatContext:
    """Return a conversation of one question."""
    context = llm.ChatContext.empty()
    context.add_message(role="system", content="Be kind.")
    context.add_message(role="user", content=QUESTION)
    return context


@function_tool
async def get_weather(city: str) -> str:
    """Return the weather of a city.

    Args:
        city: Its name
    """
    return f"20 degrees in {city}"


async def read_answer(model: llm.LLM, **options: object) -> tuple[str, list[llm.FunctionToolCall]]:
    """Return the text of an answer, and its calls of tools."""
    text, calls = "", []
    async with model.chat(chat_ctx=make_context(), **options) as stream:
        async for chunk in stream:
            if chunk.delta:
                text += chunk.delta.content or ""
                calls += chunk.delta.tool_calls
    return text, calls


@feature("LLM")
async def _() -> None:
    text, _calls = await read_answer(openai.LLM(model=MODEL))
    assert ANSWER in text, text


@feature("LLM: tools")
async def _() -> None:
    _text, calls = await read_answer(openai.LLM(model=MODEL), tools=[get_weather])
    assert "Paris" in calls[0].arguments


@feature("responses.LLM (HTTP)")
async def _() -> None:
    text, _calls = await read_answer(openai.responses.LLM(model=MODEL, use_websocket=False))
    assert ANSWER in text, text


@feature("responses.LLM by WebSocket, not by HTTP", refused="405")
async def _() -> None:
    async with utils.http_context.open():
        text, _calls = await read_answer(openai.responses.LLM(model=MODEL, base_url=f"{BASE_URL}/responses"))
    assert ANSWER in text, text


@feature("TTS")
async def _() -> None:
    frames = [part.frame async for part in openai.TTS(model=MODEL).synthesize("Hello.")]
    assert rtc.combine_audio_frames(frames).duration > 0.4


@feature("STT")
async def _() -> None:
    frames = []
    async for frame in utils.audio.audio_frames_from_file(RECORDING, sample_rate=16_000):
        frames.append(frame)
    event = await openai.STT(model=MODEL, use_realtime=False).recognize(frames)
    assert TRANSCRIPT in event.alternatives[0].text


run_features("realtime.livekit_plugin")
