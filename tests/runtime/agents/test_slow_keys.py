"""Key services and stores that hang: only what needs them waits, and not for ever."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from agentsd.providers.catalog import default_catalog
from agentsd.runtime.agents import lazy_open as openings
from agentsd.runtime.agents.builder import Builder, DocumentRefused
from agentsd.sops.binary import SopsBinary
from agentsd.sops.identities import find_identities
from agentsd.sops.opener import Opener
from agentsd.store.queries import agents
from tests.runtime.conftest import Sealed
from tests.runtime.world import Keys, World, loaded, new_registry, tampered
from tests.sops.services import vault_key, with_block
from tests.vendors.listener import Listener
from tests.vendors.openai_server import OpenAIServer


def program(path: Path, body: str) -> Path:
    """An executable that stands where sops would."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


async def test_a_hanging_key_service_holds_up_nobody_else(
    world: World, sealed: Sealed, keys: Keys, vendor: OpenAIServer, tmp_path: Path
) -> None:
    """Its agent serves the last good version; the others are swapped; it heals when the service answers."""
    sops = program(tmp_path / "sops", "exec sleep 60")
    registry = new_registry(
        world.database,
        keys,
        world.sessions,
        world.metrics,
        trusted=[vendor.url],
        program=sops,
        open_timeout=0.2,
    )
    slow, quick = sealed(id=uuid4()), sealed(id=uuid4())
    await world.put(slow=slow, quick=quick)
    await loaded(world, registry)
    for slug in ("slow", "quick"):
        async with registry.lease(slug):
            pass
    await world.put(slow=tampered(slow), quick=quick.replace("model: one", "model: two"))
    await loaded(world, registry)
    assert registry.snapshot.find("slow").condition.reason == "OpenTimeout"
    for slug, version in (("slow", 1), ("quick", 2)):
        async with registry.lease(slug) as agent:
            assert agent.version == version
    program(sops, "exit 51")
    while await registry.openings.verify():
        pass
    condition = registry.snapshot.find("slow").condition
    assert (condition.type, condition.reason) == ("Degraded", "SealTampered")
    await registry.aclose(drain_s=0)


async def test_a_cold_agent_with_a_hanging_key_service_says_so(
    world: World, sealed: Sealed, keys: Keys, vendor: OpenAIServer, tmp_path: Path
) -> None:
    """Closing in the middle of the opening leaves no process and no task behind."""
    sops = program(tmp_path / "sops", "exec sleep 60")
    registry = new_registry(
        world.database, keys, world.sessions, world.metrics, trusted=[vendor.url], program=sops
    )
    await world.put(slow=tampered(sealed()))
    await loaded(world, registry)
    waiter: asyncio.Future[object] = asyncio.ensure_future(registry.acquire("slow"))
    while not registry.snapshot.find("slow").flight:
        await asyncio.sleep(0)
    await registry.aclose(drain_s=0)
    (error,) = await asyncio.gather(waiter, return_exceptions=True)
    assert getattr(error, "reason", "") == "Closing"


async def test_a_store_that_hangs_holds_up_a_first_lease_for_a_bounded_time(
    world: World, sealed: Sealed, keys: Keys, vendor: OpenAIServer
) -> None:
    """The agent opens without the store's answer, and the connections are fit for use afterwards."""
    registry = new_registry(
        world.database, keys, world.sessions, world.metrics, trusted=[vendor.url], patience_s=0.1
    )
    await world.put(a=sealed(), b=tampered(sealed()))
    await loaded(world, registry)
    with psycopg.connect(world.database.listener_dsn) as admin:
        admin.execute("LOCK TABLE seals, agent_revisions IN ACCESS EXCLUSIVE MODE")
        async with registry.lease("a") as agent:
            assert agent.llm is not None
        while await registry.openings.verify():
            pass
        assert registry.snapshot.find("b").condition.reason == "SealTampered"
    await registry.openings.verify_again()
    assert registry.snapshot.find("a").condition.reason == "Opened"
    await registry.aclose(drain_s=0)


async def test_a_cancelled_update_changes_nothing_and_leaks_nothing(
    world: World, sealed: Sealed, keys: Keys, vendor: OpenAIServer, tmp_path: Path
) -> None:
    """In the middle of the build the old snapshot serves; doing it again brings the whole batch."""
    sops = program(tmp_path / "sops", f"touch {tmp_path}/asked; exec sleep 60")
    registry = new_registry(
        world.database, keys, world.sessions, world.metrics, trusted=[vendor.url], program=sops
    )
    a, b = sealed(id=uuid4()), sealed(id=uuid4())
    await world.put(a=a, b=b)
    await loaded(world, registry)
    for slug in "ab":
        async with registry.lease(slug):
            pass
    before = registry.snapshot
    await world.put(a=a.replace("model: one", "model: two"), b=tampered(b))
    update = asyncio.ensure_future(loaded(world, registry))
    while not (tmp_path / "asked").exists():
        await asyncio.sleep(0.005)
    update.cancel()
    await asyncio.wait({update})
    assert registry.snapshot is before
    program(sops, "exit 51")
    await loaded(world, registry)
    async with registry.lease("a") as agent:
        assert agent.version == 2
    assert registry.snapshot.find("b").condition.reason == "SealTampered"
    await registry.aclose(drain_s=0)


async def test_slow_seals_of_one_owner_leave_the_verifier_to_others(
    world: World,
    sealed: Sealed,
    keys: Keys,
    vendor: OpenAIServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Thirty agents of beta's whose sops never answers: acme's, which comes later, is opened all the same."""
    monkeypatch.setattr(openings, "LOOK_SECONDS", 0.01)
    sops = program(tmp_path / "sops", "exec sleep 60")
    registry = new_registry(
        world.database, keys, world.sessions, world.metrics, trusted=[vendor.url], program=sops
    )
    one = sealed()
    (number,) = re.findall("id: (.+)", one)
    slow = {f"beta__s{n:02}": tampered(one).replace(number, str(uuid4())) for n in range(30)}
    await world.put(**slow)
    await world.put(acme__z=sealed(id=uuid4(), model="two"))
    await loaded(world, registry)
    for _ in range(6):
        await registry.openings.verify()
    assert registry.snapshot.find("acme/z").condition.reason == "Opened"
    assert registry.snapshot.find("beta/s29").condition.reason == "NotOpened"
    await registry.aclose(drain_s=0)


async def test_a_row_cannot_send_the_token_anywhere(
    world: World, sealed: Sealed, keys: Keys, vendor: OpenAIServer
) -> None:
    """A row of the database whose seal names a service that this runtime's operator does not."""
    environ = {"VAULT_TOKEN": "hvs.canary", "PATH": "/usr/bin:/bin"}
    with Listener() as listener:
        identities = find_identities({"SOPS_AGE_KEY": keys.identity}, Path("/nonexistent"))
        opener = Opener(identities, SopsBinary(environ=environ))
        builder = Builder(opener, default_catalog(), world.sessions, trusted_origins=[vendor.url])
        text = with_block(sealed().encode(), age=None, hc_vault=[vault_key(listener.url)]).decode()
        await world.put(hostile=text)
        async with world.database.transaction(snapshot=True) as connection:
            rows = (await agents.load_all(connection)).rows
        with pytest.raises(DocumentRefused) as caught:
            await builder.open(await builder.read(rows[0]), {})
        assert (caught.value.reason, caught.value.retryable) == ("KeyServiceForbidden", False)
        assert listener.connections == 0
