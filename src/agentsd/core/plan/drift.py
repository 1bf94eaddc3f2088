"""Drift: differences between a row that was edited by hand and its file. Pure.

A hand-written value may be a secret, wherever it is: a value in a provider's section that the file
does not have is masked, like every secret field.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from agentsd.core.manifest.agent import KINDS, Attachment, Attachments, Manifest, StoredAgent
from agentsd.core.manifest.user import StoredUser, User
from agentsd.core.masker import Masker
from agentsd.core.plan.diff import FieldChange, diff_documents
from agentsd.core.secret import MASK

_SHOWN = 8
"""Hex digits of a digest that are shown."""

ALTERED = "the stored document"
"""Key in ``StoredAgent.held`` where the row is unchanged, but its document or a file of its own is not."""


def diff_drifted_agent(row: StoredAgent, manifest: Manifest, masker: Masker) -> tuple[FieldChange, ...]:
    """Compare a row with its file, column by column, in a manifest's terms: row → file."""
    held = dict(row.held or {})
    altered = held.pop(ALTERED, None)
    fields = diff_documents(held, _build_wanted(manifest, held), masker=masker)
    if altered is not None:
        fields += (FieldChange("change", (ALTERED,), str(altered), "as in the file"),)
    return tuple(_mask_field(field) for field in fields)


def _build_wanted(manifest: Manifest, held: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``store.queries.agent_rows.make_row`` writes, for the names that ``held`` has."""
    value = manifest.value or {}
    document = manifest.document_digest or manifest.digest
    wanted = {
        "slug": manifest.slug,
        "owner": manifest.owner,
        "path": manifest.path,
        "name": str(value.get("name") or manifest.slug),
        "description": str(value.get("description") or ""),
        "system_prompt": str(value.get("system_prompt") or ""),
        "default": manifest.default,
        "active": bool(value.get("active", True)),
        **{kind: value.get(kind) or {} for kind in (*KINDS, "rag")},
        "digest": manifest.digest.hex()[:_SHOWN],
        "document": document.hex()[:_SHOWN],
        "attached": summarise_attachments(manifest.attachments),
    }
    return {name: wanted[name] for name in held if name in wanted}


def summarise_attachments(attachments: Attachments) -> dict[str, str]:
    """Map path to the start of the digest, for all of an agent's files beside its manifest."""
    every: Iterable[Attachment] = (*attachments.all, *attachments.layers)
    return {one.path: one.digest.hex()[:_SHOWN] for one in every}


def _mask_field(field: FieldChange) -> FieldChange:
    if field.secret is not None or field.operation != "remove" or field.pointer[0] not in KINDS:
        return field
    return replace(field, old=None if field.old in (None, "") else MASK)


def diff_drifted_user(row: StoredUser, user: User) -> tuple[FieldChange, ...]:
    """Compare an owner's row with its file: row → file; of tokens only their names."""
    fields = list(diff_documents({"email": row.email}, {"email": user.email}))
    if [dict(token) for token in row.tokens] != [dict(token) for token in user.tokens]:
        old, new = ([str(token.get("name")) for token in some] for some in (row.tokens, user.tokens))
        fields.append(FieldChange("change", ("tokens",), old, new))
    if row.altered:
        fields.append(FieldChange("change", (ALTERED,), "edited by hand", "as in the file"))
    return tuple(fields)
