"""One lead per source: taken, lost, taken over, and proven by every apply."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

import pytest
from psycopg.conninfo import conninfo_to_dict

from agentsd.core.errors import ConfigError, NotLeading, StoreError
from agentsd.store.database import Database
from agentsd.store.leader_election import (
    ElectionState,
    LeaderCandidate,
    Term,
    list_leaders,
    lock_for_term,
    verify_term,
)
from agentsd.store.queries.versions import lock_applies
from tests.e2e.processes import until

KEY = b"K\0\0\0\x0c"
"""How the server announces its process: https://www.postgresql.org/docs/current/protocol-message-formats.html"""
SESSIONS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'agentsd leader' ORDER BY backend_start"


class Bid:
    """A candidate at work, and what it found so far."""

    def __init__(self, candidate: LeaderCandidate) -> None:
        self._candidate = candidate
        self.found: asyncio.Queue[ElectionState] = asyncio.Queue()

    async def run(self) -> None:
        async with aclosing(self._candidate.standings()) as standings:
            async for standing in standings:
                await self.found.put(standing)

    async def leads(self) -> Term:
        """The next term."""
        while (term := (await self.found.get()).term) is None:
            pass
        return term


@asynccontextmanager
async def bid(url: str, source: str = "main", **options: object) -> AsyncIterator[Bid]:
    """A candidate that gives up at the end."""
    made = Bid(LeaderCandidate(Database(url).listener_dsn, source, **{"silence": 1.5, **options}))  # type: ignore[arg-type]
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.wait({task})


async def execute(database: Database, statement: str) -> list[tuple[object, ...]]:
    async with database.transaction() as connection:
        cursor = await connection.execute(statement.encode())
        return await cursor.fetchall() if cursor.description else []


async def test_one_leads_and_the_next_takes_over(database: Database, database_url: str) -> None:
    """The second stands by, knows for whom, and leads under a new epoch once the first is gone."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(bid(database_url))
        assert await first.leads() == Term("main", 1)
        async with bid(database_url) as second:
            standing = await second.found.get()
            async with database.transaction() as connection:
                leader = (await list_leaders(connection))[0]
            assert (standing.term, standing.leader, leader.leads) == (None, leader, True)
            await stack.aclose()
            assert await second.leads() == Term("main", 2)

    async def told() -> bool:
        async with database.transaction() as connection:
            return [(one.epoch, one.leads) for one in await list_leaders(connection)] == [(2, False)]

    await until(told)  # the server lets go a moment after the connection is closed


async def test_sources_have_leaders_of_their_own(database_url: str) -> None:
    """Two sources in one database do not know each other."""
    async with bid(database_url, "a") as first, bid(database_url, "b") as second:
        assert [await first.leads(), await second.leads()] == [Term("a", 1), Term("b", 1)]


async def test_a_lost_session_loses_the_lead(database: Database, database_url: str) -> None:
    """A session that the server ended: known at the next beat, and a term of its own when it leads again."""
    async with bid(database_url) as one:
        assert (await one.leads()).epoch == 1
        (pid,) = (await execute(database, SESSIONS))[0]
        await execute(database, f"SELECT pg_terminate_backend({pid})")
        assert await one.found.get() == ElectionState()
        assert (await one.leads()).epoch == 2


async def test_the_server_ends_a_silent_session(database_url: str) -> None:
    """Whoever says nothing is ended by the server itself, and its lock with it."""
    silent = LeaderCandidate(Database(database_url).listener_dsn, "main", silence=0.3)
    async with aclosing(silent.standings()) as standings:
        assert await anext(standings) == ElectionState(Term("main", 1))  # and here it stops, as if frozen
        async with bid(database_url) as successor:
            assert await successor.leads() == Term("main", 2)
        assert await anext(standings) == ElectionState()


async def test_whoever_is_unfit_gives_up_the_lead(database_url: str) -> None:
    """A candidate whose event loop is stuck lets another one lead."""
    fit = True
    async with bid(database_url, fit=lambda: fit) as first:
        await first.leads()
        async with bid(database_url) as second:
            fit = False
            assert (await second.leads()).epoch == 2


async def test_an_apply_proves_its_term(database: Database, database_url: str) -> None:
    """Under its own epoch an apply is let through; under an older one it is refused, by both proofs."""
    async with bid(database_url) as one:
        term = await one.leads()
        for prove in (lock_for_term, verify_term):
            async with database.transaction() as connection:
                await prove(connection, term)
            with pytest.raises(NotLeading):
                async with database.transaction() as connection:
                    await prove(connection, Term("main", term.epoch - 1))


async def test_what_the_last_leader_left_open_is_ended(database: Database, database_url: str) -> None:
    """A transaction under the lock of all applies does not hold up the next leader, nor can it commit."""
    goes_on = asyncio.Event()

    async def apply(term: Term) -> None:
        async with database.transaction() as connection:
            await lock_for_term(connection, term)
            applying.set()
            await goes_on.wait()

    applying = asyncio.Event()
    async with bid(database_url) as first:
        old = asyncio.create_task(apply(await first.leads()))
        await applying.wait()
    async with bid(database_url) as second:
        following = await second.leads()
        async with database.transaction() as connection:
            await lock_for_term(connection, following)
        goes_on.set()
        with pytest.raises(StoreError):
            await old


async def test_a_sync_by_command_is_left_alone(database: Database, database_url: str) -> None:
    """Somebody else's apply is nobody's leftover: the new leader waits for it like anyone."""
    async with database.transaction() as connection:
        await lock_applies(connection)
        async with bid(database_url) as one:
            await one.leads()
        await connection.execute("SELECT 1")


async def test_an_epoch_that_is_not_its_own_ends_a_lead(database: Database, database_url: str) -> None:
    """A table that was restored under a leader: it notices, and leads anew."""
    async with bid(database_url) as one:
        await one.leads()
        await execute(database, "UPDATE leaders SET epoch = 40")
        assert (await one.leads()).epoch == 41


async def test_an_unmigrated_database_is_told(empty_database_url: str) -> None:
    """A candidate without its table says what is wrong, and keeps nobody from leading."""
    async with bid(empty_database_url) as one:
        standing = await one.found.get()
        assert standing.error is not None
        assert "migrate" in standing.error.hint


async def test_a_pooler_is_refused(database_url: str) -> None:
    """Where another process answers than was announced: no session lock is left in a pool."""
    async with pooler(database_url) as url, bid(url) as one:
        standing = await one.found.get()
    assert isinstance(standing.error, ConfigError)
    assert "DIRECT_URL" in standing.error.hint


@asynccontextmanager
async def pooler(url: str) -> AsyncIterator[str]:
    """Hands on everything but the server's process id, of which poolers make up their own."""
    parts = conninfo_to_dict(url)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server, client = await asyncio.open_unix_connection(
            f"{parts['host']}/.s.PGSQL.{parts.get('port', 5432)}"
        )

        async def back() -> None:
            while data := await server.read(65536):
                head, found, rest = data.partition(KEY)
                writer.write(head + found + (bytes(4) + rest[4:] if found else b""))
            writer.close()

        async with asyncio.TaskGroup() as group:
            group.create_task(back())
            while data := await reader.read(65536):
                client.write(data)
            client.close()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        yield f"postgresql://{parts['user']}@127.0.0.1:{port}/{parts['dbname']}"
