"""Audit entries of writes, done or refused. Recording one never fails a write."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Literal

from agentsd.core.names import from_url, owner_of, printable
from agentsd.store.database import Database
from agentsd.store.queries.audit import Deed, record

Outcome = Literal["done", "refused", "failed"]

PATIENCE = 5.0
"""Seconds that a deed may take to be kept: whoever did it waits for the reply."""

DETAILS = ("outcome", "status", "code", "path", "from_version", "to_version", "commit")
"""What is told of a deed beside who, what and whom; absent where it has no meaning."""

_log = logging.getLogger(__name__)


async def record_deed(
    database: Database,
    actor: str,
    action: str,
    target: str,
    *,
    outcome: Outcome,
    status: int | None,
    code: str | None = None,
    path: str | None = None,
    from_version: int | None = None,
    to_version: int | None = None,
    commit: str | None = None,
    owner: str | None = None,
) -> bool:
    """Record one audit entry; return False where it could not be kept, which is logged and never raised.

    ``actor`` is ``Principal.actor`` ("acme/ci"), ``target`` a slug, ``status`` and ``code`` those of
    the reply (None: a command did it). ``owner``: whose users may read it, if not the target's.
    """
    target = from_url(target)  # as it stands in a path, if it was found nowhere
    given = (outcome, status, code, path and printable(path), from_version, to_version, commit)
    detail = {name: value for name, value in zip(DETAILS, given, strict=True) if value is not None}
    reader = readers_of(actor, target, outcome) if owner is None else owner
    try:
        async with asyncio.timeout(PATIENCE), database.transaction() as connection:
            await record(connection, actor=actor, action=action, target=target, owner=reader, detail=detail)
    except Exception as error:  # the write is done, or refused, whatever becomes of its record
        _log.error(
            "a deed could not be kept in the audit",
            extra={
                "error": type(error).__name__,
                "actor": printable(actor),
                "action": action,
                "target": printable(target),
                "outcome": outcome,
                "status": status,
            },
        )
        return False
    return True


def readers_of(actor: str, target: str, outcome: Outcome) -> str:
    """Return the owner whose users may read the entry; "" means admins only.

    It is the target's owner, except for what was refused to another owner's user: otherwise anybody who
    guesses names would write into others' records, and disclose to them that it exists.
    """
    owner = owner_of(target) if target else ""
    return owner if outcome == "done" or owner_of(f"{actor}/") == owner else ""


def deed_view(deed: Deed) -> dict[str, Any]:
    """Return an audit entry as the API and ``agentsd history --format json`` show it."""
    told = {
        "id": deed.id,
        "at": deed.at,
        "actor": deed.actor,
        "action": deed.action,
        "target": deed.target,
        "user": deed.owner or None,
    }
    return told | {name: deed.detail.get(name) for name in DETAILS}
