"""/v1/realtime: what an ended call leaves in memory, without the help of the garbage collector."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from agentsd.audio.vad import load_network
from tests.services.speech import silence, spoken
from tests.vendors.base import Fault
from tests.web.conftest import Stack
from tests.web.voices import Line, Vendors, call, running

ROOMS = (
    "agentsd.services.voicebot.",
    "agentsd.audio.vad",
    "agentsd.audio.silero",
    "agentsd.audio.resampler",
    "agentsd.web.openai.realtime.endpoint",
    "agentsd.providers.transport.websocket",
    "agentsd.providers.resilience.tape",
    "soxr",
)
"""Modules whose objects belong to one call."""


@contextmanager
def uncollected() -> Iterator[None]:
    """Nothing is freed but by reference counting."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def live() -> Counter[str]:
    """Objects of calls that exist, whether anything can reach them or not."""
    kinds = Counter(map(type, gc.get_objects()))
    ours = {kind: many for kind, many in kinds.items() if str(kind.__module__).startswith(ROOMS)}
    return Counter({kind.__qualname__: many for kind, many in ours.items()})


async def _whole_turn(line: Line) -> None:
    await line.speak()
    await line.done()


async def _nothing(line: Line) -> None:
    pass


async def _in_the_answer(line: Line) -> None:
    await line.speak()
    await line.until("response.output_audio.delta")


async def _aborted_answer(line: Line) -> None:
    await _in_the_answer(line)
    _abort(line)


async def _aborted_speech(line: Line) -> None:
    await line.append(silence(0.3) + spoken())
    await line.until("input_audio_buffer.speech_started")
    _abort(line)


async def _while_loading(line: Line) -> None:
    load_network.cache_clear()
    await line.append(silence(0.1))


async def _in_thought(line: Line) -> None:
    await line.speak()
    await line.until("response.output_audio_transcript.delta")
    _abort(line)


async def _interrupted(line: Line) -> None:
    await _in_the_answer(line)
    await line.append(spoken())
    await line.until("response.done")


async def _cancelled(line: Line) -> None:
    await line.write("One two three.")
    await line.until("response.created")
    await line.send("response.cancel")
    await line.done()


async def _failed(line: Line) -> None:
    await line.speak()
    await line.failure()


async def _changed_rate(line: Line) -> None:
    await line.append(silence(0.3))
    await line.update(audio={"input": {"format": {"type": "audio/pcm", "rate": 16_000}}})
    await line.append(silence(0.3))
    await line.update(audio={"input": {"turn_detection": None}})


async def _wrong_events(line: Line) -> None:
    await line.socket.send_str("{")
    await line.send("session.update", session={"tools": [{}]})
    await line.send("input_audio_buffer.append", audio="***")
    for _ in range(3):
        await line.until("error")


async def _too_large(line: Line) -> None:
    await line.append(silence(0.3))
    with suppress(ConnectionError, StopAsyncIteration):
        await line.socket.send_str("x" * (17 << 20))
        await line.until("session.updated")


def _abort(line: Line) -> None:
    connection = line.socket._response.connection
    assert connection is not None
    assert connection.transport is not None
    connection.transport.abort()


ENDS: dict[str, Callable[[Line], Awaitable[None]]] = {
    "whole turn": _whole_turn,
    "before session.update": _nothing,
    "closed in the answer": _in_the_answer,
    "aborted in the answer": _aborted_answer,
    "aborted while heard": _aborted_speech,
    "closed while the detector is loaded": _while_loading,
    "interrupted": _interrupted,
    "cancelled": _cancelled,
    "another rate": _changed_rate,
    "wrong events": _wrong_events,
    "a frame beyond all bounds": _too_large,
}
FAULTS = [
    ("llm", Fault.BROKEN),
    ("llm", Fault.EARLY_CLOSE),
    ("tts", Fault.BROKEN),
    ("tts", Fault.MALFORMED_FRAME),
    ("stt", Fault.BROKEN),
    ("stt", Fault.EARLY_CLOSE),
]


async def ended(stack: Stack) -> None:
    """Wait until no lease and no task of a call is left. Vendors' idle connections may stay in the pool."""
    async with asyncio.timeout(10):
        value = stack.metrics.registry.get_sample_value
        while value("agentsd_leases_in_use") or value("agentsd_calls") or running():
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.02)


async def left_by(stack: Stack, act: Callable[[Line], Awaitable[None]]) -> Counter[str]:
    """Objects that a call leaves behind."""
    before = live()
    async with call(stack, "a") as line:
        await act(line)
    await ended(stack)
    return live() - before


@pytest.fixture
async def bot(stack: Stack, voices: Vendors) -> AsyncIterator[Stack]:
    """A replica with a voice agent that has been called once, so that all libraries are loaded."""
    voices.llm.delay = 0.005
    stack.write("a.yaml", voices.manifest("one"))
    await stack.sync()
    async with call(stack, "a") as line:
        await _whole_turn(line)
    await ended(stack)
    with uncollected():
        yield stack


async def test_an_ended_call_leaves_nothing(bot: Stack) -> None:
    """However a call ends, its objects are gone at once, by reference counting alone."""
    left = {way: await left_by(bot, act) for way, act in ENDS.items()}
    assert left == {way: Counter() for way in ENDS}


async def test_a_failed_vendor_leaves_nothing(bot: Stack, voices: Vendors) -> None:
    """Whichever vendor fails, and however."""
    left: dict[tuple[str, Fault], Counter[str]] = {}
    for kind, fault in FAULTS:
        getattr(voices, kind).fault = fault
        left[kind, fault] = await left_by(bot, _failed)
        getattr(voices, kind).fault = None
    assert left == {pair: Counter() for pair in FAULTS}


@pytest.mark.parametrize("kind", ["tts", "stt"])
async def test_a_silent_vendor_leaves_nothing(bot: Stack, voices: Vendors, kind: str) -> None:
    """A caller hangs up on a vendor that is connected and does not answer."""
    getattr(voices, kind).fault = Fault.SILENT
    assert await left_by(bot, _in_thought if kind == "tts" else _aborted_speech) == Counter()
