"""``serve --workers``: several processes on one port, replaced and restarted without a refused connection."""

from __future__ import annotations

import os
import signal
from functools import partial

import pytest

from agentsd.store.database import Database
from agentsd.store.queries.replicas import list_replicas
from tests.e2e.client import Client
from tests.e2e.home import Home
from tests.e2e.processes import Process, exists, gone, until
from tests.e2e.test_rolling import GRACE, Load, stock


class Children:
    """The workers, as the list of replicas knows them: each is one of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pids(self) -> set[int]:
        """Of those that are alive."""
        async with self._database.transaction(snapshot=True) as connection:
            return {one.pid for one in await list_replicas(connection) if exists(one.pid)}

    async def count(self, number: int, *, without: set[int] = frozenset()) -> set[int]:  # type: ignore[assignment]
        """Wait until there are so many, and none of these."""

        async def look() -> set[int] | None:
            pids = await self.pids()
            return pids if len(pids) == number and not pids & without else None

        found = await until(look)
        assert found is not None
        return found


async def _replaced(parent: Process, times: int) -> bool:
    return parent.err.count("every worker was replaced") == times


async def roll(
    home: Home, client: Client, database: Database, database_url: str, workers: int, rounds: int
) -> None:
    await stock(home, database_url)
    options = ("--workers", str(workers), "--log-level", "warning")
    parent, url = await home.serve(database_url, *options, **GRACE)
    children = Children(database)
    first = before = await children.count(workers)
    load = Load(url)
    async with load.at_work():
        await load.more()
        for number in range(1, rounds + 1):
            parent.send(signal.SIGHUP)
            await until(partial(_replaced, parent, number))
            before = await children.count(workers, without=before)
            await load.more()
    load.judge(f"{rounds} times {workers} workers replaced by SIGHUP")
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    after = await children.count(workers, without={victim})
    assert len(after - before) == 1
    assert await client.say(url, "quick") == "hi"
    done = await parent.stop(signal.SIGTERM)
    assert (done.code, "Traceback" in done.err) == (0, False), done.err
    assert f"worker {victim} ended (signal 9)" in done.err
    assert not [pid for pid in first | after if exists(pid)]


@pytest.mark.soak
async def test_workers_are_replaced_and_restarted(
    home: Home, client: Client, database: Database, database_url: str
) -> None:
    """SIGHUP under load fails nothing; a killed worker comes back; SIGTERM ends it with its parent."""
    await roll(home, client, database, database_url, 1, 1)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_workers_are_replaced_again_and_again(
    home: Home, client: Client, database: Database, database_url: str
) -> None:
    """The same with three, ten times over."""
    await roll(home, client, database, database_url, 3, 10)


async def test_workers_end_with_their_parent(home: Home, database: Database, database_url: str) -> None:
    """A parent that is killed leaves nobody behind."""
    parent, _ = await home.serve(database_url, "--workers", "1", **GRACE)
    (child,) = await Children(database).count(1)
    await parent.kill()
    await gone(child)


async def test_a_mistake_is_told_once(home: Home, database_url: str) -> None:
    """What no restart would mend ends the parent, with the same exit status."""
    options = ("--workers", "2", "--host", "0.0.0.0", "--port", "0")  # noqa: S104
    done = await home.run("serve", *options, AGENTSD_DATABASE_URL=database_url)
    assert done.code == 2, done.err
    assert "token" in done.err
