"""Reconciliation of files with the store: gather, decide, apply.

tree ─ check ─▶ desired ─┐
                         ├─ plan ─▶ guards ─▶ apply (one transaction)
store ── load ─▶ stored ─┘
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from psycopg import AsyncConnection

from agentsd.control.sync.background_checks import BackgroundChecks, Job
from agentsd.control.sync.drift import mark_drift, mark_unprunable
from agentsd.control.sync.knowledge import drop_sources, store_sources
from agentsd.control.sync.state_cache import StateCache, has_same_attachments, select_rows
from agentsd.control.validation.attachments import Read
from agentsd.control.validation.checker import Checker, CheckResult, recall_from
from agentsd.control.validation.text_extraction import (
    Extraction,
    Known,
    extract_in_worker,
    kind_of,
    recall_passages,
)
from agentsd.control.validation.validate import gather_files
from agentsd.core.errors import InvalidManifests, MassDeletion, describe_error
from agentsd.core.manifest.agent import Manifest, StoredAgent
from agentsd.core.manifest.document import Document
from agentsd.core.masker import Masker
from agentsd.core.names import derive_owner
from agentsd.core.plan.checked_files import CheckedFiles, KnownOwners
from agentsd.core.plan.plan import (
    Change,
    DesiredState,
    Plan,
    Quarantined,
    StoredState,
    count_deletions_by_owner,
    is_whole_source_deleted,
    make_plan,
)
from agentsd.core.violations import Violation, sort_violations
from agentsd.files.git.command import list_uncommitted
from agentsd.files.tree import SourceFile, Tree, TreeContext
from agentsd.sandbox.pool import WORKERS
from agentsd.sops.format import fingerprint_by_owner
from agentsd.store.database import Database
from agentsd.store.leader_election import Term, lock_for_term
from agentsd.store.queries import agents as store
from agentsd.store.queries.agents import ApplyStamp, Head
from agentsd.store.queries.rule_digests import mark_checked
from agentsd.store.queries.users import load_token_holders
from agentsd.system.owner_limiter import OwnerLimiter

_log = logging.getLogger(__name__)

_PRINTED_MAX = 1000
"""Plans of up to this many updates distinguish "changed" from "resealed" seals: two opens each."""

_CHECK_BATCH = 64
"""Files that are checked in one batch."""
ROUND_SETTLE_SECONDS = 0.5
"""Seconds that slow files, all of them together, may hold up one round of a daemon."""

STRICT_SETTLE_SECONDS = 120.0
"""The same for a single command, which has no later round: as many again after each file that is done."""

_EDITED_MAX = 100
"""More edited files than this are as quickly dealt with in a whole round."""

SyncProgress = Callable[[int, int], None]
"""Called with (done, total) while files are checked."""


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """Options of one reconciliation."""

    source: str = "main"
    commit: str | None = None  # the git commit that the tree is at
    work_tree: Path | None = None  # folder whose files may differ from ``commit``; None: they do not
    prune: bool = True
    allow_mass_delete: bool = False
    strict: bool = True  # any violation refuses everything; else the bad file alone is quarantined
    explicit: frozenset[UUID] = frozenset()  # agents with a delete request: no guard applies to them
    patience: float | None = None  # seconds for seals that sops judges; None: by ``strict``
    term: Term | None = None  # of the leader that applies; None: a single command


@dataclass(frozen=True, slots=True)
class SyncResult:
    """Decisions of a reconciliation and, unless it was only planned, its effects."""

    plan: Plan = field(repr=False)
    stored: StoredState = field(repr=False)
    warnings: tuple[Violation, ...] = ()
    head: Head | None = None  # None: nothing was written
    suspended: tuple[str, ...] = ()  # paths of manifests that say ``active: false``
    run_id: UUID = field(default_factory=uuid4)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Preview:
    """Result of the last plan, which the next sync applies where neither files nor store have changed."""

    tree: Tree = field(repr=False)
    options: SyncOptions
    head: Head
    outcome: SyncResult
    edited: tuple[CheckResult, ...]  # empty after a whole round

    def is_of(self, tree: Tree, options: SyncOptions) -> bool:
        """Return whether a round over ``tree`` would decide the same, if the store is as it was."""
        mine = replace(
            self.options,
            commit=options.commit,
            work_tree=options.work_tree,
            term=options.term,
            patience=options.patience,
        )
        before = self.tree
        return (
            mine == options
            and (before.root, before.overlay) == (tree.root, tree.overlay)
            and before.files.keys() == tree.files.keys()
            and all(_is_same_file(before.files[path], file) for path, file in tree.files.items())
            and before.attachments == tree.attachments
        )


class Reconciler:
    """Reconciler of one tree and one store.

    Remembers both, so that the work of a daemon is proportional to the change.
    """

    def __init__(self, checker: Checker, database: Database) -> None:
        self._checker = checker
        self._database = database
        self._memory = StateCache()
        self._settling = BackgroundChecks()
        self._turns = OwnerLimiter(total=WORKERS, per_owner=1)  # to have a source read
        self._last: SyncResult | None = None
        self._preview: _Preview | None = None
        self._parsed: Mapping[tuple[str, bytes], Document] = {}  # by path and content, while planning
        self._print_key = secrets.token_bytes(32)  # distinguishes secrets without storing them

    def on_settled(self, hear: Callable[[str], None]) -> None:
        """Have ``hear`` called with the path of a manifest whose slow work was done after its round."""
        self._settling.hear = hear

    async def aclose(self) -> None:
        """Give up what is still being settled."""
        await self._settling.aclose()

    async def wait_for(self, paths: Collection[str], seconds: float) -> None:
        """Wait for what the manifests at ``paths`` wait for, so long at most; rounds go on meanwhile."""
        await self._settling.wait_for(paths, seconds)

    def forget(self) -> None:
        """Forget the store, where drift may show, and seals that could not be verified.

        Called by the daemon's periodic resync.
        """
        self._memory.forget()
        self._preview = None

    async def is_outdated(self) -> bool:
        """Return whether the store's history is not the one that the last round saw: a dump was restored."""
        seen = self._memory.head
        if seen is None:
            return False
        async with self._database.transaction(snapshot=True) as conn:
            return not await store.is_in_history(conn, seen)

    async def plan(
        self,
        tree: Tree,
        options: SyncOptions,
        progress: SyncProgress | None = None,
        *,
        parsed: Iterable[Document] = (),
    ) -> SyncResult:
        """Plan what a sync would do. Writes nothing. ``parsed``: files that need not be parsed again."""
        self._parsed = {(one.path, one.data): one for one in parsed}
        try:
            return await self._run(tree, options, progress, write=False)
        finally:
            self._parsed = {}

    async def check(self, files: Sequence[SourceFile], tree: Tree) -> list[CheckResult]:
        """Return the check result of each file, remembered or found in this process."""
        beside = tree.beside
        known = {file.path: self._memory.recall_stored(file, beside) for file in files}
        unknown = [file for file in files if known[file.path] is None]
        found = await asyncio.to_thread(self._check_many, unknown, beside) if unknown else {}
        return [known[file.path] or found[file.path] for file in files]

    async def sync(
        self, tree: Tree, options: SyncOptions, progress: SyncProgress | None = None
    ) -> SyncResult:
        """Make the store match the files, in one transaction, or raise and change nothing."""
        return await self._run(tree, options, progress, write=True)

    async def applied_commit(self, source: str) -> str | None:
        """Return the git commit that ``source`` last applied, where it is known."""
        async with self._database.transaction(snapshot=True) as conn:
            return (await self._load(conn, source)).commit

    async def _run(
        self, tree: Tree, options: SyncOptions, progress: SyncProgress | None, *, write: bool
    ) -> SyncResult:
        started = time.perf_counter()
        self._settling.begin_round(
            options.patience or (STRICT_SETTLE_SECONDS if options.strict else ROUND_SETTLE_SECONDS),
            renewed=options.strict,
        )
        preview, self._preview = self._preview, None
        outcome = None
        if write and preview is not None and preview.is_of(tree, options):
            outcome = await self._apply_preview(preview, tree, options)
        if outcome is None:
            outcome = await self._edit(tree, options, write=write)
        if outcome is None:
            outcome = await self._all(tree, options, progress, write=write)
        return replace(outcome, seconds=time.perf_counter() - started)

    async def _apply_preview(self, preview: _Preview, tree: Tree, options: SyncOptions) -> SyncResult | None:
        """Apply the decisions of a preview; None where somebody has applied anything since."""
        async with self._database.transaction() as conn:
            await _lock_applies(conn, options)
            if await store.load_head(conn) != preview.head:
                return None
            outcome = await self._apply(conn, preview.outcome, options)
        self._settle(tree, outcome, preview.edited)
        return outcome

    def _keep_preview(
        self, tree: Tree, options: SyncOptions, outcome: SyncResult, edited: Iterable[CheckResult] = ()
    ) -> None:
        """Keep a plan for the sync that may follow; not one that waits for slow files."""
        known = tuple(edited)
        if self._memory.head is not None and not (self._memory.pending or any(c.pending for c in known)):
            self._preview = _Preview(tree, options, self._memory.head, outcome, known)

    async def _all(
        self, tree: Tree, options: SyncOptions, progress: SyncProgress | None, *, write: bool
    ) -> SyncResult:
        """Run a round over every file and every row."""
        async with self._database.transaction(snapshot=True) as conn:
            stored = await self._load(conn, options.source)
        checked = await self._check(tree, stored, options.source, progress)
        async with self._database.transaction(snapshot=not write) as conn:
            if write:
                await _lock_applies(conn, options)
            stored = await self._load(conn, options.source)
            outcome = _make_result(await self._decide(conn, checked, stored, options), stored, checked)
            if write:
                outcome = await self._apply(conn, outcome, options)
        if write:
            self._settle(tree, outcome)
        else:
            self._keep_preview(tree, options, outcome)
        return outcome

    async def _edit(self, tree: Tree, options: SyncOptions, *, write: bool) -> SyncResult | None:
        """Run a round over the few files that were edited in place, where those affect nothing else.

        Returns None where more happened, here or in the store: then everything has to be read. The
        decisions are those of a full round: ids, names and defaults stay where they were.
        """
        files, last = self._memory.edited(tree, options.source), self._last
        if files is None or len(files) > _EDITED_MAX or last is None or options.explicit:
            return None
        edited = list((await self._check_all(files, self._memory.beside, self._memory.stored)).values())
        if not all(map(self._memory.touches_nothing_else, edited)):
            return None
        async with self._database.transaction(snapshot=not write) as conn:
            if write:
                await _lock_applies(conn, options)
            stored = self._memory.stored_at(await store.load_head(conn), options.source)
            if stored is None:
                return None
            ids = [one.manifest.id for one in edited if one.manifest]
            rows = replace(stored, agents={i: stored.agents[i] for i in ids if i in stored.agents})
            decided = await self._decide(
                conn, [*edited, *self._memory.users], rows, replace(options, prune=False)
            )
            if decided.quarantined:
                return None
            outcome = _continue_result(last, decided, stored)
            if write:
                outcome = await self._apply(conn, outcome, options)
        if write:
            self._settle(tree, outcome, edited)
        else:
            self._keep_preview(tree, options, outcome, edited)
        return outcome

    async def _load(self, conn: AsyncConnection, source: str) -> StoredState:
        """Load the store's state, or return the remembered one when nobody has applied anything since."""
        head = await store.load_head(conn)
        stored = self._memory.stored_at(head, source)
        if stored is None:
            stored = await mark_drift(conn, await store.load_stored(conn, source))
            self._memory.keep_stored(head, source, stored)
        return stored

    def _settle(self, tree: Tree, outcome: SyncResult, edited: Iterable[CheckResult] = ()) -> None:
        self._last = outcome
        head = outcome.head or self._memory.head
        if head:
            self._memory.settle(tree, edited, outcome.plan, head, self._checker.fingerprint)

    async def _check(
        self, tree: Tree, stored: StoredState, source: str, progress: SyncProgress | None
    ) -> list[CheckResult]:
        rows = select_rows(stored, source)
        total, beside = len(tree.files), tree.beside
        checked: dict[str, CheckResult] = {}
        waiting: list[SourceFile] = []
        for done, file in enumerate(tree.files.values()):
            row = rows.get(file.path)
            known = self._memory.recall(file, row, beside)
            if known is None and row and self._is_settled(file, row, beside):
                known = CheckResult(file.path, _make_unread_manifest(row))
            if known:
                checked[file.path] = known
            else:
                waiting.append(file)
            if done % _CHECK_BATCH == 0:
                await asyncio.sleep(0)  # let requests be answered
        checked |= await self._check_new(waiting, beside, stored, len(checked), total, progress)
        self._settling.drop_unasked()
        whole = [checked[path] for path in tree.files]
        self._memory.keep_checked(tree, beside, whole)
        if progress:
            progress(total, total)
        return whole

    async def _check_new(
        self,
        files: Sequence[SourceFile],
        beside: TreeContext,
        stored: StoredState,
        known: int,
        total: int,
        progress: SyncProgress | None,
    ) -> dict[str, CheckResult]:
        """Check files by path, a batch at a time; ``known``: files that need no check."""

        def report(done: int) -> None:
            if progress:
                progress(known + done, total)

        report(0)
        found: dict[str, CheckResult] = {}
        for start in range(0, len(files), _CHECK_BATCH):
            found |= await self._check_all(files[start : start + _CHECK_BATCH], beside, stored)
            report(len(found))
        return found

    async def _check_all(
        self, files: Sequence[SourceFile], beside: TreeContext, stored: StoredState | None
    ) -> dict[str, CheckResult]:
        """Check files by path, beside the event loop: the files' authors determine how long it takes."""
        found = await asyncio.to_thread(self._check_many, files, beside)
        if any(one.unread for one in found.values()):
            found |= await self._read(found, files, beside, stored)
        unsure = {path: one for path, one in found.items() if one.unsure and not one.pending}
        jobs = {
            f"seal {path}": Job(one, frozenset({path}), partial(self._checker.settle, one))
            for path, one in unsure.items()
        }
        settled = await self._settling.settle(jobs)
        for path, one in unsure.items():
            found[path] = settled.get(f"seal {path}") or self._checker.pend(one)
        return found

    def _check_many(
        self, files: Iterable[SourceFile], beside: TreeContext, read: Read = recall_passages
    ) -> dict[str, CheckResult]:
        parsed = self._parsed
        return {
            file.path: self._checker.check(
                file, beside, read, parsed.get((file.path, file.data)) if parsed else None
            )
            for file in files
        }

    async def _read(
        self,
        found: Mapping[str, CheckResult],
        files: Sequence[SourceFile],
        beside: TreeContext,
        stored: StoredState | None,
    ) -> dict[str, CheckResult]:
        """Return what manifests with unread sources turn out to be, once these were read or are pending."""
        known = self._known_sources(stored)
        waiting: dict[str, set[str]] = {}
        sources: dict[str, SourceFile] = {}
        for path, one in found.items():
            for unread in one.unread:
                source = unread.source
                if (kind_of(source.path), source.digest) not in known:
                    sources[source.path] = source
                    waiting.setdefault(source.path, set()).update({path, unread.pending.path})
        jobs = {
            f"text {path}": Job(source.digest, frozenset(waiting[path]), partial(self._extract, source))
            for path, source in sources.items()
        }
        read = await self._settling.settle(
            jobs, at_most=None if self._settling.renewed else ROUND_SETTLE_SECONDS
        )
        texts: dict[str, Extraction | Known | None] = {
            unread.source.path: Known.STORED for one in found.values() for unread in one.unread
        }
        texts |= {path: read.get(f"text {path}") for path in sources}
        again = [file for file in files if found[file.path].unread]
        checked = await asyncio.to_thread(self._check_many, again, beside, partial(recall_from, texts))
        return {path: self._checker.pend(one) if one.unread else one for path, one in checked.items()}

    def _known_sources(self, stored: StoredState | None) -> set[tuple[str, bytes]]:
        """Return kind and digest of the sources whose passages are stored, as they would be cut today."""
        rows = stored.agents.values() if stored else ()
        sound = (row for row in rows if row.checked == self._checker.fingerprint and not row.drifted)
        return {(kind_of(one.path), one.digest) for row in sound for one in row.attachments.sources}

    async def _extract(self, source: SourceFile) -> Extraction:
        """Read a source in its owner's turn: one at a time, whatever the others of that owner take."""
        async with self._turns.turn(derive_owner(source.path)):
            return await extract_in_worker(source.path, source.data)

    def _is_settled(self, file: SourceFile, row: StoredAgent, beside: TreeContext) -> bool:
        """Return whether these very bytes were checked by the same rules, and verified where possible.

        A row that was edited by hand is not evidence of the content of its file.
        """
        return (
            file.digest == row.document_digest
            and has_same_attachments(row, beside)
            and not row.drifted
            and row.checked == self._checker.fingerprint
            and (row.verified or not self._checker.can_open)
        )

    async def _decide(
        self, conn: AsyncConnection, checked: list[CheckResult], stored: StoredState, options: SyncOptions
    ) -> Plan:
        files = gather_files(checked, options.source, prune=options.prune)
        files = files.without(
            files.find_foreign_claims(stored, await _load_known_owners(conn, files, stored))
        )
        if options.prune:
            read = self._checker.document
            stored = await mark_unprunable(conn, files.manifests, stored, options.source, read)
        files = files.without(files.find_conflicts(stored.agents))
        if files.quarantined and options.strict:
            raise InvalidManifests(sort_violations([v for q in files.quarantined for v in q.violations]))
        stored = await self._with_values(conn, files.manifests, stored)
        return await asyncio.to_thread(self._planned, files, stored, options)

    def _planned(self, files: CheckedFiles, stored: StoredState, options: SyncOptions) -> Plan:
        manifests = tuple(self._with_prints(m, stored.agents.get(m.id)) for m in files.manifests)
        desired = replace(files, manifests=manifests).to_desired(self._checker.fingerprint, stored.agents)
        return _guard_plan(desired, stored, options, self._checker.masker)

    async def _with_values(
        self, conn: AsyncConnection, good: Iterable[Manifest], stored: StoredState
    ) -> StoredState:
        """Return ``stored`` with the old documents of those rows that a file is about to change."""
        new = {m.id: m for m in good if (row := stored.agents.get(m.id)) and row.digest != m.digest}
        if not new:
            return stored
        agents = dict(stored.agents)
        below = {layer.digest for agent_id in new for layer in agents[agent_id].attachments.layers}
        layers = await store.load_layers(conn, below)
        documents = await store.load_documents(conn, new)
        agents |= await asyncio.to_thread(self._valued, documents, stored, new, layers)
        return replace(stored, agents=agents)

    def _valued(
        self,
        documents: Mapping[UUID, bytes],
        stored: StoredState,
        new: Mapping[UUID, Manifest],
        layers: Mapping[bytes, bytes],
    ) -> dict[UUID, StoredAgent]:
        """Return the rows of ``documents`` with the values of those. Takes as long as there is to read."""
        valued = {}
        for agent_id, data in documents.items():
            row, manifest = stored.agents[agent_id], new[agent_id]
            try:
                named = [(one.path, layers[one.digest]) for one in row.attachments.layers]
                parsed = self._parsed.get((row.path, data))
                document = self._checker.document(row.path, data, named, parsed)
                seals = (manifest.seals, manifest.lent)
                resealed = len(new) <= _PRINTED_MAX and fingerprint_by_owner(document, row.owner) != seals
            except Exception as error:  # edited by hand, and about to be replaced
                _log.warning(
                    "a stored document cannot be read (%s)", describe_error(error), extra={"path": row.path}
                )
                continue
            prints = self._checker.prints(document, self._print_key) if resealed else None
            valued[agent_id] = replace(row, value=document.value, prints=prints)
        return valued

    def _with_prints(self, manifest: Manifest, row: StoredAgent | None) -> Manifest:
        if row is None or row.prints is None or manifest.data is None:
            return manifest
        named = [(one.path, one.data or b"") for one in manifest.attachments.layers]
        parsed = self._parsed.get((manifest.path, manifest.data))
        document = self._checker.document(manifest.path, manifest.data, named, parsed)
        return replace(manifest, prints=self._checker.prints(document, self._print_key))

    async def _apply(self, conn: AsyncConnection, outcome: SyncResult, options: SyncOptions) -> SyncResult:
        decided = outcome.plan
        if decided.rechecked:
            await mark_checked(conn, decided.rechecked, self._checker.fingerprint)
        if decided.empty:
            return outcome
        await store.rename_owners(conn, decided.renamed)
        await store_sources(conn, decided)
        uncommitted = await _find_uncommitted(decided.changes, options)
        stamp = ApplyStamp(outcome.run_id, options.commit, self._checker.fingerprint, uncommitted)
        head = await store.apply_plan(conn, decided, stamp=stamp)
        await drop_sources(conn, decided)
        return replace(outcome, head=head)


