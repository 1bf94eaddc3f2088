"""Visibility for one owner of records about several owners; pure.

runs         those that last changed an agent of the owner, found a fault in a file of it, or found
             that it had been edited in the database: with these faults and drifts alone, without
             counts and duration, which would reveal how much others have
conditions   of the owner's own files
replicas     without host and process; among agents served in an older version only the owner's own
texts        a fault between two files names the other one, so it is redacted for those to whom
             that file is foreign
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from agentsd.core.names import derive_owner
from agentsd.core.violations import Violation
from agentsd.store.queries.runs import ManifestCondition, SyncRun

CROSS_FILE_CODES = frozenset(
    {
        "id-duplicate",
        "slug-duplicate",
        "slug-case",
        "source-conflict",
        "place-taken",
        "email-duplicate",
        "seal-reused",
    }
)
"""Codes of faults whose texts may name another owner or its files."""

REDACTED_MESSAGE = (
    "it conflicts with something not visible to this token: ask an admin, or run `agentsd validate`"
)


def redact_message(code: str, message: str) -> str:
    """Return ``message`` for readers other than admins. ``code`` is that of a violation or a condition."""
    return REDACTED_MESSAGE if is_cross_file(code) else message


def is_cross_file(code: str) -> bool:
    """Return whether the text of a violation or a condition may name another owner or its files."""
    return _normalize_code(code) in _CROSS_FILE_CODES


def filter_violations(violations: Iterable[Violation], owner: str) -> list[Violation]:
    """Return the violations in the files of ``owner``."""
    own = (violation for violation in violations if _belongs_to(violation.path, owner))
    return [
        replace(violation, message=redact_message(violation.code, violation.message)) for violation in own
    ]


def filter_runs(runs: Iterable[SyncRun], owner: str, versions: Collection[int]) -> list[SyncRun]:
    """Return the runs that made one of ``versions``, or found a fault in a file of ``owner``."""
    own = (
        (
            run,
            [_redact_fault(e) for e in run.errors if _belongs_to(e.get("path"), owner)],
            [one for one in run.drift if _belongs_to(one.get("path"), owner)],
        )
        for run in runs
    )
    return [
        replace(run, errors=errors, drift=drift, counts={}, duration_ms=0)
        for run, errors, drift in own
        if errors or drift or run.version in versions
    ]


def filter_conditions(conditions: Iterable[ManifestCondition], owner: str) -> list[ManifestCondition]:
    """Return the conditions of the files of ``owner``."""
    return [
        replace(condition, message=redact_message(condition.reason, condition.message))
        for condition in conditions
        if _belongs_to(condition.path, owner)
    ]


def filter_degraded(agents: Iterable[Mapping[str, Any]], owner: str) -> list[Mapping[str, Any]]:
    """Return the degraded agents of a replica that belong to ``owner``."""
    return [agent for agent in agents if _belongs_to(agent.get("slug"), owner)]


def _redact_fault(error: Mapping[str, Any]) -> dict[str, Any]:
    code = str(error.get("code", ""))
    return {**error, "message": redact_message(code, str(error.get("message", "")))}


def _belongs_to(path: object, owner: str) -> bool:
    return isinstance(path, str) and derive_owner(path) == owner


def _normalize_code(code: str) -> str:
    """Normalise a code: ``seal-reused`` and ``SealReused`` are the same."""
    return code.replace("-", "").casefold()


_CROSS_FILE_CODES = frozenset(_normalize_code(code) for code in CROSS_FILE_CODES)
