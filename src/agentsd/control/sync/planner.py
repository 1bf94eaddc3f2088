"""Plans on request: what a sync would do now, without doing it.

One look at a time; a request while one is under way gets its result. Each starts from the store
as it is and remembers nothing, so that drift shows. It holds no lock: no sync waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from agentsd.control.sync.reconciler import Reconciler, SyncOptions, SyncResult
from agentsd.control.sync.syncer import ReadPulled
from agentsd.core.plan.plan import count_mass_deletions
from agentsd.files.git.command import read_head_commit
from agentsd.files.tree import Tree, read_tree

PLAN_TIMEOUT_SECONDS = 30.0
"""Timeout of a plan, shared by all its waiters."""


@dataclass(frozen=True, slots=True)
class PlanResult:
    """Result of one look.

    ``removes``: number of agents to delete, if so many that a guard holds the sync back; else 0.
    """

    outcome: SyncResult
    commit: str | None
    at: datetime
    removes: int = 0


class Planner:
    """Planner for one folder and one source."""

    def __init__(
        self,
        root: Path,
        make: Callable[[], Reconciler],
        options: SyncOptions,
        *,
        env: str | None = None,
        pulled: ReadPulled | None = None,
        patience: float = PLAN_TIMEOUT_SECONDS,
    ) -> None:
        """Prepare planning; ``make`` returns a reconciler for one look.

        ``pulled`` returns the tree, instead of the folder.
        """
        self.root = root
        self._make = make
        self._options = replace(options, strict=False)
        self._env = env
        self._pulled = pulled
        self._patience = patience
        self._looking: asyncio.Task[PlanResult] | None = None

    async def look(self) -> PlanResult:
        """Return the plan as of now, or of the look that is under way.

        Raises ``ConfigError`` or ``PullFailed`` where there are no files, ``StoreError`` without a
        store, and ``TimeoutError``.
        """
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._bounded(), name="plan")
            self._looking.add_done_callback(_retrieve_exception)
        return await asyncio.shield(self._looking)

    async def aclose(self) -> None:
        """End what is under way."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})

    async def _bounded(self) -> PlanResult:
        async with asyncio.timeout(self._patience):
            return await self._look()

    async def _look(self) -> PlanResult:
        commit, tree = self._pulled() if self._pulled else await self._read()
        options = replace(self._options, commit=commit, allow_mass_delete=True)
        reconciler = self._make()
        try:
            outcome = await reconciler.plan(tree, options)
        finally:
            await reconciler.aclose()  # what is pending has a round to wait for it
        guarded = not self._options.allow_mass_delete
        removes = count_mass_deletions(outcome.plan, outcome.stored) if guarded else 0
        return PlanResult(outcome, commit, datetime.now(UTC), removes)

    async def _read(self) -> tuple[str | None, Tree]:
        """Read the tree in a thread: the files may be many, and this process serves requests."""
        tree = await asyncio.to_thread(read_tree, self.root, env=self._env)
        return await read_head_commit(self.root), tree


def _retrieve_exception(task: asyncio.Task[PlanResult]) -> None:
    """Retrieve the exception of a task whose requester may have left, so that it is not reported as lost."""
    if not task.cancelled():
        task.exception()
