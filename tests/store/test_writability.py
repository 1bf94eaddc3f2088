"""Switch-overs: a server that answers and takes no writes, and one elsewhere that does."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from agentsd.core.backoff import Backoff
from agentsd.core.errors import SessionLost, StoreReadOnly, StoreUnavailable
from agentsd.core.reminder import Reminder
from agentsd.store.database import Database
from agentsd.store.embedded import os_account as accounts
from agentsd.store.embedded.server import EmbeddedPostgres
from agentsd.store.listener import VERSIONS_CHANNEL, Listener, Notification
from agentsd.store.migrations import upgrade_schema
from tests.databases import FAST
from tests.e2e.processes import until
from tests.store.test_leader_election import bid
from tests.store.test_listener import following

STANDBY = {**FAST, "wal_level": "replica", "max_wal_senders": "4", "hot_standby": "on"}
INSERT = "INSERT INTO seals VALUES (convert_to(gen_random_uuid()::text, 'utf8'), 'x')"


def name_of(url: str) -> str:
    """The database's name."""
    return str(conninfo_to_dict(url)["dbname"])


def fence(url: str) -> None:
    """Make the database read-only and end everybody's session, as a switch-over does."""
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name_of(url)} SET default_transaction_read_only = on")
        end_sessions(admin)


def end_sessions(admin: psycopg.Connection) -> None:
    """End the sessions of everybody else on this database."""
    admin.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


def unfence(url: str) -> None:
    """Allow writes again, to new sessions; those that are open stay read-only."""
    with psycopg.connect(url, autocommit=True, options="-cdefault_transaction_read_only=off") as admin:
        admin.execute(f"ALTER DATABASE {name_of(url)} RESET default_transaction_read_only")


async def write(database: Database) -> bool:
    """Whether a write was taken."""
    try:
        async with database.transaction() as connection:
            await connection.execute(INSERT.encode())
    except StoreReadOnly:
        return False
    return True


async def read(database: Database) -> object:
    """What a reader finds."""
    async with database.transaction(snapshot=True) as connection:
        return await (await connection.execute("SELECT count(*) FROM seals")).fetchone()


