"""Show 5: hot swaps while clients stream. Nothing fails, nothing is cut, nothing is mixed, nothing leaks."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.client import Broken, Client
from tests.e2e.home import Home, echo
from tests.e2e.parrot import Parrot
from tests.e2e.processes import until
from tests.runtime.world import text_of

KEY = "sk-swap-4c1e"
PAUSE = 0.01  # seconds between two words


@dataclass
class Seen:
    """What the clients saw."""

    streams: Counter[str] = field(default_factory=Counter)  # by agent
    versions: set[str] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)
    mixed: list[tuple[str, ...]] = field(default_factory=list)


def vendor_text(sealed: str, generation: int) -> str:
    """The vendor's agent of a generation. Only a plain field differs, so the seal holds."""
    return sealed.replace("model: m0", f"model: m{generation}")


def echo_text(generation: int) -> str:
    """The echo of a generation: several words that all name it."""
    return echo(" ".join([f"e{generation}"] * 8), default="true") + f"  delay_seconds: {PAUSE}\n"


async def stream_on(client: Client, url: str, model: str, seen: Seen, enough: asyncio.Event) -> None:
    """One client: stream after stream until it is enough."""
    while not enough.is_set():
        try:
            streamed = await client.stream(url, model)
        except (Broken, TimeoutError) as error:
            seen.broken.append(repr(error))
            continue
        seen.streams[model] += 1
        seen.versions.add(streamed.version)
        words = tuple(streamed.text.split())
        if len(words) != 8 or len(set(words)) != 1:
            seen.mixed.append(words)


def rss(pid: int) -> float:
    """Resident memory in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def sockets(pid: int) -> int:
    """Open sockets."""
    links = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(str(descriptor.readlink()))
        except FileNotFoundError:
            continue
    return sum(link.startswith("socket:") for link in links)


@dataclass
class Swaps:
    """A running ``up`` with two agents whose manifests are saved again and again."""

    home: Home
    client: Client
    url: str
    pid: int
    sealed: str
    version: int = 1

    async def make(self, count: int) -> None:
        """Save one file after the other, each when the one before it is served."""
        for _ in range(count):
            self.version += 1
            if self.version % 2:
                self.home.write("vendor.yaml", vendor_text(self.sealed, self.version))
            else:
                self.home.write("echo.yaml", echo_text(self.version))
            await self.client.serves(self.url, self.version)

    def measure(self) -> tuple[int, float]:
        """Sockets and MiB now."""
        return sockets(self.pid), rss(self.pid)


async def prove(home: Home, client: Client, swaps: int, clients: int) -> None:
    """So many swaps under so many streaming clients."""
    async with Parrot(delay=PAUSE) as vendor:
        sealed = home.keys.seal(text_of(vendor.url, model="m0", key=KEY))
        home.write("vendor.yaml", sealed)
        home.write("echo.yaml", echo_text(0))
        up, url = await home.up(AGENTSD_TRUSTED_ORIGINS=vendor.url)
        work = Swaps(home, client, url, up.pid, sealed)
        seen, enough = Seen(), asyncio.Event()
        streaming = [
            asyncio.create_task(stream_on(client, url, ("echo", "vendor")[number % 2], seen, enough))
            for number in range(clients)
        ]
        await work.make(swaps // 5)  # pools and caches fill
        before = work.measure()
        await work.make(swaps - swaps // 5)
        after = work.measure()
        enough.set()
        await asyncio.gather(*streaming)
        print(
            f"\n{swaps} swaps, {clients} clients: {sum(seen.streams.values())} streams on "
            f"{len(seen.versions)} versions, {len(seen.broken)} broken, {len(seen.mixed)} mixed; "
            f"sockets {before[0]} → {after[0]}, memory {before[1]:.1f} → {after[1]:.1f} MiB"
        )
        assert (seen.broken, seen.mixed) == ([], [])
        assert min(seen.streams["echo"], seen.streams["vendor"]) > swaps // 10
        assert vendor.keys == {KEY}
        await nothing_left(client, url)
        assert after[0] <= before[0] + clients
        assert after[1] <= before[1] + 16
        assert (await up.stop()).code == 0


async def nothing_left(client: Client, url: str) -> None:
    """No lease is held, and of all the providers only the two newest are open."""

    async def look() -> bool:
        leases = await client.metric(url, "agentsd_leases_in_use")
        providers = await client.metric(url, 'agentsd_providers_open{kind="llm"}')
        return (leases, providers) == (0, 2)

    await until(look)
    assert await client.metric(url, "agentsd_drain_timeouts_total") == 0
    assert await client.metric(url, "agentsd_provider_close_failures_total") == 0


async def test_swaps_under_streaming_load(home: Home, client: Client) -> None:
    """60 saved changes, each served at once, while 5 clients stream."""
    await prove(home, client, swaps=60, clients=5)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_a_thousand_swaps_under_streaming_load(home: Home, client: Client) -> None:
    """1,000 saved changes, each served at once, while 20 clients stream."""
    await prove(home, client, swaps=1000, clients=20)
