"""Leases: naming an agent, opening it once, keeping it built, draining."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from agentsd.core.errors import AgentNotFound, AgentUnavailable
from agentsd.core.names import slug_to_url
from tests.runtime.conftest import Sealed, voice_in
from tests.runtime.world import Keys, World, loaded, new_registry
from tests.vendors.openai_server import OpenAIServer


async def test_a_lease_takes_a_slug_an_id_or_the_url_form(world: World, sealed: Sealed) -> None:
    """All three name the same agent, which runs on the settings of its document."""
    agent_id = uuid4()
    await world.put(acme__sales=sealed(id=agent_id))
    await world.load()
    for ref in ("acme/sales", str(agent_id), str(agent_id).upper(), slug_to_url("acme/sales")):
        async with world.registry.lease(ref) as agent:
            assert (agent.id, agent.slug, agent.owner) == (agent_id, "acme/sales", "acme")
            assert agent.provider_names == {"llm": "openai-compatible"}
            assert agent.llm is not None


async def test_an_unknown_agent_is_named_with_the_nearest_of_its_own_folder(
    world: World, sealed: Sealed
) -> None:
    """The hint helps with a typo, and does not tell what other owners have."""
    text = sealed()
    await world.put(support=text, acme__sales=text.replace(text.split()[1], str(uuid4())))
    await world.load()
    with pytest.raises(AgentNotFound, match="did you mean 'support'"):
        world.registry.snapshot.find("suport")
    with pytest.raises(AgentNotFound) as caught:
        world.registry.snapshot.find("ocme/sales")
    assert "acme" not in caught.value.hint


async def test_concurrent_first_leases_open_the_agent_once(world: World, sealed: Sealed) -> None:
    """Fifty callers wait for one opening and get the same agent."""
    await world.put(a=sealed())
    await world.load()

    async def use() -> Any:
        async with world.registry.lease("a") as agent:
            await asyncio.sleep(0)
            return agent

    found = await asyncio.gather(*(use() for _ in range(50)))
    assert len({id(agent) for agent in found}) == 1
    assert world.value("agentsd_documents_opened_total") == 1


async def test_a_cancelled_first_lease_leaves_the_opening_to_the_others(world: World, sealed: Sealed) -> None:
    """Cancelling one waiter in the middle of the build neither breaks nor leaks anything."""
    await world.put(a=sealed())
    await world.load()
    waiters = [asyncio.ensure_future(world.registry.acquire("a")) for _ in range(3)]
    while not world.entry("a").flight:
        await asyncio.sleep(0)
    waiters[0].cancel()
    first, *others = await asyncio.gather(*waiters, return_exceptions=True)
    assert isinstance(first, asyncio.CancelledError)
    for built in others:
        assert not isinstance(built, BaseException)
        world.registry.ended(built)
    assert world.value("agentsd_documents_opened_total") == 1


async def test_when_every_waiter_is_cancelled_the_build_is_let_go(world: World, sealed: Sealed) -> None:
    """Nobody waits any more: the condition is known, and no plaintext is kept."""
    await world.put(a=sealed())
    await world.load()
    waiter = asyncio.ensure_future(world.registry.acquire("a"))
    while not (flight := world.entry("a").flight):
        await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.wait({waiter, flight})
    assert world.condition("a").reason == "Opened"
    assert world.entry("a").built is None


async def test_the_most_recently_leased_agents_stay_built(
    world: World, sealed: Sealed, keys: Keys, vendor: OpenAIServer
) -> None:
    """Beyond the limit the longest unused one is let go, but never one under a lease."""
    await world.put(**{name: sealed() for name in "abc"})
    small = new_registry(
        world.database, keys, world.sessions, world.metrics, trusted=[vendor.url], warm_limit=2
    )
    await loaded(world, small)
    async with small.lease("a"):
        for name in "bc":
            async with small.lease(name):
                pass
        warm = {slug for slug, entry in small.snapshot.entries.items() if entry.built}
        assert warm == {"a", "c"}
    await small.aclose(drain_s=0)


async def test_a_lease_that_outlives_the_drain_loses_its_providers(
    world: World, sealed: Sealed, keys: Keys, vendor: OpenAIServer, catalog: Any
) -> None:
    """The bound holds, is counted, and the late end of the lease closes nothing twice."""
    registry = new_registry(
        world.database,
        keys,
        world.sessions,
        world.metrics,
        catalog=catalog,
        trusted=[vendor.url],
        drain_timeout=0.01,
    )
    text = sealed(voice="anna")
    await world.put(a=text)
    await loaded(world, registry)
    async with registry.lease("a") as old:
        await world.put(a=text.replace("anna", "berta"))
        await loaded(world, registry)
        while not voice_in(old.tts).closed:
            await asyncio.sleep(0.005)
        assert world.value("agentsd_drain_timeouts_total") == 1
    async with registry.lease("a") as new:
        assert new.llm is old.llm  # it is held by the new version too, so it is open
        assert new.llm is not None
        assert await new.llm.complete({"messages": []})
    await registry.aclose(drain_s=0)
    assert voice_in(old.tts).closed == 1


async def test_closing_waits_for_leases_and_refuses_new_ones(world: World, sealed: Sealed) -> None:
    """A stream that is under way ends in peace while the process stops."""
    await world.put(a=sealed(voice="anna"))
    await world.load()
    async with world.registry.lease("a") as agent:
        closing = asyncio.ensure_future(world.registry.aclose(drain_s=60))
        while not world.registry._closed:
            await asyncio.sleep(0)
        with pytest.raises(AgentUnavailable) as caught:
            await world.registry.acquire("a")
        assert caught.value.reason == "Closing"
        assert voice_in(agent.tts).closed == 0
    await closing
    assert voice_in(agent.tts).closed == 1
