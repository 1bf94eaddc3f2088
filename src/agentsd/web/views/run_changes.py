"""Agents that runs changed and who caused it, for pages that ask every few seconds: each run is read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from psycopg import AsyncConnection
from pydantic import Field

from agentsd.store.queries.audit import load_version_audit_entries
from agentsd.store.queries.runs import RunChange, RunOutcome, SyncRun, load_run_changes

CHANGES_SHOWN = 8
"""Agents of one run that are named; ``counts`` has the number of all."""

_KEPT_MAX = 4000
AUDIT_LAG = timedelta(minutes=10)
"""Time between an edit's audit entry and the start of its run, at most: their clocks may differ."""


@dataclass(frozen=True)
class RunReply:
    """Run of a sync, with what it changed."""

    id: UUID
    source: str
    trigger: Annotated[str, Field(description="What started it: watch, api, cli or pull.")]
    outcome: RunOutcome
    started_at: datetime
    duration_ms: int
    commit: Annotated[str | None, Field(description="The commit that the tree was at.")]
    version: Annotated[int | None, Field(description="The version that it made; null: nothing changed.")]
    counts: Mapping[str, int]
    errors: Sequence[Mapping[str, Any]]
    drift: Sequence[Mapping[str, Any]]
    recorded_at: datetime | None
    changes: Annotated[
        Sequence[RunChange],
        Field(description="The first agents that it changed; `counts` has the number of all."),
    ]
    actor: Annotated[str | None, Field(description="Who caused it by API or command.")]


class RunChangesCache:
    """Changes by run and reader; a run that is on record does not change."""

    def __init__(self) -> None:
        self._kept: dict[tuple[UUID, str | None], list[RunChange]] = {}

    async def load(
        self, connection: AsyncConnection, runs: Sequence[SyncRun], owner: str | None
    ) -> Mapping[UUID, Sequence[RunChange]]:
        """Return the changes of ``runs`` that ``owner`` may see; None: all."""
        made = {run.id: run.version for run in runs if run.version is not None}
        unknown = {run: version for run, version in made.items() if (run, owner) not in self._kept}
        found = await load_run_changes(connection, unknown, owner=owner, limit=CHANGES_SHOWN)
        while len(self._kept) > _KEPT_MAX:
            self._kept.pop(next(iter(self._kept)))
        self._kept |= {(run, owner): found.get(run, []) for run in unknown}
        return {run: self._kept[run, owner] for run in made}


async def load_actors(
    connection: AsyncConnection, runs: Sequence[SyncRun], owner: str | None
) -> dict[int, str]:
    """Return who made a version, by API or by command, as far as ``owner`` may read it in the audit."""
    made = [run for run in runs if run.version is not None]
    if not made:
        return {}
    since = min(run.started_at for run in made) - AUDIT_LAG
    versions = [run.version for run in made if run.version is not None]
    entries = await load_version_audit_entries(connection, versions, since=since)
    return {
        entry.detail["to_version"]: entry.actor for entry in entries if owner is None or entry.owner == owner
    }


def make_run_reply(
    run: SyncRun, changes: Mapping[UUID, Sequence[RunChange]], actors: Mapping[int, str]
) -> RunReply:
    """Return one run with the first agents that it changed."""
    known = {one.name: getattr(run, one.name) for one in fields(run)}
    actor = actors.get(run.version) if run.version is not None else None
    return RunReply(**known, changes=changes.get(run.id, ()), actor=actor)
