"""Pull mode: the newest commit of a remote's ref is fetched, checked, and reconciled as a whole.

fetch ─▶ signed? ─▶ older than what is applied? ─▶ read the commit's tree ─▶ round of the ``Syncer``

Whatever fails or is refused on the way keeps the last good tree in place, and is recorded.
``commit_policy`` decides what is refused.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace

from agentsd.control.pull.commit_policy import AwaitConfirmation, CommitPolicy, PullOptions, get_loop_time
from agentsd.control.sync.leadership import LeaderGate
from agentsd.control.sync.syncer import RoundReport, Syncer
from agentsd.core.errors import AgentsdError, Bug, MassDeletion, StaleSync, StoreError
from agentsd.core.text.render import summarise_plan
from agentsd.core.violations import PENDING
from agentsd.files.git.merge_base import read_commit
from agentsd.files.git.mirror import Mirror, PullFailed, RefMissing
from agentsd.files.git.signatures import UntrustedCommit
from agentsd.files.git.tree_reader import CommitReader
from agentsd.files.tree import Tree
from agentsd.store.database import Database
from agentsd.store.listener import Listener
from agentsd.store.queries import pulls
from agentsd.store.queries.pulls import PullState
from agentsd.supervisor import Supervisor

FIRST_PULL_SECONDS = 10.0
"""Period for which the first attempt may delay serving the store's content."""

