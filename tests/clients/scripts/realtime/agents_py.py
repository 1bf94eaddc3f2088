"""The Agents SDK of Python, realtime."""

from __future__ import annotations

from typing import Any

from agents import function_tool
from agents.realtime import RealtimeAgent, RealtimeRunner
from verdicts import (
    API_KEY,
    INSTRUCTIONS,
    INSTRUCTIONS_QUESTION,
    SOCKET_URL,
    VOICE_MODEL,
    feature,
    read_speech,
)

CALLED: list[str] = []


@function_tool
def weather(place: str) -> str:
    """Returns the weather of a place."""
    CALLED.append(place)
    return "It rains."


def make_session(**agent: Any) -> Any:
    """Return a session's maker, with the client's own defaults."""
    runner = RealtimeRunner(starting_agent=RealtimeAgent(name="A", instructions=INSTRUCTIONS, **agent))
    config = {"url": f"{SOCKET_URL}?model={VOICE_MODEL}", "api_key": API_KEY}
    return runner.run(model_config={**config, "initial_model_settings": {"model_name": VOICE_MODEL}})


def read_raw(event: Any) -> dict[str, Any]:
    """Return the server's event in an event of the session; empty for others."""
    data = getattr(event, "data", None)
    raw = data.data if event.type == "raw_model_event" and data.type == "raw_server_event" else {}
    return raw if isinstance(raw, dict) else {}


async def wait_for(session: Any, kind: str) -> Any:
    """Return the next event of the server of that type; an error is raised."""
    async for event in session:
        assert event.type != "error", event.error
        raw = read_raw(event)
        if raw.get("type") == kind:
            return raw
    raise EOFError


@feature("realtime: defaults: instructions arrive")
async def instruct() -> None:
    async with await make_session() as session:
        updated = await wait_for(session, "session.updated")
        assert updated["session"]["instructions"] == INSTRUCTIONS
        await session.send_message(INSTRUCTIONS_QUESTION)
        response = (await wait_for(session, "response.done"))["response"]
        assert response["status"] == "completed"
        assert INSTRUCTIONS in response["output"][0]["content"][0]["transcript"]


@feature("realtime: one tool, called")
async def call_tool() -> None:
    CALLED.clear()
    async with await make_session(tools=[weather]) as session:
        await session.send_message("Weather in Bonn?")
        await wait_for(session, "response.done")
        done = await wait_for(session, "response.done")
        assert CALLED == ["Bonn"]
        assert "It rains." in done["response"]["output"][0]["content"][0]["transcript"]


@feature("realtime: speech to speech, history")
async def speak() -> None:
    async with await make_session() as session:
        for piece in read_speech():
            await session.send_audio(piece)
        audio, history = 0, []
        async for event in session:
            assert event.type != "error", event.error
            audio += event.type == "audio"
            history = event.history if event.type == "history_updated" else history
            if event.type == "agent_end":
                break
        assert audio
        await wait_for(session, "conversation.item.retrieved") if not history else None
        assert any(getattr(item, "role", "") == "user" for item in history)


@feature("realtime: interrupt()")
async def interrupt() -> None:
    async with await make_session() as session:
        await session.send_message("Tell me a long story, please. It may be long.")
        await wait_for(session, "response.output_audio.delta")
        await session.interrupt()
        done = await wait_for(session, "response.done")
        assert done["response"]["status"] in ("cancelled", "completed")
        await session.send_message("Hello.")
        assert (await wait_for(session, "response.done"))["response"]["status"] == "completed"
