"""Cache of a reconciler between two rounds, so that a daemon's work is proportional to the change.

Nothing here is authoritative: an entry is valid only as long as the store's head and a file's
digest match it, and ``forget`` costs no more than a longer round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from agentsd.control.validation.checker import CheckResult
from agentsd.core.manifest.agent import Manifest, StoredAgent
from agentsd.core.names import strip_overlay
from agentsd.core.plan.plan import Plan, StoredState, apply_to_stored
from agentsd.files.tree import SourceFile, Tree, TreeContext
from agentsd.store.queries.agents import Head


class StateCache:
    """Last tree, the check results of its files, and the content of the store at that time."""

    def __init__(self) -> None:
        self.head: Head | None = None  # of ``stored``; None: the store is unknown
        self.stored: StoredState | None = None
        self.users: tuple[CheckResult, ...] = ()
        self.beside = TreeContext()
        self._source = ""
        self._checked: dict[str, tuple[bytes, CheckResult]] = {}
        self._pending: set[str] = set()  # paths of ``_checked``
        self._settled: Tree | None = None  # the tree whose content the store has

    def forget(self) -> None:
        """Drop the content of the store, and files whose seals could not be verified."""
        self.head = self.stored = self._settled = None
        self._checked = {path: known for path, known in self._checked.items() if not known[1].unsure}

    def stored_at(self, head: Head, source: str) -> StoredState | None:
        """Return the content of the store, if ``head`` and ``source`` are those of the last round."""
        return self.stored if (self.head, self._source) == (head, source) else None

    def keep_stored(self, head: Head, source: str, stored: StoredState) -> None:
        """Remember the content of the store."""
        self.head, self._source, self.stored = head, source, stored

    def recall(self, file: SourceFile, row: StoredAgent | None, beside: TreeContext) -> CheckResult | None:
        """Return the check result of ``file`` from when it had the same bytes.

        Of a stored file only the row's facts are remembered; they are invalid once the row is gone or was
        edited by hand.
        """
        known = self._checked.get(file.path)
        if known is None or known[0] != file.digest or file.problem or known[1].pending:
            return None
        manifest = known[1].manifest
        names_files = known[1].violations if manifest is None else manifest.attachments
        if (names_files or beside.layers or self.beside.layers) and beside != self.beside:
            return None
        if manifest is None or manifest.data is not None:
            return known[1]
        return known[1] if row and row.digest == manifest.digest and not row.drifted else None

    @property
    def pending(self) -> bool:
        """Return whether the result of any file may soon be another one."""
        return bool(self._pending)

    def recall_stored(self, file: SourceFile, beside: TreeContext) -> CheckResult | None:
        """Return as ``recall`` does, by the row that was stored for the file."""
        known = self._checked.get(file.path)
        manifest = known[1].manifest if known else None
        row = self.stored.agents.get(manifest.id) if self.stored and manifest else None
        return self.recall(file, row, beside)

    def keep_checked(self, tree: Tree, beside: TreeContext, checked: Sequence[CheckResult]) -> None:
        """Remember the check result of every file, with the files ``beside`` it."""
        self._checked = {c.path: (f.digest, c) for c, f in zip(checked, tree.files.values(), strict=True)}
        self._pending = {one.path for one in checked if one.pending}
        self.users = tuple(one for one in checked if one.user)
        self.beside, self._settled = beside, None

    def edited(self, tree: Tree, source: str) -> list[SourceFile] | None:
        """Return the files that changed in place since everything was settled; None where more happened."""
        before = self._settled
        if before is None or self._source != source or len(before.files) != len(tree.files):
            return None
        if before.attachments != tree.attachments:
            return None
        pairs = zip(tree.files.values(), before.files.values(), strict=True)
        changed = [(file, known) for file, known in pairs if file is not known]
        if any(file.path != known.path for file, known in changed):
            return None
        edited = [file for file, known in changed if file.digest != known.digest or file.problem]
        pending = self._pending.difference(file.path for file in edited)
        return [*edited, *(tree.files[path] for path in pending if path in tree.files)]

    def touches_nothing_else(self, one: CheckResult) -> bool:
        """Return whether ``one`` just replaces its predecessor: same id, no new claims, nothing to report."""
        before = self._checked[one.path][1]
        old, new = before.manifest, one.manifest
        return (
            old is not None
            and new is not None
            and (old.id, old.active) == (new.id, new.active)
            and old.default >= new.default
            and old.links == new.links
            and not new.links.handoffs  # its targets are other files
            and before.violations == one.violations
        )

    def settle(
        self, tree: Tree, edited: Iterable[CheckResult], plan: Plan, head: Head, checked: bytes
    ) -> None:
        """Complete a round: the store now contains what ``plan`` made of ``stored``."""
        if self.stored is None:
            return
        self.head, self.stored = head, apply_to_stored(self.stored, plan, head.version, checked)
        for one in edited:
            self._checked[one.path] = (tree.files[one.path].digest, one)
            (self._pending.add if one.pending else self._pending.discard)(one.path)
        changed = {change.path for change in plan.changes} - {one.path for one in plan.quarantined}
        for path in self._checked.keys() & changed:
            digest, one = self._checked[path]
            self._checked[path] = (digest, replace(one, manifest=_strip_stored(one.manifest)))
        if not plan.quarantined:
            self._settled = tree


def _strip_stored(manifest: Manifest | None) -> Manifest | None:
    """Return a stored manifest without its long parts, which need not be kept twice."""
    if manifest is None:
        return None
    kept = manifest.attachments.without_data()
    return replace(
        manifest, value=None, data=None, attachments=kept, seals=frozenset(), lent=frozenset(), prints=None
    )


def has_same_attachments(row: StoredAgent, beside: TreeContext) -> bool:
    """Return whether the files that an agent names still have the stored bytes, and are its owner's."""
    if [(one.path, one.digest) for one in beside.layers_of(row.path)] != [
        (one.path, one.digest) for one in row.attachments.layers
    ]:
        return False
    taken = beside.owners if "/" not in strip_overlay(row.path) else ()
    return all(
        (file := beside.files.get(strip_overlay(one.path))) is not None
        and file.path == one.path
        and strip_overlay(one.path).partition("/")[0] not in taken
        and file.digest == one.digest
        and file.problem is None
        for one in row.attachments.all
    )


def select_rows(stored: StoredState, source: str) -> Mapping[str, StoredAgent]:
    """Return the rows of one source by path."""
    return {row.path: row for row in stored.agents.values() if row.source == source}
