"""A caller who speaks while the agent does: the agent falls silent, and nothing stale is left."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from tests.services.speech import silence, spoken
from tests.vendors.openai_server import voice_of
from tests.web.conftest import Stack
from tests.web.voices import Vendors, call, running, settled, vendors

LONG = " ".join(f"word{number}" for number in range(60)) + "."


@pytest.fixture
async def voices() -> AsyncIterator[Vendors]:
    """One vendor of each kind, the LLM in no hurry."""
    async with vendors() as made:
        made.llm.delay = 0.005
        yield made


async def test_ten_interruptions_at_random_moments(stack: Stack, voices: Vendors) -> None:
    """Speech stops, the next turn is right, and nothing leaks."""
    await _interruptions(stack, voices, 10)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_a_hundred_interruptions_at_random_moments(stack: Stack, voices: Vendors) -> None:
    """The same, a hundred times in one call."""
    await _interruptions(stack, voices, 100)


async def _interruptions(stack: Stack, voices: Vendors, times: int) -> None:
    stack.write("a.yaml", voices.manifest("one"))
    await stack.sync()
    rng = random.Random(11)
    cut = 0
    async with call(stack, "a") as line:
        for _ in range(times):
            await line.write(LONG)
            created = (await line.until("response.created"))["response"]["id"]
            for _ in range(rng.randrange(60)):
                await line.next()
            await line.append(silence(0.1) + spoken())
            first = await line.done()
            assert first["id"] == created
            heard_until = len(line.events)
            await line.append(silence(0.8))
            second = await line.done()
            if first["status"] == "cancelled":
                cut += 1
                assert first["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
                assert "heard_ms" in first
                late = [event for event in line.events[heard_until:] if event.get("response_id") == created]
                assert late == []
                assert len(running()) < 12
            (said, *_) = line.of("conversation.item.input_audio_transcription.completed")[::-1]
            text = line.text(second["id"]).strip()
            assert second["status"] == "completed"
            assert text.startswith("I am one. You said ")
            assert text.endswith(said["transcript"])  # after a question whose answer nobody heard
            spoken_parts = text.removeprefix("I am one. ").split("\n\n")
            assert line.sound(second["id"]) == b"".join(map(voice_of, ("I am one.", *spoken_parts)))
        assert cut > times / 2
    await settled(stack, voices)
    answers = stack.metrics.registry.get_sample_value("agentsd_call_barge_ins_total")
    assert answers == cut


async def test_the_vendors_streams_are_closed(stack: Stack, voices: Vendors) -> None:
    """The LLM and the TTS see their client go, long before they would have finished."""
    voices.llm.delay = 0.05
    stack.write("a.yaml", voices.manifest("one"))
    await stack.sync()
    async with call(stack, "a") as line:
        await line.write(LONG)
        await line.until("response.output_audio.delta")
        llm, tts = voices.llm.last, voices.tts.last
        await line.append(spoken())
        await line.done()
        async with asyncio.timeout(60):
            await llm.disconnected.wait()
            while voices.tts.open_connections:
                await asyncio.sleep(0.01)
    assert "word59." not in str(tts.frames)


async def test_history_keeps_what_was_heard(stack: Stack, voices: Vendors) -> None:
    """Of a long answer that was sent but hardly played, the model is told the beginning only."""
    voices.llm.delay = 0
    tts = {
        "provider": "openai-compatible", "model": "m", "voice": "v", "api_url": voices.llm.url,
        "sample_rate": 24_000,
    }  # fmt: skip
    voices.llm.audio = silence(30)  # for each sentence
    stack.write("a.yaml", voices.manifest("one", tts=tts))
    await stack.sync()
    async with call(stack, "a") as line:
        await line.write(LONG)
        whole = await line.done()
        assert whole["status"] == "completed"
        await line.append(spoken())
        truncated = await line.until("conversation.item.truncated")
        assert truncated["item_id"] == whole["output"][0]["id"]
        assert truncated["audio_end_ms"] < 15_000
        await line.append(silence(0.8))
        await line.done()
        chats = [request.body for request in voices.llm.requests if "messages" in request.body]
        answers = [one["content"] for one in chats[-1]["messages"] if one["role"] == "assistant"]
        kept = answers[0] if answers else ""  # nothing, if not even a word was
        assert f"I am one. You said {LONG}".startswith(kept)
        assert len(kept) < len(LONG) / 2
        await line.send(
            "conversation.item.truncate", item_id=truncated["item_id"], content_index=0, audio_end_ms=1
        )
        assert (await line.until("error"))["error"]["param"] == "item_id"  # it is not the newest any more


async def test_a_client_that_knows_what_it_played(stack: Stack, voices: Vendors) -> None:
    """``conversation.item.truncate`` decides what the history keeps."""
    voices.llm.delay = 0
    stack.write("a.yaml", voices.manifest("one"))
    await stack.sync()
    async with call(stack, "a") as line:
        await line.write(LONG)
        response = await line.done()
        item = response["output"][0]["id"]
        ms = round(len(line.sound(response["id"])) / 48 / 2)
        await line.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=ms)
        await line.until("conversation.item.truncated", item_id=item)
        await line.write("And?")
        await line.done()
    text = f"I am one. You said {LONG}"
    kept = voices.llm.last.body["messages"][2]["content"]
    assert text.startswith(kept)
    assert len(text) * 0.4 < len(kept) < len(text) * 0.6


async def test_an_agent_that_is_not_to_be_interrupted(stack: Stack, voices: Vendors) -> None:
    """It finishes; what was said meanwhile is answered next."""
    stack.write("a.yaml", voices.manifest("one", turn={"interrupt": False}))
    await stack.sync()
    async with call(stack, "a") as line:
        await line.write(LONG)
        await line.until("response.output_audio.delta")
        await line.speak()
        first, second = await line.done(), await line.done()
        assert (first["status"], second["status"]) == ("completed", "completed")
        assert line.text(second["id"]).startswith("I am one. You said heard ")


async def test_noise_that_nobody_understands_is_not_answered(stack: Stack, voices: Vendors) -> None:
    """An empty transcript ends the turn quietly; a question that it cut off is answered after all."""
    stt = {
        "provider": "openai-compatible", "model": "m", "api_url": voices.llm.url, "sample_rate": 16_000,
    }  # fmt: skip
    voices.llm.transcript = ""
    voices.llm.delay = 0.05
    stack.write("a.yaml", voices.manifest("one", stt=stt))
    await stack.sync()
    async with call(stack, "a") as line:
        await line.speak()
        assert (await line.until("conversation.item.input_audio_transcription.completed"))["transcript"] == ""
        await line.write("Hello?")
        created = await line.until("response.created")
        await line.speak()
        first = await line.done()
        assert (first["id"], first["status"]) == (created["response"]["id"], "cancelled")
        if not any(part["transcript"] for item in first["output"] for part in item["content"]):
            second = await line.done()
            assert line.text(second["id"]).strip() == "I am one. You said Hello?"
        assert len(line.of("response.created")) <= 2
