"""Show 4: ``sync`` and Postgres killed with -9, again and again. Nothing is ever seen half done."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from time import perf_counter

import psycopg
import pytest
from psycopg import AsyncConnection

from agentsd.core.names import derive_agent_id
from agentsd.store.embedded.server import EmbeddedPostgres
from agentsd.store.migrations import upgrade_schema
from tests.e2e.client import Client
from tests.e2e.home import Home, echo
from tests.e2e.processes import Process, exists, gone, postmaster_of, until

Agents = frozenset[tuple[str, str]]
"""(slug, name) of every agent."""


def generation(number: int, size: int) -> dict[str, str]:
    """The manifests of one whole state: every one differs from its other states, and so does who is there."""
    slugs = [f"a{index:04}" for index in range(size) if index % 3 != number % 3]
    holder = slugs[number % len(slugs)]
    return {
        slug: echo(
            "hi", id=derive_agent_id(slug), name=f"g{number}", default="true" if slug == holder else "false"
        )
        for slug in slugs
    }


def agents_of(files: dict[str, str], number: int) -> Agents:
    """What a reader must see of a generation: all of it."""
    return frozenset((slug, f"g{number}") for slug in files)


def lay(home: Home, files: dict[str, str]) -> None:
    """Make the folder hold just these manifests."""
    for path in home.agents.iterdir():
        if path.stem not in files:
            path.unlink()
    for slug, text in files.items():
        home.write(f"{slug}.yaml", text)


class Watch:
    """Readers of the runtime and of the tables that look, all the time, for a state that nobody synced."""

    def __init__(self, client: Client, url: str, database_url: str) -> None:
        self._client = client
        self._url = url
        self._database_url = database_url
        self.whole: dict[Agents, int] = {frozenset(): 0}  # every state that was synced, and its number
        self.looks = 0
        self.broken: list[str] = []

    async def served(self) -> Agents:
        """All the agents that the runtime serves: one reply, so one snapshot."""
        page = await self._client.get(f"{self._url}/api/agents?limit=1000")
        assert page["next_cursor"] is None, "one page must do"
        return frozenset((agent["slug"], agent["name"]) for agent in page["items"])

    async def read(self) -> None:
        """Look until cancelled."""
        async with await AsyncConnection.connect(self._database_url, autocommit=True) as connection:
            while True:
                self._judge("runtime", await self.served())
                self._judge("tables", await _stored(connection))
                self.looks += 2

    def _judge(self, who: str, agents: Agents) -> None:
        if agents not in self.whole:
            self.broken.append(f"{who}: {len(agents)} agents of {sorted({name for _, name in agents})}")

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Look while the block runs."""
        task = asyncio.create_task(self.read())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _stored(connection: AsyncConnection) -> Agents:
    cursor = await connection.execute("SELECT slug, name FROM agents WHERE deleted_at IS NULL")
    return frozenset(await cursor.fetchall())


async def _consistent(url: str) -> None:
    """Every row stands as it was applied, with its document, its revision and a version that exists."""
    async with await AsyncConnection.connect(url) as connection:
        cursor = await connection.execute(
            """SELECT count(*) FILTER (WHERE agent_hash(a) IS DISTINCT FROM a.applied_hash),
                      count(*) FILTER (WHERE d.data IS NULL), count(*) FILTER (WHERE r.version IS NULL),
                      count(*) FILTER (WHERE v.version IS NULL)
               FROM agents a LEFT JOIN documents d ON d.digest = a.document_digest
               LEFT JOIN agent_revisions r ON r.agent_id = a.id AND r.version = a.version
               LEFT JOIN versions v ON v.version = a.version WHERE a.deleted_at IS NULL"""
        )
        assert await cursor.fetchone() == (0, 0, 0, 0)