async def _find_uncommitted(changes: Sequence[Change], options: SyncOptions) -> frozenset[UUID]:
    """Return the agents of which a file is not as ``options.commit`` has it."""
    if options.work_tree is None or options.commit is None:
        return frozenset()
    paths = {
        change.id: {change.path, *(one.path for one in change.desired.attachments.all)}
        for change in changes
        if change.desired is not None
    }
    found = await list_uncommitted(options.work_tree, frozenset().union(*paths.values()))
    return frozenset(agent for agent, names in paths.items() if not names.isdisjoint(found))


async def _lock_applies(conn: AsyncConnection, options: SyncOptions) -> None:
    """Exclude all other applies; raise ``NotLeading`` if the term is over."""
    await (lock_for_term(conn, options.term) if options.term else store.lock_applies(conn))


def _is_same_file(one: SourceFile, other: SourceFile) -> bool:
    return one is other or (one.digest == other.digest and one.problem == other.problem)


def _make_result(decided: Plan, stored: StoredState, checked: Iterable[CheckResult]) -> SyncResult:
    warnings = [v for c in checked for v in c.violations if v.severity == "warning"]
    return SyncResult(decided, stored, sort_violations(warnings), suspended=_list_suspended(checked, decided))


def _continue_result(last: SyncResult, decided: Plan, stored: StoredState) -> SyncResult:
    """Return the result of edits after ``last``, of which everything but the plan remains valid."""
    total = last.plan.unchanged + sum(change.operation != "delete" for change in last.plan.changes)
    decided = replace(decided, unchanged=total - len(decided.changes), orphaned=last.plan.orphaned)
    return SyncResult(decided, stored, last.warnings, suspended=last.suspended)


