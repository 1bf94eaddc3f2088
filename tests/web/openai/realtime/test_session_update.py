"""session.update: what is right is applied, each other field is an ``error``, nothing is claimed."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from agentsd.audio import g711, turn_model
from tests.services.speech import silence, spoken
from tests.vendors.openai_server import voice_of
from tests.web.conftest import Stack
from tests.web.voices import Line, Vendors, call

WEATHER = {"type": "function", "name": "weather", "description": "d", "parameters": {"type": "object"}}


@pytest.fixture
async def bot(stack: Stack, voices: Vendors) -> Stack:
    """A replica with a voice agent named ``bot``."""
    stack.write("bot.yaml", voices.manifest("alpha", turn={"silence_ms": 400}))
    await stack.sync()
    return stack


async def errors_of(line: Line, session: Any, event_id: str = "mine") -> list[dict[str, Any]]:
    """The errors of an update, which come before the answer to the next event."""
    before = len(line.of("error"))
    await line.send("session.update", session=session, event_id=event_id)
    await line.send("input_audio_buffer.clear")
    await line.until("input_audio_buffer.cleared")
    return [event["error"] for event in line.of("error")[before:]]


async def test_an_update_is_applied_in_part(bot: Stack, voices: Vendors) -> None:
    """Each refused field is named once, with the client's event; the rest is in the session, and in force."""
    async with call(bot, "bot") as line:
        errors = await errors_of(
            line,
            {
                "type": "realtime", "instructions": "Be brief.", "max_output_tokens": 77,
                "tool_choice": "none",
                "tools": [WEATHER, {"type": "mcp", "server_label": "s"}, WEATHER], "truncation": "disabled",
                "prompt": {"id": "p"}, "colour": "red", "temperature": 0.5, "output_modalities": ["smell"],
                "audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 7,
                                                       "silence_duration_ms": 900, "mood": 1}},
                          "output": {"format": {"type": "audio/mp3"}}},
            },
        )  # fmt: skip
        assert {error["param"] for error in errors} == {
            "session.tools[1]", "session.tools[2].name", "session.truncation", "session.prompt",
            "session.colour", "session.output_modalities", "session.audio.output.format.type",
            "session.audio.input.turn_detection.threshold", "session.audio.input.turn_detection.mood",
        }  # fmt: skip
        assert len(errors) == 9
        assert {error["event_id"] for error in errors} == {"mine"}
        (updated,) = line.of("session.updated")
        session = updated["session"]
        assert (session["instructions"], session["max_output_tokens"]) == ("Be brief.", 77)
        assert ([tool["name"] for tool in session["tools"]], session["tool_choice"]) == (["weather"], "none")
        assert (session["truncation"], session["prompt"]) == ("auto", None)
        detection = session["audio"]["input"]["turn_detection"]
        assert (detection["silence_duration_ms"], detection["threshold"]) == (900, 0.5)
        await line.write("Hi.")
        await line.done()
    body = voices.llm.last.body
    assert body["messages"][0]["content"] == "You are alpha.\n\nBe brief."
    assert (body["max_tokens"], body["temperature"], body["tool_choice"]) == (77, 0.5, "none")
    assert [tool["function"]["name"] for tool in body["tools"]] == ["weather"]


async def test_nothing_is_claimed_that_was_ignored(bot: Stack) -> None:
    """What only OpenAI's models have is shown as it is; an update that changed nothing is an error only."""
    async with call(bot, "bot") as line:
        session = await line.update(
            tracing="auto", include=["item.input_audio_transcription.logprobs"],
            audio={"input": {"noise_reduction": {"type": "near_field"},
                             "transcription": {"model": "whisper-1", "language": "xx"}},
                   "output": {"voice": "marin", "speed": 1.4}},
        )  # fmt: skip
        heard, said = session["audio"]["input"], session["audio"]["output"]
        assert (session["tracing"], session["include"], heard["noise_reduction"]) == (None, None, None)
        assert heard["transcription"] == {"model": "whisper.local", "language": None, "prompt": None}
        assert (said["voice"], said["speed"]) == (None, 1.0)
        assert line.of("error") == []
        for wrong, param in (
            ({"prompt": {"id": "p"}}, "session.prompt"),
            ({"type": "speech"}, "session.type"),
            ({"tool_choice": {"type": "function", "name": "nobody"}}, "session.tool_choice"),
            ({"tool_choice": {"type": "mcp", "server_label": "s"}}, "session.tool_choice"),
            ({"max_output_tokens": 0}, "session.max_output_tokens"),
            ({"audio": "loud"}, "session.audio"),
            ("loud", "session"),
        ):
            (error,) = await errors_of(line, wrong)
            assert (error["param"], error["event_id"]) == (param, "mine")
            assert len(line.of("session.updated")) == 1
        errors = await errors_of(line, {f"x{number}": 1 for number in range(3000)})
        assert len(errors) == 21  # bounded, and the last one says how many more


