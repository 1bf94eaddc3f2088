"""Postgres for the whole suite: one server per worker, one migrated template, one cloned database per test.

AGENTSD_TEST_DATABASE_URL names a server to use instead of the embedded one; its user must be allowed to
create databases.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest
from hypothesis import settings as hypothesis_settings
from psycopg.conninfo import conninfo_to_dict

from agentsd.store.database import Database
from agentsd.store.embedded.server import EmbeddedPostgres
from agentsd.store.migrations import upgrade_schema

hypothesis_settings.register_profile("suite", deadline=None, derandomize=True)  # never red by chance
hypothesis_settings.register_profile("search", deadline=None)  # pytest --hypothesis-profile=search
hypothesis_settings.load_profile("suite")

FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}


def url_with(url: str, database: str) -> str:
    """``url`` with another database."""
    parts = {name: quote(str(value), safe="") for name, value in conninfo_to_dict(url).items()}
    parts.pop("dbname", None)
    credentials = ":".join(parts.pop(name) for name in ("user", "password") if name in parts)
    rest = "&".join(f"{name}={value}" for name, value in parts.items())
    return f"postgresql://{credentials}@/{database}?{rest}"


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


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """A fresh database without tables."""
    yield from _fresh(postgres_url, "template1")


@pytest.fixture
def database_url(postgres_url: str, template: str) -> Iterator[str]:
    """A fresh migrated database."""
    yield from _fresh(postgres_url, template)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """``Database`` on a fresh migrated database."""
    opened = Database(database_url)
    yield opened
    await opened.aclose()


def _fresh(postgres_url: str, template: str) -> Iterator[str]:
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        yield url_with(postgres_url, name)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
