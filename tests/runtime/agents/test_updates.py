"""Updates: build, swap, drain; what serves when a document is bad."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest

from agentsd.core.errors import AgentNotFound, AgentUnavailable
from agentsd.store.queries.agents import Head, LoadedRows
from tests.runtime.conftest import Sealed, voice_in
from tests.runtime.world import Keys, World, loaded, new_registry, tampered, text_of
from tests.vendors.openai_server import OpenAIServer


async def test_a_running_lease_keeps_its_version_and_its_provider(world: World, sealed: Sealed) -> None:
    """New leases get the new version at once; the old provider closes after the last old lease."""
    agent_id = uuid4()
    text = sealed(id=agent_id, voice="anna")
    await world.put(a=text)
    await world.load()
    async with world.registry.lease("a") as old:
        await world.put(a=text.replace("anna", "berta"))
        await world.update()
        async with world.registry.lease("a") as new:
            assert new.version == old.version + 1
            assert voice_in(new.tts).name == "berta"
        assert voice_in(old.tts).closed == 0
    await asyncio.sleep(0)
    assert voice_in(old.tts).closed == 1
    assert voice_in(new.tts).closed == 0


async def test_only_changed_providers_are_rebuilt(world: World, sealed: Sealed) -> None:
    """An edited ``tts`` keeps the very same LLM client; going back keeps a voice that is still held."""
    text = sealed(voice="anna")
    await world.put(a=text)
    await world.load()
    async with world.registry.lease("a") as first:
        await world.put(a=text.replace("anna", "berta"))
        await world.update()
        async with world.registry.lease("a") as second:
            assert second.llm is first.llm
            assert second.tts is not first.tts
            await world.put(a=text + "description: as before\n")
            await world.update()
            async with world.registry.lease("a") as third:
                assert third.spec.description == "as before"
                assert third.llm is first.llm
                assert third.tts is first.tts


async def test_resealing_the_same_secret_keeps_the_client(world: World, sealed: Sealed) -> None:
    """Other ciphertext, equal plaintext: the connections stay warm."""
    agent_id = uuid4()
    await world.put(a=sealed(id=agent_id))
    await world.load()
    async with world.registry.lease("a") as first:
        await world.put(a=sealed(id=agent_id))
        await world.update()
        async with world.registry.lease("a") as second:
            assert second.digest != first.digest
            assert second.llm is first.llm
        await world.put(a=sealed(id=agent_id, key="sk-another"))
        await world.update()
        async with world.registry.lease("a") as third:
            assert third.llm is not first.llm


async def test_the_last_good_version_serves_until_the_document_is_fixed(
    world: World, sealed: Sealed, strangers: Keys
) -> None:
    """Each way of failing has its reason; the agent goes on, and heals with the next good version."""
    agent_id = uuid4()
    good = sealed(id=agent_id)
    await world.put(a=good)
    await world.load()
    async with world.registry.lease("a") as agent:
        first = agent
    bad = {
        "SealTampered": tampered(good),
        "SealLocked": sealed(id=agent_id, by=strangers),
        "SecretDestination": sealed("http://elsewhere.example", id=agent_id),
        "InvalidManifest": good.replace("model: one", "modle: one"),
        "BuildFailed": sealed(id=agent_id, voice="broken"),
    }
    for reason, text in bad.items():
        await world.put(a=text)
        await world.update()
        condition = world.condition("a")
        assert (condition.type, condition.reason) == ("Degraded", reason)
        assert f"version {first.version} is serving" in condition.message
        assert world.registry.problems() == [("a", condition)]
        async with world.registry.lease("a") as agent:
            assert (agent.version, agent.llm) == (first.version, first.llm)
    await world.put(a=good.replace("model: one", "model: two"))
    await world.update()
    assert world.condition("a").type == "Ready"
    assert world.registry.problems() == []
    assert world.value("agentsd_agents", condition="Ready") == 1
    async with world.registry.lease("a") as agent:
        assert agent.version == first.version + len(bad) + 1


async def test_the_last_good_version_serves_under_a_new_name(world: World, sealed: Sealed) -> None:
    """Name and place come from the newest row even where its document does not open."""
    agent_id = uuid4()
    good = sealed(id=agent_id)
    await world.put(a=good)
    await world.load()
    async with world.registry.lease("a") as first:
        pass
    await world.put(b=tampered(good))
    await world.update()
    async with world.registry.lease("b") as agent:
        assert (agent.slug, agent.version, agent.llm) == ("b", first.version, first.llm)
    with pytest.raises(AgentNotFound):
        world.registry.snapshot.find("a")


async def test_the_last_good_version_serves_while_the_store_is_away(world: World, sealed: Sealed) -> None:
    """A warm agent needs neither Postgres nor a key service to go on."""
    agent_id = uuid4()
    good = sealed(id=agent_id)
    await world.put(a=good)
    await world.load()
    async with world.registry.lease("a") as first:
        pass
    row = world.entry("a").row
    head = world.registry.snapshot
    await world.database.aclose()
    assert head.stamp is not None
    bad = replace(row, version=row.version + 1, data=tampered(good).encode())

    await world.registry.update(LoadedRows(Head(bad.version, uuid4()), (bad,)))
    assert world.condition("a").reason == "SealTampered"
    async with world.registry.lease("a") as agent:
        assert agent.version == first.version


@pytest.mark.parametrize("warm", [False, True])
async def test_replicas_agree_on_the_newest_older_version_that_opens(
    world: World, sealed: Sealed, keys: Keys, vendor: OpenAIServer, warm: bool
) -> None:
    """One that missed a good version in between, and one that starts cold, both choose that one."""
    agent_id = uuid4()
    text = sealed(id=agent_id)
    await world.put(a=text)
    await world.load()
    if warm:
        async with world.registry.lease("a"):
            pass
    between = await world.put(a=text.replace("model: one", "model: two"))
    await world.put(a=tampered(text))
    await world.put(a=tampered(text) + "description: still broken\n")
    await world.update()
    cold = new_registry(world.database, keys, world.sessions, world.metrics, trusted=[vendor.url])
    await loaded(world, cold)
    for registry in (world.registry, cold):
        async with registry.lease("a") as agent:
            assert agent.version == between.version
        assert registry.snapshot.find("a").condition.type == "Degraded"
    await cold.aclose(drain_s=0)


async def test_an_agent_that_never_opened_is_invalid_and_hurts_nobody(
    world: World, sealed: Sealed, strangers: Keys
) -> None:
    """It says why, by its machine reason; the one beside it runs."""
    await world.put(a=sealed(by=strangers), b=sealed())
    await world.load()
    with pytest.raises(AgentUnavailable) as caught:
        async with world.registry.lease("a"):
            pass
    assert caught.value.reason == "SealLocked"
    assert world.condition("a").type == "Invalid"
    async with world.registry.lease("b") as agent:
        assert agent.llm is not None


async def test_a_seal_of_another_owner_is_refused(world: World, sealed: Sealed) -> None:
    """A sealed file copied into another owner's folder opens for nobody but its first owner."""
    text = sealed()
    await world.put(acme__a=text)
    await world.put(evil__a=text.replace(text.split()[1], str(uuid4())))
    await world.load()
    async with world.registry.lease("acme/a"):
        pass
    with pytest.raises(AgentUnavailable) as caught:
        async with world.registry.lease("evil/a"):
            pass
    assert caught.value.reason == "SealReused"


