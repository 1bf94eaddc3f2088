"""Plan of a branch: two trees of manifests are compared. No database, no key, no credentials.

The rules and the plan are those of a sync; the tree that the branch began with takes the place of
the store. Nothing is opened, so everybody sees the same: of a secret, whether its ciphertext
changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from agentsd.control.validation.checker import Checked, Checker
from agentsd.control.validation.text_extraction import extract_blocking
from agentsd.core.errors import InvalidManifests
from agentsd.core.manifest.agent import Attachment, Manifest, StoredAgent
from agentsd.core.manifest.document import parse
from agentsd.core.manifest.user import StoredUser, User
from agentsd.core.names import id_of, is_uuid, owner_of, slug_of, user_id_of
from agentsd.core.plan.conflicts import (
    conflicts,
    owner_conflicts,
    reused_seals,
    reused_tokens,
    user_conflicts,
)
from agentsd.core.plan.plan import (
    Change,
    Desired,
    FieldChange,
    Plan,
    Quarantined,
    Stored,
    mass_deletion,
    plan,
)
from agentsd.core.violations import UNVERIFIED, Violation, errors_of, in_order
from agentsd.files.tree import SourceFile, Tree, is_manifest_name

_SOURCE = "main"
_TEXT_MAX = 1 << 18
"""Characters of a prompt that are compared; of a longer one only that it changed is told."""
_GROUP = ("age", "pgp", "kms", "gcp_kms", "azure_kv", "hc_vault", "hckms")
_SAID = ("recipient", "fp", "arn", "resource_id", "vault_url", "vault_address", "key_path", "name", "key_id")
"""What names a key in a seal; what wraps the data key, and when, is left out."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Changes that the tree after would make to the tree before."""

    plan: Plan = field(repr=False)
    warnings: tuple[Violation, ...] = ()  # about files that changed
    mass_deletion: int = 0  # agents that go, where that looks like an accident


def compare(before: Tree, after: Tree, checker: Checker, *, prune: bool = True) -> Comparison:
    """Plan what a sync of ``after`` would change where ``before`` is applied.

    ``checker``: best without a key. A file of ``after`` that breaks a rule is quarantined; the others
    are planned as if it were corrected.
    """
    checked = [checker.check(file, after.beside, extract_blocking) for file in after.files.values()]
    stored = _stored(before, checker, {one.path: one.manifest.id for one in checked if one.manifest})
    bad = [Quarantined(c.path, in_order(errors)) for c in checked if (errors := errors_of(c.violations))]
    good, users, bad = _judged(checked, bad, stored, prune=prune)
    desired = Desired({m.id: m for m in good}, {**_owners(good), **users}, (), checker.fingerprint)
    decided = plan(desired, _without(stored, bad, after), source=_SOURCE, prune=prune)
    changes = tuple(_told(change) for change in decided.changes)
    decided = replace(decided, changes=changes, quarantined=tuple(sorted(bad, key=lambda one: one.path)))
    return Comparison(decided, _warnings(checked, before, after), mass_deletion(decided, stored))


def _judged(
    checked: Iterable[Checked], bad: list[Quarantined], stored: Stored, *, prune: bool
) -> tuple[list[Manifest], dict[str, User], list[Quarantined]]:
    """Return what remains, and what is quarantined, by the rules that hold between files."""
    checked = list(checked)
    good = [one.manifest for one in checked if one.manifest]
    users = {one.user.username: one.user for one in checked if one.user}
    bad = bad + reused_seals(good, _seal_owners(stored))
    holders = {str(t.get("sha256")): name for name, row in stored.users.items() for t in row.tokens}
    bad += owner_conflicts(good, users.values(), stored.users.keys())
    bad += reused_tokens(users.values(), holders)
    bad += user_conflicts(users.values(), stored.users, _SOURCE, prune=prune)
    good = _good(good, bad)
    refused = {one.path for one in bad}
    bad += conflicts(good, stored.agents, _SOURCE, prune=prune, refused=refused, corrected=True)
    refused = {one.path for one in bad}
    return _good(good, bad), {n: user for n, user in users.items() if user.path not in refused}, bad


def _good(manifests: Iterable[Manifest], bad: Iterable[Quarantined]) -> list[Manifest]:
    refused = {one.path for one in bad}
    return [manifest for manifest in manifests if manifest.path not in refused]


@dataclass(frozen=True, slots=True)
class _Before(StoredAgent):
    """Agent of the tree before, with what a store keeps elsewhere."""

    seals: frozenset[bytes] = frozenset()
    data: bytes = field(default=b"", repr=False)


def _stored(before: Tree, checker: Checker, ids: Mapping[str, UUID]) -> Stored:
    """Return the tree before as a store that it was applied to. ``ids``: of the tree after, by path."""
    beside = before.beside
    checked = {path: checker.check(file, beside, extract_blocking) for path, file in before.files.items()}
    rows = [
        _row(one.manifest) if one.manifest else _unreadable(before.files[path], ids)
        for path, one in checked.items()
        if one.user is None and path not in beside.layers and _is_manifest(path)
    ]
    owners = {
        row.owner: StoredUser(user_id_of(row.owner), row.owner, None, _SOURCE, None, None, 0) for row in rows
    }
    users = {one.user.username: _user(one.user) for one in checked.values() if one.user}
    return Stored(0, {row.id: row for row in rows}, {**owners, **users})


