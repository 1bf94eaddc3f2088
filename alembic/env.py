"""Runs the migrations: on the connection that agentsd hands over, or on one made from the environment."""

from __future__ import annotations

import os

from alembic import context
from sqlalchemy import Connection

from agentsd.store.migrations import make_engine
from agentsd.store.tables import is_own_object, metadata


def migrate(connection: Connection) -> None:
    """Everything in one transaction: a failed migration leaves nothing behind."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_server_default=True,
        include_name=is_own_object,
    )
    with context.begin_transaction():
        context.run_migrations()


def url_from_environment() -> str:
    """The direct URL where there is one: a pooler in transaction mode is no place for migrations."""
    url = os.environ.get("AGENTSD_DATABASE_DIRECT_URL") or os.environ.get("AGENTSD_DATABASE_URL")
    if not url:
        raise SystemExit("set AGENTSD_DATABASE_URL, for example postgresql://user:password@host/agentsd")
    return url


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    with make_engine(url_from_environment()).connect() as own:
        migrate(own)
        own.commit()
