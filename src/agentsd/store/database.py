"""``Database``: a bounded, lazily opened pool of connections, and transactions on it.

Every connection is in autocommit mode and every transaction is opened here by one round trip that
also sets its timeouts with SET LOCAL: nothing outlives a transaction, so a pooler in transaction
mode is fine. The BEGIN is also the test of an idle connection: one that died since is replaced
silently, and so is one whose server became read-only, as long as a new one may lead elsewhere (see
``writability``).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus

from agentsd.core.errors import ConfigError, SchemaMismatch, StoreError, StoreUnavailable
from agentsd.store import writability
from agentsd.store.errors import is_session_fault, translate_error
from agentsd.store.lenient_values import accept_any_timestamp
from agentsd.store.writability import Writability

SCHEMA_REVISION = "0013"
"""The newest migration, a constant so that checking it needs no Alembic; a test compares the two."""

CONNECT_SECONDS = 5
IDLE_SECONDS = 300.0
# Planning 100,000 changes takes a while, but a frozen process must release the lock.
IDLE_IN_TRANSACTION_SECONDS = 300
_DSN_DEFAULTS: dict[str, str | int] = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "client_encoding": "utf8",
    "application_name": "agentsd",
}


def make_dsn(url: str) -> str:
    """Return ``url`` in libpq's form, with timeouts; settings that it contains itself win.

    Takes postgresql://, postgres:// and SQLAlchemy's postgresql+psycopg://. Raises ConfigError for
    others.
    """
    scheme, separator, rest = url.partition("://")
    try:
        given = conninfo_to_dict(f"{scheme.partition('+')[0]}{separator}{rest}")
        return make_conninfo("", **{**_DSN_DEFAULTS, **given})
    except psycopg.ProgrammingError:
        raise ConfigError(
            "the database URL cannot be read",
            hint="AGENTSD_DATABASE_URL has the form postgresql://user:password@host:5432/database; "
            "write special characters in the password percent-encoded",
        ) from None


def format_place(dsn: str) -> str:
    """Return ``host:port/database`` for messages: no user, no password."""
    parts = conninfo_to_dict(dsn)
    host = parts.get("host") or parts.get("hostaddr") or "the local socket"
    return f"{host}:{parts.get('port') or 5432}/{parts.get('dbname') or parts.get('user') or ''}"


class Database:
    """Pool of connections to one Postgres database. Opens none before the first transaction."""

    def __init__(
        self,
        url: str,
        direct_url: str | None = None,
        *,
        pool_size: int = 10,
        statement_seconds: float = 60,
        lock_seconds: float = 60,
        wait_seconds: float = 30,
    ) -> None:
        """Make the pool. ``direct_url`` leads past a pooler; ``url`` then gets no prepared statements."""
        self.url = url
        self.direct_url = direct_url or url
        self.listener_dsn = make_dsn(self.direct_url)
        self._dsn = make_dsn(url)
        self.place = format_place(self._dsn)
        self._prepare_threshold = 5 if self._dsn == self.listener_dsn else None
        self._size = pool_size
        self._wait = wait_seconds  # for a connection of the pool
        self._slots = asyncio.Semaphore(pool_size)
        self._idle: deque[tuple[float, AsyncConnection]] = deque()
        self._closed = False
        self._writability = Writability(self.place)
        self._limits = (
            f"; SET LOCAL statement_timeout = {int(statement_seconds * 1000)}"
            f"; SET LOCAL lock_timeout = {int(lock_seconds * 1000)}"
            f"; SET LOCAL idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_SECONDS * 1000}"
            f"; {writability.READ_ONLY_QUERY}"
        )

    @property
    def read_only(self) -> bool:
        """Return whether the server refused writes when last asked, and does so by its settings."""
        return self._writability.read_only_since is not None

    def read_only_error(self) -> StoreError:
        """Return the error of a write that is refused because the server is read-only."""
        return translate_error(psycopg.errors.ReadOnlySqlTransaction(), self.place)

    @asynccontextmanager
    async def transaction(self, *, snapshot: bool = False) -> AsyncIterator[AsyncConnection]:
        """Yield one transaction: committed at the end, rolled back by any exception.

        READ COMMITTED, or with ``snapshot`` REPEATABLE READ and read-only. Raises StoreError and its kinds.
        """
        mode = "ISOLATION LEVEL REPEATABLE READ READ ONLY" if snapshot else "ISOLATION LEVEL READ COMMITTED"
        async with self._slot():
            try:
                connection = await self._begin(f"BEGIN {mode}{self._limits}")
                accept_any_timestamp(connection)
                try:
                    yield connection
                    await self._commit(connection)
                except psycopg.Error as error:
                    if is_session_fault(error):
                        await connection.close()
                    raise
                finally:
                    await self._give_back(connection)
            except psycopg.Error as error:
                raise translate_error(error, self.place) from None

    async def check_schema(self) -> None:
        """Raise SchemaMismatch when the database's migrations are not those of this program."""
        async with self.transaction() as connection:
            cursor = await connection.execute("SELECT to_regclass('alembic_version') IS NOT NULL")
            row = await cursor.fetchone()
            found = None
            if row is not None and row[0]:
                cursor = await connection.execute("SELECT version_num FROM alembic_version")
                row = await cursor.fetchone()
                found = None if row is None else str(row[0])
        require_revision(found, self.place)

    async def aclose(self) -> None:
        """Close the idle connections now and the others when their transactions end."""
        self._closed = True
        while self._idle:
            await self._idle.pop()[1].close()

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        if self._closed:
            raise StoreUnavailable("the database was closed", hint="this process is shutting down")
        try:
            async with asyncio.timeout(self._wait):
                await self._slots.acquire()
        except TimeoutError:
            raise StoreUnavailable(
                f"all {self._size} connections to Postgres are busy", hint="look for slow statements"
            ) from None
        try:
            yield
        finally:
            self._slots.release()

    async def _begin(self, statement: str) -> AsyncConnection:
        """Return a connection with an open transaction: the idle one used last, or a new one."""
        while self._idle:
            since, connection = self._idle.pop()
            if monotonic() - since < IDLE_SECONDS:
                with suppress(psycopg.Error, TimeoutError):
                    read_only = await self._open(connection, statement)
                    if not (read_only and self._writability.may_reconnect()):
                        self._writability.note(read_only=read_only, fresh=False)
                        return connection
            await connection.close()
        connection = await writability.open_session(self._dsn, prepare_threshold=self._prepare_threshold)
        try:
            read_only = await self._open(connection, statement)
        except TimeoutError:
            raise StoreUnavailable(
                f"Postgres at {self.place} accepts connections and does not answer", hint="look at its load"
            ) from None
        self._writability.note(read_only=read_only, fresh=True)
        return connection

    async def _open(self, connection: AsyncConnection, statement: str) -> bool:
        """Begin a transaction. Return whether the server is read-only."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                cursor = await connection.execute(statement.encode())
                return bool(await writability.fetch_last_value(cursor))
        except BaseException:
            await connection.close()
            raise

    async def _commit(self, connection: AsyncConnection) -> None:
        if connection.info.transaction_status == TransactionStatus.INERROR:
            # COMMIT would roll back silently: some code swallowed the error of a statement.
            raise StoreError(
                "a statement failed, so its transaction was not committed", hint="report this bug"
            )
        await connection.commit()

    async def _give_back(self, connection: AsyncConnection) -> None:
        try:
            with suppress(psycopg.Error, TimeoutError):
                async with asyncio.timeout(CONNECT_SECONDS):
                    await connection.rollback()
        finally:
            # Not idle after a rollback: broken, cut off or cancelled once more.
            if connection.info.transaction_status == TransactionStatus.IDLE and not self._closed:
                self._idle.append((monotonic(), connection))
            else:
                await connection.close()


def require_revision(found: str | None, place: str) -> None:
    """Raise SchemaMismatch unless ``found`` (None: no tables) is this program's revision."""
    if found == SCHEMA_REVISION:
        return
    if found is None:
        raise SchemaMismatch(f"the database at {place} has no tables of agentsd", hint="run: agentsd migrate")
    if found < SCHEMA_REVISION:
        raise SchemaMismatch(
            f"the database at {place} is older than this program (schema {found}, needed {SCHEMA_REVISION})",
            hint="run: agentsd migrate",
        )
    raise SchemaMismatch(
        f"the database at {place} is newer than this program (schema {found}, known {SCHEMA_REVISION})",
        hint="upgrade agentsd here; a newer one migrated this database",
    )
