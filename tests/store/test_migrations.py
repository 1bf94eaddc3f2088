"""The migrations, on a real Postgres, in both directions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from agentsd.core.errors import ConfigError, SchemaMismatch, StoreUnavailable
from agentsd.store.database import SCHEMA_REVISION, Database
from agentsd.store.migrations import (
    downgrade_schema,
    find_newest_revision,
    make_engine,
    read_revision,
    upgrade_schema,
)
from agentsd.store.tables import is_own_object, metadata

A, B = "a" * 64, "b" * 64


def objects(url: str) -> set[str]:
    """Every table and function that is neither Postgres' own nor an extension's (which stay)."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            """SELECT relname::text FROM pg_class
               WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
               UNION SELECT proname::text FROM pg_proc p WHERE pronamespace = 'public'::regnamespace
               AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')"""
        ).fetchall()
    return {row[0] for row in rows}


def test_up_down_and_up_again(empty_database_url: str) -> None:
    """Going down leaves nothing but Alembic's own table; going up again restores everything."""
    assert read_revision(empty_database_url) is None
    upgrade_schema(empty_database_url)
    after = objects(empty_database_url)
    assert after >= {*metadata.tables, "agent_hash"}
    downgrade_schema(empty_database_url, "base")
    assert objects(empty_database_url) == {"alembic_version"}
    upgrade_schema(empty_database_url)
    assert objects(empty_database_url) == after
    upgrade_schema(empty_database_url)
    assert read_revision(empty_database_url) == SCHEMA_REVISION


def test_autogenerate_is_empty(database_url: str) -> None:
    """The tables in Python and the tables that the migrations make are the same."""
    with make_engine(database_url).connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_server_default": True, "include_name": is_own_object}
        )
        assert compare_metadata(context, metadata) == []


def test_the_revision_that_the_code_needs_is_the_newest_script() -> None:
    """``SCHEMA_REVISION`` is written by hand, so that checking it needs no Alembic."""
    assert find_newest_revision() == SCHEMA_REVISION


async def test_schema_check_names_what_is_wrong(empty_database_url: str) -> None:
    """No tables, an older schema, a newer one: each says so and what to do."""
    database = Database(empty_database_url)
    with pytest.raises(SchemaMismatch, match="no tables") as missing:
        await database.check_schema()
    assert "agentsd migrate" in missing.value.hint
    upgrade_schema(empty_database_url)
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
        upgrade_schema(database_url)
    with pytest.raises(SchemaMismatch, match="newer"):
        downgrade_schema(database_url, "base")
    assert "agents" in objects(database_url)


def test_alembics_own_command_line_works(empty_database_url: str) -> None:
    """With alembic.ini, and the URL from the environment: for whoever writes the next migration."""
    top = Path(__file__).parents[2]
    environment = {**os.environ, "AGENTSD_DATABASE_URL": empty_database_url}
    environment.pop("AGENTSD_DATABASE_DIRECT_URL", None)
    for words in (["upgrade", "head"], ["check"]):
        done = subprocess.run(
            [sys.executable, "-m", "alembic", *words],
            cwd=top,
            env=environment,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
    assert read_revision(empty_database_url) == SCHEMA_REVISION


def test_what_goes_wrong_is_told_in_our_words(database_url: str) -> None:
    """No server, no such migration: the same errors as everywhere, without a password."""
    with pytest.raises(StoreUnavailable) as down:
        upgrade_schema("postgresql://x:canary@127.0.0.1:1/db")
    assert "canary" not in str(down.value)
    with pytest.raises(ConfigError, match="no such migration"):
        upgrade_schema(database_url, "4711")


def test_two_that_start_together_migrate_one_after_the_other(empty_database_url: str) -> None:
    """Both succeed; the second finds everything done."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(upgrade_schema, [empty_database_url] * 4))
    assert read_revision(empty_database_url) == SCHEMA_REVISION


def test_tokens_get_their_first_owner(database_url: str) -> None:
    """Of one that several list: the top-level file, else the oldest row; what is no list is passed over."""
    downgrade_schema(database_url, "0008")
    rows = (
        ("zeta", 1, [A, B], "zeta/_user.yaml"),
        ("acme", 2, [A, B], "acme/_user.yaml"),
        ("default", 3, [B], "_user.yaml"),
    )
    with psycopg.connect(database_url) as raw:
        for name, version, hashes, path in rows:
            tokens = json.dumps([{"name": "t", "sha256": one} for one in hashes])
            raw.execute(
                """INSERT INTO users (id, username, tokens, path, source, version)
                   VALUES (gen_random_uuid(), %s, %s, %s, 'main', %s)""",
                (name, tokens, path, version),
            )
        raw.execute(
            """INSERT INTO users (id, username, tokens, source, version)
               VALUES (gen_random_uuid(), 'odd', '{"sha256": 1}', 'main', 4)"""
        )
    upgrade_schema(database_url)
    with psycopg.connect(database_url) as raw:
        found = dict(raw.execute("SELECT sha256, owner FROM token_hashes").fetchall())
    assert found == {A: "zeta", B: "default"}