async def test_a_model_that_is_not_there_is_refused_alone(bot: Stack) -> None:
    """Clients send their default model with every update."""
    async with call(bot, "bot") as line:
        (error,) = await errors_of(line, {"model": "gpt-realtime-2", "instructions": "Be brief."})
        assert (error["code"], error["event_id"]) == ("model_not_found", "mine")
        (updated,) = line.of("session.updated")
        assert (updated["session"]["model"], updated["session"]["instructions"]) == ("bot", "Be brief.")


async def test_turn_detection_by_meaning_is_mapped_to_silence(
    bot: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the model. The reply names what runs; ``eagerness`` is how long; null switches it off."""
    monkeypatch.setattr(turn_model, "find_turn_model", lambda: None)
    async with call(bot, "bot") as line:
        for eagerness, milliseconds in (("low", 1000), ("high", 300), ("auto", 400), (None, 400)):
            wanted = {"type": "semantic_vad", "create_response": False, "interrupt_response": False}
            wanted |= {"eagerness": eagerness} if eagerness else {}
            session = await line.update(audio={"input": {"turn_detection": wanted}})
            detection = session["audio"]["input"]["turn_detection"]
            assert (detection["type"], detection["silence_duration_ms"]) == ("server_vad", milliseconds)
            assert (detection["create_response"], detection["interrupt_response"]) == (False, False)
        session = await line.update(audio={"input": {"turn_detection": None}})
        assert session["audio"]["input"]["turn_detection"] is None
        assert line.of("error") == []


async def test_the_beta_shape(bot: Stack, voices: Vendors) -> None:
    """Flat fields are read from anybody; who asks for the beta interface gets its events and session."""
    flat = {
        "modalities": ["text", "audio"], "instructions": "Be brief.", "voice": "alloy", "temperature": 0.8,
        "input_audio_format": "g711_ulaw", "output_audio_format": "g711_ulaw", "tool_choice": "auto",
        "input_audio_transcription": {"model": "whisper-1"}, "max_response_output_tokens": 50,
        "turn_detection": {"type": "server_vad", "silence_duration_ms": 450},
    }  # fmt: skip
    async with call(bot, "bot") as line:
        session = await line.update(**flat)
        assert session["audio"]["input"]["format"] == session["audio"]["output"]["format"]
        assert session["audio"]["input"]["format"] == {"type": "audio/pcmu"}
        assert session["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 450
        assert line.of("error") == []
        (error,) = await errors_of(line, {"input_audio_format": "opus"})
        assert error["param"].startswith("session.input_audio_format")
    async with call(bot, "bot", headers={"OpenAI-Beta": "realtime=v1"}) as line:
        session = await line.update(**flat)
        assert (session["input_audio_format"], session["output_audio_format"]) == ("g711_ulaw", "g711_ulaw")
        assert (session["modalities"], session["max_response_output_tokens"]) == (["text", "audio"], 50)
        sound = g711.encode_g711("u", silence(0.3, 8000) + spoken(8000) + silence(0.8, 8000))
        await line.send("input_audio_buffer.append", audio=base64.b64encode(sound).decode())
        await line.until("conversation.item.created")
        response = await line.done()
    kinds = {event["type"] for event in line.events}
    assert {"response.audio.delta", "response.audio_transcript.delta", "response.audio.done"} <= kinds
    assert not any("output_audio" in kind or kind.startswith("conversation.item.added") for kind in kinds)
    (item,) = response["output"]
    assert item["content"][0]["type"] == "audio"
    parts = [base64.b64decode(event["delta"]) for event in line.of("response.audio.delta")]
    said = item["content"][0]["transcript"].strip()
    assert abs(len(b"".join(parts)) - len(voice_of(said)) / 6) < 100


async def test_a_greeting_waits_for_the_format_not_for_a_clock(bot: Stack, voices: Vendors) -> None:
    """A telephone's client that sends audio first, and its format later, is greeted in that format."""
    bot.write("bot.yaml", voices.manifest("alpha", greeting="Welcome to us."))
    await bot.sync()
    law = {"format": {"type": "audio/pcmu"}}
    async with call(bot, "bot") as line:
        await line.append(silence(0.1))
        await line.send("input_audio_buffer.clear")
        await line.until("input_audio_buffer.cleared")
        await line.update(audio={"input": law, "output": law})
        response = await line.done()
    assert response["audio"]["output"]["format"] == {"type": "audio/pcmu"}
    assert abs(len(line.sound(response["id"])) - len(voice_of("Welcome to us.")) / 6) < 100