async def test_an_older_version_never_serves_another_owner(world: World, sealed: Sealed) -> None:
    """An agent that moved to another owner does not take its old secret along, warm or not."""
    text = sealed()
    await world.put(acme__a=text)
    await world.load()
    async with world.registry.lease("acme/a"):
        pass
    await world.put(evil__a=text + "description: mine now\n")
    await world.update()
    with pytest.raises(AgentUnavailable) as caught:
        async with world.registry.lease("evil/a"):
            pass
    assert caught.value.reason == "SealReused"


async def test_an_inactive_agent_is_suspended_and_comes_back(world: World, sealed: Sealed) -> None:
    """``active: false`` ends new leases; a running one goes on."""
    text = sealed()
    await world.put(a=text)
    await world.load()
    async with world.registry.lease("a") as agent:
        await world.put(a=text.replace("active: true", "active: false"))
        await world.update()
        with pytest.raises(AgentUnavailable) as caught:
            async with world.registry.lease("a"):
                pass
        assert caught.value.reason == "Inactive"
        assert world.condition("a").type == "Suspended"
        assert agent.llm is not None
        assert await agent.llm.complete({"messages": []})
    await world.put(a=text)
    await world.update()
    async with world.registry.lease("a"):
        assert world.condition("a").type == "Ready"


async def test_a_deleted_agent_is_gone_but_its_lease_goes_on(world: World, sealed: Sealed) -> None:
    """Its provider closes with the last lease."""
    agent_id = uuid4()
    await world.put(a=sealed(id=agent_id, voice="anna"))
    await world.load()
    async with world.registry.lease("a") as agent:
        await world.apply([], remove=[agent_id])
        await world.update()
        with pytest.raises(AgentNotFound):
            world.registry.snapshot.find("a")
        assert agent.llm is not None
        assert await agent.llm.complete({"messages": []})
        assert voice_in(agent.tts).closed == 0
    await asyncio.sleep(0)
    assert voice_in(agent.tts).closed == 1
    assert world.value("agentsd_agents", condition="Ready") == 0


async def test_names_and_defaults_trade_places_in_one_swap(world: World, sealed: Sealed) -> None:
    """Every snapshot has each name once and exactly one default, before and after."""
    first, second = uuid4(), uuid4()
    a, b = sealed(id=first, default=True), sealed(id=second)
    await world.put(a=a, b=b)
    await world.load()
    before = world.registry.snapshot
    await world.put(
        b=a.replace("default: true", "default: false"), a=b.replace("default: false", "default: true")
    )
    await world.update()
    after = world.registry.snapshot
    assert (before.find("a").row.id, dict(before.defaults)) == (first, {"default": "a"})
    assert (after.find("a").row.id, after.find("b").row.id) == (second, first)
    assert dict(after.defaults) == {"default": "a"}
    assert len(after.entries) == len(after.ids) == 2


async def test_a_large_batch_is_one_swap(world: World, vendor: OpenAIServer) -> None:
    """Six hundred agents change: nobody ever sees a part of them, and those in use are warm."""
    ids = [uuid4() for _ in range(600)]

    def texts(model: str) -> dict[str, str]:
        return {f"n{i}": text_of(vendor.url, id=agent, model=model, key=None) for i, agent in enumerate(ids)}

    await world.put(**texts("one"))
    await world.load()
    async with world.registry.lease("n7") as old:
        pass
    await world.put(**texts("two"))
    seen = set()
    update = asyncio.ensure_future(world.update())
    while not update.done():
        seen.add(frozenset(entry.row.version for entry in world.registry.snapshot.ids.values()))
        await asyncio.sleep(0)
    assert seen <= {frozenset({1}), frozenset({2})}
    built = world.entry("n7").built
    assert built is not None
    assert built.agent.version == 2
    assert old.version == 1
    assert world.value("agentsd_swaps_total") == 2
