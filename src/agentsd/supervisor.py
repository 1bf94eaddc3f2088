"""Supervisor: runs the long-lived tasks of one event loop and restarts each that fails.

Whatever a task raises is logged by type and place (its own text may quote a secret), counted, and
followed by a restart after a back-off that grows while the task keeps failing. What a library's
native code raises beside ``Exception`` and an unrequested cancellation count as well. Only
a fault of the operator (``OPERATOR_FAULTS``) ends the process, and only before the task was ready.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentsd.core.backoff import Backoff
from agentsd.core.errors import AgentsdError, Bug, ConfigError, SchemaMismatch, StoreRefused, describe_error

if TYPE_CHECKING:
    from agentsd.telemetry import Metrics

ENDING_ERRORS = (asyncio.CancelledError, KeyboardInterrupt, GeneratorExit)
"""Exceptions that a boundary lets through. A plug-in or native code may raise all others (``SystemExit``, a
panic, which are not an ``Exception``), and asyncio would end the process for some of it."""

OPERATOR_FAULTS = (ConfigError, SchemaMismatch, StoreRefused)
"""Errors that end the process at start-up: a retry cannot succeed before the operator acts."""

RESTART_BACKOFF = Backoff(first_seconds=0.1, longest_seconds=30.0)
STEADY_SECONDS = 60.0
"""Run time after which a restarted task counts as recovered."""

TaskFunction = Callable[[], Awaitable[object]]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TaskFailure:
    """Failure of a task that has not run steadily since."""

    task: str
    failures: int  # in a row
    message: str  # our own text


class TaskEnded(AgentsdError):
    """Error of a task that returned although it runs as long as the process."""


class Supervisor:
    """Tasks of one process. Groups of tasks share their failures, metrics and fault."""

    def __init__(
        self,
        metrics: Metrics | None = None,
        *,
        policy: Backoff = RESTART_BACKOFF,
        steady_seconds: float = STEADY_SECONDS,
    ) -> None:
        self.metrics = metrics
        self._policy = policy
        self._steady_seconds = steady_seconds
        self._failures: dict[str, TaskFailure] = {}
        self._fault: AgentsdError | None = None
        self._faulted = asyncio.Event()

    def failing(self) -> tuple[TaskFailure, ...]:
        """Return the tasks that failed and have not run steadily since, by name."""
        return tuple(self._failures[name] for name in sorted(self._failures))

    @asynccontextmanager
    async def group(self) -> AsyncIterator[SupervisedTasks]:
        """Yield a group of tasks that ends with the block, the last started first."""
        tasks = SupervisedTasks(self)
        try:
            yield tasks
        finally:
            await tasks.aclose()

    async def run(self, functions: Mapping[str, TaskFunction]) -> None:
        """Run these tasks, by name, until cancelled."""
        async with self.group() as tasks:
            for name, function in functions.items():
                tasks.start(name, function)
            await asyncio.Event().wait()

    async def wait(self, event: asyncio.Event) -> None:
        """Wait for ``event``. Raise the operator's fault where a task met one before it was ready."""
        waiters = {asyncio.ensure_future(one.wait()) for one in (event, self._faulted)}
        try:
            await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()
        if self._fault is not None and not event.is_set():
            raise self._fault

    async def _keep(self, name: str, function: TaskFunction, ready: asyncio.Event | None) -> None:
        """Run one task for ever, or until it meets a fault of the operator before it is ready."""
        failures = 0
        while True:
            error, steady = await self._attempt(name, function)
            if isinstance(error, OPERATOR_FAULTS) and ready is not None and not ready.is_set():
                self._fault = error
                self._faulted.set()
                return
            failures = 0 if steady else failures
            delay = self._policy.delay(failures, random.random())  # noqa: S311  (jitter)
            failures += 1
            self._record(TaskFailure(name, failures, error.message), delay)
            await asyncio.sleep(delay)

    async def _attempt(self, name: str, function: TaskFunction) -> tuple[AgentsdError, bool]:
        """Run the task once. Return why it ended, and whether it had run steadily before."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        recovery = loop.call_later(self._steady_seconds, self._failures.pop, name, None)
        try:
            await function()
            error: AgentsdError = TaskEnded("it returned")
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except asyncio.CancelledError as cancelled:
            if _is_cancelled():
                raise
            error = Bug(cancelled)
        except BaseException as raised:  # SystemExit of a plug-in, a panic in native code
            if _is_cancelled():
                raise asyncio.CancelledError from None
            error = raised if isinstance(raised, AgentsdError) else Bug(raised)
        finally:
            recovery.cancel()
        return error, loop.time() - began >= self._steady_seconds

    def _record(self, failure: TaskFailure, delay: float) -> None:
        self._failures[failure.task] = failure
        if self.metrics is not None:
            self.metrics.task_restarts.labels(failure.task).inc()
        _log.error(
            "task %s failed: %s; it restarts in %.1f s",
            failure.task,
            failure.message,
            delay,
            extra={"task": failure.task, "failures": failure.failures},
        )


def log_stray(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what a callback or an unawaited task raised, by type and place.

    The event loop's own handler would log its text, which may quote a secret.
    """
    error = context.get("exception")
    why = describe_error(error) if isinstance(error, BaseException) else "no exception"
    _log.error("a background task failed", extra={"error": why})


class SupervisedTasks:
    """Group of supervised tasks that end together."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, name: str, function: TaskFunction, *, ready: asyncio.Event | None = None) -> None:
        """Start a task that runs as long as the group.

        ``ready``: until it is set, a fault of the operator ends the process (``Supervisor.wait``).
        """
        keeping = self.supervisor._keep(name, function, ready)
        self._tasks.append(asyncio.create_task(keeping, name=name))

    async def aclose(self) -> None:
        """Cancel the tasks, the last started first, and wait for their ends."""
        for task in reversed(self._tasks):
            if not task.cancelling():  # a second cancellation would interrupt its clean-up
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _is_cancelled() -> bool:
    """Return whether this very task was asked to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
