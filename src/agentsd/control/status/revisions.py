"""Revisions as values that can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentsd.core.errors import InvalidManifests
from agentsd.core.manifest.document import parse_document
from agentsd.core.masker import Masker
from agentsd.core.plan.diff import FieldChange
from agentsd.core.text.revision_changes import RevisionState, diff_revisions
from agentsd.store.queries.agents import Revision


def get_state(revision: Revision) -> RevisionState:
    """Return the state of the agent at a revision; empty where the document cannot be read any more."""
    prompt = None if revision.prompt is None else revision.prompt.decode(errors="replace")
    beside = {path: digest.hex()[:8] for path, digest in revision.sources}
    beside |= {one.path: one.digest.hex()[:8] for one in (*revision.layers, *revision.locks)}
    return RevisionState(revision.slug, revision.path, _parse_value(revision), prompt, beside)


def _parse_value(revision: Revision) -> dict[str, Any]:
    try:
        return dict(parse_document(revision.path, revision.data).value)
    except InvalidManifests:
        return {}


def revision_changes(
    newest_first: Sequence[Revision], masker: Masker
) -> list[tuple[FieldChange, ...] | None]:
    """Return what each revision changed; None for an agent's first one, and for the oldest one given."""
    states = [get_state(revision) for revision in newest_first]
    before = [*states[1:], None] if states else []
    pairs = zip(newest_first, states, before, strict=True)
    return [
        None if before is None or revision.operation == "create" else diff_revisions(before, state, masker)
        for revision, state, before in pairs
    ]
