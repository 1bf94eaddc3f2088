"""What the registry tells: conditions, change events, and never a secret."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest

from agentsd.runtime.agents.change_feed import QUEUE_MAX, ChangeEvent
from agentsd.store.queries.agents import Head, LoadedRows
from tests.runtime.conftest import Sealed
from tests.runtime.world import SECRET, World, tampered, until


async def test_the_verifier_finds_a_tampered_agent_that_nobody_asked_for(
    world: World, sealed: Sealed
) -> None:
    """Its condition becomes known, subscribers are told, and no plaintext stays behind."""
    await world.put(good=sealed(), bad=tampered(sealed()))
    await world.load()
    assert {entry.condition.reason for entry in world.registry.snapshot.ids.values()} == {"NotOpened"}
    with world.registry.subscribe() as changes:
        await world.verify()
        assert await anext(changes) == ChangeEvent("condition", 1, ("bad",))
    assert (world.condition("bad").type, world.condition("bad").reason) == ("Invalid", "SealTampered")
    assert world.condition("good").reason == "Opened"
    assert world.value("agentsd_agents_warm") == 0
    await asyncio.sleep(0)
    assert world.sessions.holders() == {}


async def test_echo_answers_when_nothing_else_does(world: World, sealed: Sealed) -> None:
    """The built-in agent needs no store, and gives way to a configured one of its name."""
    async with world.registry.lease("echo") as agent:
        assert agent is world.registry.fallback
        assert agent.llm is not None
        reply = await agent.llm.complete({"messages": [{"role": "user", "content": "hello"}]})
        assert reply["choices"][0]["message"]["content"] == "hello"
    await world.put(echo=sealed())
    await world.load()
    async with world.registry.lease("echo") as agent:
        assert agent is not world.registry.fallback


async def test_a_slow_subscriber_is_told_to_read_everything_again(world: World, sealed: Sealed) -> None:
    """Its queue never grows beyond its bound; a quick one gets every event."""
    text = sealed()
    with world.registry.subscribe() as slow:
        await world.put(a=text)
        await world.load()
        row = world.entry("a").row
        stamp = world.registry.snapshot.stamp
        assert stamp is not None

        for number in range(QUEUE_MAX + 1):
            version = row.version + 1 + number
            changed = replace(row, version=version, is_active=bool(number % 2))
            await world.registry.update(LoadedRows(Head(version, stamp), (changed,)))
        first = await anext(slow)
        assert first.kind == "resync"
    assert world.value("agentsd_subscriber_resyncs_total") == 1


async def test_change_events_name_what_changed(world: World, sealed: Sealed) -> None:
    """A rename names both; waiting for a change needs no polling."""
    agent_id = uuid4()
    text = sealed(id=agent_id)
    await world.put(a=text)
    await world.load()
    with world.registry.subscribe() as changes:
        await world.put(b=text)
        waiter = asyncio.ensure_future(until(world.registry, lambda: "b" in world.registry.snapshot.entries))
        await world.update()
        assert await anext(changes) == ChangeEvent("changed", 2, ("a", "b"))
        await waiter


async def test_no_secret_shows_in_conditions_or_reprs(
    world: World, sealed: Sealed, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever fails, the canary stays inside."""
    caplog.set_level("DEBUG")

    agent_id = uuid4()
    await world.put(a=sealed(id=agent_id, voice="broken"), b=sealed("http://elsewhere.example"))
    await world.load()
    await world.verify()
    said = [str(condition) for _, condition in world.registry.problems()]
    assert len(said) == 2
    async with world.registry.lease("echo") as agent:
        said.append(repr(agent))
    said += [record.getMessage() + str(record.__dict__) for record in caplog.records]
    assert not any(SECRET in text for text in said)
