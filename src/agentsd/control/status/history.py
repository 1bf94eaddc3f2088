"""History of agents: revisions and audit entries as one list. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from agentsd.store.queries.audit import AuditEntry
from agentsd.store.queries.revisions import RevisionSummary

_RECORDED_WITHIN = timedelta(minutes=2)
"""An audit entry is recorded when its reply is known, which may wait for every replica."""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """Revision, with the audit entry of its write where known; or an audit entry without a revision."""

    at: datetime
    step: RevisionSummary | None = None
    audit: AuditEntry | None = None

    @property
    def who(self) -> str | None:
        """Return who did it; for a sync what started it: "watch", "cli"."""
        if self.audit is not None:
            return self.audit.actor
        return self.step.trigger if self.step is not None else None


def merge_history(
    steps: Sequence[RevisionSummary], actions: Sequence[AuditEntry], makers: Sequence[AuditEntry], limit: int
) -> list[HistoryEntry]:
    """Return the newest ``limit`` entries.

    ``makers`` are the audit entries that made the versions of ``steps``: each is listed with its step,
    not twice.
    """
    entries = [
        HistoryEntry(
            step.created_at, step, next((action for action in makers if _is_made_by(action, step)), None)
        )
        for step in steps
    ]
    told = {entry.audit.id for entry in entries if entry.audit is not None}
    entries += [HistoryEntry(action.at, audit=action) for action in actions if action.id not in told]
    entries.sort(key=lambda entry: (entry.at, entry.step.version if entry.step else 0), reverse=True)
    return entries[:limit]


def _is_made_by(action: AuditEntry, step: RevisionSummary) -> bool:
    """Return whether ``action`` made ``step``: a new default also replaces the old one.

    An entry that changed nothing names the version that it found, which somebody else made.
    """
    told = action.detail
    if told.get("outcome") != "done" or told.get("to_version") != step.version:
        return False
    if told.get("from_version") == step.version or action.at - step.created_at > _RECORDED_WITHIN:
        return False
    return action.target == step.slug or (action.action == "set-default" and action.owner == step.owner)
