"""Hand-offs in a call: the first agent says so, the other one answers and serves from then on."""

from __future__ import annotations

from typing import Any

import pytest

from agentsd.services.voicebot.call_handover import TAKEN_OVER
from tests.web.conftest import Stack
from tests.web.voices import Line, Vendors, call, settled

SAY = "I am putting you through."


async def serve(stack: Stack, voices: Vendors, *, carry: str = "history", **front: Any) -> None:
    """A front desk that hands over whatever it is asked, and billing."""
    handoff = [{"to": "billing", "when": "an invoice", "say": SAY, "carry": carry}]
    stack.write("front.yaml", voices.manifest("front", handoff=handoff, **front))
    stack.write("billing.yaml", voices.manifest("billing"))
    await stack.sync()


async def answers(line: Line, count: int) -> list[tuple[str, str]]:
    """Agent and words of the next answers."""
    found = []
    for _ in range(count):
        response = await line.done()
        assert response["status"] == "completed"
        found.append((response["agent"], line.text(response["id"]).strip()))
    return found


async def test_the_call_goes_on_as_the_other_agent(stack: Stack, voices: Vendors) -> None:
    """What it says first, the answer, and all further ones; with the history, and its own prompt."""
    await serve(stack, voices, greeting="Welcome.")
    async with call(stack, "front") as line:
        await line.update()
        assert await answers(line, 1) == [("front", "Welcome.")]
        await line.write("What of my invoice?")
        assert await answers(line, 2) == [("front", SAY), ("billing", f"I am billing. You said {TAKEN_OVER}")]
        heard = voices.llm.last_chat["messages"]
        assert heard[0]["content"].startswith("You are billing.")
        assert "What of my invoice?" in [one["content"] for one in heard if one["role"] == "user"]
        assert SAY in str(heard)
        assert line.of("session.updated")[-1]["session"]["agent"] == "billing"
        await line.write("Thanks.")
        assert await answers(line, 1) == [("billing", "I am billing. You said Thanks.")]
        assert line.sound(line.of("response.done")[2]["response"]["id"])
        assert line.of("error") == []
        await line.update(model="front")
        await line.write("Hello?")
        assert [agent for agent, _ in await answers(line, 2)] == ["front", "billing"]
    await settled(stack, voices)


@pytest.mark.parametrize("carry", ["nothing", "summary"])
async def test_what_the_other_agent_gets(stack: Stack, voices: Vendors, carry: str) -> None:
    """The last question, with notes of the first one's model or without; the items stay in the call."""
    await serve(stack, voices, carry=carry)
    async with call(stack, "front") as line:
        for role, text in (("user", "My name is Ada."), ("assistant", "Hello Ada.")):
            kind = "input_text" if role == "user" else "output_text"
            item = {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}
            await line.send("conversation.item.create", item=item)
        await line.write("What of my invoice?")
        await answers(line, 2)
        heard = str(voices.llm.last_chat["messages"])
        assert "Ada" not in heard
        assert "What of my invoice?" in heard
        assert ("Notes of" in heard) is (carry == "summary")
        await line.write("Thanks.")
        assert await answers(line, 1) == [("billing", "I am billing. You said Thanks.")]
        assert "Ada" not in str(voices.llm.last_chat["messages"])
    await settled(stack, voices)


async def test_agents_that_hand_over_to_each_other_end(stack: Stack, voices: Vendors) -> None:
    """After so many hand-offs the agent has to answer; the caller's next words may be handed over again."""
    for name, other in (("one", "two"), ("two", "one")):
        handoff = [{"to": other, "when": "always", "say": f"To {other}."}]
        stack.write(f"{name}.yaml", voices.manifest(name, handoff=handoff))
    await stack.sync()
    async with call(stack, "one") as line:
        await line.write("Hi.")
        given = await answers(line, 4)
        assert [agent for agent, _ in given] == ["one", "two", "one", "two"]
        assert given[-1][1].startswith("I am two.")
        await line.write("Hi.")
        assert (await answers(line, 1))[0][1] == "To one."
    await settled(stack, voices)


async def test_a_failure_hands_over(stack: Stack, voices: Vendors) -> None:
    """``on_error.then: handoff`` goes on with the first target, which knows what was said."""
    llm = {"provider": "openai-compatible", "model": "m", "api_url": "http://127.0.0.1:9", "retries": 0}
    await serve(stack, voices, llm=llm, on_error={"say": "Sorry.", "then": "handoff"})
    async with call(stack, "front") as line:
        await line.write("What of my invoice?")
        assert (await line.done())["status"] == "failed"
        assert await answers(line, 2) == [
            ("front", "Sorry."),
            ("billing", f"I am billing. You said {TAKEN_OVER}"),
        ]
        assert "What of my invoice?" in str(voices.llm.last_chat["messages"])
    await settled(stack, voices)


async def test_an_answer_beside_the_conversation_hands_nothing_over(stack: Stack, voices: Vendors) -> None:
    """It is the client's own question."""
    await serve(stack, voices)
    async with call(stack, "front") as line:
        response = {"conversation": "none", "instructions": "Aside.", "output_modalities": ["text"]}
        await line.send("response.create", response=response)
        ((agent, text),) = await answers(line, 1)
        assert (agent, text.startswith("I am front.")) == ("front", True)
    await settled(stack, voices)
