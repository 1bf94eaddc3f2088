"""The supervisor: whatever a background task raises, it is restarted, counted and named."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from agentsd.core.backoff import Backoff
from agentsd.core.errors import AgentsdError, ConfigError, StoreUnavailable
from agentsd.supervisor import Supervisor, TaskFailure
from agentsd.telemetry import Metrics

SOON = Backoff(first_seconds=0.0, longest_seconds=0.0)

CANARY = "text of a library that quotes sk-canary"


class Panic(BaseException):
    """What native code raises beside ``Exception``, as pyo3 does."""


class Worker:
    """A task that raises ``error`` at each of its first ``times`` runs, and then works."""

    def __init__(self, error: BaseException | None, times: int = 1) -> None:
        self.works = asyncio.Event()
        self._error = error
        self._left = times

    async def run(self) -> None:
        """Fail, or work for ever."""
        if self._left:
            self._left -= 1
            if self._error is None:
                return
            raise self._error
        self.works.set()
        await asyncio.Event().wait()


def fail(supervisor: Supervisor, name: str) -> TaskFailure:
    """Return the failure of this task."""
    (found,) = (one for one in supervisor.failing() if one.task == name)
    return found


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError(CANARY), "ValueError"),
        (ExceptionGroup("several", [OverflowError(CANARY)]), "OverflowError"),
        (SystemExit(3), "SystemExit"),
        (Panic(CANARY), "Panic"),
        (asyncio.CancelledError(), "CancelledError"),
        (RecursionError(CANARY), "RecursionError"),
        (StoreUnavailable("Postgres is away"), "Postgres is away"),
        (None, "it returned"),
    ],
)
async def test_restarts_whatever_ended_it(
    error: BaseException | None, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    metrics, worker = Metrics(), Worker(error, times=3)
    supervisor = Supervisor(metrics, policy=SOON)
    async with supervisor.group() as tasks:
        tasks.start("index", worker.run)
        await worker.works.wait()
        assert metrics.registry.get_sample_value("agentsd_task_restarts_total", {"task": "index"}) == 3
        failure = fail(supervisor, "index")
        assert failure.failures == 3
        assert message in failure.message
    assert message in caplog.text
    assert "canary" not in caplog.text
    assert "canary" not in failure.message


async def test_one_that_fails_leaves_others_alone() -> None:
    supervisor = Supervisor(policy=SOON)
    failing, steady = Worker(ValueError(), times=50), Worker(None, times=0)
    async with supervisor.group() as tasks:
        tasks.start("failing", failing.run)
        tasks.start("steady", steady.run)
        await failing.works.wait()
        assert steady.works.is_set()
        assert [one.task for one in supervisor.failing()] == ["failing"]


async def test_forgets_a_failure_that_is_over() -> None:
    supervisor = Supervisor(policy=SOON, steady_seconds=0.01)
    worker = Worker(ValueError())
    async with supervisor.group() as tasks:
        tasks.start("index", worker.run)
        await worker.works.wait()
        while supervisor.failing():
            await asyncio.sleep(0.005)


async def test_ends_with_its_group() -> None:
    """The last started first, also while one waits for its restart."""
    ended: list[str] = []

    def named(name: str) -> Callable[[], object]:
        async def run() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(name)

        return run

    supervisor = Supervisor(policy=Backoff(first_seconds=3600, longest_seconds=3600))
    async with supervisor.group() as tasks:
        tasks.start("waiting", Worker(ValueError()).run)
        for name in ("first", "second"):
            tasks.start(name, named(name))  # type: ignore[arg-type]
        while not supervisor.failing():
            await asyncio.sleep(0)
    assert ended == ["second", "first"]


async def test_a_task_that_hides_its_cancellation_ends() -> None:
    """A library that turns a cancellation into an error of its own does not keep the process."""

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError(CANARY) from None

    async with Supervisor(policy=SOON).group() as tasks:
        tasks.start("stubborn", stubborn)
        await asyncio.sleep(0)


async def test_an_operators_fault_ends_the_start() -> None:
    supervisor, ready = Supervisor(policy=SOON), asyncio.Event()
    async with supervisor.group() as tasks:
        tasks.start("watch", Worker(ConfigError("no such folder")).run, ready=ready)
        with pytest.raises(ConfigError, match="no such folder"):
            await supervisor.wait(ready)


@pytest.mark.parametrize("error", [ConfigError("changed"), StoreUnavailable("away"), ValueError()])
async def test_nothing_ends_it_once_it_was_ready(error: Exception) -> None:
    supervisor, ready, worker = Supervisor(policy=SOON), asyncio.Event(), Worker(error)
    if isinstance(error, AgentsdError) and error.exit_code == 2:
        ready.set()
    async with supervisor.group() as tasks:
        tasks.start("watch", worker.run, ready=ready)
        await supervisor.wait(worker.works)


async def test_group_of_groups(caplog: pytest.LogCaptureFixture) -> None:
    """A task that runs several is one of them; a failure of one restarts only that one."""
    caplog.set_level(logging.ERROR)
    supervisor, outer = Supervisor(policy=SOON), Worker(None, times=0)
    inner = Worker(ValueError(), times=2)
    async with supervisor.group() as tasks:
        tasks.start("follow", lambda: supervisor.run({"load": inner.run, "listen": outer.run}))
        await inner.works.wait()
        await outer.works.wait()
        assert [one.task for one in supervisor.failing()] == ["load"]
