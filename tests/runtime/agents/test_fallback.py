"""Fallbacks in a running agent: built with it, checked again after opening, kept while they do not change."""

from __future__ import annotations

from uuid import uuid4

import pytest

from agentsd.core.errors import AgentUnavailable
from agentsd.services.voicebot.answer_preparer import is_eager
from tests.runtime.conftest import Sealed
from tests.runtime.world import SECRET, Keys, World
from tests.vendors.base import Fault
from tests.vendors.openai_server import OpenAIServer

ASK = {"messages": [{"role": "user", "content": "hello"}]}


def manifest(first: OpenAIServer, second: str, keys: Keys, *, model: str = "two") -> str:
    """An agent whose LLM stands at ``first``, and at ``second`` when that one fails."""
    section = "provider: openai-compatible, model: {model}, api_url: '{url}', api_key: {key}, retries: 0"
    one = section.format(model="one", url=first.url, key=SECRET)
    two = section.format(model=model, url=second, key="sk-another")
    return keys.seal(f"id: {uuid4()}\nllm: {{{one}, fallback: [{{{two}}}]}}\n")


async def test_a_fallback_answers_with_its_own_key(world: World, keys: Keys, vendor: OpenAIServer) -> None:
    """One origin or two: no key goes to the other's request; the metrics say who failed."""
    vendor.fault, vendor.times = Fault.UNAUTHORIZED, 1
    await world.put(a=manifest(vendor, vendor.url, keys))
    await world.load()
    async with world.registry.lease("a") as agent:
        assert agent.llm is not None
        assert (await agent.llm.complete(ASK))["choices"]
    sent = [(request.body["model"], request.headers["authorization"]) for request in vendor.requests]
    assert sent == [("one", f"Bearer {SECRET}"), ("two", "Bearer sk-another")]


async def test_a_changed_fallback_is_a_changed_provider(
    world: World, keys: Keys, vendor: OpenAIServer
) -> None:
    """What equals stays the very same client, and what differs in a fallback only does not."""
    text = manifest(vendor, vendor.url, keys)
    await world.put(a=text)
    await world.load()
    async with world.registry.lease("a") as first:
        await world.put(a=text + "description: as before\n")
        await world.update()
        async with world.registry.lease("a") as second:
            assert second.llm is first.llm
        await world.put(a=text.replace("model: two", "model: three"))
        await world.update()
        async with world.registry.lease("a") as third:
            assert third.llm is not first.llm


async def test_a_fallbacks_destination_is_checked_after_opening(
    world: World, keys: Keys, vendor: OpenAIServer, sealed: Sealed
) -> None:
    """However the document came into the store."""
    await world.put(a=manifest(vendor, "http://elsewhere.example", keys))
    await world.load()
    with pytest.raises(AgentUnavailable) as caught:
        await world.registry.acquire("a")
    assert caught.value.reason == "SecretDestination"
    assert "llm.fallback" in world.condition("a").message


@pytest.mark.parametrize("eager", ["auto", "true", "false"])
@pytest.mark.parametrize("keyed", ["", "first", "fallback"])
async def test_an_agent_whose_vendors_have_a_key_may_be_charged(
    world: World, keys: Keys, vendor: OpenAIServer, keyed: str, eager: str
) -> None:
    """A fallback's counts, too; by default such an agent throws no answers away."""
    one, two = (f", api_key: {SECRET}" if keyed == name else "" for name in ("first", "fallback"))
    section = f"provider: openai-compatible, model: m, api_url: '{vendor.url}'"
    llm = f"llm: {{{section}{one}, fallback: [{{{section}{two}}}]}}"
    await world.put(a=keys.seal(f"id: {uuid4()}\n{llm}\nturn: {{eager: {eager}}}\n"))
    await world.load()
    async with world.registry.lease("a") as agent:
        assert agent.charges == ({"llm"} if keyed else frozenset())
        assert is_eager(agent) == (eager == "true" or (eager == "auto" and not keyed))
