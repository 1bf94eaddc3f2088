"""Error tree. Every error has a ``message`` (what is wrong) and a ``hint`` (what to do).

    AgentsdError
    ├── InvalidManifests        one or more manifests break a rule; carries every violation
    ├── SealError               a sealed value could not be opened
    │   ├── SealLocked          no identity at hand opens it
    │   │   └── KeyServiceForbidden  only a key service that the operator does not allow could
    │   ├── SealTampered        a value, tag or MAC does not verify
    │   ├── SealMalformed       the seal itself cannot be read
    │   └── SealUnsure          in-process opening cannot be certain: ask the real sops
    ├── KeyNeeded               an edit of a sealed file that nobody without its key can make
    ├── SopsFailed              the sops binary refused or is missing
    ├── StoreError
    │   ├── StoreUnavailable    Postgres cannot be reached (retryable)
    │   │   └── SessionLost     this session cannot go on, and a new one may (retryable)
    │   ├── StoreRefused        wrong password, missing grant
    │   │   └── StoreReadOnly   a standby, or a primary that is fenced off (retryable)
    │   ├── SchemaMismatch      the database is older or newer than this program
    │   └── NotLeading          another process has taken the lead, so this one must not apply (retryable)
    ├── SyncRefused             a sync that would do harm
    │   ├── MassDeletion
    │   └── StaleSync
    ├── ConfigError             a setting or command line that cannot work
    ├── ToolsUnknown            an MCP server cannot be asked for its tools, or lacks one that is allowed
    ├── SandboxError            work in a worker process did not end with a result
    │   ├── LimitExceeded       it takes more than it may; ``limit`` names the resource
    │   ├── WorkerFailed        the worker process ended, or answered garbage
    │   └── FunctionFailed      the function raised an exception of type ``kind``
    ├── RecordingRefused        a recording that cannot be decoded within the bounds
    ├── OptionRefused           a request asks an agent's provider for something that it cannot do
    ├── VariableRefused         a request brings a wrong value of a variable, or lacks one
    ├── OverrideRefused         a request changes what the manifest does not leave to clients
    ├── AgentNotFound           no such agent
    ├── AgentUnavailable        the agent exists, but cannot run: a condition gives the reason
    ├── ProviderError           a vendor failed; see ``agentsd.providers.base``
    └── Bug                     an exception that nobody foresaw

Messages never contain a secret: they are written here, not copied from a library.
"""

from __future__ import annotations

import traceback
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentsd.core.violations import Pointer, Violation


class AgentsdError(Exception):
    """Base of every error that a user may see. ``exit_code`` is the exit status of the process."""

    exit_code = 1
    retryable = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class InvalidManifests(AgentsdError):
    """Manifests that break rules; ``violations`` contains all violations, not only the first."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        count = len(violations)
        super().__init__(f"{count} violation{'s' if count != 1 else ''}", hint="run: agentsd validate")
        self.violations = tuple(violations)


class SealError(AgentsdError):
    """Failure to open a sealed value."""


class SealLocked(SealError):
    """Seal that no available identity opens."""


class KeyServiceForbidden(SealLocked):
    """Seal that only a forbidden key service could open; sops was not started.

    ``pointer`` is where the document names the service; ``final``: no setting allows it.
    """

    def __init__(
        self, message: str, *, hint: str = "", pointer: Pointer = ("sops",), final: bool = False
    ) -> None:
        super().__init__(message, hint=hint)
        self.pointer = pointer
        self.final = final


class SealTampered(SealError):
    """Value, tag or MAC that does not verify: the file was changed by something other than sops."""


class SealMalformed(SealError):
    """Seal (``sops:`` block or ``ENC[…]`` value) that cannot be parsed."""


class SealUnsure(SealError):
    """File that in-process opening cannot judge with certainty; the real sops decides."""


class KeyNeeded(AgentsdError):
    """Edit that keeps or renews sealed values of a file that no available key opens."""


class SopsFailed(AgentsdError):
    """Failure or absence of the sops binary. ``code`` is its exit status (None: not run)."""

    def __init__(self, message: str, *, hint: str = "", code: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


class StoreError(AgentsdError):
    """Error reported by Postgres."""


class StoreUnavailable(StoreError):
    """Postgres that cannot be reached, or a broken connection."""

    retryable = True


class StoreRefused(StoreError):
    """Refusal by Postgres: wrong password, missing grant, read-only server."""


class SessionLost(StoreUnavailable):
    """Database session that ended or is unusable; a new session may succeed."""


class StoreReadOnly(StoreRefused):
    """Postgres that accepts no writes: a standby, or a primary during a switch-over."""

    retryable = True


class SchemaMismatch(StoreError):
    """Database schema that is older or newer than this program."""


class NotLeading(StoreError):
    """Loss of the lead to another process; the apply in progress was not carried out."""

    retryable = True


class SyncRefused(AgentsdError):
    """Sync that would do harm; nothing was changed."""


class MassDeletion(SyncRefused):
    """Sync that would remove many agents at once."""


class StaleSync(SyncRefused):
    """Sync whose commit is an ancestor of the one that is already applied."""


class ToolsUnknown(AgentsdError):
    """Lock that cannot be made: an MCP server does not answer, or does not offer an allowed tool."""


class ConfigError(AgentsdError):
    """Setting or command line that cannot work."""

    exit_code = 2


Limit = Literal["cpu", "memory", "time", "input", "output", "queue"]
"""Limits of a call in a worker process."""


class SandboxError(AgentsdError):
    """Work in a worker process that did not end with a result."""


class LimitExceeded(SandboxError):
    """Call that exceeds a limit; ``limit`` names the resource."""

    def __init__(self, limit: Limit, allowed: str) -> None:
        super().__init__(f"this takes more than {allowed}", hint="make the input smaller or simpler")
        self.limit: Limit = limit
        self.retryable = limit == "queue"


class WorkerFailed(SandboxError):
    """Worker process that ended during a call or returned an invalid reply."""


class FunctionFailed(SandboxError):
    """Exception of type ``kind`` in the function; its text may quote what the function read."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"this cannot be read ({kind})")
        self.kind = kind


