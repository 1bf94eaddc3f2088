"""Preconditions of an edit: whether a round would accept it, and the version that contains it."""

from __future__ import annotations

from uuid import UUID

from agentsd.control.sync.reconciler import SyncResult
from agentsd.control.sync.syncer import RoundReport
from agentsd.control.writeback.delivery import EditPlan, WriteResult
from agentsd.control.writeback.errors import NotSynced, WriteConflict
from agentsd.core.errors import InvalidManifests
from agentsd.files.tree import Tree


def refuse_quarantined(outcome: SyncResult, decided: EditPlan) -> None:
    """Raise what is wrong with the files of this edit; errors in other files do not concern it."""
    bad = [q for q in outcome.plan.quarantined if q.path in decided.after]
    if bad:
        raise InvalidManifests([violation for one in bad for violation in one.violations])


def get_written_version(report: RoundReport, written: WriteResult) -> int:
    """Return the version that contains the edit. Raises ``NotSynced``."""
    if report.outcome is None:
        reason = report.error.message if report.error else "the sync failed"
        raise NotSynced(
            f"{written.path} is written, but not live yet: {reason}",
            hint="the next sync will apply it; do not send it again",
        )
    head = report.outcome.head
    return head.version if head else report.outcome.stored.version


def refuse_undeleted(outcome: SyncResult, decided: EditPlan) -> None:
    """Raise where an agent without a file is to be deleted, and another file turns out to describe it."""
    if decided.edits or not decided.explicit:
        return
    gone = {change.id for change in outcome.plan.changes if change.operation == "delete"}
    if not decided.explicit <= gone:
        raise WriteConflict(f"another file describes {decided.slug} now", hint="read the list again")


def refuse_elsewhere(tree: Tree, agent_id: UUID) -> None:
    """Raise where the agent whose file is to be restored is in another one."""
    mark = str(agent_id).encode()
    other = next((file for file in tree.files.values() if mark in file.data), None)
    if other is not None:
        raise WriteConflict(
            f"{other.path} describes this agent now",
            hint="sync first, then use the agent's current name",
        )
