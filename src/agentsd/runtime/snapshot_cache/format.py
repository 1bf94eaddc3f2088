"""Format of a snapshot file: what a runtime serves, still sealed, as bytes and back.

    agentsd snapshot
    {"format": 1, "schema": …, "database": …, "source": …, "version": …, "stamp": …, "edition": …}
    {"tokens": …}
    {"blobs": [lengths], "rows": […], "older": […]}      and then the blobs; again and again
    SHA-256 of all this, in hex

Documents are kept byte for byte, tokens as hashes: no more than Postgres has, and no plaintext of a
seal. Blobs are numbered through the whole file; a blob that several rows share is stored once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from itertools import islice
from typing import Any
from uuid import UUID

import orjson

from agentsd.core.manifest.agent import AgentRow, Attachment
from agentsd.store.queries.users import OwnerTokens
from agentsd.store.queries.versions import Head

FORMAT_VERSION = 2  # 2: rows have locks
MAGIC = b"agentsd snapshot\n"
CHECKSUM_BYTES = 64
"""Length of the checksum at the end, in bytes."""

_CHUNK_ROWS = 32  # rows of one chunk, packed while no other thread runs


class BadSnapshot(Exception):
    """Error of a file that cannot be used. The message gives the reason, and quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class SnapshotOrigin:
    """Origin of a snapshot: the database and source that it belongs to."""

    database: str  # host:port/name
    source: str
    schema: str  # the store's revision


@dataclass(frozen=True, slots=True)
class CachedSnapshot:
    """Content that a runtime serves, with its tokens."""

    head: Head
    rows: Iterable[AgentRow] = field(repr=False)  # iterated once
    older: Sequence[AgentRow] = field(
        default=(), repr=False
    )  # documents that serve for rows that do not open
    tokens: Sequence[OwnerTokens] = field(default=(), repr=False)

    @property
    def edition(self) -> str:
        """Return a digest that is equal for equal contents."""
        older = sha256(b"".join(row.id.bytes + row.digest for row in self.older))
        return f"{self.head}:{older.hexdigest()[:16]}"


class _Blobs:
    """Numbering of blobs, each of which is stored once."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self.new: list[bytes] = []

    def number(self, blob: bytes | None) -> int | None:
        """Return the blob's place in the file."""
        if blob is None:
            return None
        number = self._numbers.get(blob)
        if number is None:
            number = self._numbers[blob] = len(self._numbers)
            self.new.append(blob)
        return number


def pack_snapshot(kept: CachedSnapshot, origin: SnapshotOrigin) -> Iterator[bytes]:
    """Yield the whole file but for its checksum."""
    yield _pack_head(kept, origin)
    yield _pack_tokens(kept.tokens)
    older, blobs, rows = {row.id: row for row in kept.older}, _Blobs(), iter(kept.rows)
    while chunk := list(islice(rows, _CHUNK_ROWS)):
        blobs.new = []
        packed = [_pack_row(row, blobs) for row in chunk]
        served = [_pack_row(older[row.id], blobs) for row in chunk if row.id in older]
        lengths = [len(blob) for blob in blobs.new]
        line = orjson.dumps({"blobs": lengths, "rows": packed, "older": served})
        yield b"".join((line, b"\n", *blobs.new))


def _pack_head(kept: CachedSnapshot, origin: SnapshotOrigin) -> bytes:
    head = {
        "format": FORMAT_VERSION,
        "schema": origin.schema,
        "database": origin.database,
        "source": origin.source,
        "version": kept.head.version,
        "stamp": kept.head.stamp,
        "edition": kept.edition,
    }
    return MAGIC + orjson.dumps(head) + b"\n"


def _pack_tokens(owners: Sequence[OwnerTokens]) -> bytes:
    listed = [[one.username, one.path, [dict(token) for token in one.tokens], one.email] for one in owners]
    return orjson.dumps({"tokens": listed}) + b"\n"


