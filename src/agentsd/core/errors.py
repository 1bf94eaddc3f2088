"""The error tree. Every error says what is wrong (``message``) and what to do (``hint``).

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
    ├── SandboxError            work in a worker process did not end with a result
    │   ├── LimitExceeded       it takes more than it may; ``limit`` says of what
    │   ├── WorkerFailed        the worker process ended, or answered garbage
    │   └── FunctionFailed      the function raised an exception of type ``kind``
    ├── AgentNotFound           no such agent
    ├── AgentUnavailable        the agent exists, but cannot run: a condition says why
    ├── ProviderError           a vendor failed; see ``agentsd.providers.base``
    └── Bug                     an exception that nobody foresaw

Messages never hold a secret: they are written here, not copied from a library.
"""

from __future__ import annotations

import traceback
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentsd.core.violations import Pointer, Violation


class AgentsdError(Exception):
    """Base of every error that a user may see. ``exit_code`` is the process's exit status."""

    exit_code = 1
    retryable = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class InvalidManifests(AgentsdError):
    """Manifests break rules; ``violations`` holds all of them, not only the first."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        count = len(violations)
        super().__init__(f"{count} violation{'s' if count != 1 else ''}", hint="run: agentsd validate")
        self.violations = tuple(violations)


class SealError(AgentsdError):
    """A sealed value could not be opened."""


class SealLocked(SealError):
    """No identity at hand opens the seal."""


class KeyServiceForbidden(SealLocked):
    """Only a key service could open the seal that the operator does not allow; sops was not started.

    ``pointer`` is where the document names it; ``final``: no setting allows it.
    """

    def __init__(
        self, message: str, *, hint: str = "", pointer: Pointer = ("sops",), final: bool = False
    ) -> None:
        super().__init__(message, hint=hint)
        self.pointer = pointer
        self.final = final


class SealTampered(SealError):
    """A value, a tag or the MAC does not verify: the file was changed by something other than sops."""


class SealMalformed(SealError):
    """The seal itself (``sops:`` block or an ``ENC[…]`` value) cannot be read."""


class SealUnsure(SealError):
    """In-process opening cannot be certain of this file; the real sops decides."""


class KeyNeeded(AgentsdError):
    """The edit keeps or renews what is sealed, and no key at hand opens the file."""


class SopsFailed(AgentsdError):
    """The sops binary refused, failed or is missing. ``code`` is its exit status (None: not run)."""

    def __init__(self, message: str, *, hint: str = "", code: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


class StoreError(AgentsdError):
    """Postgres said no."""


class StoreUnavailable(StoreError):
    """Postgres cannot be reached, or the connection broke."""

    retryable = True


class StoreRefused(StoreError):
    """Postgres answers but refuses: wrong password, missing grant, read-only server."""


class SessionLost(StoreUnavailable):
    """The session ended or is unfit: a new one may do what it could not."""


class StoreReadOnly(StoreRefused):
    """Postgres answers and takes no writes: a standby, or a primary during a switch-over."""

    retryable = True


class SchemaMismatch(StoreError):
    """The database's schema is older or newer than this program."""


class NotLeading(StoreError):
    """Another process leads this source by now; what was being applied was not."""

    retryable = True


class SyncRefused(AgentsdError):
    """A sync that would do harm; nothing was touched."""


class MassDeletion(SyncRefused):
    """The sync would remove many agents at once."""


class StaleSync(SyncRefused):
    """The sync's commit is an ancestor of the one that is already applied."""


class ConfigError(AgentsdError):
    """A setting or a command line that cannot work."""

    exit_code = 2


Limit = Literal["cpu", "memory", "time", "input", "output", "queue"]
"""What a call in a worker process may exceed."""


class SandboxError(AgentsdError):
    """Work in a worker process did not end with a result."""


class LimitExceeded(SandboxError):
    """A call takes more than it may; ``limit`` says of what."""

    def __init__(self, limit: Limit, allowed: str) -> None:
        super().__init__(f"this takes more than {allowed}", hint="make what is to be read smaller or simpler")
        self.limit: Limit = limit
        self.retryable = limit == "queue"


class WorkerFailed(SandboxError):
    """A worker process ended in mid-call, or answered garbage."""


class FunctionFailed(SandboxError):
    """The function raised an exception of type ``kind``, whose text may quote what it read."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"this cannot be read ({kind})")
        self.kind = kind


class AgentNotFound(AgentsdError):
    """No agent has this slug or id."""


class AgentUnavailable(AgentsdError):
    """The agent exists, but nothing of it can run; ``reason`` is its condition's machine reason."""

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class ProviderError(AgentsdError):
    """A vendor failed; the subclasses are in ``agentsd.providers.base``."""


def describe(error: BaseException) -> str:
    """Return type and place of an exception, ``KeyError at chain:74``: its own text may quote a secret."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "agentsd" in PurePath(frame.filename).parts] or frames
    place = f" at {PurePath(ours[-1].filename).stem}:{ours[-1].lineno}" if ours else ""
    return f"{type(error).__name__}{place}"


class Bug(AgentsdError):
    """An exception that nobody foresaw, told by type and place: its own text may quote a secret."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(
            f"this is a bug in agentsd: {describe(error)}",
            hint="please report it; AGENTSD_DEBUG=1 shows where (look through that for secrets first)",
        )
