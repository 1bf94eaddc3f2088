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
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
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
from agentsd.core.errors import InvalidManifests, MassDeletion, describe_error
from agentsd.core.manifest.agent import Manifest, StoredAgent
from agentsd.core.manifest.user import User
from agentsd.core.names import derive_owner, derive_user_id
from agentsd.core.plan.conflicts import (
    find_conflicts,
    find_owner_conflicts,
    find_renamed_owners,
    find_reused_seals,
    find_reused_tokens,
    find_user_conflicts,
)
from agentsd.core.plan.plan import (
    DesiredState,
    HeldOwners,
    Plan,
    Quarantined,
    StoredState,
    count_deletions_by_owner,
    is_whole_source_deleted,
    make_plan,
)
from agentsd.core.violations import Violation, filter_errors, sort_violations
from agentsd.files.tree import SourceFile, Tree, TreeContext
from agentsd.sandbox.pool import WORKERS
from agentsd.sops.binary import SopsCallLimiter
from agentsd.sops.format import fingerprint_by_owner
from agentsd.store.database import Database
from agentsd.store.leader_election import Term, lock_for_term
from agentsd.store.queries import agents as store
from agentsd.store.queries.agents import ApplyStamp, Head
from agentsd.store.queries.rule_digests import mark_checked
from agentsd.store.queries.users import load_token_holders

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


class Reconciler:
    """Reconciler of one tree and one store.

    Remembers both, so that the work of a daemon is proportional to the change.
    """

    def __init__(self, checker: Checker, database: Database) -> None:
        self._checker = checker
        self._database = database
        self._memory = StateCache()
        self._settling = BackgroundChecks()
        self._turns = SopsCallLimiter(total=WORKERS, per_owner=1)  # to have a source read
        self._last: SyncResult | None = None
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

    async def is_outdated(self) -> bool:
        """Return whether the store's history is not the one that the last round saw: a dump was restored."""
        seen = self._memory.head
        if seen is None:
            return False
        async with self._database.transaction(snapshot=True) as conn:
            return not await store.is_in_history(conn, seen)

    async def plan(
        self, tree: Tree, options: SyncOptions, progress: SyncProgress | None = None
    ) -> SyncResult:
        """Plan what a sync would do. Writes nothing."""
        return await self._run(tree, options, progress, write=False)

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
        outcome = await self._edit(tree, options, write=write)
        if outcome is None:
            outcome = await self._all(tree, options, progress, write=write)
        return replace(outcome, seconds=time.perf_counter() - started)

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
            if len(waiting) == _CHECK_BATCH:
                checked |= await self._check_all(waiting, beside, stored)
                waiting = []
            if done % _CHECK_BATCH == 0:
                await asyncio.sleep(0)  # let requests be answered
                if progress:
                    progress(done, total)
        checked |= await self._check_all(waiting, beside, stored)
        self._settling.drop_unasked()
        whole = [checked[path] for path in tree.files]
        self._memory.keep_checked(tree, beside, whole)
        if progress:
            progress(total, total)
        return whole

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
        return {file.path: self._checker.check(file, beside, read) for file in files}

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
        bad = [
            Quarantined(c.path, sort_violations(errors))
            for c in checked
            if (errors := filter_errors(c.violations))
        ]
        good = [c.manifest for c in checked if c.manifest]
        seals = {seal for manifest in good for seal in (*manifest.seals, *manifest.lent)}
        desired, kept = {m.id: m.owner for m in good}, {derive_owner(c.path) for c in checked}
        renamed = find_renamed_owners(desired, stored.agents.values(), options.source, kept)
        known = await store.load_seal_owners(conn, seals) if seals else {}
        bad += find_reused_seals(good, {seal: renamed.get(owner, owner) for seal, owner in known.items()})
        users = {c.user.username: c.user for c in checked if c.user}
        bad += await _find_user_conflicts(conn, good, users, stored, options, bad, renamed)
        good = _drop_quarantined(good, bad)
        if options.prune:
            stored = await mark_unprunable(conn, good, stored, options.source, self._checker.document)
        refused = {quarantined.path for quarantined in bad}
        bad += find_conflicts(good, stored.agents, options.source, prune=options.prune, refused=refused)
        good = _drop_quarantined(good, bad)
        if bad and options.strict:
            raise InvalidManifests(sort_violations([v for q in bad for v in q.violations]))
        refused = {quarantined.path for quarantined in bad}
        users = {name: user for name, user in users.items() if user.path not in refused}
        stored = await self._with_values(conn, good, stored)
        return await asyncio.to_thread(self._planned, good, users, tuple(bad), stored, options)

    def _planned(
        self,
        good: Iterable[Manifest],
        users: Mapping[str, User],
        bad: tuple[Quarantined, ...],
        stored: StoredState,
        options: SyncOptions,
    ) -> Plan:
        manifests = {m.id: self._with_prints(m, stored.agents.get(m.id)) for m in good}
        desired = DesiredState(
            manifests, _add_missing_owners(users, manifests.values()), bad, self._checker.fingerprint
        )
        return _guard_plan(desired, stored, options)

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
                document = self._checker.document(row.path, data, named)
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
        document = self._checker.document(manifest.path, manifest.data, named)
        return replace(manifest, prints=self._checker.prints(document, self._print_key))

    async def _apply(self, conn: AsyncConnection, outcome: SyncResult, options: SyncOptions) -> SyncResult:
        decided = outcome.plan
        if decided.rechecked:
            await mark_checked(conn, decided.rechecked, self._checker.fingerprint)
        if decided.empty:
            return outcome
        await store.rename_owners(conn, _list_renamed(outcome, options.source))
        await store_sources(conn, decided)
        stamp = ApplyStamp(outcome.run_id, options.commit, self._checker.fingerprint)
        head = await store.apply_plan(conn, decided, stamp=stamp)
        await drop_sources(conn, decided)
        return replace(outcome, head=head)


