"""The registry: leases, build, swap, drain."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from agentsd.core.errors import AgentNotFound, AgentUnavailable
from agentsd.core.names import to_url
from agentsd.runtime.changes import QUEUE_MAX, ChangeEvent
from agentsd.store.agents import Loaded
from tests.runtime.conftest import Sealed, Voice
from tests.runtime.world import Keys, World, new_registry, text_of, until
from tests.vendors.openai_server import OpenAIServer


async def test_a_lease_takes_a_slug_an_id_or_the_url_form(world: World, sealed: Sealed) -> None:
    """All three name the same agent, which runs on the settings of its document."""
    agent_id = uuid4()
    await world.put(acme__sales=sealed(id=agent_id))
    await world.load()
    for ref in ("acme/sales", str(agent_id), str(agent_id).upper(), to_url("acme/sales")):
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
            assert isinstance(new.tts, Voice)
            assert new.tts.name == "berta"
        assert isinstance(old.tts, Voice)
        assert old.tts.closed == 0
    await asyncio.sleep(0)
    assert old.tts.closed == 1
    assert new.tts.closed == 0


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


def tampered(text: str) -> str:
    """``text`` with one character of its sealed key changed."""
    before, after = text.split("ENC[AES256_GCM,data:", 1)
    flipped = "A" if after[0] != "A" else "B"
    return f"{before}ENC[AES256_GCM,data:{flipped}{after[1:]}"


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
    from agentsd.store.agents import Head

    await world.registry.update(Loaded(Head(bad.version, uuid4()), (bad,)))
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
    async with world.database.transaction() as connection:
        from agentsd.store import agents

        await cold.load(await agents.load_all(connection))
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
        assert isinstance(agent.tts, Voice)
        assert agent.tts.closed == 0
    await asyncio.sleep(0)
    assert agent.tts.closed == 1
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


async def test_the_most_recently_leased_agents_stay_built(
    world: World, sealed: Sealed, keys: Keys, vendor: OpenAIServer
) -> None:
    """Beyond the limit the longest unused one is let go, but never one under a lease."""
    await world.put(**{name: sealed() for name in "abc"})
    small = new_registry(
        world.database, keys, world.sessions, world.metrics, trusted=[vendor.url], warm_limit=2
    )
    async with world.database.transaction() as connection:
        from agentsd.store import agents

        await small.load(await agents.load_all(connection))
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
    async with world.database.transaction() as connection:
        from agentsd.store import agents

        await registry.load(await agents.load_all(connection))
    async with registry.lease("a") as old:
        await world.put(a=text.replace("anna", "berta"))
        async with world.database.transaction() as connection:
            await registry.update(await agents.load_changed(connection, registry.snapshot.version))
        assert isinstance(old.tts, Voice)
        while not old.tts.closed:
            await asyncio.sleep(0.005)
        assert world.value("agentsd_drain_timeouts_total") == 1
    async with registry.lease("a") as new:
        assert new.llm is old.llm  # it is held by the new version too, so it is open
        assert new.llm is not None
        assert await new.llm.complete({"messages": []})
    await registry.aclose(drain_s=0)
    assert old.tts.closed == 1


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
        assert isinstance(agent.tts, Voice)
        assert agent.tts.closed == 0
    await closing
    assert agent.tts.closed == 1


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
        from agentsd.store.agents import Head

        for number in range(QUEUE_MAX + 1):
            version = row.version + 1 + number
            changed = replace(row, version=version, is_active=bool(number % 2))
            await world.registry.update(Loaded(Head(version, stamp), (changed,)))
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
    from tests.runtime.world import SECRET

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