_APPLYING = """SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


async def _applying(connection: AsyncConnection) -> bool:
    """Whether an apply holds the lock or waits for it."""
    cursor = await connection.execute(_APPLYING)
    return await cursor.fetchone() != (0,)


async def _in_transaction(url: str, sync: Process) -> None:
    """Wait until an apply holds the lock, or the sync was quicker."""
    async with await AsyncConnection.connect(url, autocommit=True) as connection:

        async def look() -> bool:
            return not sync.running or await _applying(connection)

        await until(look, every=0.001)


async def kill_syncs(home: Home, client: Client, database_url: str, kills: int, size: int) -> None:
    """Half of the kills at a random moment of a sync's life, half while it holds the lock."""
    chance = random.Random(4)
    env = {"AGENTSD_DATABASE_URL": database_url}
    files = generation(0, size)
    lay(home, files)
    started = perf_counter()
    assert (await home.run("sync", **env)).code == 0
    usual = perf_counter() - started
    _, url = await home.serve(database_url)
    watch = Watch(client, url, database_url)
    watch.whole = {agents_of(files, 0): 0}
    tally = {"killed": 0, "applied": 0, "inside": 0}
    async with watch.looking():
        for number in range(1, kills + 1):
            files = generation(number, size)
            watch.whole[agents_of(files, number)] = number
            lay(home, files)
            sync = await home.start("sync", **env)
            if number % 2:
                await asyncio.sleep(chance.uniform(usual / 4, usual * 1.2))
            else:
                await _in_transaction(database_url, sync)
                await asyncio.sleep(chance.uniform(0, 0.05))
                tally["inside"] += sync.running
            tally["killed"] += sync.running
            if not sync.running:  # the first one, by which the moments are chosen, was slower
                usual /= 2
            await sync.kill()
            await settled(watch, database_url)
            tally["applied"] += watch.whole[await watch.served()] == number
        last = await home.run("sync", "--wait", "--format", "json", **env)
        assert last.code == 0, last.said
        assert await watch.served() == agents_of(files, kills)
    print(
        f"\n{kills} syncs of {len(files)} agents: {tally['killed']} killed alive, {tally['inside']} of them "
        f"under the lock; {tally['applied']} had committed; {watch.looks} looks, {len(watch.broken)} of them "
        f"at a half-applied set"
    )
    assert watch.broken == []
    assert tally["killed"] > kills // 2
    await _consistent(database_url)


async def settled(watch: Watch, database_url: str) -> None:
    """Wait until the killed sync's transaction is over and the runtime serves what the tables hold."""
    async with await AsyncConnection.connect(database_url, autocommit=True) as connection:

        async def look() -> bool:
            return not await _applying(connection) and await watch.served() == await _stored(connection)

        await until(look)


async def test_killed_syncs(home: Home, client: Client, database_url: str) -> None:
    """Eight syncs killed: every reader sees whole states only, and the next sync finishes."""
    await kill_syncs(home, client, database_url, kills=8, size=60)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_fifty_killed_syncs(home: Home, client: Client, database_url: str) -> None:
    """Fifty syncs killed: every reader sees whole states only, and the next sync finishes."""
    await kill_syncs(home, client, database_url, kills=50, size=900)


async def kill_postgres(home: Home, client: Client, postgres: EmbeddedPostgres, kills: int) -> None:
    """The postmaster is killed and started again under a running runtime."""
    database_url = await asyncio.to_thread(postgres.start)
    await asyncio.to_thread(upgrade_schema, database_url)
    env = {"AGENTSD_DATABASE_URL": database_url}
    home.write("a.yaml", echo("g0", id=derive_agent_id("a")))
    assert (await home.run("sync", **env)).code == 0
    serve, url = await home.serve(database_url)
    delays = []
    for number in range(1, kills + 1):
        await kill_postmaster(postgres.data_dir)
        assert await client.say(url, "a") == f"g{number - 1}"
        await until(lambda: _away(client, url))
        assert (await client.stream(url, "a")).text == f"g{number - 1}"
        assert (await client.get(f"{url}/api/sync"))["runs"] is None
        await asyncio.to_thread(postgres.stop)
        assert await asyncio.to_thread(postgres.start) == database_url
        back = perf_counter()
        await until(lambda: _well(client, url))
        delays.append(perf_counter() - back)
        home.write("a.yaml", echo(f"g{number}", id=derive_agent_id("a")))
        sync = await home.run("sync", **env)
        assert sync.code == 0, sync.said
        await client.serves(url, number + 1)
        assert await client.say(url, "a") == f"g{number}"
    print(f"\n{kills} kills of Postgres: followed again within {max(delays):.2f} s of its return")
    assert "Traceback" not in (await serve.stop()).err


