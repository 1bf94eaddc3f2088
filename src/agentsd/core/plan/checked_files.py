"""Checked files of one source: the rules that hold between them, and the desired state they make. Pure.

A sync, the plan of a branch and ``validate`` ask the same rules, in the same two steps: first who owns
a claim (seals, owners' names, tokens, emails), then which agents conflict. A file that fails the first
step takes no part in the second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from uuid import UUID

from agentsd.core.manifest.agent import Manifest, StoredAgent
from agentsd.core.manifest.user import StoredUser, User
from agentsd.core.names import derive_user_id
from agentsd.core.plan.conflicts import (
    find_conflicts,
    find_owner_conflicts,
    find_renamed_owners,
    find_reused_seals,
    find_reused_tokens,
    find_user_conflicts,
)
from agentsd.core.plan.plan import DesiredState, HeldOwners, Quarantined, StoredState


@dataclass(frozen=True, slots=True)
class KnownOwners:
    """Owners under which seals (by fingerprint) and tokens (by hash, in hex) were seen before."""

    seals: Mapping[bytes, str] = field(default_factory=dict)
    tokens: Mapping[str, str] = field(default_factory=dict)

    def rename(self, renamed: Mapping[str, str]) -> KnownOwners:
        """Return the same claims, those of renamed owners under the new names."""
        if not renamed:
            return self
        return KnownOwners(
            {seal: renamed.get(owner, owner) for seal, owner in self.seals.items()},
            {sha256: renamed.get(owner, owner) for sha256, owner in self.tokens.items()},
        )


@dataclass(frozen=True, slots=True)
class CheckedFiles:
    """Manifests and users of the files that are good so far, and the files that were set aside.

    ``prune``: rows of ``source`` without a manifest will be deleted. ``corrected``: files that were set
    aside block nobody's deletions, as if they were corrected. ``owners``: of all files, of those that are
    neither manifest nor user file too.
    """

    manifests: tuple[Manifest, ...]
    users: Mapping[str, User]
    quarantined: tuple[Quarantined, ...] = ()
    source: str = ""
    prune: bool = True
    corrected: bool = False
    owners: frozenset[str] = frozenset()

    def without(self, found: Iterable[Quarantined]) -> CheckedFiles:
        """Return the same files, with those of ``found`` set aside."""
        bad = (*self.quarantined, *found)
        refused = {one.path for one in bad}
        return replace(
            self,
            manifests=tuple(one for one in self.manifests if one.path not in refused),
            users={name: user for name, user in self.users.items() if user.path not in refused},
            quarantined=bad,
        )

    def list_seals(self) -> set[bytes]:
        """Return the fingerprints of all seals, of which the owners have to be known."""
        return {seal for manifest in self.manifests for seal in (*manifest.seals, *manifest.lent)}

    def list_doubtful_tokens(self, stored: Mapping[str, StoredUser]) -> set[str]:
        """Return the hashes of those tokens that are new for their owner or listed more than once."""
        listed = Counter(str(token.get("sha256")) for user in self.users.values() for token in user.tokens)
        doubtful = {sha256 for sha256, count in listed.items() if count > 1}
        for name, user in self.users.items():
            row = stored.get(name)
            if row is None or row.tokens != user.tokens:
                doubtful |= {str(token.get("sha256")) for token in user.tokens}
        return doubtful

    def find_renamed_owners(self, stored: Mapping[UUID, StoredAgent]) -> dict[str, str]:
        """Return the owners whose folder was renamed as a whole, each with its new name."""
        desired = {manifest.id: manifest.owner for manifest in self.manifests}
        return find_renamed_owners(desired, stored.values(), self.source, self.owners)

    def find_foreign_claims(self, stored: StoredState, known: KnownOwners) -> list[Quarantined]:
        """Return the files that claim what belongs to another owner; a renamed owner is the same one."""
        known = known.rename(self.find_renamed_owners(stored.agents))
        users, rows = self.users.values(), stored.users
        reused = find_reused_seals(self.manifests, known.seals)
        held = () if self.corrected else (one.path for one in (*self.quarantined, *reused))
        return [
            *reused,
            *find_owner_conflicts(self.manifests, users, rows.keys()),
            *find_reused_tokens(users, known.tokens),
            *find_user_conflicts(users, rows, self.source, prune=self.prune, held=HeldOwners.by(held)),
        ]

    def find_conflicts(self, stored: Mapping[UUID, StoredAgent]) -> list[Quarantined]:
        """Return the manifests that conflict with another one, or with a row that stays."""
        refused = {one.path for one in self.quarantined}
        return find_conflicts(
            self.manifests, stored, self.source, prune=self.prune, refused=refused, corrected=self.corrected
        )

    def to_desired(self, fingerprint: bytes, stored: Mapping[UUID, StoredAgent]) -> DesiredState:
        """Return the desired state. Every folder has an owner, with or without a user file.

        ``fingerprint``: of the rules that the files were checked by. ``stored``: the rows before.
        """
        owners = {manifest.owner for manifest in self.manifests} - self.users.keys()
        users = {**self.users, **{name: User(derive_user_id(name), name) for name in owners}}
        manifests = {m.id: m for m in self.manifests}
        renamed = self.find_renamed_owners(stored)
        return DesiredState(manifests, users, self.quarantined, fingerprint, renamed)
