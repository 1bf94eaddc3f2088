"""Rows that a change writes into ``agents``. Pure, but for the parsing of a healed document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from typing import Any

import orjson

from agentsd.core.errors import StoreRefused
from agentsd.core.manifest.agent import KINDS, Attachment, Attachments, Manifest
from agentsd.core.manifest.handoff import AgentLinks, HandoffLink
from agentsd.core.names import derive_owner, derive_slug, derive_user_id
from agentsd.core.plan.plan import Change
from agentsd.store.lenient_values import read_mapping, read_mappings, read_named_digests, read_strings

COLUMNS: tuple[tuple[str, str], ...] = (
    ("id", "uuid"),
    ("user_id", "uuid"),
    ("slug", "text"),
    ("name", "text"),
    ("description", "text"),
    ("system_prompt", "text"),
    ("is_default", "boolean"),
    ("is_active", "boolean"),
    ("llm_provider_config", "jsonb"),
    ("tts_provider_config", "jsonb"),
    ("stt_provider_config", "jsonb"),
    ("rag_config", "jsonb"),
    ("digest", "bytea"),
    ("document_digest", "bytea"),
    ("source", "text"),
    ("path", "text"),
    ("verified", "boolean"),
    ("checked", "bytea"),
    ("attachments", "jsonb"),
)
"""Name and type of every column that comes from a manifest, in the order of SQL's ``agent_hash_of``."""


BATCH_BYTES = 16 << 20


def make_row(
    change: Change, source: str, checked: bytes, value: Mapping[str, Any], document_digest: bytes
) -> tuple[Any, ...]:
    """Return the values of ``COLUMNS`` for a change whose manifest has the value ``value``."""
    desired = require_manifest(change)
    sections = (orjson.dumps(value.get(kind) or {}).decode() for kind in (*KINDS, "rag"))
    return (
        change.id,
        derive_user_id(change.owner),
        change.slug,
        str(value.get("name") or change.slug),
        str(value.get("description") or ""),
        str(value.get("system_prompt") or ""),
        desired.default,
        bool(value.get("active", True)),
        *sections,
        desired.digest,
        document_digest,
        source,
        change.path,
        desired.verified,
        checked,
        orjson.dumps({**dump_attachments(desired.attachments), **dump_links(desired.links)}).decode(),
    )


def dump_links(links: AgentLinks) -> dict[str, Any]:
    """Return ``{"links": {"handoffs": [{…}, …], "declares": […], "requires": […]}}``; empty for none."""
    return {"links": asdict(links)} if links else {}


def parse_links(stored: object) -> AgentLinks:
    """Reverse ``dump_links``; what has another form is left out, so that a check of the file finds it."""
    known = read_mapping(read_mapping(stored).get("links"))
    names = (tuple(sorted(read_strings(known.get(key)))) for key in ("declares", "requires"))
    handoffs = tuple(
        HandoffLink(one["to"], one["path"], one["line"], one["column"])
        for one in read_mappings(known.get("handoffs"))
        if all(isinstance(one.get(key), str) for key in ("to", "path"))
        and all(isinstance(one.get(key), int) for key in ("line", "column"))
    )
    return AgentLinks(handoffs, *names)


def dump_attachments(attachments: Attachments) -> dict[str, Any]:
    """Return ``{"prompt": {"path", "digest"}, "sources": [{…}, …], "layers": [{…}, …], "locks": [{…}, …]}``.

    Digests are in hex.
    """
    prompt = {"prompt": _dump_attachment(attachments.prompt)} if attachments.prompt else {}
    lists = {"sources": attachments.sources, "layers": attachments.layers, "locks": attachments.locks}
    return prompt | {name: [_dump_attachment(one) for one in some] for name, some in lists.items() if some}


def _dump_attachment(attachment: Attachment) -> dict[str, str]:
    return {"path": attachment.path, "digest": attachment.digest.hex()}


def parse_attachments(stored: object) -> Attachments:
    """Reverse ``dump_attachments``; empty for anything else, so that a sync heals it."""
    known = read_mapping(stored)
    prompt = read_named_digests([known["prompt"]] if known.get("prompt") else None) or ()
    lists = (read_named_digests(known.get(name)) or () for name in ("sources", "layers", "locks"))
    return Attachments(
        next((Attachment(*one) for one in prompt), None),
        *(tuple(Attachment(*one) for one in some) for some in lists),
    )


def require_manifest(change: Change) -> Manifest:
    """Return the desired manifest; every change but a delete has one."""
    if change.desired is None:
        raise ValueError(f"a change other than a delete needs a manifest: {change.slug}")
    return change.desired


def restore_from_document(change: Change, data: bytes | None) -> tuple[Change, Mapping[str, Any], bytes]:
    """Return a change whose file was not read again, with value and bytes from the stored ``data``.

    A heal then takes nothing from the row, which is what was edited by hand: slug and owner follow from
    the path, the default from the document, and its seal does not count as verified any more.
    """
    desired = require_manifest(change)
    if desired.attachments.layers:
        raise StoreRefused(
            f"the row of {change.slug} was just edited by hand",
            hint="sync again: its manifest has layers, which are then read again",
        )
    if data is None or sha256(data).digest() != (desired.document_digest or desired.digest):
        raise StoreRefused(
            f"the stored document of {change.slug} is missing or was changed by hand",
            hint=f"touch {change.path} (any edit) and sync again: the file restores it",
        )
    from agentsd.core.manifest.document import (
        parse_document,  # a heal is rare; PyYAML need not be loaded for anything else
    )

    value = parse_document(change.path, data).value
    if change.operation == "heal":
        known = replace(desired, default=bool(value.get("default", False)), verified=False)
        change = replace(
            change, slug=derive_slug(change.path), owner=derive_owner(change.path), desired=known
        )
    return change, value, data


def transpose_rows(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """Transpose rows (at least one) into columns, for ``unnest``."""
    return [list(column) for column in zip(*rows, strict=True)]


def split_batches(rows: Sequence[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    """Split rows into batches of some megabytes: Postgres takes 1 GB a statement, and memory is limited."""
    batch: list[tuple[Any, ...]] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += sum(len(value) for value in row if isinstance(value, str | bytes))
        if size > BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