async def _away(client: Client, url: str) -> bool:
    status, body = await client.ready(url)
    assert status == 200
    return bool(body["store"] == "away" and body["age_seconds"] > 0)


async def _well(client: Client, url: str) -> bool:
    return bool((await client.ready(url))[1]["store"] == "ok")


async def kill_everything(data_dir: Path) -> None:
    """Kill -9 the server and all its children in one moment, as a power cut does: nobody releases a lock."""
    postmaster = postmaster_of(data_dir)
    assert postmaster
    server = processes_of(postmaster)
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in server:
            os.kill(pid, number)
    await gone(postmaster)


def processes_of(postmaster: int) -> list[int]:
    """The server's process and its children's."""
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    return [postmaster, *(int(pid) for pid in children)]


async def kill_postmaster(data_dir: Path) -> None:
    """Kill -9; its children end by themselves."""
    postmaster = postmaster_of(data_dir)
    assert postmaster
    os.kill(postmaster, signal.SIGKILL)
    if exists(postmaster):
        await gone(postmaster)


async def test_killed_postgres(home: Home, client: Client, postgres: EmbeddedPostgres) -> None:
    """The runtime answers from its last snapshot, stays ready, tells the age, and catches up by itself."""
    await kill_postgres(home, client, postgres, kills=2)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_ten_times_killed_postgres(home: Home, client: Client, postgres: EmbeddedPostgres) -> None:
    """The same, ten times."""
    await kill_postgres(home, client, postgres, kills=10)


@pytest.mark.soak
async def test_frozen_postgres(home: Home, client: Client, postgres: EmbeddedPostgres) -> None:
    """A server that accepts and never answers: the runtime serves on, tells, and can be stopped."""
    database_url = await asyncio.to_thread(postgres.start)
    await asyncio.to_thread(upgrade_schema, database_url)
    env = {"AGENTSD_DATABASE_URL": database_url}
    home.write("a.yaml", echo("g0", id=derive_agent_id("a")))
    assert (await home.run("sync", **env)).code == 0
    serve, url = await home.serve(database_url)
    postmaster = postmaster_of(postgres.data_dir)
    assert postmaster
    server = processes_of(postmaster)
    try:
        for pid in server:
            os.kill(pid, signal.SIGSTOP)
        assert (await client.stream(url, "a")).text == "g0"
        assert (await client.get(f"{url}/api/sync"))["runs"] is None
        sync = await home.run("sync", **env)
        assert (sync.code, "cannot be reached" in sync.err) == (1, True), sync.said
        await until(lambda: _away(client, url))
        assert (await client.ready(url))[0] == 200
        assert (await serve.stop()).code == 0
    finally:
        for pid in server:
            os.kill(pid, signal.SIGCONT)


async def test_postgres_killed_in_the_middle_of_a_sync(
    home: Home, client: Client, postgres: EmbeddedPostgres
) -> None:
    """The sync says that the connection broke and exits with 1; nothing of it is there; the next finishes."""
    database_url = await asyncio.to_thread(postgres.start)
    await asyncio.to_thread(upgrade_schema, database_url)
    env = {"AGENTSD_DATABASE_URL": database_url}
    lay(home, generation(1, 30))
    with closing(psycopg.connect(database_url)) as blocker:  # so that the sync waits in its transaction
        blocker.execute("LOCK TABLE agents IN SHARE MODE")
        sync = await home.start("sync", **env)
        await _in_transaction(database_url, sync)
        await kill_everything(postgres.data_dir)
        done = await sync.ended()
        assert done.code == 1
        assert "error: Postgres at" in done.err
        assert "Traceback" not in done.err
    await asyncio.to_thread(postgres.stop)
    await asyncio.to_thread(postgres.start)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM agents").fetchone() == (0,)
    assert (await home.run("sync", **env)).code == 0
    await _consistent(database_url)
