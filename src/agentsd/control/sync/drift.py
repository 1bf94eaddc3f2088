"""Drift: manual edits in the store, and rows that must stay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from agentsd.core.manifest.agent import Manifest, StoredAgent
from agentsd.core.manifest.document import Document
from agentsd.core.plan.drift import ALTERED
from agentsd.core.plan.plan import Stored
from agentsd.store.queries import agents as store
from agentsd.store.queries.drift import altered_documents, held_columns

_NAMED = 200
"""Of more drifted rows than this, only that they drifted is told, and not what."""

_Read = Callable[[str, bytes, Sequence[tuple[str, bytes]]], Document]


async def with_drift(conn: AsyncConnection, stored: Stored) -> Stored:
    """Return ``stored`` with manual edits marked: every drifted row, with what was edited.

    A row has drifted if it, or one of its documents, was edited by hand.
    """
    altered = await altered_documents(conn)
    rows = {
        row.id: row for row in stored.agents.values() if row.drifted or not altered.isdisjoint(_parts(row))
    }
    if not rows:
        return stored
    held = await held_columns(conn, list(rows)[:_NAMED])
    drifted = {
        agent_id: replace(
            row, drifted=True, held=_held(held.get(agent_id), not altered.isdisjoint(_parts(row)))
        )
        for agent_id, row in rows.items()
    }
    return replace(stored, agents={**stored.agents, **drifted})


def _parts(row: StoredAgent) -> Collection[bytes]:
    """Return the digests of the documents that a row is made from."""
    beside = row.attachments
    texts = (beside.prompt, *beside.layers) if beside.prompt else beside.layers
    return (row.document_digest or row.digest, *(one.digest for one in texts))


def _held(columns: Mapping[str, Any] | None, altered: bool) -> Mapping[str, Any] | None:
    if columns is None:
        return None
    return {**columns, ALTERED: "edited by hand"} if altered else columns


async def with_unprunable(
    conn: AsyncConnection, good: Iterable[Manifest], stored: Stored, source: str, read: _Read
) -> Stored:
    """Look up ``prune`` for the rows of ``source`` in ``stored`` that a file no longer contains."""
    present = {manifest.id for manifest in good}
    missing = [row for row in stored.agents.values() if row.source == source and row.id not in present]
    kept = await _unprunable(conn, missing, read)
    agents = {i: replace(row, prune=False) if i in kept else row for i, row in stored.agents.items()}
    return replace(stored, agents=agents) if kept else stored


async def _unprunable(conn: AsyncConnection, missing: Sequence[StoredAgent], read: _Read) -> frozenset[UUID]:
    """Return those of ``missing`` whose last manifest, with its layers, contains ``prune: false``."""
    digests = {layer.digest for row in missing for layer in row.attachments.layers}
    layers = await store.load_layers(conn, digests)
    documents = await store.load_documents(conn, [row.id for row in missing]) if missing else {}
    return await asyncio.to_thread(_kept, missing, documents, layers, read)


def _kept(
    missing: Sequence[StoredAgent],
    documents: Mapping[UUID, bytes],
    layers: Mapping[bytes, bytes],
    read: _Read,
) -> frozenset[UUID]:
    """Select as ``_find_unprunable`` does. Takes as long as there is to read."""
    kept = set()
    for row in missing:
        named = [(one.path, layers.get(one.digest, b"")) for one in row.attachments.layers]
        texts = (documents.get(row.id, b""), *(data for _, data in named))
        if any(b"prune" in text for text in texts) and _keeps(row, texts[0], named, read):
            kept.add(row.id)
    return frozenset(kept)


def _keeps(row: StoredAgent, data: bytes, layers: Sequence[tuple[str, bytes]], read: _Read) -> bool:
    """Return whether the row is kept.

    One whose document cannot be read any more is kept, for a person to decide.
    """
    try:
        return read(row.path, data, layers).value.get("prune") is False
    except Exception:  # whatever somebody wrote there
        return True
