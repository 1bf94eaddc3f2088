"""Show 3: ``sync --wait`` says done when every replica serves, and names the one that does not."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg import AsyncConnection

from agentsd.core.names import derive_agent_id
from tests.e2e.client import Client
from tests.e2e.home import Home, echo
from tests.e2e.processes import until


async def test_a_frozen_replica_is_named_and_catches_up(
    home: Home, client: Client, database_url: str
) -> None:
    """Not live everywhere is a failure with its name; continued, it serves; killed, it is told."""
    home.env |= {"AGENTSD_DATABASE_URL": database_url, "AGENTSD_SHUTDOWN_GRACE": "0"}
    home.write("a.yaml", echo("one", id=derive_agent_id("a")))
    done = await home.run("sync", "--wait")
    assert (done.code, "no replica is running" in done.out) == (0, True), done.said
    async with heartbeats(database_url):
        await freeze_one(home, client, database_url)


async def freeze_one(home: Home, client: Client, database_url: str) -> None:
    """Freeze one of two replicas, continue it, stop it, kill the other."""
    (frozen, slow), (well, quick) = await asyncio.gather(
        home.serve(database_url, "--no-cache"), home.serve(database_url, "--no-cache")
    )
    await until(lambda: listed(client, quick, 2))
    done = await home.run("sync", "--wait")  # both have opened all agents, and that is on record
    assert (done.code, "serving on 2 replicas" in done.out) == (0, True), done.said
    name = f"{socket.gethostname()}:{frozen.pid}"
    frozen.send(signal.SIGSTOP)
    try:
        home.write("a.yaml", echo("two", id=derive_agent_id("a")))
        done = await home.run("sync", "--wait", "--timeout", "4")
        assert done.code == 1
        assert f"{name} at 1, last heard" in done.err
        assert "applied, but not live everywhere after 4 s: 1 of 2 replicas serve version 2" in done.err
        assert f"{well.pid} at" not in done.err
        assert await client.say(quick, "a") == "two"
        again = await home.run("sync", "--wait", "--timeout", "0.2", "--format", "json")
        told = json.loads(again.out)
        assert (again.code, told["applied"], told["version"]) == (1, False, 2)
        assert [one["replica"] for one in told["replicas"]["laggards"]] == [name]
    finally:
        frozen.send(signal.SIGCONT)
    done = await home.run("sync", "--wait")
    assert (done.code, "serving on 2 replicas" in done.out) == (0, True), done.said
    assert await client.say(slow, "a") == "two"
    assert "Replicas: 2 of 2 healthy at version 2" in (await home.run("status")).out
    assert (await frozen.stop()).code == 0
    await well.kill()
    home.write("a.yaml", echo("three", id=derive_agent_id("a")))
    done = await home.run("sync", "--wait", "--timeout", "0.2")
    assert (done.code, f":{well.pid} at 2, last heard" in done.err) == (1, True), done.said


@asynccontextmanager
async def heartbeats(database_url: str) -> AsyncIterator[None]:
    """Keep every heartbeat young meanwhile: on a busy machine a replica would be too old to be waited for."""

    async def beat() -> None:
        async with await AsyncConnection.connect(database_url, autocommit=True) as connection:
            while True:
                await connection.execute("UPDATE replicas SET seen_at = now()")
                await asyncio.sleep(0.2)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def listed(client: Client, url: str, count: int) -> bool:
    """Whether so many replicas have told of themselves."""
    return len((await client.get(f"{url}/api/sync"))["replicas"]) == count
