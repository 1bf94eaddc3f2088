"""Revisions as values that can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentsd.core.errors import InvalidManifests
from agentsd.core.manifest.document import parse
from agentsd.core.plan.diff import FieldChange
from agentsd.core.text.revision_changes import State, changes
from agentsd.store.queries.agents import Revision


def state_of(revision: Revision) -> State:
    """Return the state of the agent at a revision; empty where the document cannot be read any more."""
    prompt = None if revision.prompt is None else revision.prompt.decode(errors="replace")
    beside = {path: digest.hex()[:8] for path, digest in revision.sources}
    beside |= {layer.path: layer.digest.hex()[:8] for layer in revision.layers}
    return State(revision.slug, revision.path, _value(revision), prompt, beside)


def _value(revision: Revision) -> dict[str, Any]:
    try:
        return dict(parse(revision.path, revision.data).value)
    except InvalidManifests:
        return {}


def steps_between(newest_first: Sequence[Revision]) -> list[tuple[FieldChange, ...] | None]:
    """Return what each revision changed; None for an agent's first one, and for the oldest one given."""
    states = [state_of(revision) for revision in newest_first]
    before = [*states[1:], None] if states else []
    pairs = zip(newest_first, states, before, strict=True)
    return [
        None if before is None or revision.operation == "create" else changes(before, state)
        for revision, state, before in pairs
    ]
