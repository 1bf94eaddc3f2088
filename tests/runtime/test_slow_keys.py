"""Key services that hang: only the agents that need them wait."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import uuid4

from agentsd.runtime.registry import Registry
from agentsd.store import agents
from tests.runtime.conftest import Sealed
from tests.runtime.test_registry import tampered
from tests.runtime.world import Keys, World, new_registry
from tests.vendors.openai_server import OpenAIServer


def program(path: Path, body: str) -> Path:
    """An executable that stands where sops would."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


async def loaded(world: World, registry: Registry) -> None:
    """Bring ``registry`` up to date."""
    async with world.database.transaction(snapshot=True) as connection:
        if registry.snapshot.stamp is None:
            return await registry.load(await agents.load_all(connection))
        return await registry.update(await agents.load_changed(connection, registry.snapshot.version))


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
