"""History of agents: revisions and audit entries as one list. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from agentsd.store.queries.audit import AuditEntry
from agentsd.store.queries.revisions import RevisionSummary

_RECORDED_WITHIN = timedelta(minutes=2)
"""A deed is kept when its reply is known, which may wait for every replica."""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """Revision, with the audit entry of its write where known; or an audit entry without a revision."""

    at: datetime
    step: RevisionSummary | None = None
    deed: AuditEntry | None = None

    @property
    def who(self) -> str | None:
        """Return who did it; for a sync what started it: "watch", "cli"."""
        if self.deed is not None:
            return self.deed.actor
        return self.step.trigger if self.step is not None else None


def merge_history(
    steps: Sequence[RevisionSummary], deeds: Sequence[AuditEntry], makers: Sequence[AuditEntry], limit: int
) -> list[HistoryEntry]:
    """Return the newest ``limit`` entries.

    ``makers`` are the audit entries that made the versions of ``steps``: each is listed with its step,
    not twice.
    """
    entries = [
        HistoryEntry(step.created_at, step, next((deed for deed in makers if _is_made_by(deed, step)), None))
        for step in steps
    ]
    told = {entry.deed.id for entry in entries if entry.deed is not None}
    entries += [HistoryEntry(deed.at, deed=deed) for deed in deeds if deed.id not in told]
    entries.sort(key=lambda entry: (entry.at, entry.step.version if entry.step else 0), reverse=True)
    return entries[:limit]


def _is_made_by(deed: AuditEntry, step: RevisionSummary) -> bool:
    """Return whether ``deed`` made ``step``: a new default also replaces the old one.

    An entry that changed nothing names the version that it found, which somebody else made.
    """
    told = deed.detail
    if told.get("outcome") != "done" or told.get("to_version") != step.version:
        return False
    if told.get("from_version") == step.version or deed.at - step.created_at > _RECORDED_WITHIN:
        return False
    return deed.target == step.slug or (deed.action == "set-default" and deed.owner == step.owner)
