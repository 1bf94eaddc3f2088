"""Statuses of agents as this replica knows them, and refused files that never became an agent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID, uuid5

from pydantic import Field

from agentsd.core.ledger.status import AgentStatus, StatusCause, StatusWord, decide_status
from agentsd.core.manifest.agent import AgentRow
from agentsd.core.names import derive_owner
from agentsd.runtime.agents.snapshot import AgentCondition, Snapshot, SnapshotEntry
from agentsd.runtime.follower.run_feed import RunFeed
from agentsd.services.ledger.health import NO_HEALTH, AgentHealth, HealthBoard, list_kinds
from agentsd.store.queries.runs import ManifestCondition
from agentsd.web.views.visibility import is_cross_file

CONFLICT_MESSAGE = "it conflicts with another file: agentsd validate names both"
_FILES = UUID("8a0c2d5e-6d0b-5f0e-9d1c-3b5f7a1e9c44")
"""Namespace of the ids of refused files."""


@dataclass(frozen=True)
class StatusReply:
    """Status of an agent: whether it answers."""

    word: StatusWord
    reason: Annotated[str, Field(description="For programs; empty where there is nothing to say.")]
    message: str
    fix: Annotated[str, Field(description="What to do.")]
    field: Annotated[str, Field(description="The field of the manifest to edit: `llm.api_key`.")]
    since: datetime | None

    @classmethod
    def of(cls, status: AgentStatus) -> StatusReply:
        """Return the reply for a status."""
        cause = status.cause or StatusCause("", "")
        return cls(status.word, cause.reason, cause.message, cause.fix, cause.field, cause.since)


@dataclass(frozen=True, slots=True)
class _Known:
    entry: SnapshotEntry
    condition: AgentCondition
    health: AgentHealth
    conditions: Mapping[tuple[str, str], ManifestCondition]
    status: AgentStatus


class AgentStatuses:
    """Statuses of the agents of one process. Without a board nothing was asked yet."""

    def __init__(self, health: HealthBoard | None = None, timeline: RunFeed | None = None) -> None:
        self._health = health
        self._timeline = timeline
        self._known: dict[UUID, _Known] = {}

    def of(self, entry: SnapshotEntry) -> AgentStatus:
        """Return the status of ``entry``; the same object as long as nothing changes."""
        health, conditions = self._find_health(entry), self._get_conditions()
        known = self._known.get(entry.row.id)
        if (
            known is not None
            and known.entry is entry
            and known.condition is entry.condition
            and known.health is health
            and known.conditions is conditions
        ):
            return known.status
        row = entry.row
        status = decide_status(
            row.version,
            active=row.is_active,
            refused=find_refusal(entry, conditions),
            health=list_kinds(health, row.slug),
        )
        if known is not None and known.status == status:
            status = known.status
        self._known[row.id] = _Known(entry, entry.condition, health, conditions, status)
        return status

    def list_refused(self, snapshot: Snapshot, owner: str | None) -> dict[str, SnapshotEntry]:
        """Return refused files without an agent as entries by slug; ``owner`` None: of all owners.

        Where another file's agent has the slug, the entry has the file's path in its place.
        """
        found: dict[str, SnapshotEntry] = {}
        for (source, path), condition in self._get_conditions().items():
            if condition.type != "Invalid" or (owner is not None and derive_owner(path) != owner):
                continue
            taken = snapshot.entries.get(condition.slug)
            if taken is not None and (taken.row.source, taken.row.path) == (source, path):
                continue
            slug = condition.slug if taken is None and condition.slug not in found else path
            found[slug] = _make_entry(condition, slug)
        return found

    def _find_health(self, entry: SnapshotEntry) -> AgentHealth:
        return self._health.find(entry.row.id) if self._health is not None else NO_HEALTH

    def _get_conditions(self) -> Mapping[tuple[str, str], ManifestCondition]:
        return self._timeline.conditions if self._timeline is not None else _NO_CONDITIONS


_NO_CONDITIONS: Mapping[tuple[str, str], ManifestCondition] = {}


def is_refused_file(entry: SnapshotEntry) -> bool:
    """Return whether an entry is a refused file that never became an agent."""
    return entry.row.version == 0


def find_refusal(
    entry: SnapshotEntry, conditions: Mapping[tuple[str, str], ManifestCondition]
) -> StatusCause | None:
    """Return why the file of an agent, or what this replica made of it, is not served; None: it is."""
    row, condition = entry.row, entry.condition
    found = conditions.get((row.source, row.path))
    if found is not None and found.type == "Invalid":
        return make_refusal(found)
    if condition.type in ("Degraded", "Invalid"):
        fix = f"run: agentsd validate {row.path}"
        return StatusCause(condition.reason, condition.message, condition.since, fix)
    return None


def make_refusal(condition: ManifestCondition) -> StatusCause:
    """Return the cause of a refused file. Its message begins with line and column."""
    message = CONFLICT_MESSAGE if is_cross_file(condition.reason) else condition.message
    fix = f"correct the file: agentsd validate {condition.path}"
    return StatusCause(condition.reason, message, condition.since, fix)


def _make_entry(condition: ManifestCondition, slug: str) -> SnapshotEntry:
    since = condition.since or datetime.now(UTC)
    row = AgentRow(
        id=uuid5(_FILES, f"{condition.source}\0{condition.path}"),
        slug=slug,
        owner=derive_owner(condition.path),
        source=condition.source,
        path=condition.path,
        version=0,
        digest=b"",
        is_default=False,
        is_active=True,
        name=slug,
        commit=None,
        created_at=since,
        updated_at=since,
    )
    return SnapshotEntry(row, AgentCondition("Invalid", condition.reason, condition.message, since))
