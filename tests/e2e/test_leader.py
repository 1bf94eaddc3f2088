"""Show 2: the leader killed or frozen, again and again. Each commit is applied exactly once, in order."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from collections.abc import AsyncIterator
from time import perf_counter

import pytest
from psycopg import AsyncConnection

from agentsd.core.names import derive_agent_id
from tests.e2e.client import Client
from tests.e2e.daemons import APPLIED, RUNS, SAID, Daemons, Repository
from tests.e2e.home import Home, echo
from tests.e2e.processes import Process


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[AsyncConnection]:
    """A look into the database."""
    async with await AsyncConnection.connect(database_url, autocommit=True) as made:
        yield made


async def end_leaders(daemons: Daemons, repository: Repository, ends: list[signal.Signals]) -> list[float]:
    """End the leader around a commit, once for each signal. Says how long its successors took, in seconds."""
    chance = random.Random(5)
    frozen: list[Process] = []
    took = []
    for end in ends:
        old = await daemons.leader()
        process = daemons.processes[old.pid]
        committing = asyncio.create_task(repository.commit())
        await asyncio.sleep(chance.uniform(0, 0.08))
        process.send(end)
        ended = perf_counter()
        for one in frozen:  # wakes up while its successor is ended
            one.send(signal.SIGCONT)
        await daemons.leader(other_than=old.pid)
        took.append(perf_counter() - ended)
        await daemons.applied(await committing)
        frozen = [process] if end is signal.SIGSTOP else []
        if end is signal.SIGKILL:
            await process.ended()
            await daemons.start()
    for one in frozen:
        one.send(signal.SIGCONT)
    await daemons.applied(await repository.commit())
    return took


async def one_after_the_other(
    home: Home, database_url: str, connection: AsyncConnection, count: int, ends: list[signal.Signals]
) -> None:
    repository = Repository(home)
    daemons = Daemons(home, database_url, connection)
    commit = await repository.commit()
    for _ in range(count):
        await daemons.start()
    await daemons.applied(commit)
    took = await end_leaders(daemons, repository, ends)
    status = await home.run("status", "--format", "json", AGENTSD_DATABASE_URL=database_url)
    (leader,) = json.loads(status.out)["leaders"]
    assert (leader["leads"], leader["pid"]) == (True, (await daemons.leader()).pid)
    expected = [f'reply: "g{number}"' for number in range(len(repository.commits))]
    said = await daemons.column(SAID)
    runs = await daemons.column(RUNS)
    print(
        f"\n{len(ends)} leaders of {count} daemons ended, {ends.count(signal.SIGSTOP)} of them frozen: "
        f"{len(said)} applies of {len(repository.commits)} commits; {len(said) - len(runs)} died before they "
        f"recorded their run; take-over {min(took):.2f} to {max(took):.2f} s, "
        f"median {sorted(took)[len(took) // 2]:.2f} s"
    )
    assert await daemons.column(APPLIED) == repository.commits
    assert [
        next(line.strip() for line in str(text).splitlines() if "reply" in line) for text in said
    ] == expected
    assert len(set(runs)) == len(runs)
    for process in daemons.processes.values():
        if process.running:
            assert "Traceback" not in (await process.stop()).err


async def test_a_leader_that_is_killed_or_frozen(
    home: Home, database_url: str, connection: AsyncConnection
) -> None:
    """The leader of two is killed, then frozen, then continued: commits are applied once, in order."""
    await one_after_the_other(home, database_url, connection, 2, [signal.SIGKILL, signal.SIGSTOP])


async def test_an_edit_on_a_standby(home: Home, client: Client, database_url: str) -> None:
    """Two `up` on one folder: what is written through the one that stands by is live on both."""
    home.write("a.yaml", echo("hi", id=derive_agent_id("a"), name="before"))
    env = {"AGENTSD_DATABASE_URL": database_url}
    leader, first = await home.up(**env)
    standby, second = await home.up(**env)
    (told,) = (await client.get(f"{second}/api/sync"))["leaders"]
    assert (told["leads"], told["pid"]) == (True, leader.pid)
    status, reply = await client.raw("PATCH", f"{second}/api/agents/a", json={"name": "after"})
    assert status == 200, reply
    assert "name: after" in (home.agents / "a.yaml").read_text()
    for url in (first, second):
        await client.serves(url, 2)
        assert (await client.get(f"{url}/api/agents/a"))["name"] == "after"
    assert (await leader.stop()).code == 0
    status, reply = await client.raw("PATCH", f"{second}/api/agents/a", json={"name": "alone"})
    assert status == 200, reply
    assert "Traceback" not in (await standby.stop()).err


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_twenty_leaders_that_are_killed_or_frozen(
    home: Home, database_url: str, connection: AsyncConnection
) -> None:
    """Three daemons and twenty ends of leaders during commits to a git checkout."""
    ends = [signal.SIGKILL, signal.SIGSTOP] * 10
    random.Random(2).shuffle(ends)
    await one_after_the_other(home, database_url, connection, 3, ends)
