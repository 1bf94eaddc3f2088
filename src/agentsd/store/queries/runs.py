"""Record of sync runs, one row each, and the present condition of every manifest.

Recorded in transactions of their own, so that a run that was refused is on record too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import orjson
from psycopg import AsyncConnection

from agentsd.store.lenient_values import read_mapping, read_mappings
from agentsd.store.queries.agent_rows import transpose_rows

RUNS_CHANNEL = "agentsd_runs"
"""The channel on which a recorded run is announced, without a payload."""

RunOutcome = Literal["applied", "unchanged", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class SyncRun:
    """Run of sync, by command or by daemon."""

    id: UUID
    source: str
    trigger: str  # what started it: "cli" (a command), "watch" (changed files), "api" (an edit by the API)
    outcome: RunOutcome
    started_at: datetime
    duration_ms: int
    commit: str | None = None
    version: int | None = None  # the version that it made; None: it changed nothing
    counts: Mapping[str, int] = field(
        default_factory=dict
    )  # operation → number, and "unchanged", "quarantined"
    errors: Sequence[Mapping[str, Any]] = ()  # of a violation: path, code, message, line, column
    drift: Sequence[
        Mapping[str, Any]
    ] = ()  # what had been edited by hand, as ``core.text.drift_record.drift_to_json``
    recorded_at: datetime | None = field(default=None, compare=False)  # None: not stored yet


@dataclass(frozen=True, slots=True)
class ManifestCondition:
    """Condition of one manifest; also of one that never became a row of ``agents``."""

    source: str
    path: str
    slug: str
    type: str  # Ready, Invalid, Suspended, Orphaned
    reason: str  # CamelCase, for machines
    message: str
    since: datetime | None = None  # when this type and reason began; None: not stored yet


async def record_run(connection: AsyncConnection, run: SyncRun) -> None:
    """Store ``run``; recording the same id again replaces it."""
    await connection.execute(
        """INSERT INTO sync_runs
               (id, source, trigger, outcome, started_at, duration_ms, commit, version, counts, errors, drift)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
           ON CONFLICT (id) DO UPDATE SET outcome = excluded.outcome, duration_ms = excluded.duration_ms,
               commit = excluded.commit, version = excluded.version, counts = excluded.counts,
               errors = excluded.errors, drift = excluded.drift, recorded_at = now()""",
        (
            run.id,
            run.source,
            run.trigger,
            run.outcome,
            run.started_at,
            run.duration_ms,
            run.commit,
            run.version,
            orjson.dumps(dict(run.counts)).decode(),
            orjson.dumps([dict(error) for error in run.errors]).decode(),
            orjson.dumps([dict(one) for one in run.drift]).decode(),
        ),
    )
    await connection.execute("SELECT pg_notify(%s, '')", (RUNS_CHANNEL,))


async def list_runs(
    connection: AsyncConnection, *, source: str | None = None, limit: int = 20
) -> list[SyncRun]:
    """Return the latest runs, newest first; of every source where none is named."""
    cursor = await connection.execute(
        """SELECT id, source, trigger, outcome, started_at, duration_ms, commit, version, counts, errors,
                  drift, recorded_at
           FROM sync_runs WHERE %(source)s::text IS NULL OR source = %(source)s
           ORDER BY recorded_at DESC LIMIT %(limit)s""",
        {"source": source, "limit": limit},
    )
    return [_make_run(row) for row in await cursor.fetchall()]


def _make_run(row: tuple[Any, ...]) -> SyncRun:
    columns = (*row[:8], read_mapping(row[8]), read_mappings(row[9]), read_mappings(row[10]), *row[11:])
    return SyncRun(*columns)


@dataclass(frozen=True, slots=True)
class RunChange:
    """Change of one agent by one run. ``commit`` None: its files were not committed then."""

    operation: str
    slug: str
    commit: str | None


async def load_run_changes(
    connection: AsyncConnection, runs: Mapping[UUID, int], *, owner: str | None, limit: int
) -> dict[UUID, list[RunChange]]:
    """Return up to ``limit`` changes of each run, by name. ``runs``: the version that each of them made.

    ``owner``: only of its agents; None: of all.
    """
    if not runs:
        return {}
    cursor = await connection.execute(
        """SELECT run_id, operation, slug, commit FROM (
               SELECT run_id, operation, slug, commit,
                      row_number() OVER (PARTITION BY run_id ORDER BY slug) AS place
               FROM agent_revisions
               WHERE version = ANY(%(versions)b) AND run_id = ANY(%(runs)b)
                 AND (%(owner)s::text IS NULL OR owner = %(owner)s)) r
           WHERE place <= %(limit)s ORDER BY place""",
        {"versions": list(runs.values()), "runs": list(runs), "owner": owner, "limit": limit},
    )
    found: dict[UUID, list[RunChange]] = {}
    for run, *change in await cursor.fetchall():
        found.setdefault(run, []).append(RunChange(*change))
    return found


async def load_run_triggers(connection: AsyncConnection, runs: Collection[UUID]) -> dict[UUID, str]:
    """Return what started these runs, as far as they are on record."""
    cursor = await connection.execute("SELECT id, trigger FROM sync_runs WHERE id = ANY(%b)", (list(runs),))
    return dict(await cursor.fetchall())


async def load_version_owners(
    connection: AsyncConnection, versions: Collection[int]
) -> dict[int, frozenset[str]]:
    """Return whose agents these versions changed; versions that changed none are left out."""
    if not versions:
        return {}
    cursor = await connection.execute(
        """SELECT version, array_agg(DISTINCT owner) FROM agent_revisions
           WHERE version = ANY(%b) GROUP BY version""",
        (list(versions),),
    )
    return {version: frozenset(owners) for version, owners in await cursor.fetchall()}


async def set_conditions(
    connection: AsyncConnection, source: str, conditions: Sequence[ManifestCondition]
) -> None:
    """Replace the conditions of ``source``. ``since`` moves only when type or reason does."""
    rows = [(c.path, c.slug, c.type, c.reason, c.message) for c in conditions]
    await connection.execute(
        "DELETE FROM conditions WHERE source = %s AND path <> ALL(%b::text[])",
        (source, [row[0] for row in rows]),
    )
    if rows:
        await connection.execute(_SET_CONDITIONS, (source, *transpose_rows(rows)))


async def list_conditions(connection: AsyncConnection, source: str | None = None) -> list[ManifestCondition]:
    """Return conditions by source and path; of every source where none is named."""
    cursor = await connection.execute(
        """SELECT source, path, slug, type, reason, message, since FROM conditions
           WHERE %(source)s::text IS NULL OR source = %(source)s ORDER BY source, path""",
        {"source": source},
    )
    return [ManifestCondition(*row) for row in await cursor.fetchall()]


_SET_CONDITIONS = """
INSERT INTO conditions AS c (source, path, slug, type, reason, message)
SELECT %s, s.* FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::text[])
     AS s (path, slug, type, reason, message)
ON CONFLICT (source, path) DO UPDATE SET
    slug = excluded.slug, type = excluded.type, reason = excluded.reason, message = excluded.message,
    since = CASE WHEN (c.type, c.reason) = (excluded.type, excluded.reason) THEN c.since ELSE now() END
WHERE (c.slug, c.type, c.reason, c.message)
      IS DISTINCT FROM (excluded.slug, excluded.type, excluded.reason, excluded.message)
"""
