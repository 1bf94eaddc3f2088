"""``Database``: the pool, transactions, and what every failure of Postgres is called."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from agentsd.core.errors import (
    ConfigError,
    SchemaMismatch,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from agentsd.store.database import Database, format_place, make_dsn
from agentsd.store.queries.agents import lock_applies
from tests.databases import url_with

SECRET = "hunter2-canary"


async def fetch(database: Database, query: bytes) -> object:
    """The first column of the first row."""
    async with database.transaction() as connection:
        row = await (await connection.execute(query)).fetchone()
    return None if row is None else row[0]


async def failure(database: Database, query: bytes = b"SELECT 1") -> StoreError:
    """The error of a transaction that must fail; it never shows the password."""
    with pytest.raises(StoreError) as caught:
        await fetch(database, query)
    await database.aclose()
    assert SECRET not in f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"
    assert caught.value.hint
    return caught.value


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that accepts and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


async def test_no_connection_before_the_first_transaction() -> None:
    """Making a Database for a server that is down is no error."""
    await Database(f"postgresql://x:{SECRET}@127.0.0.1:1/db").aclose()


async def test_connections_are_reused_and_bounded(database_url: str) -> None:
    """One after the other share one connection; at once, no more than the pool's size are open."""
    database = Database(database_url, pool_size=2)
    pids = {await fetch(database, b"SELECT pg_backend_pid()") for _ in range(3)}
    assert len(pids) == 1
    at_once = await asyncio.gather(
        *(fetch(database, b"SELECT pg_backend_pid() FROM pg_sleep(0.01)") for _ in range(8))
    )
    assert len(set(at_once)) == 2
    await database.aclose()


async def test_an_exception_rolls_back(database: Database) -> None:
    """Whatever leaves the block, nothing of it is kept, and the connection is fit for use."""

    async def write_and_fail() -> None:
        async with database.transaction() as connection:
            await connection.execute("INSERT INTO seals VALUES ('a', 'x')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await write_and_fail()
    assert await fetch(database, b"SELECT count(*) FROM seals") == 0


async def test_a_swallowed_error_is_not_committed_silently(database: Database) -> None:
    """COMMIT of a failed transaction rolls back without a word; here it is an error."""

    async def write_and_swallow() -> None:
        async with database.transaction() as connection:
            await connection.execute("INSERT INTO seals VALUES ('a', 'x')")
            with pytest.raises(psycopg.Error):
                await connection.execute("SELECT 1/0")

    with pytest.raises(StoreError, match="not committed"):
        await write_and_swallow()
    assert await fetch(database, b"SELECT count(*) FROM seals") == 0


async def test_a_cancelled_transaction_lets_go_of_its_lock(database: Database) -> None:
    """Cancelled within a statement: rolled back, the lock free, the pool whole."""

    async def hold() -> None:
        async with database.transaction() as connection:
            await lock_applies(connection)
            await connection.execute("INSERT INTO seals VALUES ('a', 'x')")
            started.set()
            await connection.execute("SELECT pg_sleep(60)")

    started = asyncio.Event()
    task = asyncio.create_task(hold())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with database.transaction() as connection:
        await lock_applies(connection)
    assert await fetch(database, b"SELECT count(*) FROM seals") == 0


async def test_a_snapshot_sees_one_moment_and_writes_nothing(database: Database) -> None:
    """What others commit meanwhile stays invisible; a write is refused by its name."""
    async with database.transaction(snapshot=True) as connection:
        await connection.execute("SELECT 1 FROM seals")
        assert await fetch(database, b"INSERT INTO seals VALUES ('a', 'x') RETURNING 1") == 1
        cursor = await connection.execute("SELECT count(*) FROM seals")
        assert await cursor.fetchone() == (0,)
    with pytest.raises(StoreRefused, match="read-only"):
        async with database.transaction(snapshot=True) as connection:
            await connection.execute("DELETE FROM seals")


async def test_idle_connections_that_died_are_replaced(database: Database, database_url: str) -> None:
    """After Postgres cut every connection, the next transaction simply works."""
    before = await fetch(database, b"SELECT pg_backend_pid()")
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (before,))
    after = await fetch(database, b"SELECT pg_backend_pid()")
    assert after not in (None, before)


async def test_a_connection_that_dies_at_work_is_unavailable(database: Database) -> None:
    """Retryable, and told apart from a refusal."""
    error = await failure(database, b"SELECT pg_terminate_backend(pg_backend_pid())")
    assert isinstance(error, StoreUnavailable)
    assert error.retryable