async def test_the_pool_leaves_read_only_sessions(
    database: Database, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused and reported while it lasts, reads go on; the first write afterwards has a new session."""
    caplog.set_level(logging.INFO, "agentsd")
    assert await write(database)
    fence(database_url)
    assert not await write(database)
    assert not await write(database)
    assert await read(database) == (1,)
    assert database.read_only
    unfence(database_url)
    assert await until(lambda: write(database))
    assert not database.read_only
    assert await write(database)
    said = [record.getMessage() for record in caplog.records if "Postgres" in record.getMessage()]
    assert said == ["Postgres is read-only: nothing can be written", "Postgres accepts writes again"]


async def test_reads_notice_it_too(database: Database, database_url: str) -> None:
    """Who only reads learns of both: the state is known without an edit."""
    fence(database_url)
    await read(database)
    assert database.read_only
    unfence(database_url)

    async def over() -> bool:
        await read(database)
        return not database.read_only

    await until(over)


async def test_fenced_by_a_reload_no_session_is_ended(database: Database, database_url: str) -> None:
    """A session that became read-only itself is noticed in the round trip that opens its transaction."""
    assert await write(database)
    async with database.transaction() as connection:
        await connection.execute("SET default_transaction_read_only = on")
    assert await write(database), "a new session may write, so the old one is left"
    assert not database.read_only


async def test_a_session_that_ends_at_work_is_lost_not_the_store(database: Database) -> None:
    """57P01 in the middle: the error is retryable, and the next transaction has a new session."""
    with pytest.raises(SessionLost):
        async with database.transaction() as connection:
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert await write(database)


async def test_read_only_in_the_middle_of_a_transaction(database: Database) -> None:
    """The write that was refused is not in the store, and the next transaction has a new session."""

    async def write_twice() -> None:
        async with database.transaction() as connection:
            await connection.execute("INSERT INTO seals (fingerprint, owner) VALUES ('x', 'x')")
            await connection.execute("SET TRANSACTION READ ONLY")
            await connection.execute("INSERT INTO seals (fingerprint, owner) VALUES ('y', 'y')")

    with pytest.raises(StoreReadOnly):
        await write_twice()
    assert await read(database) == (0,)
    assert await write(database)


async def test_a_stale_plan_costs_its_session(database: Database, database_url: str) -> None:
    """After a migration elsewhere a prepared statement may not fit any more: 0A000, once."""
    query = b"SELECT * FROM seals"
    for _ in range(8):
        async with database.transaction() as connection:
            await connection.execute(query)
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute("ALTER TABLE seals ADD COLUMN more text")
    with pytest.raises(SessionLost):
        async with database.transaction() as connection:
            await connection.execute(query)
    async with database.transaction() as connection:
        await connection.execute(query)


async def test_a_listener_leaves_a_read_only_server(database_url: str) -> None:
    """LISTEN works on a fenced primary and hears nothing: it moves as soon as a new session may write."""
    fence(database_url)
    seen: asyncio.Queue[Notification] = asyncio.Queue()
    listener = Listener(
        Database(database_url).listener_dsn, heartbeat_seconds=0.1, backoff=Backoff(0.01, 0.5)
    )
    task = asyncio.create_task(following(listener, seen))
    assert (await seen.get()).kind == "connected"
    unfence(database_url)
    async with asyncio.timeout(30):
        assert (await seen.get()).kind == "connected"
    task.cancel()
    await asyncio.wait({task})


async def test_a_leader_of_a_read_only_server_does_not_lead(database_url: str) -> None:
    """It reports the reason while it lasts, and leads under a new epoch afterwards."""
    async with bid(database_url, silence=0.6) as candidate:
        first = await candidate.leads()
        fence(database_url)
        while (await candidate.found.get()).error is None:
            pass
        unfence(database_url)
        async with asyncio.timeout(30):
            assert (await candidate.leads()).epoch > first.epoch


def test_what_lasts_is_reported_with_growing_pauses() -> None:
    """At once, after 30 s, then 60 s, …, at most every 10 minutes; a new state at once."""
    reminder = Reminder(first_pause=30, longest_pause=100)
    assert [at for at in range(400) if reminder.due(at, "a")] == [0, 30, 90, 190, 290, 390]
    assert reminder.due(391, "b")
    reminder.clear()
    assert reminder.due(392, "b")


@contextmanager
def servers() -> Iterator[tuple[EmbeddedPostgres, EmbeddedPostgres, str]]:
    """A primary, a standby that follows it, and one URL that names both."""
    folder = Path(mkdtemp(prefix="agentsd-standby-"))
    folder.chmod(0o711)  # the standby reaches the primary's socket with the rights of its own account
    one, two = (EmbeddedPostgres(folder / name, settings=STANDBY) for name in ("one", "two"))
    try:
        one.start()
        one.stop()
        shutil.copytree(one.data_dir, two.data_dir)
        account = accounts.ensure_account(Path("/"))
        for path in (two.data_dir, *two.data_dir.rglob("*")):
            accounts.chown_path(path, account)
        follow(two, one)
        hosts = ",".join(quote(str(server.data_dir), safe="") for server in (one, two))
        yield one, two, f"postgresql://postgres@/agentsd?host={hosts}"
    finally:
        one.stop()
        two.stop()
        shutil.rmtree(folder, ignore_errors=True)


def follow(server: EmbeddedPostgres, primary: EmbeddedPostgres) -> None:
    """Make ``server`` a standby of ``primary`` at its next start."""
    (server.data_dir / "standby.signal").touch()
    server._settings["primary_conninfo"] = f"'host={primary.data_dir} user=postgres'"


async def reads(database: Database) -> bool:
    """Whether a read works."""
    try:
        return await read(database) is not None
    except StoreUnavailable:
        return False


async def writes(database: Database) -> bool:
    """Whether a write works, while servers come and go."""
    try:
        return await write(database)
    except StoreUnavailable:
        return False


def promote(server: EmbeddedPostgres) -> None:
    """Make the standby a primary."""
    url = f"postgresql://postgres@/agentsd?host={quote(str(server.data_dir), safe='')}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("SELECT pg_promote()")


@pytest.mark.soak
async def test_a_switch_over_of_real_servers() -> None:
    """The standby is promoted and the old primary follows it: pool, listener and leader move over."""
    with servers() as (one, two, url):
        upgrade_schema(await asyncio.to_thread(one.start))
        await asyncio.to_thread(two.start)
        database = Database(url)
        assert await write(database)
        listener = Listener(database.listener_dsn, heartbeat_seconds=0.2)
        seen: asyncio.Queue[Notification] = asyncio.Queue()
        task = asyncio.create_task(following(listener, seen))
        assert (await seen.get()).kind == "connected"
        async with bid(url) as candidate:
            assert (await candidate.leads()).epoch == 1
            await asyncio.to_thread(one.stop)
            promote(two)
            follow(one, two)
            await asyncio.to_thread(one.start)  # named first, and up, and read-only
            assert await until(lambda: writes(database))
            assert not database.read_only
            assert (await candidate.leads()).epoch == 2
            while (await seen.get()).kind != "connected":
                pass
            await write_head(database)
            assert (await seen.get()).kind == "changed"
        task.cancel()
        await asyncio.wait({task})
        await asyncio.to_thread(two.stop)
        assert await until(lambda: reads(database)), "with the standby alone, what can be read is read"
        assert not await write(database)
        assert database.read_only
        await database.aclose()


async def write_head(database: Database) -> None:
    """Announce something."""
    async with database.transaction() as connection:
        await connection.execute("SELECT pg_notify(%s, 'x')", (VERSIONS_CHANNEL,))
