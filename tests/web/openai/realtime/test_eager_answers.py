"""Answers that begin at a likely end of speech: nobody gets to know of them before the end is certain."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentsd.services.voicebot import events as ev
from agentsd.services.voicebot.call import open_call
from tests.services.speech import silence, spoken
from tests.vendors.base import Fault, Received
from tests.vendors.tool_server import ToolServer
from tests.web.conftest import Stack
from tests.web.voices import Line, Vendors, call, settled

WAIT = {"silence_ms": 1500}
PAUSE = silence(0.3) + spoken() + silence(0.5)
END = silence(2)
ID = "5b0e0d3d-6c1f-4c3e-8f0e-5a5d0a4b6c12"
TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}
SECRET_EVENTS = ("response.", "conversation.item.added", "conversation.item.done", "error")
"""What a client may not see of an answer before the end of speech is certain."""


async def serve(stack: Stack, voices: Vendors, turn: dict[str, Any] | None = None, **extra: Any) -> None:
    """One agent, ``a``, that waits long for the end of speech."""
    stack.write("a.yaml", voices.manifest("one", id=ID, turn=WAIT | (turn or {}), **extra))
    await stack.sync()


def chats(voices: Vendors) -> list[Received]:
    """What the model was asked."""
    return [request for request in voices.llm.requests if "messages" in (request.body or {})]


async def until(true: Any) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)


async def until_prepared(line: Line, voices: Vendors, number: int = 1) -> None:
    """Wait until the model was asked, and its first sentence is with the voice; the client sees nothing."""
    await until(lambda: len(chats(voices)) >= number)
    await until(lambda: "I am one." in voices.tts.last.frames if voices.tts.requests else False)
    await line.update()
    assert [one["type"] for one in line.events if one["type"].startswith(SECRET_EVENTS)] == []


def outcomes(stack: Stack) -> dict[str, float]:
    """How many answers were prepared, by what became of them."""
    return samples(stack, "agentsd_call_eager_answers_total", "outcome")


def samples(stack: Stack, name: str, label: str) -> dict[str, float]:
    """The values of a metric, by one of its labels."""
    metrics = stack.metrics.registry.collect()
    found = (sample for metric in metrics for sample in metric.samples if sample.name == name)
    return {sample.labels[label]: sample.value for sample in found}


async def test_an_answer_is_ready_when_the_end_is_certain(stack: Stack, voices: Vendors) -> None:
    """The model is asked once, in the pause; what it said is heard, and kept, as at any other time."""
    await serve(stack, voices)
    async with call(stack, "a") as line:
        await line.append(PAUSE)
        await until_prepared(line, voices)
        assert "You" not in str(voices.tts.last.frames)  # the second sentence is not paid for yet
        await line.append(END)
        response = await line.done()
        heard = line.of("conversation.item.input_audio_transcription.completed")[0]["transcript"]
        assert response["status"] == "completed"
        assert line.text(response["id"]).strip() == f"I am one. You said {heard}"
        assert line.sound(response["id"])
        assert len(chats(voices)) == 1
        order = [one["type"] for one in line.events]
        assert order.index("input_audio_buffer.committed") < order.index("response.created")
        await line.write("And now?")
        await line.done()
    roles = [message["role"] for message in voices.llm.last_chat["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    assert outcomes(stack) == {"used": 1}
    await settled(stack, voices)


async def test_an_answer_is_thrown_away_if_the_caller_goes_on(stack: Stack, voices: Vendors) -> None:
    """The vendor's stream is closed, nothing of it is seen or kept, and the whole is answered once."""
    await serve(stack, voices)
    voices.llm.fault, voices.llm.fault_at, voices.llm.times = Fault.STALL_LATER, 6, 1
    async with call(stack, "a") as line:
        await line.append(PAUSE)
        await until_prepared(line, voices)
        await line.append(PAUSE)
        await asyncio.wait_for(chats(voices)[0].disconnected.wait(), 5)
        await line.append(END)
        response = await line.done()
        heard = line.of("conversation.item.input_audio_transcription.completed")[0]["transcript"]
        assert heard.count("heard ") == 2
        assert line.text(response["id"]).strip() == f"I am one. You said {heard}"
        assert len(line.of("response.created")) == 1
        await line.write("And now?")
        await line.done()
    roles = [message["role"] for message in voices.llm.last_chat["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    assert outcomes(stack)["resumed"] == 1
    assert stack.metrics.registry.get_sample_value("agentsd_call_eager_discarded_tokens_total")
    await settled(stack, voices)


async def test_what_was_thrown_away_is_reported_and_recorded(stack: Stack, voices: Vendors) -> None:
    """Its words and length to the embedder, its cost to the record of the turn; both after the fact."""
    await serve(stack, voices)
    events: list[ev.CallEvent] = []
    async with open_call(stack.registry, "a") as line:
        await line.feed(PAUSE)
        await until(lambda: "I am one." in voices.tts.last.frames if voices.tts.requests else False)
        await line.feed(PAUSE)
        await line.feed(END)
        async with asyncio.timeout(20):
            async for event in line.events():
                events.append(event)
                if isinstance(event, ev.TurnEnded):
                    break
    (thrown,) = (event for event in events if isinstance(event, ev.AnswerDiscarded))
    (said,) = (event.item for event in events if isinstance(event, ev.UtteranceCommitted))
    assert (thrown.item, thrown.reason) == (said, "resumed")
    assert thrown.text.startswith("I am one. ")
    assert thrown.characters == len("I am one. ") < len(thrown.text)
    ended = events[-1]
    assert isinstance(ended, ev.TurnEnded)
    usage = ended.record.usage
    assert (usage.answers_discarded, usage.characters_discarded) == (1, thrown.characters)
    assert usage.tokens_discarded == thrown.tokens > 0
    moments = ended.record.times
    assert moments.speech_ended is not None
    assert moments.first_token is not None
    assert moments.first_sound is not None
    assert moments.speech_ended <= moments.first_token <= moments.first_sound <= moments.ended


@pytest.mark.parametrize("asks", [True, False])
async def test_a_client_that_asks_sees_what_was_thrown_away(
    stack: Stack, voices: Vendors, asks: bool
) -> None:
    """After the fact; others get no event of a type that they do not know."""
    await serve(stack, voices)
    async with call(stack, "a") as line:
        if asks:
            await line.update(include=["agentsd.turn"])
        await line.append(PAUSE)
        await until_prepared(line, voices)
        await line.append(PAUSE + END)
        item = (await line.until("input_audio_buffer.committed"))["item_id"]
        await line.done()
        await line.update()
    thrown = [event["answer"] for event in line.of("agentsd.answer.discarded")]
    reports = [event["turn"] for event in line.of("agentsd.turn.done")]
    assert [(one["item_id"], one["reason"]) for one in thrown] == [(item, "resumed")] * asks
    assert all(one["text"].startswith("I am one. ") for one in thrown)
    assert [one["answers_discarded"] for one in reports] == [1] * asks


async def test_no_tool_is_called_before_the_end_is_certain(stack: Stack, voices: Vendors) -> None:
    """The answer stops at its first call, which a client sees once, afterwards."""
    await serve(stack, voices)
    async with call(stack, "a") as line:
        await line.update(tools=[TOOL])
        await line.append(PAUSE)
        await until(lambda: chats(voices))
        await asyncio.sleep(0.05)
        await line.update()
        assert [one["type"] for one in line.events if one["type"].startswith(SECRET_EVENTS)] == []
        await line.append(END)
        called = await line.until("response.function_call_arguments.done")
        assert called["name"] == "weather"
        await line.done()
        assert len(line.of("response.function_call_arguments.done")) == len(chats(voices)) == 1
    assert outcomes(stack) == {"used": 1}


async def test_no_tool_of_the_server_is_run_before_the_end_is_certain(stack: Stack, voices: Vendors) -> None:
    """It is run once, for the words that were certain, and not at all for a caller who goes on."""
    async with ToolServer() as server:
        tool = {"name": "weather", "description": "Weather.", "parameters": {"place": {"type": "string"}}}
        await serve(stack, voices, tools=[tool | {"http": {"url": f"{server.url}/weather"}}])
        async with call(stack, "a") as line:
            await line.append(PAUSE)
            await until(lambda: chats(voices))
            await line.append(PAUSE)
            await until(lambda: len(chats(voices)) == 2)
            await asyncio.sleep(0.05)
            assert server.requests == []
            await line.append(END)
            assert (await line.done())["status"] == "completed"
        assert len(server.requests) == 1
    assert outcomes(stack) == {"resumed": 1, "used": 1}


async def test_what_was_said_meanwhile_is_answered(stack: Stack, voices: Vendors) -> None:
    """An item that a client adds while the caller is silent is not overlooked: the model is asked again."""
    await serve(stack, voices)
    async with call(stack, "a") as line:
        await line.append(PAUSE)
        await until_prepared(line, voices)
        item = {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Be brief."}]}
        await line.send("conversation.item.create", item=item)
        await line.append(END)
        assert (await line.done())["status"] == "completed"
        assert len(line.of("response.created")) == 1
    assert voices.llm.last_chat["messages"][0]["content"].endswith("Be brief.")
    assert outcomes(stack) == {"changed": 1}


async def test_a_vendor_that_fails_meanwhile_is_asked_again(stack: Stack, voices: Vendors) -> None:
    """The failure of an answer that nobody waits for is not one of the call."""
    await serve(stack, voices)
    voices.llm.fault, voices.llm.fault_at, voices.llm.times = Fault.EARLY_CLOSE, 3, 1
    async with call(stack, "a") as line:
        await line.append(PAUSE)
        await until(lambda: samples(stack, "agentsd_provider_errors_total", "kind").get("llm"))
        await line.append(END)
        response = await line.done()
        assert response["status"] == "completed"
        assert line.text(response["id"]).startswith("I am one. You said")
        assert line.of("error") == []
    assert outcomes(stack) == {"failed": 1}


async def test_cleared_speech_is_not_answered(stack: Stack, voices: Vendors) -> None:
    """The prepared answer goes with it."""
    await serve(stack, voices)
    async with call(stack, "a") as line:
        await line.append(PAUSE)
        await until_prepared(line, voices)
        await line.send("input_audio_buffer.clear")
        await line.until("input_audio_buffer.cleared")
        await until(lambda: not (voices.tts.open_connections or voices.stt.open_connections))
        await line.append(END)
        await line.update()
        assert line.of("response.created") == []
    assert outcomes(stack) == {"unwanted": 1}


async def test_eagerness_is_swapped_in_a_call(stack: Stack, voices: Vendors) -> None:
    """Without it the model is asked when the end is certain; the next turn is as the manifest is then."""
    await serve(stack, voices, {"eager": False})
    async with call(stack, "a") as line:
        await line.append(PAUSE)
        await until(lambda: voices.stt.requests and "end" in str(voices.stt.last.frames[-1:]))
        await line.until("conversation.item.input_audio_transcription.delta")
        await asyncio.sleep(0.05)
        assert chats(voices) == []
        await line.append(END)
        await line.done()
        await serve(stack, voices, {"eager": True})
        await asyncio.sleep(len(line.sound(line.of("response.created")[0]["response"]["id"])) / 48_000)
        line.events.clear()
        await line.append(PAUSE)
        await until(lambda: len(chats(voices)) == 2)
        await line.append(END)
        await line.done()
    assert outcomes(stack) == {"used": 1}


@pytest.mark.parametrize("options", [{"create_response": False}, None])
async def test_a_client_that_asks_itself_is_waited_for(
    stack: Stack, voices: Vendors, options: dict[str, Any] | None
) -> None:
    """Where no answer may follow, none is prepared."""
    await serve(stack, voices)
    detection = None if options is None else {"type": "server_vad", **options}
    async with call(stack, "a") as line:
        await line.update(audio={"input": {"turn_detection": detection}})
        await line.append(PAUSE)
        await until(lambda: voices.stt.requests)
        await line.append(END)
        if detection is None:
            await line.send("input_audio_buffer.commit")
        await line.until("conversation.item.input_audio_transcription.completed")
        assert chats(voices) == []
    assert outcomes(stack) == {}