async def test_behind_a_pooler_nothing_is_prepared(database_url: str) -> None:
    """With a direct URL beside it, the URL is a pooler's: no prepared statement, no session setting stays."""
    database = Database(database_url, database_url + "&application_name=direct")
    for _ in range(10):
        await fetch(database, b"SELECT count(*) FROM seals WHERE owner = 'x'")
    assert await fetch(database, b"SELECT count(*) FROM pg_prepared_statements") == 0
    async with database.transaction() as connection:
        limited = await (await connection.execute("SHOW statement_timeout")).fetchone()
        raw = connection
    assert limited == ("1min",)
    assert raw.info.transaction_status == TransactionStatus.IDLE
    assert await (await raw.execute("SHOW statement_timeout")).fetchone() == ("0",)
    await database.aclose()


async def test_a_server_that_is_down() -> None:
    """Names the place, not the password."""
    error = await failure(Database(f"postgresql://agentsd:{SECRET}@127.0.0.1:1/agents"))
    assert isinstance(error, StoreUnavailable)
    assert "127.0.0.1:1/agents" in error.message


async def test_a_server_that_says_nothing(silent_port: int) -> None:
    """Nothing hangs: the connection attempt ends after its time-out."""
    url = f"postgresql://x:{SECRET}@127.0.0.1:{silent_port}/db?connect_timeout=2"
    assert isinstance(await failure(Database(url)), StoreUnavailable)


async def test_a_database_that_does_not_exist(database_url: str) -> None:
    """Refused, and the hint says createdb."""
    error = await failure(Database(url_with(database_url, "no_such_database")))
    assert isinstance(error, StoreRefused)
    assert "createdb" in error.hint


async def test_a_user_that_does_not_exist(database_url: str) -> None:
    """Refused."""
    error = await failure(Database(database_url.replace("//postgres", f"//nobody:{SECRET}")))
    assert isinstance(error, StoreRefused)


async def test_statements_and_locks_are_bounded(database_url: str) -> None:
    """A slow statement and a lock that nobody frees end as retryable errors that say which."""
    slow = await failure(Database(database_url, statement_seconds=0.05), b"SELECT pg_sleep(60)")
    assert isinstance(slow, StoreUnavailable)
    assert "too long" in slow.message
    holder, waiter = Database(database_url), Database(database_url, lock_seconds=0.05)
    async with holder.transaction() as connection:
        await lock_applies(connection)
        with pytest.raises(StoreUnavailable, match="another sync holds the lock"):
            async with waiter.transaction() as other:
                await lock_applies(other)
    await holder.aclose()
    await waiter.aclose()


async def test_a_full_pool_is_an_error_not_a_wait_for_ever(database_url: str) -> None:
    """After a bound, the caller hears that all connections are busy."""
    database = Database(database_url, pool_size=1, wait_seconds=0.05)
    async with database.transaction():
        with pytest.raises(StoreUnavailable, match="all 1 connections"):
            async with database.transaction():
                pass
    await database.aclose()
    with pytest.raises(StoreUnavailable, match="was closed"):
        async with database.transaction():
            pass


async def test_missing_grants_and_tables(database: Database, database_url: str) -> None:
    """42501 and 42P01: refused with the grants to give, and a schema that does not fit."""
    role = f"reader_{format_place(make_dsn(database_url)).rpartition('_')[2]}"
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN")
        try:
            reader = Database(database_url.replace("//postgres", f"//{role}:{SECRET}"))
            denied = await failure(reader, b"SELECT 1 FROM agents")
        finally:
            admin.execute(f"DROP ROLE {role}")
    assert isinstance(denied, StoreRefused)
    assert "privilege" in denied.message
    assert isinstance(await failure(database, b"SELECT 1 FROM no_such_table"), SchemaMismatch)


@pytest.mark.parametrize(
    "url", ["postgresql://x:hunter2-canary@h:port/db%zz", "mysql://x:hunter2-canary@h/db"]
)
def test_a_url_that_cannot_be_read(url: str) -> None:
    """A ConfigError that does not quote it."""
    with pytest.raises(ConfigError) as caught:
        Database(url)
    assert SECRET not in str(caught.value)


def test_sqlalchemys_spelling_of_a_url_works() -> None:
    """``postgresql+psycopg://`` and ``postgres://`` name the same server; settings of the URL win."""
    for scheme in ("postgresql", "postgresql+psycopg", "postgres"):
        dsn = make_dsn(f"{scheme}://u:p@h:1/d?connect_timeout=9")
        assert format_place(dsn) == "h:1/d"
        assert "connect_timeout=9" in dsn
