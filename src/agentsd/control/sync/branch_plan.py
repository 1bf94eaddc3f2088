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

from agentsd.control.validation.checker import Checker, CheckResult
from agentsd.control.validation.text_extraction import extract_blocking
from agentsd.control.validation.validate import gather_files
from agentsd.core.errors import InvalidManifests
from agentsd.core.manifest.agent import Attachment, Manifest, StoredAgent
from agentsd.core.manifest.document import parse_document
from agentsd.core.manifest.user import StoredUser, User
from agentsd.core.names import derive_agent_id, derive_owner, derive_slug, derive_user_id, is_uuid
from agentsd.core.plan.checked_files import KnownOwners
from agentsd.core.plan.plan import (
    Change,
    FieldChange,
    Plan,
    Quarantined,
    StoredState,
    count_mass_deletions,
    make_plan,
)
from agentsd.core.violations import UNVERIFIED, Violation, sort_violations
from agentsd.files.tree import SourceFile, Tree, is_manifest_name

_SOURCE_NAME = "main"
_PROMPT_TEXT_MAX = 1 << 18
"""Characters of a prompt that are compared; of a longer one only the change is reported."""
_KEY_GROUP_FIELDS = ("age", "pgp", "kms", "gcp_kms", "azure_kv", "hc_vault", "hckms")
_KEY_NAME_FIELDS = (
    "recipient",
    "fp",
    "arn",
    "resource_id",
    "vault_url",
    "vault_address",
    "key_path",
    "name",
    "key_id",
)
"""Fields that identify a key in a seal, without the wrapped data key and its time."""


@dataclass(frozen=True, slots=True)
class BranchPlan:
    """Changes that the tree after would make to the tree before."""

    plan: Plan = field(repr=False)
    warnings: tuple[Violation, ...] = ()  # about files that changed
    mass_deletion: int = 0  # deleted agents, where that looks like an accident


def plan_branch(before: Tree, after: Tree, checker: Checker, *, prune: bool = True) -> BranchPlan:
    """Plan what a sync of ``after`` would change where ``before`` is applied.

    ``checker``: best without a key. A file of ``after`` that breaks a rule is quarantined; the others
    are planned as if it were corrected.
    """
    checked = [checker.check(file, after.beside, extract_blocking) for file in after.files.values()]
    stored = _make_stored(before, checker, {one.path: one.manifest.id for one in checked if one.manifest})
    files = gather_files(checked, _SOURCE_NAME, prune=prune, corrected=True)
    files = files.without(files.find_foreign_claims(stored, _list_known_owners(stored)))
    files = files.without(files.find_conflicts(stored.agents))
    bad = files.quarantined
    desired = replace(files.to_desired(checker.fingerprint, stored.agents), quarantined=())
    left = _remove_quarantined(stored, bad, after)
    decided = make_plan(desired, left, source=_SOURCE_NAME, prune=prune, masker=checker.masker)
    changes = tuple(_redact_change(change) for change in decided.changes)
    decided = replace(decided, changes=changes, quarantined=tuple(sorted(bad, key=lambda one: one.path)))
    return BranchPlan(
        decided, _filter_warnings(checked, before, after), count_mass_deletions(decided, stored)
    )


@dataclass(frozen=True, slots=True)
class _BaseAgent(StoredAgent):
    """Agent of the tree before, with what a store keeps elsewhere."""

    seals: frozenset[bytes] = frozenset()
    data: bytes = field(default=b"", repr=False)


def _make_stored(before: Tree, checker: Checker, ids: Mapping[str, UUID]) -> StoredState:
    """Return the tree before as a store that it was applied to. ``ids``: of the tree after, by path."""
    beside = before.beside
    checked = {path: checker.check(file, beside, extract_blocking) for path, file in before.files.items()}
    rows = [
        _make_row(one.manifest) if one.manifest else _make_unreadable_row(before.files[path], ids)
        for path, one in checked.items()
        if one.user is None and path not in beside.layers and _is_manifest(path)
    ]
    owners = {
        row.owner: StoredUser(derive_user_id(row.owner), row.owner, None, _SOURCE_NAME, None, None, 0)
        for row in rows
    }
    users = {one.user.username: _make_stored_user(one.user) for one in checked.values() if one.user}
    return StoredState(0, {row.id: row for row in rows}, {**owners, **users})


def _is_manifest(path: str) -> bool:
    name = path.rpartition("/")[2]
    return is_manifest_name(name) and not name.startswith("_")


