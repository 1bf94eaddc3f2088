"""The record of a turn of a call: its times, vendors and end, from a call on real providers."""

from __future__ import annotations

import asyncio

from agentsd.services.turn_records.record import TurnRecord
from agentsd.services.turn_records.sinks import TurnSinks
from agentsd.services.voicebot import events as ev
from agentsd.services.voicebot.call import Call, open_call
from agentsd.services.voicebot.turns import CallPreferences
from agentsd.telemetry import Metrics
from tests.services.speech import silence, spoken
from tests.vendors.base import Fault
from tests.web.conftest import Stack
from tests.web.voices import Vendors, vendors


async def ended(call: Call) -> TurnRecord:
    """The record of the next turn that ends."""
    async with asyncio.timeout(20):
        async for event in call.events():
            if isinstance(event, ev.TurnEnded):
                return event.record
    raise AssertionError("the call ended first")


async def test_a_spoken_turn_is_recorded(stack: Stack, voices: Vendors) -> None:
    """Who answered, after which fallback, when, and how it ended; nothing of what was said."""
    async with vendors() as other:
        llm = {
            "provider": "openai-compatible", "model": "two", "api_url": other.llm.url,
            "fallback": [{"provider": "openai-compatible", "model": "one", "api_url": voices.llm.url}],
        }  # fmt: skip
        other.llm.fault = Fault.UNAUTHORIZED
        stack.write("a.yaml", voices.manifest("one", llm=llm))
        version = await stack.sync()
        got: list[TurnRecord] = []

        async def keep(record: TurnRecord) -> None:
            got.append(record)

        sinks = TurnSinks(Metrics())
        sinks.add("test", keep)
        async with open_call(stack.registry, "a", preferences=CallPreferences(), sinks=sinks) as call:
            await call.feed(silence(0.3) + spoken() + silence(0.8))
            record = await ended(call)
            await call.feed(silence(1))
        await asyncio.sleep(0)
    assert got == [record]
    assert record.agent is not None
    assert (record.channel, record.agent.slug, record.agent.version) == ("call", "a", version)
    assert (record.reason, record.interrupted, record.error, record.tools) == ("answered", False, None, ())
    assert set(record.providers) == {"stt", "llm", "tts"}
    assert record.fallbacks == (("llm", "openai-compatible"),)
    times = record.times
    moments = [times.began, times.speech_ended, times.transcribed, times.first_token, times.first_sound]
    assert moments == sorted(moment for moment in moments if moment is not None)
    assert times.ended >= (times.first_sound or 0)
    assert record.usage.tokens_out == 4
    assert record.usage.characters_spoken > 10
    assert record.usage.seconds_heard > 1
    await sinks.aclose()


async def test_a_failed_turn_names_the_class_of_its_error(stack: Stack, voices: Vendors) -> None:
    """And what is interrupted says so."""
    stack.write("a.yaml", voices.manifest("one"))
    await stack.sync()
    voices.llm.fault = Fault.UNAUTHORIZED
    async with open_call(stack.registry, "a") as call:
        call.say("Hi.")
        record = await ended(call)
        assert (record.reason, record.error) == ("failed", "ProviderAuthError")
        voices.llm.fault, voices.llm.delay = None, 0.05
        call.say(" ".join("word" for _ in range(60)))
        await call.feed(silence(0.2) + spoken() + silence(0.8))
        assert (await ended(call)).reason == "interrupted"
