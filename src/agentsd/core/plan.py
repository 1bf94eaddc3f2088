"""The plan: what has to change so that the store says what the files say.

A pure function over frozen values: ``plan(desired, stored)``. Files against store is the sync.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from agentsd.core.agent import Manifest, StoredAgent
from agentsd.core.user import StoredUser, User
from agentsd.core.violations import Pointer, Violation

Operation = Literal["create", "update", "rename", "delete", "heal"]
FieldOperation = Literal["add", "change", "remove"]
SecretChange = Literal["changed", "resealed"]


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field that differs. ``old`` and ``new`` are None where a seal is involved."""

    operation: FieldOperation
    pointer: Pointer
    old: Any = None
    new: Any = None
    secret: SecretChange | None = None  # "resealed": new ciphertext; same value, or no key can tell


@dataclass(frozen=True, slots=True)
class Change:
    """One agent that changes. ``rename`` may change fields as well; ``heal`` undoes a drift."""

    operation: Operation
    id: UUID
    slug: str  # the new one; the old one for a delete
    owner: str
    path: str
    desired: Manifest | None = None  # None for a delete
    stored: StoredAgent | None = None  # None for a create
    fields: tuple[FieldChange, ...] = ()


@dataclass(frozen=True, slots=True)
class UserChange:
    """One owner that is created, updated or tombstoned."""

    operation: Literal["create", "update", "delete"]
    username: str
    desired: User | None = None
    stored: StoredUser | None = None


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A manifest that breaks a rule; its stored version, if any, stays."""

    path: str
    violations: tuple[Violation, ...]


@dataclass(frozen=True, slots=True)
class Desired:
    """What the files of one source say."""

    manifests: Mapping[UUID, Manifest]
    users: Mapping[str, User]
    quarantined: tuple[Quarantined, ...] = ()


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store holds (rows of every source, without tombstones)."""

    version: int
    agents: Mapping[UUID, StoredAgent]
    users: Mapping[str, StoredUser]
    commit: str | None = None  # the commit that this source last applied


@dataclass(frozen=True, slots=True)
class Plan:
    """All that an apply will do, in order."""

    source: str
    changes: tuple[Change, ...]
    users: tuple[UserChange, ...]
    unchanged: int
    quarantined: tuple[Quarantined, ...] = ()
    held_back: Sequence[str] = ()  # slugs that would be pruned, were nothing quarantined

    @property
    def empty(self) -> bool:
        """Nothing to write: no version is spent."""
        return not (self.changes or self.users)
