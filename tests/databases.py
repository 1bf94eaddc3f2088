"""Databases for tests: migrated, without rows, and used again, since making one costs 0.1 s of computing."""

from __future__ import annotations

import atexit
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import quote
from uuid import uuid4

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Composed, Identifier, Literal

from agentsd.store.embedded.server import EmbeddedPostgres
from agentsd.store.migrations import upgrade_schema

FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}
"""Settings of a server whose data nobody misses after a power cut."""

CATALOGS = (
    *("pg_attrdef", "pg_attribute", "pg_class", "pg_constraint", "pg_default_acl", "pg_event_trigger"),
    *("pg_extension", "pg_index", "pg_namespace", "pg_policy", "pg_proc", "pg_publication", "pg_rewrite"),
    *("pg_sequence", "pg_statistic", "pg_trigger", "pg_type"),
)
"""What describes a schema: a test that changed a row of one of them keeps its database to itself."""
BYTES_MAX = 1 << 20
"""A database with larger tables is dropped: what was deleted stays in their files."""
END_TIMEOUT_MS = 60_000


def url_with(url: str, database: str) -> str:
    """``url`` with another database."""
    parts = {name: quote(str(value), safe="") for name, value in conninfo_to_dict(url).items()}
    parts.pop("dbname", None)
    credentials = ":".join(parts.pop(name) for name in ("user", "password") if name in parts)
    rest = "&".join(f"{name}={value}" for name, value in parts.items())
    return f"postgresql://{credentials}@/{database}?{rest}"


def create_database(url: str, template: str) -> str:
    """Create a database on the server at ``url``; return its name."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY".encode())
    return name


def drop_database(url: str, name: str) -> None:
    """Drop a database with everything that is connected to it."""
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def copy_data_folder(target: Path) -> None:
    """Fill ``target`` with the data of an embedded server that was started, migrated and stopped.

    A server that starts on it need not make and migrate a database, which costs a second of computing.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", _make_data_folder(), target], check=True)  # also the account that it is of


@cache
def _make_data_folder() -> Path:
    folder = Path(mkdtemp(prefix="agentsd-pg-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    server = EmbeddedPostgres(folder / "data", settings=FAST)
    try:
        upgrade_schema(server.start())
    finally:
        server.stop()
    return server.data_dir


class DatabasePool:
    """Copies of a migrated template that have its rows and no others."""

    def __init__(self, url: str, template: str) -> None:
        self._url, self._template = url, template
        self._free: list[PooledDatabase] = []

    @contextmanager
    def lend(self) -> Iterator[str]:
        """Give the URL of a database for the time of the block."""
        database = self._take()
        try:
            yield database.url
        finally:
            self._free.append(database)

    def _take(self) -> PooledDatabase:
        """Return a clean database.

        It is cleaned now, not after the test before: processes of that one may still have written to it.
        """
        while self._free:
            database = self._free.pop()
            if database.clean():
                return database
            database.drop()
        return PooledDatabase(self._url, self._template)

    def close(self) -> None:
        """Drop all databases."""
        while self._free:
            self._free.pop().drop()


class PooledDatabase:
    """A database, with a connection that stays: a new one costs more than all that is asked of it."""

    def __init__(self, server_url: str, template: str) -> None:
        self._server_url = server_url
        self._name = create_database(server_url, template)
        self.url = url_with(server_url, self._name)
        self._connection = self._connect()
        self._since = str(_read(self._connection, _NOW)[0])  # a transaction
        self._schema = self._read_schema()
        self._reset = _write_reset(self._connection)

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(self.url, autocommit=True)

    def clean(self) -> bool:
        """Remove what a test left; False if it left more than rows."""
        try:
            try:
                self._connection.execute(_END_OTHERS, (END_TIMEOUT_MS,))
            except psycopg.OperationalError:  # the test ended this connection, too
                self._connection.close()
                self._connection = self._connect()
                self._connection.execute(_END_OTHERS, (END_TIMEOUT_MS,))
            if self._read_schema() != self._schema:
                return False
            self._connection.execute(self._reset)
        except psycopg.OperationalError:  # the test lets nobody in
            return False
        return True

    def _read_schema(self) -> Sequence[object]:
        return _read(self._connection, _SCHEMA, since=self._since, limit=BYTES_MAX)

    def drop(self) -> None:
        """Drop it."""
        self._connection.close()
        drop_database(self._server_url, self._name)


_END_OTHERS = """
SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_NOW = SQL("SELECT pg_current_xact_id()::text").format()
_ROWS = SQL("(SELECT (count(*), count(*) FILTER (WHERE age(xmin) < age(%(since)s::xid)))::text FROM {})")
_SCHEMA = SQL(
    """
    SELECT xmin::text, (SELECT count(*) FROM pg_db_role_setting WHERE setdatabase = pg_database.oid),
    (SELECT sum(pg_relation_size(oid)) > %(limit)s FROM pg_class WHERE relkind = 'r' AND oid > 16383), {rows}
    FROM pg_database WHERE datname = current_database()
    """
).format(rows=SQL(", ").join(_ROWS.format(Identifier(name)) for name in CATALOGS))
"""Whether the tables are large, and of each catalogue: how many rows, and how many since a transaction."""


def _read(connection: psycopg.Connection, query: Composed, **values: object) -> Sequence[object]:
    row = connection.execute(query, values).fetchone()
    assert row is not None
    return row


def _write_reset(connection: psycopg.Connection) -> Composed:
    """Return the statements that make the rows those of a database that was just created."""
    tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    sequences = connection.execute(
        "SELECT sequencename, start_value FROM pg_sequences WHERE schemaname = 'public'"
    ).fetchall()
    # No triggers, and in any order.
    parts: list[Composed | SQL] = [SQL("SET LOCAL session_replication_role = replica")]
    for name, start in sequences:
        parts.append(SQL("SELECT setval({}, {}, false)").format(Literal(name), Literal(start)))
    for (name,) in tables:
        table = Identifier(name)
        parts.append(SQL("DELETE FROM {}").format(table))
        (rows,) = _read(connection, SQL("SELECT json_agg(t)::text FROM {} t").format(table))
        if rows:
            copied = SQL("INSERT INTO {0} SELECT * FROM json_populate_recordset(NULL::{0}, {1})")
            parts.append(copied.format(table, Literal(rows)))
    return SQL("; ").join([SQL("BEGIN"), *parts, SQL("COMMIT")])
