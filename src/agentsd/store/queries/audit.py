"""Audit: who did what to which agent. Never a secret, a prompt or a transcript.

The table prunes itself as it is written to (every thousandth entry runs the SQL function
``audit_prune``), so that a role that may add entries need not be allowed to delete any.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from psycopg import AsyncConnection

from agentsd.core.names import SLUG_MAX, derive_owner, escape_unprintable
from agentsd.store.lenient_values import read_mapping

KEPT_DAYS = 400
"""Older entries are deleted."""
KEPT_ENTRIES = 100_000
"""Entries of successful actions, and as many of refused or failed ones, which never displace them."""

TEXT_MAX = 200
"""Characters of an actor or target that are kept: a refused write may name anything."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Action of an actor, carried out or refused."""

    id: int  # grows with time
    at: datetime
    actor: str  # "acme/ci", or "cli:alice" for a command
    action: str  # "create", "update", "token-revoke"
    target: str  # a slug; of tokens "token:acme/ci"
    owner: str  # whose users may read it; "": admins only
    detail: Mapping[str, Any]  # outcome, status, code, path, from_version, to_version, commit


async def record_audit_entry(
    connection: AsyncConnection,
    *,
    actor: str,
    action: str,
    target: str = "",
    owner: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Record one entry: ``record_audit_entry(conn, actor="acme/ci", action="select", target="a/b")``.

    ``owner``: whose users may read it; None is the target's, an empty string is nobody but admins.
    """
    if owner is None:
        owner = derive_owner(target) if target else ""
    await connection.execute(
        "INSERT INTO audit (actor, action, target, owner, detail) VALUES (%s, %s, %s, %s, %s)",
        (
            _shorten_text(actor),
            action,
            _shorten_text(target),
            owner[:SLUG_MAX],
            orjson.dumps(dict(detail or {})).decode(),
        ),
    )


async def load_audit_entries(
    connection: AsyncConnection,
    *,
    limit: int,
    before: int | None = None,
    owner: str | None = None,
    target: str | Collection[str] | None = None,
) -> list[AuditEntry]:
    """Load entries, newest first. ``before`` is an entry's id, for the next page.

    ``owner`` and ``target`` filter.
    """
    targets = [target] if isinstance(target, str) else target
    cursor = await connection.execute(
        """SELECT id, at, actor, action, target, owner, detail FROM audit
           WHERE (%(before)s::bigint IS NULL OR id < %(before)s)
             AND (%(owner)s::text IS NULL OR owner = %(owner)s)
             AND (%(targets)s::text[] IS NULL OR target = ANY(%(targets)s::text[]))
           ORDER BY id DESC LIMIT %(limit)s""",
        {
            "before": before,
            "owner": owner,
            "targets": None if targets is None else list(targets),
            "limit": limit,
        },
    )
    return [_make_entry(row) for row in await cursor.fetchall()]


async def load_version_audit_entries(
    connection: AsyncConnection, versions: Collection[int], *, since: datetime
) -> list[AuditEntry]:
    """Load the entries that made these versions, newest first; none is older than ``since``."""
    cursor = await connection.execute(
        """SELECT id, at, actor, action, target, owner, detail FROM audit
           WHERE at >= %s AND detail->>'to_version' = ANY(%s::text[]) ORDER BY id DESC""",
        (since, [str(version) for version in versions]),
    )
    return [_make_entry(row) for row in await cursor.fetchall()]


def _make_entry(row: tuple[Any, ...]) -> AuditEntry:
    columns = (*row[:6], read_mapping(row[6]))
    return AuditEntry(*columns)


def _shorten_text(text: str) -> str:
    return escape_unprintable(text)[:TEXT_MAX]
