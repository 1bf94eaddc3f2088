"""Agents in the store: present rows, changes and history. ``apply_plan`` writes them.

Every function takes a connection inside a transaction of ``Database.transaction()``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from psycopg import AsyncConnection

from agentsd.core.manifest.agent import AgentRow, Attachment, StoredAgent
from agentsd.core.plan.plan import StoredState
from agentsd.store.lenient_values import read_named_digests
from agentsd.store.queries.agent_rows import parse_attachments, parse_links
from agentsd.store.queries.apply import ApplyStamp, apply_plan
from agentsd.store.queries.pulls import load_applied_commit
from agentsd.store.queries.users import load_users
from agentsd.store.queries.versions import EMPTY_HEAD, Head, is_in_history, load_head, lock_applies

__all__ = [
    "EMPTY_HEAD",
    "ApplyStamp",
    "Head",
    "LoadedRows",
    "Revision",
    "apply_plan",
    "is_in_history",
    "load_all",
    "load_changed",
    "load_documents",
    "load_head",
    "load_layers",
    "load_revisions",
    "load_seal_owners",
    "load_stored",
    "lock_applies",
]


Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class LoadedRows:
    """Rows and the head that they belong to; consistent if loaded in one snapshot transaction."""

    head: Head
    rows: tuple[AgentRow, ...]


@dataclass(frozen=True, slots=True)
class Revision:
    """Agent after one apply. Of a delete: its last state."""

    agent_id: UUID
    version: int
    operation: str  # as in core.plan.Operation
    slug: str
    owner: str
    source: str
    path: str
    digest: bytes
    commit: str | None
    run_id: UUID | None
    created_at: datetime
    data: bytes  # the document, byte for byte
    prompt: bytes | None = None  # as in AgentRow
    sources: tuple[tuple[str, bytes], ...] = ()
    layers: tuple[Attachment, ...] = ()
    locks: tuple[Attachment, ...] = ()


async def load_stored(connection: AsyncConnection, source: str) -> StoredState:
    """Load what every source has in the store, and the commit that ``source`` last applied."""
    cursor = await connection.execute(
        """SELECT a.id, a.slug, u.username, a.source, a.path, a.digest, a.is_default, a.version, a.verified,
                  agent_hash(a) IS DISTINCT FROM a.applied_hash, a.checked, a.is_active,
                  a.document_digest, nullif(a.attachments, '{}')
           FROM agents a JOIN users u ON u.id = a.user_id WHERE a.deleted_at IS NULL""",
        binary=True,
    )
    agents = {row[0]: _make_stored_agent(row) for row in await cursor.fetchall()}
    now = await load_head(connection)
    return StoredState(
        version=now.version,
        agents=agents,
        users=await load_users(connection),
        commit=await load_applied_commit(connection, source),
    )


def _make_stored_agent(row: tuple[Any, ...]) -> StoredAgent:
    agent = StoredAgent(*row[:-1])
    if not row[-1]:
        return agent
    return replace(agent, attachments=parse_attachments(row[-1]), links=parse_links(row[-1]))


async def load_documents(connection: AsyncConnection, ids: Iterable[UUID]) -> dict[UUID, bytes]:
    """Load the documents of live agents, by id; unknown ids are left out."""
    cursor = await connection.execute(
        """SELECT a.id, d.data FROM agents a JOIN documents d ON d.digest = a.document_digest
           WHERE a.id = ANY(%b) AND a.deleted_at IS NULL""",
        (list(ids),),
        binary=True,
    )
    return dict(await cursor.fetchall())


async def load_layers(connection: AsyncConnection, digests: Collection[bytes]) -> dict[bytes, bytes]:
    """Load the bytes of layers, by digest; what is not stored is left out."""
    if not digests:
        return {}
    cursor = await connection.execute(
        "SELECT digest, data FROM documents WHERE digest = ANY(%b)", (list(digests),), binary=True
    )
    return dict(await cursor.fetchall())


async def load_seal_owners(connection: AsyncConnection, fingerprints: Collection[bytes]) -> dict[bytes, str]:
    """Return which owner first used a seal, history included; unknown fingerprints are left out."""
    if not fingerprints:
        return {}
    cursor = await connection.execute(
        "SELECT fingerprint, owner FROM seals WHERE fingerprint = ANY(%b)", (list(fingerprints),), binary=True
    )
    return dict(await cursor.fetchall())


async def rename_owners(connection: AsyncConnection, renamed: Mapping[str, str]) -> None:
    """Give what belongs to each owner, history included, to its new name: seals, and hashes of tokens."""
    for old, new in renamed.items():
        await connection.execute("UPDATE seals SET owner = %s WHERE owner = %s", (new, old))
        await connection.execute("UPDATE token_hashes SET owner = %s WHERE owner = %s", (new, old))


async def load_changed(connection: AsyncConnection, since: int, now: Head | None = None) -> LoadedRows:
    """Load rows with ``version > since``, tombstones included; ``now``: the head, where it is known.

    Use a snapshot transaction.
    """
    now = now or await load_head(connection)
    cursor = await connection.execute(
        # The upper bound lets the planner see that few rows are meant, before it has any statistics.
        _ROWS + "WHERE a.version > %s AND a.version <= %s ORDER BY a.version, a.slug",
        (since, now.version),
        binary=True,
    )
    return LoadedRows(now, tuple(await _build_rows(connection, await cursor.fetchall(), AgentRow)))


async def load_all(connection: AsyncConnection) -> LoadedRows:
    """Load every live row. Use a snapshot transaction."""
    now = await load_head(connection)
    cursor = await connection.execute(_ROWS + "WHERE a.deleted_at IS NULL ORDER BY a.slug", binary=True)
    return LoadedRows(now, tuple(await _build_rows(connection, await cursor.fetchall(), AgentRow)))


_UNREADABLE = Attachment("the column attachments", b"")
"""Makes the agent of a manually edited row Invalid, so that it never differs from its files."""


async def _build_rows(
    connection: AsyncConnection, rows: Sequence[tuple[Any, ...]], kind: Callable[..., Row]
) -> list[Row]:
    """Build rows that end with sources, layers and locks; the bytes of shared ones are read once."""
    named = (one for row in rows for stored in row[-2:] if stored for one in read_named_digests(stored) or ())
    found = await load_layers(connection, {digest for _, digest in named})
    return [
        kind(*row[:-3], read_named_digests(row[-3]) or (), *_collect_beside(row[-3:], found)) for row in rows
    ]


def _collect_beside(
    stored: Sequence[object], found: Mapping[bytes, bytes]
) -> tuple[tuple[Attachment, ...], tuple[Attachment, ...]]:
    """Return layers and locks; where the row does not name them properly, a layer that cannot be read."""
    sources, layers, locks = map(read_named_digests, stored)
    if sources is None or layers is None or locks is None:
        return (_UNREADABLE,), ()
    return _attach_bytes(layers, found), _attach_bytes(locks, found)


def _attach_bytes(named: Iterable[tuple[str, bytes]], found: Mapping[bytes, bytes]) -> tuple[Attachment, ...]:
    return tuple(Attachment(path, digest, found.get(digest)) for path, digest in named)


async def load_revisions(
    connection: AsyncConnection,
    agent_id: UUID,
    *,
    limit: int = 50,
    before: int | None = None,
    owner: str | None = None,
) -> list[Revision]:
    """Load an agent's history, newest first; ``before`` is a version, for the next page.

    With an ``owner``: only the time during which it was that owner's.
    """
    cursor = await connection.execute(
        """SELECT r.agent_id, r.version, r.operation, r.slug, r.owner, r.source, r.path, r.digest, r.commit,
                  r.run_id, r.created_at, d.data, p.data, r.attachments->'sources', r.attachments->'layers',
                  r.attachments->'locks'
           FROM agent_revisions r JOIN documents d ON d.digest = r.document_digest
           LEFT JOIN documents p ON p.digest = decode(r.attachments->'prompt'->>'digest', 'hex')
           WHERE r.agent_id = %s AND (%s::bigint IS NULL OR r.version < %s)
             AND (%s::text IS NULL OR r.owner = %s)
           ORDER BY r.version DESC LIMIT %s""",
        (agent_id, before, before, owner, owner, limit),
        binary=True,
    )
    return await _build_rows(connection, await cursor.fetchall(), Revision)


async def load_revision_page(
    connection: AsyncConnection,
    agent_id: UUID,
    *,
    limit: int,
    size: int,
    before: int | None = None,
    owner: str | None = None,
) -> tuple[list[Revision], bool]:
    """Load revisions with documents of at most ``size`` bytes together, and whether there are more.

    There are two at least, so that paging goes on. A layer counts as ``_LAYER_BYTES``, since it is read
    again.
    """
    cursor = await connection.execute(
        """SELECT agent_id, version, operation, slug, owner, source, path, digest, commit, run_id, created_at,
                  data, prompt, sources, layers, locks, total
           FROM (
             SELECT r.*, d.data, p.data AS prompt, r.attachments->'sources' AS sources,
                    r.attachments->'layers' AS layers, r.attachments->'locks' AS locks,
                    row_number() OVER newest AS place,
                    count(*) OVER () AS total,
                    sum(octet_length(d.data) + coalesce(octet_length(p.data), 0)
                        + coalesce(jsonb_array_length(r.attachments->'layers'), 0) * %s) OVER newest AS bytes
             FROM agent_revisions r JOIN documents d ON d.digest = r.document_digest
             LEFT JOIN documents p ON p.digest = decode(r.attachments->'prompt'->>'digest', 'hex')
             WHERE r.agent_id = %s AND (%s::bigint IS NULL OR r.version < %s)
               AND (%s::text IS NULL OR r.owner = %s)
             WINDOW newest AS (ORDER BY r.version DESC)
           ) AS found
           WHERE place <= 2 OR bytes <= %s
           ORDER BY version DESC LIMIT %s""",
        (_LAYER_BYTES, agent_id, before, before, owner, owner, size, limit),
        binary=True,
    )
    rows = await cursor.fetchall()
    found = await _build_rows(connection, [row[:-1] for row in rows], Revision)
    return found, bool(rows) and rows[0][-1] > len(rows)


_LAYER_BYTES = 40_000


_ROWS = """
SELECT a.id, a.slug, u.username, a.source, a.path, a.version, a.digest, a.is_default, a.is_active, a.name,
       a.commit, a.created_at, a.updated_at, a.deleted_at IS NOT NULL,
       CASE WHEN a.deleted_at IS NULL THEN d.data ELSE ''::bytea END, p.data, a.attachments->'sources',
       CASE WHEN a.deleted_at IS NULL THEN a.attachments->'layers' END,
       CASE WHEN a.deleted_at IS NULL THEN a.attachments->'locks' END
FROM agents a JOIN users u ON u.id = a.user_id JOIN documents d ON d.digest = a.document_digest
LEFT JOIN documents p ON p.digest = decode(a.attachments->'prompt'->>'digest', 'hex')
"""