def _pack_row(row: AgentRow, blobs: _Blobs) -> list[Any]:
    return [
        row.id,
        row.slug,
        row.owner,
        row.source,
        row.path,
        row.version,
        row.digest.hex(),
        row.is_default,
        row.is_active,
        row.name,
        row.commit,
        row.created_at,
        row.updated_at,
        blobs.number(row.data),
        blobs.number(row.prompt),
        [[path, digest.hex()] for path, digest in row.sources],
        _pack_attachments(row.layers, blobs),
        _pack_attachments(row.locks, blobs),
    ]


def _pack_attachments(attachments: Sequence[Attachment], blobs: _Blobs) -> list[Any]:
    return [[one.path, one.digest.hex(), blobs.number(one.data)] for one in attachments]


def check_origin(head: Mapping[str, Any], origin: SnapshotOrigin) -> None:
    """Raise ``BadSnapshot`` for another origin or the format of a newer program."""
    if not isinstance(head.get("format"), int) or head["format"] > FORMAT_VERSION:
        raise BadSnapshot("a newer agentsd wrote it")
    if str(head.get("schema")) > origin.schema:
        raise BadSnapshot("it belongs to a newer schema")
    if head.get("database") != origin.database or head.get("source") != origin.source:
        raise BadSnapshot("it belongs to another database or source")


def unpack_snapshot(data: bytes) -> CachedSnapshot:
    """Return what ``pack_snapshot`` was given. Raises ``BadSnapshot`` for incomplete data."""
    if sha256(memoryview(data)[:-CHECKSUM_BYTES]).hexdigest().encode() != data[-CHECKSUM_BYTES:]:
        raise BadSnapshot("it is damaged")
    try:
        return _unpack_body(data)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise BadSnapshot("it is damaged") from None


def _unpack_body(data: bytes) -> CachedSnapshot:
    at = data.index(b"\n", len(MAGIC)) + 1
    head = orjson.loads(data[len(MAGIC) : at])
    end = data.index(b"\n", at) + 1
    tokens, at = orjson.loads(data[at:end])["tokens"], end
    rows: list[AgentRow] = []
    older: list[AgentRow] = []
    blobs: list[bytes] = []
    while at < len(data) - CHECKSUM_BYTES:
        end = data.index(b"\n", at) + 1
        chunk, at = orjson.loads(data[at:end]), end
        for length in chunk["blobs"]:
            blobs.append(data[at : at + length])
            at += length
        rows += [_unpack_row(row, blobs) for row in chunk["rows"]]
        older += [_unpack_row(row, blobs) for row in chunk["older"]]
    return CachedSnapshot(
        Head(int(head["version"]), UUID(head["stamp"])),
        tuple(rows),
        tuple(older),
        tuple(OwnerTokens(name, path, tuple(given), email) for name, path, given, email in tokens),
    )


def _unpack_row(row: Sequence[Any], blobs: Sequence[bytes]) -> AgentRow:
    (
        agent, slug, owner, source, path, version, digest, is_default, is_active, name, commit,
        created_at, updated_at, data, prompt, sources, layers, *rest,
    ) = row  # fmt: skip
    return AgentRow(
        id=UUID(agent),
        slug=slug,
        owner=owner,
        source=source,
        path=path,
        version=version,
        digest=bytes.fromhex(digest),
        is_default=is_default,
        is_active=is_active,
        name=name,
        commit=commit,
        created_at=datetime.fromisoformat(created_at),
        updated_at=datetime.fromisoformat(updated_at),
        data=blobs[data],
        prompt=None if prompt is None else blobs[prompt],
        sources=tuple((one, bytes.fromhex(hexed)) for one, hexed in sources),
        layers=_unpack_attachments(layers, blobs),
        locks=_unpack_attachments(rest[0] if rest else (), blobs),
    )


def _unpack_attachments(packed: Sequence[Any], blobs: Sequence[bytes]) -> tuple[Attachment, ...]:
    return tuple(
        Attachment(one, bytes.fromhex(hexed), None if number is None else blobs[number])
        for one, hexed, number in packed
    )
