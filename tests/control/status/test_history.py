"""Revisions and audit entries as one list."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from agentsd.control.status.history import merge_history
from agentsd.store.queries.audit import AuditEntry
from agentsd.store.queries.revisions import RevisionSummary

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def step(version: int, slug: str = "acme/a", trigger: str | None = "watch") -> RevisionSummary:
    return RevisionSummary(
        UUID(int=1), version, "update", slug, "acme", f"{slug}.yaml", b"b", b"a", None, trigger, at(version)
    )


def make_entry(number: int, to: int | None, action: str = "update", target: str = "acme/a") -> AuditEntry:
    outcome = "refused" if to is None else "done"
    return AuditEntry(
        number,
        at(number + 0.5),
        "acme/ci",
        action,
        target,
        "acme",
        {"outcome": outcome, "to_version": to},
    )


def told(
    steps: list[RevisionSummary], actions: list[AuditEntry], limit: int = 9
) -> list[tuple[int | None, int | None]]:
    return [
        (entry.step.version if entry.step else None, entry.audit.id if entry.audit else None)
        for entry in merge_history(steps, actions, actions, limit)
    ]


def test_an_action_is_shown_with_its_revision() -> None:
    """Once; a refused one stands by itself; all newest first."""
    assert told([step(3), step(1)], [make_entry(3, 3), make_entry(2, None)]) == [(3, 3), (None, 2), (1, None)]


def test_an_action_that_changed_nothing_made_nothing() -> None:
    """It names the version that it found: whoever made that is somebody else."""
    found = replace(make_entry(4, 3), detail={"outcome": "done", "from_version": 3, "to_version": 3})
    assert told([step(3)], [found]) == [(None, 4), (3, None)]
    assert told([step(3)], [make_entry(999, 3, "set-default", "acme/b")]) == [(None, 999), (3, None)]


def test_an_action_that_made_another_agents_version() -> None:
    """A sync may take in two edits at once: each keeps its own author."""
    assert told([step(3)], [make_entry(3, 3, target="acme/b")]) == [(None, 3), (3, None)]


def test_a_new_default_explains_the_old_ones_change() -> None:
    """Setting a default changes two agents of one owner."""
    assert told([step(3)], [make_entry(3, 3, "set-default", "acme/b")]) == [(3, 3)]


def test_the_newest_are_kept() -> None:
    """Of both kinds together."""
    assert told([step(9), step(1)], [make_entry(4, None), make_entry(3, None)], limit=2) == [
        (9, None),
        (None, 4),
    ]


def test_who_did_it() -> None:
    """The actor, where known; else what started the sync."""
    entries = merge_history([step(2), step(1, trigger=None)], [make_entry(1, None)], [make_entry(2, 2)], 9)
    assert [entry.who for entry in entries] == ["acme/ci", "acme/ci", None]
