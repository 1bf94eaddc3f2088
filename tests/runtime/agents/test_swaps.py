"""Hot swaps under streams: nothing fails, nothing is cut, nothing is left over."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentsd.services.voicebot.streams import extract_content
from tests.runtime.conftest import Sealed
from tests.runtime.world import World, following, serves, until
from tests.vendors.openai_server import OpenAIServer

ASK = {"messages": [{"role": "user", "content": "hello"}]}


class Streams:
    """Clients that stream from one agent until told to stop."""

    def __init__(self, world: World, models: dict[int, str]) -> None:
        self._world = world
        self._models = models
        self.running = True
        self.finished = 0
        self.versions: set[int] = set()

    async def client(self) -> None:
        """One stream after the other; each entirely from the version that was leased."""
        while self.running:
            async with self._world.registry.lease("a") as agent:
                assert agent.llm is not None
                chunks = [chunk async for chunk in agent.llm.stream(ASK)]
            said = [extract_content(chunk) for chunk in chunks]
            assert "".join(said) == self._models[agent.version]
            assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
            self.versions.add(agent.version)
            self.finished += 1


def sockets() -> int:
    """Sockets that this process has open."""

    def names() -> Iterator[str]:
        for link in Path("/proc/self/fd").iterdir():
            try:
                yield str(link.readlink())
            except OSError:
                continue

    return sum(name.startswith("socket:") for name in names())


def memory() -> int:
    """Resident bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def swap_under_streams(world: World, text: str, *, swaps: int, clients: int) -> Streams:
    """``swaps`` versions go live, one after the other, under ``clients`` streams."""
    models = {version: f"m{version}" for version in range(1, swaps + 2)}
    await world.put(a=text.replace("model: one", "model: m1"))
    streams = Streams(world, models)
    async with following(world, poll_s=3600), asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(streams.client())
        for version in range(2, swaps + 2):
            head = await world.put(a=text.replace("model: one", f"model: m{version}"))
            assert head.version == version
            await until(world.registry, serves(world, version))
        streams.running = False
    return streams


async def test_swaps_under_streams(world: World, sealed: Sealed, vendor: OpenAIServer) -> None:
    """Sixty swaps under five streams: every stream ends well, and only the last version is left open."""
    vendor.delay, vendor.record, vendor.naming = 0.002, False, True
    streams = await swap_under_streams(world, sealed(), swaps=60, clients=5)
    assert streams.finished > 5
    assert len(streams.versions) > 5
    assert world.value("agentsd_swaps_total") == 61
    assert world.value("agentsd_leases_in_use") == 0
    assert world.value("agentsd_providers_open", kind="llm") == 1
    assert world.value("agentsd_build_failures_total", reason="BuildFailed") == 0


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_a_thousand_swaps_under_twenty_streams(
    world: World, sealed: Sealed, vendor: OpenAIServer
) -> None:
    """Nothing grows: sockets, memory, providers."""
    vendor.delay, vendor.record, vendor.naming = 0.002, False, True
    text = sealed()
    gc.collect()
    before, used = sockets(), memory()
    streams = await swap_under_streams(world, text, swaps=1000, clients=20)
    gc.collect()
    print(
        f"{streams.finished} streams over {len(streams.versions)} versions; memory +{memory() - used} bytes"
    )
    assert world.value("agentsd_providers_open", kind="llm") == 1
    assert sockets() - before <= 2 * 20 + 4  # the warm connections of the last version, both ends
    assert memory() - used < 64 << 20
