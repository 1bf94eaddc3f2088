"""Migrations by Alembic, run from Python: upgrade, downgrade and the current revision.

The scripts are at the top of a clone (``alembic/``) and inside an installed wheel
(``agentsd/_alembic/``); the grants are in ``deploy/grants.sql`` and ``agentsd/_grants.sql``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from agentsd.core.errors import ConfigError, SchemaMismatch
from agentsd.store.database import format_place, make_dsn
from agentsd.store.errors import translate_error

_MIGRATION_LOCK = 0x6167656E74736402  # two processes that start together migrate one after the other


def upgrade_schema(url: str, revision: str = "head") -> None:
    """Bring the database to ``revision`` in one transaction. Blocking; SchemaMismatch if it is newer."""
    with _open_connection(url) as connection:
        _refuse_newer_schema(connection, url)
        command.upgrade(_make_config(connection), revision)


def downgrade_schema(url: str, revision: str) -> None:
    """Take the database back to ``revision`` (``base``: no tables). Data of dropped tables is lost."""
    with _open_connection(url) as connection:
        _refuse_newer_schema(connection, url)
        command.downgrade(_make_config(connection), revision)


def read_revision(url: str) -> str | None:
    """Return the database's revision; None: no tables of agentsd. Blocking."""
    with _open_connection(url) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def grant_privileges(url: str) -> None:
    """Grant the two roles their privileges in the present schema, by ``locate_grants()``. Blocking."""
    with _open_connection(url) as connection:
        driver: Any = connection.connection.driver_connection
        driver.execute(locate_grants().read_bytes())


def find_newest_revision() -> str:
    """Return the newest revision among the scripts."""
    revision = ScriptDirectory.from_config(_make_config()).get_current_head()
    return revision or ""


def locate_scripts() -> Path:
    """Return the folder of the migrations."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_alembic"
    return installed if installed.is_dir() else package.parents[1] / "alembic"


def locate_grants() -> Path:
    """Return the file with the SQL of the least privileges."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_grants.sql"
    return installed if installed.is_file() else package.parents[1] / "deploy/grants.sql"


def make_engine(url: str) -> Engine:
    """Return an engine that opens a connection when asked and keeps none."""
    dsn = make_dsn(url)
    return create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn), poolclass=NullPool)


def _make_config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(locate_scripts()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@contextmanager
def _open_connection(url: str) -> Iterator[Connection]:
    try:
        with make_engine(url).begin() as connection:
            connection.execute(text("SET LOCAL lock_timeout = '30s'"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            yield connection
    except CommandError:
        raise ConfigError(
            "there is no such migration",
            hint=f"the scripts are in {locate_scripts()}; the newest is {find_newest_revision()}",
        ) from None
    except DBAPIError as error:
        raise translate_error(_unwrap_error(error), format_place(make_dsn(url))) from None


def _unwrap_error(error: DBAPIError) -> psycopg.Error:
    original: Any = error.orig
    return original if isinstance(original, psycopg.Error) else psycopg.OperationalError()


def _refuse_newer_schema(connection: Connection, url: str) -> None:
    """Refuse a database that a newer agentsd migrated: its scripts are not here."""
    found = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(_make_config()).walk_revisions()}
    if found is not None and found not in known:
        raise SchemaMismatch(
            f"the database at {format_place(make_dsn(url))} is newer than this program "
            f"(schema {found}, known {find_newest_revision()})",
            hint="upgrade agentsd here; a newer one migrated this database",
        )