def _make_row(m: Manifest) -> _BaseAgent:
    value = m.value or {}
    return _BaseAgent(
        id=m.id, slug=m.slug, owner=m.owner, source=_SOURCE_NAME, path=m.path, digest=m.digest,
        is_default=m.default, version=0, verified=m.verified, drifted=False, checked=b"", active=m.active,
        document_digest=m.document_digest, attachments=m.attachments, value=value,
        prune=value.get("prune") is not False, links=m.links, seals=m.seals, data=m.data or b"",
    )  # fmt: skip


def _make_unreadable_row(file: SourceFile, ids: Mapping[str, UUID]) -> _BaseAgent:
    """Return an agent whose manifest broke a rule already.

    Nothing of it is shown, since it might be a plain secret.
    """
    slug = derive_slug(file.path)
    return _BaseAgent(
        id=_read_pinned_id(file) or ids.get(file.path) or derive_agent_id(slug),
        slug=slug,
        owner=derive_owner(file.path),
        source=_SOURCE_NAME, path=file.path, digest=file.digest, is_default=False, version=0, verified=False,
        drifted=False, checked=b"",
    )  # fmt: skip


def _read_pinned_id(file: SourceFile) -> UUID | None:
    try:
        pinned = parse_document(file.path, file.data).value.get("id")
    except InvalidManifests:
        return None
    return UUID(pinned) if isinstance(pinned, str) and is_uuid(pinned) else None


def _make_stored_user(user: User) -> StoredUser:
    return StoredUser(
        user.id, user.username, user.email, _SOURCE_NAME, user.path, user.data, 0, tuple(user.tokens)
    )


def _list_known_owners(stored: StoredState) -> KnownOwners:
    rows = (row for row in stored.agents.values() if isinstance(row, _BaseAgent))
    seals = {seal: row.owner for row in rows for seal in row.seals}
    tokens = {str(t.get("sha256")): name for name, row in stored.users.items() for t in row.tokens}
    return KnownOwners(seals, tokens)


def _remove_quarantined(stored: StoredState, bad: Sequence[Quarantined], after: Tree) -> StoredState:
    """Return ``stored`` without those whose new file is quarantined.

    Its content is unknown, so nothing changes.
    """
    paths = {one.path for one in bad}
    ids = {_read_pinned_id(after.files[path]) for path in paths if path in after.files}
    agents = {i: row for i, row in stored.agents.items() if row.path not in paths and i not in ids}
    users = {name: user for name, user in stored.users.items() if user.path not in paths}
    return replace(stored, agents=agents, users=users)


def _redact_change(change: Change) -> Change:
    """Return ``change`` for a reviewer: secrets changed or not, who can open it, prompts as texts."""
    row, manifest = change.stored, change.desired
    if not isinstance(row, _BaseAgent) or manifest is None:
        return change
    fields = [_redact_secret(one) for one in change.fields]
    if row.value is None:
        return replace(change, fields=())
    old, new = row.attachments.prompt, manifest.attachments.prompt
    if old and new and old.path == new.path:
        fields = [_describe_prompt(one, old, new) for one in fields]
    return replace(change, fields=(*fields, *_diff_recipients(row.data, manifest.data or b"")))


def _redact_secret(one: FieldChange) -> FieldChange:
    return replace(one, secret="changed") if one.secret else one  # noqa: S106


def _describe_prompt(one: FieldChange, old: Attachment, new: Attachment) -> FieldChange:
    if one.pointer != ("attached", new.path):
        return one
    texts = [(side.data or b"").decode(errors="replace") for side in (old, new)]
    return one if max(map(len, texts)) > _PROMPT_TEXT_MAX else replace(one, old=texts[0], new=texts[1])


def _diff_recipients(before: bytes, after: bytes) -> Iterator[FieldChange]:
    """Yield keys that can open the file from now on, or cannot any more.

    They are public, and a review should show them.
    """
    old, new = _list_recipients(before), _list_recipients(after)
    yield from (FieldChange("add", ("sealed to",), None, key) for key in sorted(new - old))
    yield from (FieldChange("remove", ("sealed to",), key) for key in sorted(old - new))


def _list_recipients(data: bytes) -> set[str]:
    block = parse_document("", data).value.get("sops")
    groups = [block, *(block.get("key_groups") or ())] if isinstance(block, dict) else []
    return {
        " ".join(str(key[name]) for name in _KEY_NAME_FIELDS if name in key)
        for group in groups
        if isinstance(group, dict)
        for kind in _KEY_GROUP_FIELDS
        for key in _iterate_mappings(group.get(kind))
    }


def _iterate_mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        yield from (one for one in value if isinstance(one, dict))


def _filter_warnings(checked: Iterable[CheckResult], before: Tree, after: Tree) -> tuple[Violation, ...]:
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
    return sort_violations([violation for violation in found if violation.path not in same])
