"""Writing of a plan: set-based, in the one order that the unique indexes allow.

Unique indexes are checked row by row, so two agents that swap a slug or a default would collide
half-way. Hence: tombstone → clear every moving slug and default → upsert. Rows travel as binary
arrays (``%b`` and ``unnest``): the same path for one agent and for ten thousand, and no temporary
table, which would cost a single change more than the change itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from agentsd.core.names import DEFAULT_OWNER
from agentsd.core.plan.plan import Change, Plan
from agentsd.store.queries.agent_rows import (
    COLUMNS,
    make_row,
    require_manifest,
    restore_from_document,
    split_batches,
    transpose_rows,
)
from agentsd.store.queries.users import apply_users, store_documents
from agentsd.store.queries.versions import Head, insert_version, notify_listeners

_ReadChange = tuple[Change, Mapping[str, Any], bytes]
"""A change, its manifest's value and its manifest's bytes."""


@dataclass(frozen=True, slots=True)
class ApplyStamp:
    """Data that an apply leaves in every row beside the manifest itself."""

    run_id: UUID
    commit: str | None  # of the tree that the files came from
    checked: bytes  # digest of the schema and the trust settings that the manifests were checked against
    uncommitted: frozenset[UUID] = frozenset()  # agents with a file that is not as ``commit`` has it


async def apply_plan(connection: AsyncConnection, plan: Plan, *, stamp: ApplyStamp) -> Head:
    """Write ``plan`` and announce it; needs ``lock_applies``, in the transaction that loaded the store.

    Nothing is visible before the transaction commits. Raises StoreRefused where a stored document that
    a heal needs is missing, and ValueError for an empty plan: it must not spend a version.
    """
    if plan.empty:
        raise ValueError("an empty plan is not applied")
    deleted = [change.id for change in plan.changes if change.operation == "delete"]
    read = await _attach_documents(
        connection, [change for change in plan.changes if change.operation != "delete"]
    )
    written = [change for change, _, _ in read]
    rows = await _make_rows(connection, read, plan.source, stamp.checked)
    head = await insert_version(connection, plan.source, stamp.commit, stamp.run_id)
    await apply_users(
        connection,
        plan.users,
        owners={change.owner for change in written},
        source=plan.source,
        version=head.version,
    )
    if deleted:
        await connection.execute(_TOMBSTONE, {"version": head.version, "ids": deleted})
    if rows:
        await _upsert_rows(connection, rows, head.version, stamp)
    if plan.changes:
        await _record_revisions(connection, plan.changes, head.version, stamp)
    await _remember_seals(connection, written)
    await notify_listeners(connection, head)
    return head


async def _attach_documents(connection: AsyncConnection, changes: Sequence[Change]) -> list[_ReadChange]:
    """Return ``changes`` with their manifests' values: from the plan, or from the stored documents."""
    unread = [c for c in changes if require_manifest(c).value is None or require_manifest(c).data is None]
    stored = await _load_documents(connection, [_get_document_digest(change) for change in unread])
    read: list[_ReadChange] = []
    for change in changes:
        desired = require_manifest(change)
        if desired.value is None or desired.data is None:
            read.append(restore_from_document(change, stored.get(_get_document_digest(change))))
        else:
            read.append((change, desired.value, desired.data))
    return read


def _get_document_digest(change: Change) -> bytes:
    desired = require_manifest(change)
    return desired.document_digest or desired.digest


async def _make_rows(
    connection: AsyncConnection, read: Sequence[_ReadChange], source: str, checked: bytes
) -> list[tuple[Any, ...]]:
    """Return the rows to write; their documents are stored on the way."""
    digests = [sha256(data).digest() for _, _, data in read]
    documents = [(digest, c.path, data) for digest, (c, _, data) in zip(digests, read, strict=True)]
    attached = [require_manifest(change).attachments for change, _, _ in read]
    texts = [one for beside in attached for one in beside.documents]
    documents += [(text.digest, text.path, text.data) for text in texts if text.data is not None]
    await store_documents(connection, documents)
    return [
        make_row(change, source, checked, value, digest)
        for digest, (change, value, _) in zip(digests, read, strict=True)
    ]


async def _load_documents(connection: AsyncConnection, digests: Sequence[bytes]) -> dict[bytes, bytes]:
    if not digests:
        return {}
    cursor = await connection.execute(
        "SELECT digest, data FROM documents WHERE digest = ANY(%b)", (list(digests),), binary=True
    )
    return dict(await cursor.fetchall())


