"""Calls of clients that cannot drop sound: no more of it is sent ahead than they asked for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.services.speech import silence, spoken
from tests.vendors.base import Fault
from tests.web.conftest import Stack
from tests.web.voices import Vendors, call, settled, vendors

LEAD_MS = 200
QUESTION = "one two three four."


async def serve(stack: Stack, voices: Vendors, **turn: Any) -> None:
    """One agent, ``a``, each of whose sentences lasts for more than a second, and is there at once."""
    voices.llm.audio = spoken()
    tts = {"provider": "openai-compatible", "model": "m", "voice": "v", "api_url": voices.llm.url}
    stack.write("a.yaml", voices.manifest("one", tts=tts, turn=turn))
    await stack.sync()


def unplayed_ms(sound: bytes, response: dict[str, Any]) -> float:
    """How much of what the client has was not played when the answer was cut."""
    return len(sound) / 48 - float(response["heard_ms"])


@pytest.mark.parametrize("by", ["manifest", "session", "nobody"])
async def test_an_interruption_leaves_little_unplayed(stack: Stack, voices: Vendors, by: str) -> None:
    """The agent's manifest or the client's session set the lead; otherwise all is sent as it comes."""
    await serve(stack, voices, **({"lead_ms": LEAD_MS} if by == "manifest" else {}))
    async with call(stack, "a") as line:
        output = {"output": {"lead_ms": LEAD_MS}} if by == "session" else {}
        session = await line.update(audio=output)
        assert session["audio"]["output"].get("lead_ms") == (None if by == "nobody" else LEAD_MS)
        await line.append(silence(0.2))
        await line.write(QUESTION)
        await line.until("response.output_audio.delta")
        await line.append(spoken())
        response = await line.done()
        if by == "nobody":
            assert len(line.sound(response["id"])) >= len(spoken())
        else:
            assert response["status_details"]["reason"] == "turn_detected"
            assert unplayed_ms(line.sound(response["id"]), response) <= LEAD_MS
    await settled(stack, voices)


async def test_a_paced_answer_is_whole(stack: Stack, voices: Vendors) -> None:
    """All of its sound comes, before its end; what the history keeps is all of it."""
    voices.llm.audio = spoken()[:24_000]
    await serve(stack, voices, lead_ms=40)
    voices.llm.audio = spoken()[:24_000]
    async with call(stack, "a") as line:
        await line.write("Hi.")
        response = await line.done()
        assert response["status"] == "completed"
        assert line.sound(response["id"]) == spoken()[:24_000] * 2
        assert response["output"][0]["content"][0]["transcript"] == "I am one. You said Hi."


async def test_a_paced_answer_can_be_cancelled_to_its_end(stack: Stack, voices: Vendors) -> None:
    """The voice has spoken all of it, and most was not sent: it is still under way."""
    await serve(stack, voices, lead_ms=LEAD_MS)
    async with call(stack, "a") as line:
        await line.write(QUESTION)
        await line.until("response.output_audio_transcript.delta", delta="four. ")
        await line.send("response.cancel")
        response = await line.done()
        assert response["status"] == "cancelled"
        assert unplayed_ms(line.sound(response["id"]), response) <= LEAD_MS
        await line.write(QUESTION)
        assert (await line.done())["status"] == "completed"


async def test_what_was_whole_is_heard_though_the_model_dies(stack: Stack, voices: Vendors) -> None:
    """The failure comes after the sound that there is, however slowly that is sent."""
    async with vendors() as other:
        await serve(stack, voices)
        other.llm.audio = spoken()[:24_000]
        tts = {"provider": "openai-compatible", "model": "m", "voice": "v", "api_url": other.llm.url}
        stack.write("a.yaml", voices.manifest("one", tts=tts, turn={"lead_ms": 40}))
        await stack.sync()
        voices.llm.fault, voices.llm.fault_at = Fault.EARLY_CLOSE, 5
        async with call(stack, "a") as line:
            await line.write("Hi.")
            response = await line.done()
            assert response["status"] == "failed"
            assert line.sound(response["id"])[:24_000] == spoken()[:24_000]


@pytest.mark.parametrize("lead", [39, 60_001, "much", True, 0.5])
async def test_an_impossible_lead_is_refused_by_name(stack: Stack, voices: Vendors, lead: Any) -> None:
    """The rest of the update is applied."""
    await serve(stack, voices)
    async with call(stack, "a") as line:
        session = await line.update(audio={"output": {"lead_ms": lead}}, instructions="Be brief.")
        (error,) = line.of("error")
        assert error["error"]["param"] == "session.audio.output.lead_ms"
        assert session["instructions"] == "Be brief."


async def test_an_eager_answer_is_paced_like_any_other(stack: Stack, voices: Vendors) -> None:
    """All of it was ready when the end was certain; an interruption still leaves little unplayed."""
    await serve(stack, voices, lead_ms=LEAD_MS, silence_ms=1500, eager=True)
    voices.stt.words = "Yes."
    async with call(stack, "a") as line:
        await line.append(silence(0.3) + spoken() + silence(0.5))
        async with asyncio.timeout(10):
            while not any("input" in (request.body or {}) for request in voices.llm.requests):
                await asyncio.sleep(0.005)
        await line.append(silence(2))
        await line.until("response.output_audio.delta")
        await line.send("response.cancel")
        response = await line.done()
        assert response["status"] == "cancelled"
        assert unplayed_ms(line.sound(response["id"]), response) <= LEAD_MS