def _list_suspended(checked: Iterable[CheckResult], decided: Plan) -> tuple[str, ...]:
    bad = {quarantined.path for quarantined in decided.quarantined}
    return tuple(c.path for c in checked if c.manifest and not c.manifest.active and c.path not in bad)


def _make_unread_manifest(row: StoredAgent) -> Manifest:
    """Return the manifest of a row whose file did not change."""
    return Manifest(
        row.id,
        row.slug,
        row.owner,
        row.path,
        row.digest,
        row.is_default,
        row.verified,
        row.active,
        document_digest=row.document_digest,
        attachments=row.attachments,
        links=row.links,
    )


async def _load_known_owners(conn: AsyncConnection, files: CheckedFiles, stored: StoredState) -> KnownOwners:
    seals, tokens = files.list_seals(), files.list_doubtful_tokens(stored.users)
    return KnownOwners(
        await store.load_seal_owners(conn, seals) if seals else {},
        await load_token_holders(conn, tokens) if tokens else {},
    )


def _guard_plan(desired: DesiredState, stored: StoredState, options: SyncOptions, masker: Masker) -> Plan:
    """Return the plan without the deletions of owners that look like an accident.

    Raises ``MassDeletion`` where everything would go, and, if ``strict``, for any of them.
    """
    how: dict[str, Any] = {
        "source": options.source,
        "prune": options.prune,
        "explicit": options.explicit,
        "masker": masker,
    }
    decided = make_plan(desired, stored, **how)
    found = {} if options.allow_mass_delete else count_deletions_by_owner(decided, stored, options.explicit)
    if not found:
        return decided
    if options.strict or is_whole_source_deleted(decided, stored, options.explicit):
        count = sum(found.values())
        raise MassDeletion(
            f"this would remove {count} agent{'s' if count > 1 else ''} of source {decided.source!r} at once",
            hint="nothing was changed; if intended, use --allow-mass-delete",
        )
    held = (*desired.quarantined, *(_quarantine_deletions(owner, found[owner]) for owner in sorted(found)))
    return make_plan(replace(desired, quarantined=held), stored, **how)


def _quarantine_deletions(owner: str, count: int) -> Quarantined:
    """Return the quarantine entry of an owner whose deletions are held back."""
    path = f"{owner}/"
    message = f"this would remove {count} agents of owner {owner!r} at once"
    hint = "none of them was removed; if intended, run: agentsd sync --allow-mass-delete"
    return Quarantined(path, (Violation(path, "mass-deletion", message, hint),))