class RecordingRefused(AgentsdError):
    """Recording that cannot be decoded, or only beyond the bounds: "the recording …"."""


class OptionRefused(AgentsdError):
    """Option of a request that the agent's provider does not have; ``param`` is the request's field."""

    def __init__(self, message: str, *, param: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.param = param


class VariableRefused(AgentsdError):
    """Value of a variable that an agent does not declare, that does not fit, or that is missing.

    ``param`` is the field of the request.
    """

    def __init__(self, message: str, *, param: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.param = param


class OverrideRefused(AgentsdError):
    """Request that changes a part of an agent which its manifest does not leave to clients.

    ``param`` is the field of the request.
    """

    def __init__(self, message: str, *, param: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.param = param


class InvalidChat(AgentsdError):
    """Error of a request that is not a chat completion. ``param`` is the wrong key, as OpenAI names it."""

    def __init__(self, message: str, *, param: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.param = param


class AgentNotFound(AgentsdError):
    """Slug or id that no agent has."""


_PASSING_REASONS = frozenset({"Closing", "OpenTimeout", "SopsFailed"})


class AgentUnavailable(AgentsdError):
    """Agent that exists but cannot run; ``reason`` is its condition's machine-readable reason.

    Usually its manifest has to change first; ``retryable`` where time may suffice.
    """

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
        self.retryable = reason in _PASSING_REASONS


class ProviderError(AgentsdError):
    """Failure of a vendor; the subclasses are in ``agentsd.providers.base``.

    ``code`` and ``param`` are OpenAI's words for it where one fits: of fixed lists, never a vendor's text.
    ``tries`` counts the requests that were made in vain, retries and fallbacks included. ``kind`` and
    ``vendor`` are the section and the provider that failed, where a chain asked it.
    """

    code: str | None = None
    param: str | None = None
    tries = 1
    kind = ""
    vendor = ""


def describe_error(error: BaseException) -> str:
    """Return type and place of an exception, ``KeyError at chain:74``: its own text may quote a secret."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "agentsd" in PurePath(frame.filename).parts] or frames
    place = f" at {PurePath(ours[-1].filename).stem}:{ours[-1].lineno}" if ours else ""
    return f"{type(error).__name__}{place}"


class Bug(AgentsdError):
    """Unforeseen exception, reported by type and place: its own text may quote a secret."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(
            f"this is a bug in agentsd: {describe_error(error)}",
            hint="please report it; AGENTSD_DEBUG=1 shows where (check the output for secrets first)",
        )
