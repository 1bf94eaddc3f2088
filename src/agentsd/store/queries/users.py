"""Owners of agents: loaded whole, written in bulk, and only ever tombstoned."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson
from psycopg import AsyncConnection

from agentsd.core.manifest.user import StoredUser, User
from agentsd.core.names import USER_FILE, derive_user_id
from agentsd.core.plan.plan import UserChange
from agentsd.store.queries.agent_rows import split_batches, transpose_rows

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OwnerTokens:
    """API tokens of one owner: ``{name, sha256, role, expires}`` each."""

    username: str
    path: str | None  # of its _user.yaml; None: the owner has none
    tokens: tuple[Mapping[str, Any], ...]
    email: str | None = None


@dataclass(frozen=True, slots=True)
class ListedUser:
    """Owner as an entry of a list."""

    username: str
    email: str | None
    source: str
    path: str | None  # of its _user.yaml; None: the owner has none
    version: int
    tokens: tuple[Mapping[str, Any], ...]


async def load_users(connection: AsyncConnection) -> dict[str, StoredUser]:
    """Load every owner that is not deleted, by name."""
    cursor = await connection.execute(
        """SELECT u.id, u.username, u.email, u.source, u.path, d.data, u.version,
                  jsonb_path_query_array(u.tokens, '$[*] ? (@.type() == "object")'),
                  coalesce(sha256(d.data) <> u.document_digest, false)
           FROM users u LEFT JOIN documents d ON d.digest = u.document_digest
           WHERE u.deleted_at IS NULL""",
        binary=True,
    )
    return {row[1]: _make_stored_user(row) for row in await cursor.fetchall()}


def _make_stored_user(row: tuple[Any, ...]) -> StoredUser:
    columns = (*row[:7], tuple(row[7]), *row[8:])
    return StoredUser(*columns)


async def list_users(connection: AsyncConnection, owner: str | None = None) -> tuple[ListedUser, ...]:
    """Return every owner that is not deleted, by name; ``owner``: this one alone."""
    cursor = await connection.execute(
        """SELECT username, email, source, path, version,
                  jsonb_path_query_array(tokens, '$[*] ? (@.type() == "object")')
           FROM users
           WHERE deleted_at IS NULL AND (%(owner)s::text IS NULL OR username = %(owner)s)
           ORDER BY username""",
        {"owner": owner},
    )
    return tuple(
        ListedUser(row[0], row[1], row[2], row[3], row[4], tuple(row[5])) for row in await cursor.fetchall()
    )


async def load_tokens(connection: AsyncConnection) -> tuple[OwnerTokens, ...]:
    """Load the tokens of every owner that has some, without those recorded as another's.

    The rules ensure that before an apply; a row that was edited by hand is checked here.
    """
    cursor = await connection.execute(
        """SELECT username, path, jsonb_path_query_array(tokens, '$[*] ? (@.type() == "object")'), email
           FROM users
           WHERE deleted_at IS NULL AND tokens <> '[]'::jsonb ORDER BY username"""
    )
    rows = await cursor.fetchall()
    listed = {str(_get_field(token, "sha256")) for row in rows for token in row[2]}
    known = await load_token_holders(connection, listed)
    found = []
    for username, path, tokens, email in rows:
        own = [one for one in tokens if known.get(str(_get_field(one, "sha256")), username) == username]
        if len(own) < len(tokens):
            _log.warning("a token of another owner is ignored", extra={"owner": username})
        found.append(OwnerTokens(username, path, tuple(own), email))
    return tuple(found)


def _get_field(token: Any, name: str) -> Any:
    return token.get(name) if isinstance(token, Mapping) else None


async def load_token_holders(connection: AsyncConnection, hashes: Collection[str]) -> dict[str, str]:
    """Return which owner each of these tokens (SHA-256 in hex) was first listed under, history included."""
    cursor = await connection.execute(
        "SELECT sha256, owner FROM token_hashes WHERE sha256 = ANY(%s)", (list(hashes),)
    )
    return dict(await cursor.fetchall())


async def apply_users(
    connection: AsyncConnection,
    changes: Sequence[UserChange],
    *,
    owners: Collection[str],
    source: str,
    version: int,
) -> None:
    """Write ``changes``; every one of ``owners`` has a live row afterwards, whatever they contain."""
    desired = [change.desired for change in changes if change.desired is not None]
    gone = [change.username for change in changes if change.operation == "delete"]
    if gone:
        await connection.execute(_TOMBSTONE, {"usernames": gone, "version": version})
    if desired:
        await _upsert_users(connection, desired, source, version)
        await _remember_tokens(connection, desired, version)
    if owners:
        names = sorted(owners)
        ids = [derive_user_id(name) for name in names]
        await connection.execute(_ENSURE, {"ids": ids, "names": names, "source": source, "version": version})


async def _upsert_users(
    connection: AsyncConnection, desired: Sequence[User], source: str, version: int
) -> None:
    documents = [(sha256(user.data).digest(), user.path or "", user.data) for user in desired if user.data]
    await store_documents(connection, documents)
    # An email may move from one owner to another; its index is checked row by row.
    await connection.execute(
        "UPDATE users SET email = NULL WHERE id = ANY(%b) AND email IS NOT NULL",
        ([user.id for user in desired],),
    )
    columns = transpose_rows([_make_row(user) for user in desired])
    await connection.execute(_UPSERT, (source, version, *columns))


async def _remember_tokens(connection: AsyncConnection, desired: Sequence[User], version: int) -> None:
    """Record the tokens' owners; the first one stays.

    The top-level file, which alone makes admins, takes over what it lists.
    """
    for claims, top in ((_TOKENS_OF_TOP, True), (_TOKENS, False)):
        rows = [
            (str(token.get("sha256")), user.username)
            for user in desired
            for token in user.tokens
            if (user.path == USER_FILE) is top
        ]
        distinct = list(dict(rows).items())
        if distinct:
            await connection.execute(claims, (version, *transpose_rows(distinct)))


def _make_row(user: User) -> tuple[Any, ...]:
    tokens = orjson.dumps([dict(token) for token in user.tokens]).decode()
    digest = sha256(user.data).digest() if user.data else None
    return user.id, user.username, user.email, tokens, digest, user.path


async def store_documents(connection: AsyncConnection, documents: Sequence[tuple[bytes, str, bytes]]) -> None:
    """Store ``(digest, path, data)``; one whose bytes were changed by hand is corrected."""
    distinct = list({row[0]: row for row in documents}.values())
    for batch in split_batches(distinct):
        await connection.execute(_DOCUMENTS, transpose_rows(batch))


_DOCUMENTS = """
INSERT INTO documents AS d (digest, path, data)
SELECT * FROM unnest(%b::bytea[], %b::text[], %b::bytea[])
ON CONFLICT (digest) DO UPDATE SET data = excluded.data WHERE d.data <> excluded.data
"""

_TOKENS = """
INSERT INTO token_hashes (sha256, owner, version)
SELECT s.sha256, s.owner, %s FROM unnest(%b::text[], %b::text[]) AS s (sha256, owner) ON CONFLICT DO NOTHING
"""

_TOKENS_OF_TOP = """
INSERT INTO token_hashes AS t (sha256, owner, version)
SELECT s.sha256, s.owner, %s FROM unnest(%b::text[], %b::text[]) AS s (sha256, owner)
ON CONFLICT (sha256) DO UPDATE SET owner = excluded.owner, version = excluded.version
WHERE t.owner <> excluded.owner
"""

_TOMBSTONE = """
UPDATE users SET deleted_at = now(), updated_at = now(), email = NULL, tokens = '[]', version = %(version)s
WHERE username = ANY(%(usernames)b) AND deleted_at IS NULL
"""

_UPSERT = """
INSERT INTO users AS u (id, username, email, tokens, document_digest, path, source, version)
SELECT s.id, s.username, s.email, s.tokens::jsonb, s.digest, s.path, %s, %s
FROM unnest(%b::uuid[], %b::text[], %b::text[], %b::text[], %b::bytea[], %b::text[])
     AS s (id, username, email, tokens, digest, path)
ON CONFLICT (id) DO UPDATE SET
    email = excluded.email, tokens = excluded.tokens, document_digest = excluded.document_digest,
    path = excluded.path, source = excluded.source, version = excluded.version,
    deleted_at = NULL, updated_at = now()
"""

_ENSURE = """
INSERT INTO users AS u (id, username, source, version)
SELECT s.id, s.username, %(source)s, %(version)s
FROM unnest(%(ids)b::uuid[], %(names)b::text[]) AS s (id, username)
ON CONFLICT (id) DO UPDATE SET deleted_at = NULL, updated_at = now(), version = excluded.version
WHERE u.deleted_at IS NOT NULL
"""
