"""``agentsd.turn.done``: how each turn ended, for clients that ask for it."""

from __future__ import annotations

import json

from tests.services.speech import silence
from tests.vendors.base import Fault
from tests.web.conftest import Stack
from tests.web.openai.realtime.test_turn_taking import hum
from tests.web.voices import Line, Vendors, call, settled

DONE = "agentsd.turn.done"
ASKED = ["agentsd.turn", "item.input_audio_transcription.logprobs"]


async def report(line: Line) -> dict[str, object]:
    """The next report of a turn."""
    turn: dict[str, object] = (await line.until(DONE))["turn"]
    return turn


async def test_each_turn_is_reported_to_who_asks(bot: Stack, voices: Vendors) -> None:
    """Spoken, written and failed turns: who answered, when, and why it ended; nothing that was said."""
    async with call(bot, "bot") as line:
        assert line.events[0]["session"]["include"] is None
        assert (await line.update(include=ASKED))["include"] == ["agentsd.turn"]
        await line.speak()
        item = (await line.until("input_audio_buffer.committed"))["item_id"]
        response = await line.done()
        turn = await report(line)
        assert (turn["reason"], turn["error"], turn["client_event_id"]) == ("answered", None, None)
        assert (turn["item_id"], turn["response_id"]) == (item, response["id"])
        assert (turn["agent"], turn["agent_version"]) == ("bot", response["agent_version"])
        times = turn["times_ms"]
        assert isinstance(times, dict)
        assert list(times.values()) == sorted(times.values())
        voices.llm.delay = 0.05
        await line.write("A secret.")
        await line.send("response.create", event_id="mine")
        assert (await line.until("error"))["error"]["event_id"] == "mine"
        turn = await report(line)
        assert (turn["reason"], turn["item_id"]) == ("answered", None)
        voices.llm.fault = Fault.UNAUTHORIZED
        await line.send("response.create", event_id="next")
        response = await line.done()
        turn = await report(line)
        assert turn["reason"] == "failed"
        assert str(turn["error"]).startswith("Provider")
        assert (turn["response_id"], turn["client_event_id"]) == (response["id"], "next")
        said = json.dumps([event["turn"] for event in line.of(DONE)])
        assert "secret" not in said
        assert "heard" not in said
    await settled(bot, voices)


async def test_a_turn_that_no_other_event_shows_is_reported(bot: Stack, voices: Vendors) -> None:
    """A listener's "mhm" over the answer."""
    voices.llm.delay = 0.1
    async with call(bot, "bot") as line:
        await line.update(include=ASKED)
        await line.write(" ".join(f"Word {number}." for number in range(60)))
        created = await line.until("response.created")
        voices.stt.words = "Mm-hmm."
        await line.append(silence(0.3) + hum() + silence(0.8))
        await line.update()
        await line.send("response.cancel", response_id=created["response"]["id"])
        turns = {turn["reason"]: turn for turn in (await report(line), await report(line))}
        assert turns["cancelled"]["response_id"] == created["response"]["id"]
        assert turns["ignored"]["response_id"] is None
        assert line.of("input_audio_buffer.speech_started") == []


async def test_others_do_not_get_it(bot: Stack) -> None:
    """Unmodified clients see the events of OpenAI's interface only; asking can be taken back."""
    async with call(bot, "bot") as line:
        await line.write("Hi.")
        await line.done()
        await line.update(include=["agentsd.turn"])
        assert (await line.update(include=None))["include"] is None
        await line.write("Hi.")
        await line.done()
        await line.update()
        assert line.of(DONE) == []
