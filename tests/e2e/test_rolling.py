"""Show 4: every runtime replaced under load. No request fails, no stream is cut."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest

from agentsd.core.names import derive_agent_id
from tests.e2e.balancer import Balancer
from tests.e2e.client import Broken, Client
from tests.e2e.home import Home, echo
from tests.e2e.processes import Process, until

WORDS = 8
GRACE = {"AGENTSD_SHUTDOWN_GRACE": "1.5"}
"""Longer than a busy machine keeps a client from using its connection."""


@dataclass
class Load:
    """Clients that stream and ask all the time, each on a connection that it keeps.

    Of its own: no server can close an idle connection of a pool without the risk that its client uses it
    in that very moment, which is why balancers repeat such a request.
    """

    url: str
    done: dict[str, int] = field(default_factory=lambda: {"requests": 0, "streams": 0})
    failed: list[str] = field(default_factory=list)
    enough: bool = False

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """While the block runs, and until each has what it asked for."""
        clients = [asyncio.create_task(self._on("streams", _stream)) for _ in range(6)]
        clients += [asyncio.create_task(self._on("requests", _ask)) for _ in range(4)]
        try:
            yield
        finally:
            self.enough = True
            await asyncio.gather(*clients)

    async def _on(self, name: str, work: Callable[[Client, str], Awaitable[None]]) -> None:
        async with Client() as client:
            while not self.enough:
                try:
                    await work(client, self.url)
                except (Broken, TimeoutError, aiohttp.ClientError) as error:
                    self.failed.append(f"{name}: {error!r}")
                else:
                    self.done[name] += 1

    async def more(self) -> None:
        """Wait for some more streams, begun from now on."""
        target = self.done["streams"] + 12

        async def look() -> bool:
            return self.done["streams"] >= target

        await until(look)

    def judge(self, what: str) -> None:
        """Nothing may have failed."""
        print(
            f"\n{what}: {self.done['requests']} requests and {self.done['streams']} streams, "
            f"{len(self.failed)} failed"
        )
        assert self.failed == []


async def _stream(client: Client, url: str) -> None:
    assert (await client.stream(url, "slow")).text.split() == ["w"] * WORDS


async def _ask(client: Client, url: str) -> None:
    assert await client.say(url, "quick") == "hi"
    await asyncio.sleep(0.01)


async def stock(home: Home, database_url: str) -> None:
    """An agent that takes its time, and one that does not."""
    home.write("quick.yaml", echo("hi", id=derive_agent_id("quick")))
    home.write(
        "slow.yaml", echo(" ".join(["w"] * WORDS), id=derive_agent_id("slow")) + "  delay_seconds: 0.04\n"
    )
    assert (await home.run("sync", AGENTSD_DATABASE_URL=database_url)).code == 0


async def roll(home: Home, database_url: str, count: int, restarts: int) -> None:
    """Replace one after another of ``count`` runtimes behind a balancer."""
    await stock(home, database_url)
    running: list[tuple[Process, str]] = []
    async with Balancer() as balancer:
        for _ in range(count):
            running.append(await home.serve(database_url, "--log-level", "warning", **GRACE))
            await balancer.add(running[-1][1])
        load = Load(balancer.url)
        async with load.at_work():
            await load.more()
            for _ in range(restarts):
                old, url = running.pop(0)
                done = await old.stop(signal.SIGTERM)
                assert (done.code, "Traceback" in done.err) == (0, False), done.err
                del balancer.backends[url]
                running.append(await home.serve(database_url, "--log-level", "warning", **GRACE))
                await balancer.add(running[-1][1])
                await load.more()
        load.judge(f"{restarts} restarts of {count} runtimes behind a balancer")


async def test_a_rolling_restart_fails_nothing(home: Home, database_url: str) -> None:
    """Two runtimes behind a balancer, one stopped and replaced while clients stream and ask."""
    await roll(home, database_url, 2, 1)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_a_rolling_restart_of_three(home: Home, database_url: str) -> None:
    """Three runtimes, five times over."""
    await roll(home, database_url, 3, 15)


async def test_a_server_that_leaves_says_so_first(home: Home, client: Client, database_url: str) -> None:
    """SIGTERM: not ready, still serving, each reply ends its connection; a second one ends it at once."""
    await stock(home, database_url)
    serve, url = await home.serve(database_url, AGENTSD_SHUTDOWN_GRACE="60")
    assert (await client.ready(url))[0] == 200
    serve.send(signal.SIGTERM)

    async def leaving() -> bool:
        status, body = await client.ready(url)
        return (status, body["status"]) == (503, "stopping")

    await until(leaving)
    status, text = await client.raw("GET", f"{url}/v1/models")
    assert (status, "Connection: close" in text) == (200, True)
    assert await client.say(url, "quick") == "hi"
    assert (await serve.stop(signal.SIGTERM)).code == 130