_LONGEST_DELAY_SECONDS = 300.0
_AFTER_HOOK_SECONDS = 2.0  # forges send the hook before all of their servers show the push
_REASONS: tuple[tuple[type[AgentsdError], str], ...] = (
    (RefMissing, "RefMissing"),
    (PullFailed, "FetchFailed"),
    (UntrustedCommit, "UntrustedCommit"),
    (StaleSync, "StaleCommit"),
    (MassDeletion, "MassDeletion"),
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CommitStatus:
    """Result of one commit, for its forge."""

    commit: str
    good: bool
    text: str


class Checkout:
    """Commit that is to be reconciled: passed to ``Syncer`` as ``pulled``."""

    commit: str | None = None
    tree: Tree | None = None

    def __call__(self) -> tuple[str, Tree]:
        """Return commit and tree. Raises ``PullFailed`` before there is any."""
        if self.commit is None or self.tree is None:
            raise PullFailed("nothing was pulled yet", hint="check the result of the first pull")
        return self.commit, self.tree

    def put(self, commit: str, tree: Tree) -> None:
        """Replace commit and tree."""
        self.commit, self.tree = commit, tree


class Puller:
    """Worker that pulls on a period, and on request, until it is cancelled. Survives every error."""

    def __init__(
        self,
        syncer: Syncer,
        checkout: Checkout,
        database: Database,
        mirror: Mirror,
        options: PullOptions,
        *,
        gate: LeaderGate | None = None,
        tell: Callable[[CommitStatus], None] | None = None,
        supervisor: Supervisor | None = None,
    ) -> None:
        """Prepare pulling; ``gate`` is the syncer's, and ``tell`` is called with each commit's status."""
        self.first_round = asyncio.Event()  # set after the first attempt, or when it is slow
        self._syncer = syncer
        self._checkout = checkout
        self._database = database
        self._mirror = mirror
        self._options = options
        self._gate = gate
        self._tell = tell
        self._told: CommitStatus | None = None
        self._readers = (CommitReader(mirror.git), CommitReader(mirror.git))
        self._wanted = asyncio.Event()
        self._failures = 0
        self._resync_at = 0.0
        self._judge = CommitPolicy(mirror, options)
        self._supervisor = supervisor or Supervisor()
        syncer.on_late = lambda report: self._pass(report, report.commit)

    def pull(self) -> None:
        """Pull at once, since there is something new."""
        self._wanted.set()

    async def run(self) -> None:
        """Pull until cancelled."""
        tasks = {"pull": self._follow, "pull_requests": self._listen}
        if self._gate is not None:
            tasks["pull_lead"] = self._lead
        waiting = asyncio.get_running_loop().call_later(FIRST_PULL_SECONDS, self.first_round.set)
        try:
            await self._supervisor.run(tasks)
        finally:
            waiting.cancel()

    async def _follow(self) -> None:
        hooked = False
        while True:
            self._wanted.clear()
            before = self._checkout.commit
            delay = await self._turn()
            self.first_round.set()
            if hooked and not self._failures and self._checkout.commit == before:
                delay = min(delay, _AFTER_HOOK_SECONDS)
            hooked = False
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._wanted.wait()
                    hooked = True

    async def _listen(self) -> None:
        """Listen for notifications. A missed one costs no more than one interval."""
        async with aclosing(
            Listener(self._database.listener_dsn, channel=pulls.PULL_CHANNEL).hints()
        ) as hints:
            async for hint in hints:
                if hint.kind == "changed":
                    self.pull()

    async def _lead(self) -> None:
        """Pull anew when leadership is gained: what was fetched before may be older than what is applied."""
        if self._gate is not None:
            async for _ in self._gate.gained():
                self.pull()

    async def _turn(self) -> float:
        """Make one attempt; return the seconds until the next."""
        try:
            report = await self._attempt()
        except AwaitConfirmation as wait:
            return wait.seconds
        if report is not None and report.error is not None and report.error.retryable:
            self._failures += 1
            longest = min(2.0 ** min(self._failures, 10), _LONGEST_DELAY_SECONDS)
            return random.uniform(longest / 2, longest)  # noqa: S311  (jitter)
        self._failures = 0
        interval = self._options.interval * random.uniform(0.9, 1.1)  # noqa: S311
        return max(0.0, min(interval, self._resync_at - get_loop_time()))

    async def _attempt(self) -> RoundReport | None:
        """Fetch, check, reconcile, record. Returns None where there was nothing to do."""
        commit, known, signer = None, None, None
        try:
            known, applied = await self._recall()
            self._judge.refuse_moved(known)
            commit, forward = await self._newest(applied)
            if self._is_settled(commit, known):
                await self._record(known, commit, self._settled(known))
                return None
            signer = await self._judge.accept(commit, known, None if forward else applied)
            self._checkout.put(commit, await self._read(commit))
            report = await self._round()
        except AgentsdError as error:
            report = await self._refused(error, commit)
        except AwaitConfirmation:
            raise
        except Exception as error:
            report = await self._refused(Bug(error), commit)
        if not report.standby:
            await self._conclude(report, commit, known, signer)
        return report

    async def _recall(self) -> tuple[PullState | None, str | None]:
        async with self._database.transaction(snapshot=True) as connection:
            known = await pulls.list_pulls(connection, self._options.source)
            return known[0] if known else None, await pulls.load_applied_commit(
                connection, self._options.source
            )

    async def _newest(self, applied: str | None) -> tuple[str, bool]:
        """Return the commit of the ref, and whether it is the applied one or comes after it.

        The remote is asked after the store. Where the applied commit was never seen here, another process
        was faster, and the remote is asked again.
        """
        tags = self._options.signers is not None and self._options.signers.what == "tags"
        commit = await self._mirror.fetch(tags=tags)
        if applied is None or applied == commit:
            return commit, True
        forward = await self._mirror.leads_to(applied, commit)
        if forward is None:
            commit = await self._mirror.fetch(tags=tags)
            forward = await self._mirror.leads_to(applied, commit)
        return commit, forward is True

    def _is_settled(self, commit: str, known: PullState | None) -> bool:
        """Return whether this very commit is reconciled, and all other work is not due yet."""
        fine = known is not None and known.reason is None and known.last_applied == commit
        return (
            fine
            and self._checkout.commit == commit
            and not self._failures
            and get_loop_time() < self._resync_at
        )

    async def _round(self, *, quiet: bool = False) -> RoundReport:
        if get_loop_time() >= self._resync_at:
            self._resync_at = get_loop_time() + self._options.resync
            self._syncer.forget()
        return await self._syncer.round(None, quiet=quiet)

    async def _refused(self, error: AgentsdError, commit: str | None) -> RoundReport:
        """Report the refusal, as a leader, and keep the store at the last good tree meanwhile."""
        if not await self._leads():
            return RoundReport(standby=True)
        report = await self._syncer.refuse(error, commit)
        if not isinstance(error, StoreError) and get_loop_time() >= self._resync_at:
            await self._restore()
            if self._checkout.commit is not None:
                await self._round(quiet=True)
        return report

    async def _leads(self) -> bool:
        try:
            return self._gate is None or await self._gate.term() is not None
        except AgentsdError:
            return False

    async def _restore(self) -> None:
        """Restore the commit that is applied after a restart, if it was fetched here.

        The store alone records which one that is: a process may end before git keeps it by a ref.
        """
        if self._checkout.commit is not None:
            return
        with suppress(AgentsdError):
            _, applied = await self._recall()
            if applied is not None and await self._mirror.has(applied):
                if self._options.signers:
                    await self._options.signers.verify(self._mirror, applied)
                self._checkout.put(applied, await self._read(applied))
                await self._mirror.keep(applied)

    async def _read(self, commit: str) -> Tree:
        return await read_commit(self._readers, commit, self._options.path, self._options.env)

    async def _conclude(
        self, report: RoundReport, commit: str | None, known: PullState | None, signer: str | None
    ) -> None:
        """Record the result, send it to the forge, and let git clean up."""
        self._pass(report, commit)
        if report.outcome is not None and commit is not None:
            mirror = self._mirror
            pull = PullState(self._options.source, mirror.remote.shown, mirror.ref, self._options.path)
            await self._record(known, commit, replace(pull, last_applied=commit, signer=signer))
            with suppress(PullFailed):
                await mirror.keep(commit)
        elif report.error is not None:
            failed = replace(
                self._settled(known), reason=_find_reason(report.error), message=report.error.message
            )
            await self._record(known, commit, failed)

    def _settled(self, known: PullState | None) -> PullState:
        """Return the recorded pull; where nothing was ever applied, one with the present names."""
        if known is not None and known.last_applied is not None:
            return known
        return PullState(
            self._options.source, self._mirror.remote.shown, self._mirror.ref, self._options.path
        )

    async def _record(self, known: PullState | None, commit: str | None, pull: PullState) -> None:
        if not await self._leads():
            return
        attempted = commit or (known.last_attempted if known else None)
        with suppress(StoreError):
            async with self._database.transaction() as connection:
                await pulls.record_pull(connection, replace(pull, last_attempted=attempted))

    def _pass(self, report: RoundReport, commit: str | None) -> None:
        verdict = _make_status(report, commit)
        if verdict is not None and verdict != self._told and self._tell is not None:
            self._tell(verdict)
            self._told = verdict


def _make_status(report: RoundReport, commit: str | None) -> CommitStatus | None:
    """Return the commit's status; None where it is not decided yet."""
    if commit is None or (report.error is not None and report.error.retryable):
        return None
    if report.outcome is not None:
        found = [one for quarantined in report.outcome.plan.quarantined for one in quarantined.violations]
        if any(one.code in PENDING for one in found):
            return None
        bad = len(report.outcome.plan.quarantined)
        text = summarise_plan(report.outcome.plan)
        return CommitStatus(commit, not bad, f"{bad} refused; {text}" if bad else text)
    return CommitStatus(commit, False, report.error.message) if report.error else None


def _find_reason(error: AgentsdError) -> str:
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), type(error).__name__)
