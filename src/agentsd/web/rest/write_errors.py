"""Errors of failed writes as problems: one table, from error to status and code."""

from __future__ import annotations

from collections.abc import Sequence

from agentsd.control.writeback.errors import (
    AgentExists,
    Forbidden,
    LockedOut,
    NotSynced,
    PreconditionFailed,
    ReadOnly,
    TokenExists,
    TokenNotFound,
    WriteConflict,
)
from agentsd.core.errors import (
    AgentsdError,
    ConfigError,
    InvalidManifests,
    KeyNeeded,
    MassDeletion,
    SealError,
    SopsFailed,
    SyncRefused,
)
from agentsd.core.manifest.edit import InvalidEdit, SecretNeeded
from agentsd.core.violations import Violation
from agentsd.files.atomic.compare_and_swap import DiskFull, FileRefused, is_full
from agentsd.files.atomic.folder_lock import CannotLock, FolderBusy
from agentsd.files.git.repository import GitBusy, GitFull, GitRefused
from agentsd.files.yaml.blocks import CannotEdit
from agentsd.web.http.problem import Problem, ViolationReply, from_error
from agentsd.web.views import visibility as scoping

_STATUS_BY_ERROR: tuple[tuple[type[AgentsdError], int, str], ...] = (
    (ReadOnly, 405, "read_only"),
    (Forbidden, 403, "forbidden"),
    (AgentExists, 409, "agent_exists"),
    (TokenExists, 409, "token_exists"),
    (TokenNotFound, 404, "token_not_found"),
    (LockedOut, 409, "lockout"),
    (WriteConflict, 409, "conflict"),
    (PreconditionFailed, 412, "precondition_failed"),
    (SecretNeeded, 422, "secret_needed"),
    (InvalidEdit, 422, "invalid_manifest"),
    (CannotEdit, 422, "invalid_manifest"),
    (KeyNeeded, 409, "key_needed"),
    (GitFull, 503, "disk_full"),
    (DiskFull, 503, "disk_full"),
    (GitRefused, 409, "git_refused"),
    (MassDeletion, 409, "mass_deletion"),
    (SyncRefused, 409, "sync_refused"),
    (SealError, 409, "seal_broken"),
    (ConfigError, 409, "conflict"),
    (FileRefused, 409, "conflict"),
    (CannotLock, 409, "conflict"),
    (SopsFailed, 503, "sops_failed"),
    (NotSynced, 503, "not_synced"),
    (GitBusy, 503, "busy"),
    (FolderBusy, 503, "busy"),
)


def from_write_error(error: Exception, scope: str | None = None) -> Problem | None:
    """Convert the error of a write; None for an unexpected fault.

    ``scope`` is the only owner whose agents are visible to the reader (see ``visibility``); None: all
    are.
    """
    if isinstance(error, Problem):
        return error
    if isinstance(error, InvalidManifests):
        return _make_invalid(
            error.violations if scope is None else scoping.filter_violations(error.violations, scope)
        )
    if isinstance(error, OSError) and is_full(error):
        return Problem(503, "disk_full", "this server's disk is full", hint="try again later")
    if not isinstance(error, AgentsdError):
        return None
    for kind, status, code in _STATUS_BY_ERROR:
        if isinstance(error, kind):
            return _make_problem(error, status, code)
    return from_error(error)


def _make_problem(error: AgentsdError, status: int, code: str) -> Problem:
    headers: dict[str, str] = {}
    if status == 405:
        headers["Allow"] = "GET, HEAD"
    elif status == 503:
        headers["Retry-After"] = "1"
    param = error.param if isinstance(error, InvalidEdit) else None
    return Problem(status, code, error.message, hint=error.hint, param=param, headers=headers)


def _make_invalid(found: Sequence[Violation]) -> Problem:
    if not found:
        return Problem(
            409, "conflict", scoping.REDACTED_MESSAGE, hint="ask an admin to run: agentsd validate"
        )
    first, more = found[0], len(found) - 1
    detail = first.message + (f" (and {more} more)" if more else "")
    violations = [ViolationReply.of(one) for one in found]
    return Problem(422, "invalid_manifest", detail, hint=first.hint, extra={"violations": violations})
