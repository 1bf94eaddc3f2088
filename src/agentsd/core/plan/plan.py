"""Plan: the changes that make the store match the files.

A pure function over frozen values: ``make_plan(desired, stored)``. A plan from files to store is a
sync.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal
from uuid import UUID

from agentsd.core.manifest.agent import Attachments, Manifest, StoredAgent
from agentsd.core.manifest.user import StoredUser, User
from agentsd.core.masker import Masker
from agentsd.core.names import DEFAULT_OWNER, derive_owner, strip_overlay
from agentsd.core.plan.diff import FieldChange, diff_documents
from agentsd.core.plan.drift import diff_drifted_agent, diff_drifted_user
from agentsd.core.sealed import is_sealed
from agentsd.core.violations import Violation

__all__ = [
    "Change",
    "DesiredState",
    "FieldChange",
    "HeldOwners",
    "Operation",
    "Plan",
    "Quarantined",
    "StoredState",
    "UserChange",
    "apply_to_stored",
    "count_deletions_by_owner",
    "count_mass_deletions",
    "diff_documents",
    "is_sealed",
    "is_whole_source_deleted",
    "make_plan",
]

Operation = Literal["create", "update", "rename", "delete", "heal"]


@dataclass(frozen=True, slots=True)
class Change:
    """Change of one agent. ``rename`` may change fields as well; ``heal`` undoes a drift."""

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
    """Owner that is created, updated or tombstoned."""

    operation: Literal["create", "update", "delete", "heal"]
    username: str
    desired: User | None = None
    stored: StoredUser | None = None
    fields: tuple[FieldChange, ...] = ()  # of a heal: values of the row, and of the file


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Manifest that breaks a rule; its stored version, if any, stays."""

    path: str
    violations: tuple[Violation, ...]


@dataclass(frozen=True, slots=True)
class HeldOwners:
    """Owners of whom nothing is pruned, since one of their files is set aside.

    Another owner's deletions go on: a broken file must block nobody else.
    """

    owners: frozenset[str] = frozenset()
    whole: bool = False  # the folder of manifests itself could not be read

    def __contains__(self, owner: object) -> bool:
        return self.whole or owner in self.owners

    def __bool__(self) -> bool:
        return self.whole or bool(self.owners)

    @classmethod
    def by(cls, paths: Iterable[str]) -> HeldOwners:
        """Return the owners of ``paths``, which were set aside."""
        named = set(paths)
        return cls(frozenset(map(derive_owner, named)), any(not strip_overlay(path) for path in named))


@dataclass(frozen=True, slots=True)
class DesiredState:
    """Contents of the files of one source."""

    manifests: Mapping[UUID, Manifest]
    users: Mapping[str, User]
    quarantined: tuple[Quarantined, ...] = ()
    checked: bytes = b""  # digest of the rules that the files were checked by
    renamed: Mapping[str, str] = field(default_factory=dict)  # owners, each with its new name


@dataclass(frozen=True, slots=True)
class StoredState:
    """Contents of the store (rows of every source, without tombstones)."""

    version: int
    agents: Mapping[UUID, StoredAgent]
    users: Mapping[str, StoredUser]
    commit: str | None = None  # the commit that this source last applied


@dataclass(frozen=True, slots=True)
class Plan:
    """Changes of one apply, in order."""

    source: str
    changes: tuple[Change, ...]
    users: tuple[UserChange, ...]
    unchanged: int
    quarantined: tuple[Quarantined, ...] = ()
    held_back: Sequence[str] = ()  # slugs that would be pruned, were nothing quarantined
    orphaned: tuple[StoredAgent, ...] = ()  # their files are gone, but ``prune: false`` keeps them
    rechecked: tuple[Manifest, ...] = ()  # unchanged, but checked again: by other rules, or now with a key
    renamed: Mapping[str, str] = field(default_factory=dict)  # owners, each with its new name

    @property
    def empty(self) -> bool:
        """Return whether nothing is to be written: then no version is used up."""
        return not (self.changes or self.users)


