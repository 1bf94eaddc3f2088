"""The migrations, on a real Postgres, in both directions."""

from __future__ import annotations

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from agentsd.core.errors import SchemaMismatch
from agentsd.store.database import SCHEMA_REVISION, Database
from agentsd.store.migrations import current, downgrade, engine_for, newest, upgrade
from agentsd.store.tables import metadata


def objects(url: str) -> set[str]:
    """Every table and function that is not Postgres' own."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            """SELECT relname::text FROM pg_class
               WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
               UNION SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace"""
        ).fetchall()
    return {row[0] for row in rows}


def test_up_down_and_up_again(empty_database_url: str) -> None:
    """Going down leaves nothing but Alembic's own table; going up again restores everything."""
    assert current(empty_database_url) is None
    upgrade(empty_database_url)
    after = objects(empty_database_url)
    assert after >= {*metadata.tables, "agent_hash"}
    downgrade(empty_database_url, "base")
    assert objects(empty_database_url) == {"alembic_version"}
    upgrade(empty_database_url)
    assert objects(empty_database_url) == after
    upgrade(empty_database_url)
    assert current(empty_database_url) == SCHEMA_REVISION


def test_autogenerate_is_empty(database_url: str) -> None:
    """The tables in Python and the tables that the migrations make are the same."""
    with engine_for(database_url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_the_revision_that_the_code_needs_is_the_newest_script() -> None:
    """``SCHEMA_REVISION`` is written by hand, so that checking it needs no Alembic."""
    assert newest() == SCHEMA_REVISION


async def test_schema_check_names_what_is_wrong(empty_database_url: str) -> None:
    """No tables, an older schema, a newer one: each says so and what to do."""
    database = Database(empty_database_url)
    with pytest.raises(SchemaMismatch, match="no tables") as missing:
        await database.check_schema()
    assert "agentsd migrate" in missing.value.hint
    upgrade(empty_database_url)
    await database.check_schema()
    for found, words in (("0000", "older"), ("9999", "newer")):
        with psycopg.connect(empty_database_url) as connection:
            connection.execute("UPDATE alembic_version SET version_num = %s", (found,))
        with pytest.raises(SchemaMismatch, match=words):
            await database.check_schema()
    await database.aclose()


def test_a_newer_database_is_left_alone(database_url: str) -> None:
    """An older program neither upgrades nor downgrades what a newer one migrated."""
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaMismatch, match="newer"):
        upgrade(database_url)
    with pytest.raises(SchemaMismatch, match="newer"):
        downgrade(database_url, "base")
    assert "agents" in objects(database_url)