def _list_renamed(outcome: SyncResult, source: str) -> dict[str, str]:
    changes = [change for change in outcome.plan.changes if change.desired]
    desired = {change.id: change.owner for change in changes}
    kept = {*desired.values(), *(derive_owner(one.path) for one in outcome.plan.quarantined)}
    return find_renamed_owners(desired, outcome.stored.agents.values(), source, kept)


async def _lock_applies(conn: AsyncConnection, options: SyncOptions) -> None:
    """Exclude all other applies; raise ``NotLeading`` if the term is over."""
    await (lock_for_term(conn, options.term) if options.term else store.lock_applies(conn))


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
    )


def _drop_quarantined(manifests: Iterable[Manifest], bad: Iterable[Quarantined]) -> list[Manifest]:
    paths = {quarantined.path for quarantined in bad}
    return [manifest for manifest in manifests if manifest.path not in paths]


def _add_missing_owners(users: Mapping[str, User], manifests: Iterable[Manifest]) -> dict[str, User]:
    """Give every folder an owner, with or without a user file."""
    owners = {manifest.owner for manifest in manifests} - users.keys()
    return {**users, **{name: User(derive_user_id(name), name) for name in owners}}


async def _find_user_conflicts(
    conn: AsyncConnection,
    good: Iterable[Manifest],
    users: Mapping[str, User],
    stored: StoredState,
    options: SyncOptions,
    bad: Iterable[Quarantined],
    renamed: Mapping[str, str],
) -> list[Quarantined]:
    """Return the conflicts between owners: of their names, their tokens and their emails."""
    listed = Counter(str(token.get("sha256")) for user in users.values() for token in user.tokens)
    doubtful = {sha256 for sha256, count in listed.items() if count > 1}
    for name, user in users.items():
        row = stored.users.get(name)
        if row is None or row.tokens != user.tokens:
            doubtful |= {str(token.get("sha256")) for token in user.tokens}
    known = await load_token_holders(conn, doubtful) if doubtful else {}
    holders = {sha256: renamed.get(owner, owner) for sha256, owner in known.items()}
    held = HeldOwners.by(one.path for one in bad)
    prune = options.prune
    return [
        *find_owner_conflicts(good, users.values(), stored.users.keys()),
        *(find_reused_tokens(users.values(), holders) if doubtful else ()),
        *find_user_conflicts(users.values(), stored.users, options.source, prune=prune, held=held),
    ]


def _guard_plan(desired: DesiredState, stored: StoredState, options: SyncOptions) -> Plan:
    """Return the plan without the deletions of owners that look like an accident.

    Raises ``MassDeletion`` where everything would go, and, if ``strict``, for any of them.
    """
    how: dict[str, Any] = {
        "source": options.source,
        "prune": options.prune,
        "explicit": options.explicit,
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