def make_plan(
    desired: DesiredState,
    stored: StoredState,
    *,
    source: str,
    prune: bool = True,
    explicit: frozenset[UUID] = frozenset(),
    masker: Masker = Masker(),  # noqa: B008  (frozen)
) -> Plan:
    """Return the changes that make ``stored`` match ``desired``; of secrets, ``masker`` hides the values.

    Only rows of ``source`` are pruned, none of an owner while one of its files is quarantined, and none
    with ``prune: false``; but rows that were named explicitly (``explicit``) are deleted in any case.
    """
    kept = {quarantined.path for quarantined in desired.quarantined}
    held = HeldOwners.by(kept)
    changes = [
        change
        for manifest in desired.manifests.values()
        for change in [_plan_change(manifest, stored.agents.get(manifest.id), masker)]
        if change is not None
    ]
    missing = [
        row
        for row in stored.agents.values()
        if row.source == source and row.id not in desired.manifests and row.path not in kept
    ]
    orphaned = tuple(row for row in missing if not row.prune and row.id not in explicit)
    leaving = [
        row for row in missing if (prune and row.owner not in held and row.prune) or row.id in explicit
    ]
    deletes = [_make_deletion(row) for row in leaving]
    return Plan(
        source=source,
        changes=tuple(sorted([*changes, *deletes], key=lambda change: (change.slug, change.operation))),
        users=_plan_users(desired, stored, source, orphaned, prune=prune),
        unchanged=len(desired.manifests) - len(changes),
        rechecked=_find_rechecked(desired, stored),
        quarantined=desired.quarantined,
        held_back=_find_held_back(missing, leaving) if kept and prune else (),
        orphaned=tuple(sorted(orphaned, key=lambda row: row.slug)),
        renamed=desired.renamed,
    )


def _find_held_back(missing: Sequence[StoredAgent], leaving: Sequence[StoredAgent]) -> tuple[str, ...]:
    gone = {row.id for row in leaving}
    return tuple(sorted(row.slug for row in missing if row.prune and row.id not in gone))


def _plan_change(manifest: Manifest, row: StoredAgent | None, masker: Masker) -> Change | None:
    if row is None:
        return _make_change("create", manifest, None, masker)
    if row.digest == manifest.digest and row.path == manifest.path:
        return _make_change("heal", manifest, row, masker) if row.drifted else None
    return _make_change("update" if row.slug == manifest.slug else "rename", manifest, row, masker)


def _make_change(operation: Operation, manifest: Manifest, row: StoredAgent | None, masker: Masker) -> Change:
    fields: tuple[FieldChange, ...] = ()
    if row is not None:
        fields = diff_documents(row.value, manifest.value, row.prints, manifest.prints, masker=masker)
        fields += _diff_attachments(row.attachments, manifest.attachments)
        if operation == "heal" and row.held is not None:
            fields = diff_drifted_agent(row, manifest, masker)
    return Change(operation, manifest.id, manifest.slug, manifest.owner, manifest.path, manifest, row, fields)


def _diff_attachments(old: Attachments, new: Attachments) -> tuple[FieldChange, ...]:
    """Return the attached files whose text changed.

    Whether they are named shows in the manifest's own fields.
    """
    before = {one.path: one.digest for one in (*old.all, *old.layers)}
    return tuple(
        FieldChange("change", ("attached", one.path), before[one.path].hex()[:8], one.digest.hex()[:8])
        for one in (*new.all, *new.layers)
        if one.path in before and before[one.path] != one.digest
    )


def _find_rechecked(desired: DesiredState, stored: StoredState) -> tuple[Manifest, ...]:
    return tuple(
        manifest
        for manifest in desired.manifests.values()
        for row in [stored.agents.get(manifest.id)]
        if row is not None
        and not row.drifted
        and row.digest == manifest.digest
        and (row.checked, row.verified) != (desired.checked, manifest.verified)
    )


def _make_deletion(row: StoredAgent) -> Change:
    return Change("delete", row.id, row.slug, row.owner, row.path, None, row)


def _plan_users(
    desired: DesiredState, stored: StoredState, source: str, orphaned: Sequence[StoredAgent], *, prune: bool
) -> tuple[UserChange, ...]:
    kept = {quarantined.path for quarantined in desired.quarantined}
    held = HeldOwners.by(kept)
    wanted = [
        change
        for user in desired.users.values()
        for row in [stored.users.get(user.username)]
        for change in [_plan_user(row, user, source)]
        if change is not None and (row is None or row.path not in kept)
    ]
    owning = {row.owner for row in stored.agents.values() if row.source != source}
    owning |= {row.owner for row in orphaned}
    absent = [
        row for row in stored.users.values() if row.source == source and row.username not in desired.users
    ]
    leaving = [
        change
        for row in absent
        for change in [_plan_user_removal(row, kept, stays=row.username in held or row.username in owning)]
        if prune and change is not None
    ]
    return tuple(sorted([*wanted, *leaving], key=lambda change: change.username))


