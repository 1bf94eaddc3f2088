"""Audit entries of writes, done or refused. Recording one never fails a write."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from agentsd.core.names import derive_owner, escape_unprintable, slug_from_url
from agentsd.store.database import Database
from agentsd.store.queries.audit import AuditEntry, record_audit_entry

ActionOutcome = Literal["done", "refused", "failed"]

RECORD_TIMEOUT_SECONDS = 5.0
"""Limit for recording an audit entry: the client waits for the reply meanwhile."""

DETAIL_FIELDS = ("outcome", "status", "code", "path", "from_version", "to_version", "commit")
"""Details of an entry beside actor, action and target; absent where they do not apply."""

_log = logging.getLogger(__name__)


async def record_action(
    database: Database,
    actor: str,
    action: str,
    target: str,
    *,
    outcome: ActionOutcome,
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
    target = slug_from_url(target)  # in the form of a path, if it was not found
    given = (outcome, status, code, path and escape_unprintable(path), from_version, to_version, commit)
    detail = {name: value for name, value in zip(DETAIL_FIELDS, given, strict=True) if value is not None}
    reader = get_reading_owner(actor, target, outcome) if owner is None else owner
    try:
        async with asyncio.timeout(RECORD_TIMEOUT_SECONDS), database.transaction() as connection:
            await record_audit_entry(
                connection, actor=actor, action=action, target=target, owner=reader, detail=detail
            )
    except Exception as error:  # the write's outcome does not depend on its record
        _log.error(
            "an audit entry could not be recorded",
            extra={
                "error": type(error).__name__,
                "actor": escape_unprintable(actor),
                "action": action,
                "target": escape_unprintable(target),
                "outcome": outcome,
                "status": status,
            },
        )
        return False
    return True


def get_reading_owner(actor: str, target: str, outcome: ActionOutcome) -> str:
    """Return the owner whose users may read the entry; "" means admins only.

    It is the target's owner, except for what was refused to another owner's user: otherwise anybody who
    guesses names would write into others' records, and disclose to them that it exists.
    """
    owner = derive_owner(target) if target else ""
    return owner if outcome == "done" or derive_owner(f"{actor}/") == owner else ""


class AuditEntryJson(TypedDict):
    """Successful, refused or failed write."""

    id: int
    at: datetime
    actor: Annotated[str, Field(description="`acme/ci` for a token, `cli:alice` for a command.")]
    action: Annotated[str, Field(description="`update`, `token-revoke` and so on.")]
    target: Annotated[str, Field(description="A slug; for a token `token:acme/ci`.")]
    user: Annotated[str | None, Field(description="The owner whose users may read it; null: admins only.")]
    outcome: Annotated[str | None, Field(description="`done`, `refused` or `failed`.")]
    status: Annotated[int | None, Field(description="Status of the response; null for a command.")]
    code: Annotated[str | None, Field(description="Code of the problem.")]
    path: Annotated[str | None, Field(description="The file that was written.")]
    from_version: int | None
    to_version: int | None
    commit: str | None


def audit_entry_to_json(entry: AuditEntry) -> AuditEntryJson:
    """Return an audit entry as the API and ``agentsd history --format json`` show it."""
    detail = entry.detail.get
    return {
        "id": entry.id,
        "at": entry.at,
        "actor": entry.actor,
        "action": entry.action,
        "target": entry.target,
        "user": entry.owner or None,
        "outcome": detail("outcome"),
        "status": detail("status"),
        "code": detail("code"),
        "path": detail("path"),
        "from_version": detail("from_version"),
        "to_version": detail("to_version"),
        "commit": detail("commit"),
    }
