"""The databases that tests share: nothing of one test is left for the next one."""

from __future__ import annotations

import psycopg
import pytest

from tests.databases import DatabasePool

READ = "SELECT (SELECT count(*) FROM audit), (SELECT array_agg(version) FROM versions)"


def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    """Run a statement and return its rows."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def pool(postgres_url: str, template: str) -> DatabasePool:
    """One of its own."""
    return DatabasePool(postgres_url, template)


def test_rows_are_gone_and_connections_ended(pool: DatabasePool) -> None:
    """The same database again, as a new one is; what a process still writes after its test is gone, too."""
    with pool.lend() as first:
        late = psycopg.connect(first, autocommit=True)
        execute(first, "DELETE FROM versions")
    late.execute("INSERT INTO versions (version, stamp) VALUES (7, gen_random_uuid())")
    with pool.lend() as second:
        assert second == first
        assert execute(second, READ) == [(0, [0])]
        with pytest.raises(psycopg.OperationalError):
            late.execute("SELECT 1")
    late.close()
    pool.close()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE more (x int)",
        "DROP INDEX uq_agents_slug",
        "ALTER TABLE agents DISABLE TRIGGER ALL",
        "ALTER DATABASE {name} SET default_transaction_read_only = on",
        "ALTER DATABASE {name} ALLOW_CONNECTIONS false",
        "INSERT INTO versions (version, stamp) SELECT n, gen_random_uuid() FROM generate_series(1, 30000) n",
    ],
)
def test_what_is_more_than_rows_is_dropped(pool: DatabasePool, postgres_url: str, statement: str) -> None:
    """A changed schema, a setting, and tables that have become large."""
    with pool.lend() as first:
        name = first.partition("@/")[2].partition("?")[0]
        execute(postgres_url if "DATABASE" in statement else first, statement.format(name=name))
    with pool.lend() as second:
        assert second != first
        assert execute(second, READ) == [(0, [0])]
    pool.close()
