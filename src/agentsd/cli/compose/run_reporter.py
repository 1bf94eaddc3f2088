"""Reports of the sync daemon: to people on stderr, and to the store's record of runs."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import monotonic

from agentsd.cli.output import get_stderr, print_lines, show_error, show_violations
from agentsd.control.sync.reconciler import SyncOptions, SyncResult
from agentsd.control.sync.retention import KEEP_REVISIONS, prune_history
from agentsd.control.sync.run_log import record_error, record_result
from agentsd.control.sync.syncer import RoundReport, RoundTrigger
from agentsd.core.errors import AgentsdError
from agentsd.core.reminder import Reminder
from agentsd.core.text.render import format_plan, summarise_plan
from agentsd.core.violations import Violation
from agentsd.store.database import Database
from agentsd.store.leader_election import Term

_PATHS_MAX = 20
"""Changes shown line by line; of more, only the count."""
_SHOWN_BAD = 500
"""Violations shown per round."""


class RunReporter:
    """Reporter of each round, shown and recorded once; a lasting error again with growing pauses."""

    def __init__(
        self, database: Database, options: SyncOptions, prefix: str, keep: int = KEEP_REVISIONS
    ) -> None:
        self._database = database
        self._options = options
        self._prefix = prefix
        self._keep = keep
        self._pruned = False
        self._last_orphans: tuple[str, ...] = ()
        self._last_error: str | None = None
        self._reminder = Reminder()
        self._last_bad: tuple[Violation, ...] = ()
        self._last_term: Term | None = None

    async def __call__(self, report: RoundReport) -> None:
        """Take one report of the ``Watcher``."""
        options = replace(self._options, commit=report.commit, term=report.term)
        if report.error:
            await self._failed(report.error, options, report.trigger)
        elif report.outcome:
            await self._done(report.outcome, options, report.trigger)

    async def _failed(self, error: AgentsdError, options: SyncOptions, trigger: RoundTrigger) -> None:
        if not self._reminder.due(monotonic(), str(error)):
            return
        known = str(error) == self._last_error
        self._last_error = str(error)
        show_error(error, self._prefix)
        if known:
            return
        with suppress(AgentsdError):
            await record_error(self._database, error, options, trigger=trigger, started_at=datetime.now(UTC))

    async def _done(self, outcome: SyncResult, options: SyncOptions, trigger: RoundTrigger) -> None:
        bad = tuple(v for q in outcome.plan.quarantined for v in q.violations)
        orphans = tuple(row.slug for row in outcome.plan.orphaned)
        told = orphans == self._last_orphans
        news = outcome.head is not None or bad != self._last_bad or self._last_error is not None or not told
        self._last_orphans = orphans
        self._last_error = None
        self._reminder.clear()
        if news or options.term != self._last_term:  # the last leader may have died before it reported
            self._last_term = options.term
            started = datetime.now(UTC) - timedelta(seconds=outcome.seconds)
            with suppress(AgentsdError):
                await record_result(self._database, outcome, options, trigger=trigger, started_at=started)
        if news:
            plan = replace(outcome.plan, orphaned=()) if told else outcome.plan
            known = frozenset(self._last_bad)
            self._show(replace(outcome, plan=plan), tuple(v for v in bad if v not in known))
            self._last_bad = bad
        if outcome.head or not self._pruned:
            changed = [change.id for change in outcome.plan.changes] if self._pruned else None
            self._pruned = True
            await prune_history(self._database, self._keep, changed)

    def _show(self, outcome: SyncResult, bad: tuple[Violation, ...]) -> None:
        console = get_stderr()
        changes = outcome.plan.changes
        if len(changes) > _PATHS_MAX:  # edits by hand are reported in any case
            changes = tuple(change for change in changes if change.operation == "heal")
        shown = replace(outcome.plan, changes=changes, quarantined=())
        print_lines(console, format_plan(shown if outcome.head else replace(shown, changes=(), users=())))
        if bad:
            show_violations(bad[:_SHOWN_BAD], self._prefix)
            if len(bad) > _SHOWN_BAD:
                more = f"  … and {len(bad) - _SHOWN_BAD:,} more: agentsd validate"
                print_lines(console, [(("dim", more),)])
        version = outcome.head.version if outcome.head else outcome.stored.version
        print_lines(
            console,
            [
                (
                    ("yellow" if bad else "green", "! " if bad else "✓ "),
                    ("bold", f"version {version}"),
                    ("", f": {summarise_plan(outcome.plan)} "),
                    ("dim", f"({outcome.seconds * 1000:.0f} ms)"),
                )
            ],
        )
