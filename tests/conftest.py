"""Postgres for the whole suite: one server per worker, one migrated template, copies of it for the tests.

AGENTSD_TEST_DATABASE_URL names a server to use instead of the embedded one; its user must be allowed to
create databases.
"""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import mkdtemp
from uuid import uuid4

import psycopg
import pytest
from hypothesis import settings as hypothesis_settings

from agentsd.store.database import Database
from agentsd.store.embedded.server import EmbeddedPostgres
from agentsd.store.migrations import upgrade_schema
from tests.databases import FAST, DatabasePool, create_database, drop_database, url_with

hypothesis_settings.register_profile("suite", deadline=None, derandomize=True)  # never red by chance
hypothesis_settings.register_profile("search", deadline=None)  # pytest --hypothesis-profile=search
hypothesis_settings.load_profile("suite")


def pytest_collection_finish() -> None:
    """Leave what collecting the tests has loaded out of every search for garbage: a million objects."""
    gc.freeze()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A server: its URL leads to some database on it."""
    given = os.environ.get("AGENTSD_TEST_DATABASE_URL")
    if given:
        yield given
        return
    folder = Path(mkdtemp(prefix="agentsd-pg-"))
    server = EmbeddedPostgres(folder / "data", settings=FAST)
    try:
        yield server.start()
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def template(postgres_url: str) -> Iterator[str]:
    """The name of a migrated database that is cloned for each test."""
    name = f"template_{uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        upgrade_schema(url_with(postgres_url, name))
        yield name
        admin.execute(f"DROP DATABASE {name}")


@pytest.fixture(scope="session")
def databases(postgres_url: str, template: str) -> Iterator[DatabasePool]:
    """Migrated databases."""
    pool = DatabasePool(postgres_url, template)
    yield pool
    pool.close()


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """A fresh database without tables."""
    name = create_database(postgres_url, "template1")
    yield url_with(postgres_url, name)
    drop_database(postgres_url, name)


@pytest.fixture
def database_url(databases: DatabasePool) -> Iterator[str]:
    """A migrated database without rows."""
    with databases.lend() as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """``Database`` on a migrated database without rows."""
    opened = Database(database_url)
    yield opened
    await opened.aclose()
