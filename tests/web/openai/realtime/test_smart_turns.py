"""Calls whose turns an end-of-turn model ends, on Piper's voice."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentsd.audio import turn_model
from agentsd.services.voicebot import turn_judge
from tests.services.sentences import speak
from tests.services.speech import silence
from tests.web.conftest import Stack
from tests.web.voices import Vendors, call, settled

RATE = 24_000
ID = "0d3d5b0e-6c1f-4c3e-8f0e-5a5d0a4b6c11"
BEGUN, REST = "I want to cancel my order because", "it came too late."
COMMITTED = "input_audio_buffer.committed"


def broken_sentence() -> bytes:
    """A sentence with 0.8 s of thinking in its midst, then silence."""
    first, rest = speak(BEGUN, rate=RATE), speak(REST, rate=RATE)
    return silence(0.3) + first + silence(0.8) + rest + silence(2.7)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model, for whose opinion a busy machine may take long; the test is skipped where it is not."""
    monkeypatch.setattr(turn_judge, "OPINION_SECONDS_MAX", 60)
    if turn_model.find_turn_model() is None:
        pytest.skip(f"the end-of-turn model is not installed: {turn_model.INSTALL}")


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize("detection", ["smart", "silence"])
async def test_a_pause_in_mid_thought_is_one_turn(stack: Stack, voices: Vendors, detection: str) -> None:
    """With silence alone it is answered after each half."""
    stack.write("a.yaml", voices.manifest("one", id=ID, turn={"detection": detection}))
    await stack.sync()
    async with call(stack, "a") as line:
        await line.append(broken_sentence())
        for _ in range(1 if detection == "smart" else 2):
            await line.until(COMMITTED)
        await line.done()
        assert len(line.of(COMMITTED)) == (1 if detection == "smart" else 2)
    await settled(stack, voices)


@pytest.mark.usefixtures("model")
async def test_detection_is_swapped_in_a_call(stack: Stack, voices: Vendors) -> None:
    """The same sentence is two turns, and after the manifest was changed one."""
    stack.write("a.yaml", voices.manifest("one", id=ID))
    await stack.sync()
    async with call(stack, "a") as line:
        await line.append(broken_sentence())
        await line.until(COMMITTED)
        await line.until(COMMITTED)
        await line.done()
        stack.write("a.yaml", voices.manifest("one", id=ID, turn={"detection": "smart"}))
        await stack.sync()
        await line.write("And now?")
        await line.until("session.updated")
        await line.done()
        before = len(line.of(COMMITTED))
        await line.append(broken_sentence())
        await line.until(COMMITTED)
        await line.done()
        assert len(line.of(COMMITTED)) == before + 1


@pytest.mark.parametrize("installed", [True, False])
async def test_turn_detection_by_meaning_is_the_model_where_it_is(
    stack: Stack, voices: Vendors, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    """The session in the reply names what runs; ``server_vad`` is silence, no type the manifest's."""
    path = Path("smart-turn.onnx") if installed else None
    monkeypatch.setattr(turn_model, "find_turn_model", lambda: path)
    smart = "semantic_vad" if installed else "server_vad"
    waits = {"sure": 250, "unsure": 2000}
    stack.write("a.yaml", voices.manifest("one", id=ID, turn={"detection": "smart", "wait_ms": waits}))
    await stack.sync()
    async with call(stack, "a") as line:
        shown = line.of("session.created")[0]["session"]["audio"]["input"]["turn_detection"]
        assert shown["type"] == smart
        for eagerness, wanted in (
            ("low", {"sure": 400, "unsure": 5000}),
            ("high", {"sure": 200, "unsure": 1000}),
            ("auto", waits),
            ("medium", waits),
            (None, waits),
        ):
            asked = {"type": "semantic_vad"} | ({"eagerness": eagerness} if eagerness else {})
            session = await line.update(audio={"input": {"turn_detection": asked}})
            shown = session["audio"]["input"]["turn_detection"]
            assert (shown["type"], shown.get("wait_ms")) == (smart, wanted if installed else None)
            assert shown.get("eagerness") == ((eagerness or "auto") if installed else None)
        for asked, kind in (({"type": "server_vad"}, "server_vad"), ({"threshold": 0.6}, smart)):
            session = await line.update(audio={"input": {"turn_detection": asked}})
            assert session["audio"]["input"]["turn_detection"]["type"] == kind
        assert line.of("error") == []