async def _upsert_rows(
    connection: AsyncConnection, rows: Sequence[tuple[Any, ...]], version: int, stamp: ApplyStamp
) -> None:
    places = {"ids": [row[0] for row in rows], "slugs": [row[2] for row in rows]}
    await connection.execute(_CLEAR_MOVING, places)
    for batch in split_batches(rows):
        values = (list(stamp.uncommitted), stamp.commit, version, *transpose_rows(batch))
        await connection.execute(_UPSERT, values)


async def _record_revisions(
    connection: AsyncConnection, changes: Sequence[Change], version: int, stamp: ApplyStamp
) -> None:
    await connection.execute(
        _RECORD,
        {
            "ids": [change.id for change in changes],
            "operations": [change.operation for change in changes],
            "version": version,
            "commit": stamp.commit,
            "uncommitted": list(stamp.uncommitted),
            "run_id": stamp.run_id,
        },
    )


async def _remember_seals(connection: AsyncConnection, changes: Sequence[Change]) -> None:
    """Record the seals' owners; the first one stays.

    That a seal has one owner is checked by the rules before the apply.
    """
    seals = {seal: DEFAULT_OWNER for change in changes for seal in require_manifest(change).lent}
    seals |= {seal: change.owner for change in changes for seal in require_manifest(change).seals}
    if seals:
        await connection.execute(_SEALS, (list(seals), list(seals.values())))


_TOMBSTONE = """
UPDATE agents SET deleted_at = now(), updated_at = now(), is_default = false, version = %(version)s
WHERE id = ANY(%(ids)b) AND deleted_at IS NULL
"""

# "~" occurs in no slug, so the placeholder collides with nothing.
_CLEAR_MOVING = """
UPDATE agents a SET is_default = false, slug = CASE WHEN a.slug = s.slug THEN a.slug ELSE '~' || a.id END
FROM unnest(%(ids)b::uuid[], %(slugs)b::text[]) AS s (id, slug)
WHERE a.id = s.id AND a.deleted_at IS NULL AND (a.is_default OR a.slug <> s.slug)
"""

_NAMES = ", ".join(name for name, _ in COLUMNS)
_STAGED = ", ".join(f"s.{name}" for name, _ in COLUMNS)
_TYPED = ", ".join(f"s.{name}::{kind}" if kind == "jsonb" else f"s.{name}" for name, kind in COLUMNS)
_ARRAYS = ", ".join(f"%b::{'text' if kind == 'jsonb' else kind}[]" for _, kind in COLUMNS)
_ASSIGNED = ", ".join(f"{name} = excluded.{name}" for name, _ in COLUMNS if name != "id")

_LAYERS = """CASE WHEN s.attachments ? 'layers' THEN
    ARRAY(SELECT decode(l.one->>'digest', 'hex')
          FROM jsonb_array_elements(s.attachments->'layers') WITH ORDINALITY AS l (one, place)
          ORDER BY l.place) || s.document_digest
    ELSE ARRAY[s.document_digest] END"""

_UPSERT = f"""
INSERT INTO agents ({_NAMES}, layer_digests, commit, version, applied_hash)
SELECT {_STAGED}, {_LAYERS}, CASE WHEN s.id <> ALL(%b::uuid[]) THEN %s END, %s, agent_hash_of({_STAGED})
FROM (SELECT {_TYPED} FROM unnest({_ARRAYS}) AS s ({_NAMES}) OFFSET 0) s
ON CONFLICT (id) DO UPDATE SET {_ASSIGNED}, layer_digests = excluded.layer_digests,
    commit = excluded.commit, version = excluded.version, applied_hash = excluded.applied_hash,
    deleted_at = NULL, updated_at = now()
"""  # noqa: S608  (names and types from the constant above)

_RECORD = """
INSERT INTO agent_revisions
    (agent_id, version, operation, slug, owner, source, path, digest, document_digest, attachments,
     commit, run_id)
SELECT a.id, %(version)s, s.operation, a.slug, u.username, a.source, a.path, a.digest, a.document_digest,
       a.attachments, CASE WHEN a.id <> ALL(%(uncommitted)b::uuid[]) THEN %(commit)s END, %(run_id)s
FROM unnest(%(ids)b::uuid[], %(operations)b::text[]) AS s (id, operation)
JOIN agents a ON a.id = s.id JOIN users u ON u.id = a.user_id
WHERE a.version = %(version)s
"""

_SEALS = """
INSERT INTO seals (fingerprint, owner) SELECT * FROM unnest(%b::bytea[], %b::text[]) ON CONFLICT DO NOTHING
"""