def _is_manifest(path: str) -> bool:
    name = path.rpartition("/")[2]
    return is_manifest_name(name) and not name.startswith("_")


def _row(m: Manifest) -> _Before:
    value = m.value or {}
    return _Before(
        id=m.id, slug=m.slug, owner=m.owner, source=_SOURCE, path=m.path, digest=m.digest,
        is_default=m.default, version=0, verified=m.verified, drifted=False, checked=b"", active=m.active,
        document_digest=m.document_digest, attachments=m.attachments, value=value,
        prune=value.get("prune") is not False, seals=m.seals, data=m.data or b"",
    )  # fmt: skip


def _unreadable(file: SourceFile, ids: Mapping[str, UUID]) -> _Before:
    """Return an agent whose manifest broke a rule already.

    Nothing of it is shown, since it might be a plain secret.
    """
    slug = slug_of(file.path)
    return _Before(
        id=_pinned(file) or ids.get(file.path) or id_of(slug), slug=slug, owner=owner_of(file.path),
        source=_SOURCE, path=file.path, digest=file.digest, is_default=False, version=0, verified=False,
        drifted=False, checked=b"",
    )  # fmt: skip


def _pinned(file: SourceFile) -> UUID | None:
    try:
        pinned = parse(file.path, file.data).value.get("id")
    except InvalidManifests:
        return None
    return UUID(pinned) if isinstance(pinned, str) and is_uuid(pinned) else None


def _user(user: User) -> StoredUser:
    return StoredUser(
        user.id, user.username, user.email, _SOURCE, user.path, user.data, 0, tuple(user.tokens)
    )


def _owners(manifests: Iterable[Manifest]) -> dict[str, User]:
    return {m.owner: User(user_id_of(m.owner), m.owner) for m in manifests}


def _seal_owners(stored: Stored) -> dict[bytes, str]:
    rows = (row for row in stored.agents.values() if isinstance(row, _Before))
    return {seal: row.owner for row in rows for seal in row.seals}


def _without(stored: Stored, bad: Sequence[Quarantined], after: Tree) -> Stored:
    """Return ``stored`` without those whose new file is quarantined.

    Its content is unknown, so nothing changes.
    """
    paths = {one.path for one in bad}
    ids = {_pinned(after.files[path]) for path in paths if path in after.files}
    agents = {i: row for i, row in stored.agents.items() if row.path not in paths and i not in ids}
    users = {name: user for name, user in stored.users.items() if user.path not in paths}
    return replace(stored, agents=agents, users=users)


def _told(change: Change) -> Change:
    """Return ``change`` for a reviewer: secrets changed or not, who can open it, prompts as texts."""
    row, manifest = change.stored, change.desired
    if not isinstance(row, _Before) or manifest is None:
        return change
    fields = [_secret(one) for one in change.fields]
    if row.value is None:
        return replace(change, fields=())
    old, new = row.attachments.prompt, manifest.attachments.prompt
    if old and new and old.path == new.path:
        fields = [_prompt(one, old, new) for one in fields]
    return replace(change, fields=(*fields, *_recipients(row.data, manifest.data or b"")))


def _secret(one: FieldChange) -> FieldChange:
    return replace(one, secret="changed") if one.secret else one  # noqa: S106


def _prompt(one: FieldChange, old: Attachment, new: Attachment) -> FieldChange:
    if one.pointer != ("attached", new.path):
        return one
    texts = [(side.data or b"").decode(errors="replace") for side in (old, new)]
    return one if max(map(len, texts)) > _TEXT_MAX else replace(one, old=texts[0], new=texts[1])


def _recipients(before: bytes, after: bytes) -> Iterator[FieldChange]:
    """Yield keys that can open the file from now on, or cannot any more.

    They are public, and a review should show them.
    """
    old, new = _sealed_to(before), _sealed_to(after)
    yield from (FieldChange("add", ("sealed to",), None, key) for key in sorted(new - old))
    yield from (FieldChange("remove", ("sealed to",), key) for key in sorted(old - new))


def _sealed_to(data: bytes) -> set[str]:
    block = parse("", data).value.get("sops")
    groups = [block, *(block.get("key_groups") or ())] if isinstance(block, dict) else []
    return {
        " ".join(str(key[name]) for name in _SAID if name in key)
        for group in groups
        if isinstance(group, dict)
        for kind in _GROUP
        for key in _mappings(group.get(kind))
    }


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        yield from (one for one in value if isinstance(one, dict))


def _warnings(checked: Iterable[Checked], before: Tree, after: Tree) -> tuple[Violation, ...]:
    """Return the warnings about what changed only, without those about the missing key."""
    found = [
        violation
        for one in checked
        for violation in one.violations
        if violation.severity == "warning" and violation.code not in UNVERIFIED
    ]
    same = {
        p for p, file in after.files.items() if p in before.files and before.files[p].digest == file.digest
    }
    return in_order([violation for violation in found if violation.path not in same])