def _plan_user_removal(row: StoredUser, kept: Collection[str], *, stays: bool) -> UserChange | None:
    """Plan for an owner of whom nothing is desired.

    One that has to stay loses its tokens with its user file: another file in quarantine must not keep a
    revoked token valid.
    """
    if not stays:
        return UserChange("delete", row.username, None, row)
    if row.path is None or row.path in kept:
        return None
    return UserChange("update", row.username, User(row.id, row.username), row)


def _plan_user(row: StoredUser | None, user: User, source: str) -> UserChange | None:
    """Plan one owner; a user file takes over an owner of whom another source has manifests only."""
    if row is None:
        return UserChange("create", user.username, user)
    if row.source != source and not (row.path is None and user.path is not None):
        return None
    if not row.altered and (row.path, row.data) != (user.path, user.data):
        return UserChange("update", user.username, user, row)
    fields = diff_drifted_user(row, user)
    return UserChange("heal", user.username, user, row, fields) if fields else None


MASS_DELETION_FLOOR = 5
"""Fewer deletions than this never count as an accident, unless nothing is left."""

OWNER_GONE_FLOOR = 2
"""An owner that loses all its agents, at least this many, at once has lost a folder, not an agent."""


def count_mass_deletions(plan: Plan, stored: StoredState) -> int:
    """Return how many deletions of the plan look like an accident, over all owners."""
    return sum(count_deletions_by_owner(plan, stored).values())


def is_whole_source_deleted(plan: Plan, stored: StoredState, explicit: frozenset[UUID] = frozenset()) -> bool:
    """Return whether the plan removes every agent of the source and adds none."""
    own = sum(row.source == plan.source for row in stored.agents.values())
    deleted = sum(c.operation == "delete" and c.id not in explicit for c in plan.changes)
    return 0 < deleted == own and not any(change.operation == "create" for change in plan.changes)


def count_deletions_by_owner(
    plan: Plan, stored: StoredState, explicit: frozenset[UUID] = frozenset()
) -> Mapping[str, int]:
    """Return the number of deletions by owner, where they look like an accident.

    Of one owner: at least five and more than half, or a whole folder without a replacement. Of several
    owners together: at least five and more than half of the source, or everything. Agents that were
    named explicitly (``explicit``) do not count.
    """
    gone = Counter(c.owner for c in plan.changes if c.operation == "delete" and c.id not in explicit)
    if not gone or is_whole_source_deleted(plan, stored, explicit):
        return gone
    own = Counter(row.owner for row in stored.agents.values() if row.source == plan.source)
    come = {change.owner for change in plan.changes if change.operation != "delete"}
    many = {
        owner: count
        for owner, count in gone.items()
        if (count >= MASS_DELETION_FLOOR and count * 2 > own[owner])
        or (count == own[owner] >= OWNER_GONE_FLOOR and owner not in come and owner != DEFAULT_OWNER)
    }
    rest = {owner: count for owner, count in gone.items() if owner not in many}
    scattered = sum(rest.values())
    if len(rest) > 1 and scattered >= MASS_DELETION_FLOOR and scattered * 2 > own.total():
        return gone
    return many


def apply_to_stored(stored: StoredState, plan: Plan, version: int, checked: bytes) -> StoredState:
    """Return the store's contents after ``make_plan`` was applied as ``version``.

    This spares the daemon a reload.
    """
    agents = dict(stored.agents)
    for change in plan.changes:
        if change.desired is None:
            del agents[change.id]
        else:
            agents[change.id] = _make_row(change.desired, plan.source, version, checked)
    for manifest in plan.rechecked:
        agents[manifest.id] = replace(agents[manifest.id], checked=checked, verified=manifest.verified)
    users = dict(stored.users)
    for user in plan.users:
        if user.desired is None:
            del users[user.username]
        else:
            users[user.username] = _make_user_row(user.desired, plan.source, version)
    return replace(stored, version=version, agents=agents, users=users)


def _make_row(m: Manifest, source: str, version: int, checked: bytes) -> StoredAgent:
    return StoredAgent(
        id=m.id,
        slug=m.slug,
        owner=m.owner,
        source=source,
        path=m.path,
        digest=m.digest,
        is_default=m.default,
        version=version,
        verified=m.verified,
        drifted=False,
        checked=checked,
        active=m.active,
        document_digest=m.document_digest or m.digest,
        attachments=m.attachments.without_data(),
        links=m.links,
    )


def _make_user_row(user: User, source: str, version: int) -> StoredUser:
    return StoredUser(
        user.id, user.username, user.email, source, user.path, user.data, version, tuple(user.tokens)
    )
