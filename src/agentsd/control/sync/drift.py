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
from agentsd.core.plan.plan import StoredState
from agentsd.store.queries import agents as store
from agentsd.store.queries.drift import find_altered_documents, load_current_columns

_NAMED_MAX = 200
"""Above this many drifted rows, only the drift is reported, without details."""

_ReadDocument = Callable[[str, bytes, Sequence[tuple[str, bytes]]], Document]


async def mark_drift(conn: AsyncConnection, stored: StoredState) -> StoredState:
    """Return ``stored`` with manual edits marked: every drifted row, with what was edited.

    A row has drifted if it, or one of its documents, was edited by hand.
    """
    altered = await find_altered_documents(conn)
    rows = {
        row.id: row
        for row in stored.agents.values()
        if row.drifted or not altered.isdisjoint(_list_digests(row))
    }
    if not rows:
        return stored
    held = await load_current_columns(conn, list(rows)[:_NAMED_MAX])
    drifted = {
        agent_id: replace(
            row,
            drifted=True,
            held=_describe_columns(held.get(agent_id), not altered.isdisjoint(_list_digests(row))),
        )
        for agent_id, row in rows.items()
    }
    return replace(stored, agents={**stored.agents, **drifted})


def _list_digests(row: StoredAgent) -> Collection[bytes]:
    """Return the digests of the documents that a row is made from."""
    return (row.document_digest or row.digest, *(one.digest for one in row.attachments.documents))


def _describe_columns(columns: Mapping[str, Any] | None, altered: bool) -> Mapping[str, Any] | None:
    if columns is None:
        return None
    return {**columns, ALTERED: "edited by hand"} if altered else columns


async def mark_unprunable(
    conn: AsyncConnection, good: Iterable[Manifest], stored: StoredState, source: str, read: _ReadDocument
) -> StoredState:
    """Look up ``prune`` for the rows of ``source`` in ``stored`` that a file no longer contains."""
    present = {manifest.id for manifest in good}
    missing = [row for row in stored.agents.values() if row.source == source and row.id not in present]
    kept = await _find_unprunable(conn, missing, read)
    agents = {i: replace(row, prune=False) if i in kept else row for i, row in stored.agents.items()}
    return replace(stored, agents=agents) if kept else stored


async def _find_unprunable(
    conn: AsyncConnection, missing: Sequence[StoredAgent], read: _ReadDocument
) -> frozenset[UUID]:
    """Return those of ``missing`` whose last manifest, with its layers, contains ``prune: false``."""
    digests = {layer.digest for row in missing for layer in row.attachments.layers}
    layers = await store.load_layers(conn, digests)
    documents = await store.load_documents(conn, [row.id for row in missing]) if missing else {}
    return await asyncio.to_thread(_select_kept, missing, documents, layers, read)


def _select_kept(
    missing: Sequence[StoredAgent],
    documents: Mapping[UUID, bytes],
    layers: Mapping[bytes, bytes],
    read: _ReadDocument,
) -> frozenset[UUID]:
    """Select as ``_find_unprunable`` does. Takes as long as there is to read."""
    kept = set()
    for row in missing:
        named = [(one.path, layers.get(one.digest, b"")) for one in row.attachments.layers]
        texts = (documents.get(row.id, b""), *(data for _, data in named))
        if any(b"prune" in text for text in texts) and _is_kept(row, texts[0], named, read):
            kept.add(row.id)
    return frozenset(kept)


def _is_kept(row: StoredAgent, data: bytes, layers: Sequence[tuple[str, bytes]], read: _ReadDocument) -> bool:
    """Return whether the row is kept.

    One whose document cannot be read any more is kept, for a person to decide.
    """
    try:
        return read(row.path, data, layers).value.get("prune") is False
    except Exception:  # the row may contain anything
        return True
