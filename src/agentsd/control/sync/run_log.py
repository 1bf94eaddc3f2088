"""Record of a run: one row, and the condition of every manifest that is not simply Ready.

Written in a transaction of its own, so that a refused run is recorded, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import uuid4

from agentsd.control.sync.reconciler import SyncOptions, SyncResult
from agentsd.core.errors import AgentsdError, InvalidManifests, NotLeading, SyncRefused
from agentsd.core.names import derive_slug
from agentsd.core.plan.plan import Plan, Quarantined
from agentsd.core.text.drift_record import drift_to_json
from agentsd.core.text.render import ORPHANED, count_operations, violation_to_json
from agentsd.core.violations import Violation
from agentsd.store.database import Database
from agentsd.store.leader_election import Term, verify_term
from agentsd.store.queries import runs
from agentsd.store.queries.runs import ManifestCondition, SyncRun

ERRORS_MAX = 1000
"""Violations of one run that are on record. The conditions have the first ones of each agent."""


async def record_result(
    database: Database, outcome: SyncResult, options: SyncOptions, *, trigger: str, started_at: datetime
) -> None:
    """Record a run that was planned and, if there was anything to do, applied.

    Where ``options.term`` is over, what was applied is recorded, and conditions are left to the next
    leader.
    """
    errors = (violation_to_json(v) for q in outcome.plan.quarantined for v in q.violations)
    run = SyncRun(
        id=outcome.run_id,
        source=options.source,
        trigger=trigger,
        outcome="applied" if outcome.head else "unchanged",
        started_at=started_at,
        duration_ms=round(outcome.seconds * 1000),
        commit=options.commit,
        version=outcome.head.version if outcome.head else None,
        counts=count_operations(outcome.plan),
        errors=list(islice(errors, ERRORS_MAX)),
        drift=drift_to_json(outcome.plan) if outcome.head else (),
    )
    try:
        await _write_run(database, run, list_conditions(outcome.plan, outcome.suspended), options.term)
    except NotLeading:
        await _write_run(database, run, None)


async def record_error(
    database: Database, error: AgentsdError, options: SyncOptions, *, trigger: str, started_at: datetime
) -> None:
    """Record a run that changed nothing because it was refused or failed. Conditions stay as they were."""
    refused = isinstance(error, InvalidManifests | SyncRefused)
    run = SyncRun(
        id=uuid4(),
        source=options.source,
        trigger=trigger,
        outcome="refused" if refused else "failed",
        started_at=started_at,
        duration_ms=0,
        commit=options.commit,
        errors=_list_errors(error),
    )
    await _write_run(database, run, None)


def _list_errors(error: AgentsdError) -> Sequence[Mapping[str, Any]]:
    if isinstance(error, InvalidManifests):
        return [violation_to_json(violation) for violation in error.violations[:ERRORS_MAX]]
    return [{"code": type(error).__name__, "message": error.message, "hint": error.hint}]


async def _write_run(
    database: Database,
    run: SyncRun,
    conditions: Sequence[ManifestCondition] | None,
    term: Term | None = None,
) -> None:
    async with database.transaction() as conn:
        if term is not None:
            await verify_term(conn, term)
        await runs.record_run(conn, run)
        if conditions is not None:
            await runs.set_conditions(conn, run.source, conditions)


def list_conditions(plan: Plan, suspended: Iterable[str]) -> list[ManifestCondition]:
    """List invalid manifests, suspended ones and rows that outlive theirs, by path; all others are Ready."""
    invalid = [_make_invalid_condition(plan.source, quarantined) for quarantined in plan.quarantined]
    asleep = [
        ManifestCondition(plan.source, path, derive_slug(path), "Suspended", "Inactive", "active: false")
        for path in suspended
    ]
    held = {condition.path for condition in (*invalid, *asleep)}
    alone = [
        ManifestCondition(plan.source, row.path, row.slug, "Orphaned", "FileGone", f"it {ORPHANED}")
        for row in plan.orphaned
        if row.path not in held
    ]
    return [*invalid, *asleep, *alone]


def _make_invalid_condition(source: str, quarantined: Quarantined) -> ManifestCondition:
    first = quarantined.violations[0]
    more = len(quarantined.violations) - 1
    file = "" if first.path == quarantined.path else f"{first.path}:"  # a layer's
    message = f"{file}{first.line}:{first.column} {first.message}" + (f" (and {more} more)" if more else "")
    return ManifestCondition(
        source, quarantined.path, derive_slug(quarantined.path), "Invalid", _make_reason(first), message
    )


def _make_reason(violation: Violation) -> str:
    """Return the reason of a violation: ``plaintext-secret`` → ``PlaintextSecret``."""
    return "".join(word.capitalize() for word in violation.code.split("-"))
