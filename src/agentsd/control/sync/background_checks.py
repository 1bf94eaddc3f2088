"""Slow work on files, done beside the rounds: what takes long holds up its own file only.

Seals that only the real sops can judge, and files of knowledge that a worker process reads. Each round has
some patience for all of them together. What is not settled by then is pending, and goes on in the
background, where no later round waits for it; whoever asks again, for the same bytes, is given the result.
How much of it runs at a time, and how much for one owner, is bounded where it is done.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Job(Generic[Result]):
    """Slow work on one file."""

    asked: object  # equal: the same work
    paths: frozenset[str]  # of manifests that wait for it
    begin: Callable[[], Coroutine[Any, Any, Result]]  # it must not raise


@dataclass(slots=True)
class _PendingCheck:
    """A job under way. ``late``: a round went on without it."""

    asked: object
    task: asyncio.Task[Any]
    paths: frozenset[str] = field(default_factory=frozenset)
    late: bool = False


class BackgroundChecks:
    """Jobs under way, by the name of what they are about."""

    def __init__(self) -> None:
        self.hear: Callable[[str], None] = lambda _: None  # called with a path that was settled late
        self._flights: dict[str, _PendingCheck] = {}
        self._asked: set[str] = set()  # since the last ``drop_unasked``
        self._wanted: Counter[str] = Counter()  # waiters for a job outside the rounds
        self._deadline = 0.0
        self._patience = 0.0
        self.renewed = False  # the round is the only one there is

    def begin_round(self, patience: float, *, renewed: bool = False) -> None:
        """Give the jobs that are asked for from now on so many seconds, all together.

        ``renewed``: as many again with each one that is done, for who has no later round.
        """
        self._patience, self.renewed = patience, renewed
        self._renew()

    async def settle(
        self, jobs: Mapping[str, Job[Result]], *, at_most: float | None = None
    ) -> dict[str, Result]:
        """Return the results of those jobs that are done in time: the round's, or ``at_most`` s from now."""
        flights = {name: self._flight(name, job) for name, job in jobs.items()}
        try:
            await self._wait([flight for flight in flights.values() if not flight.late], at_most)
        except asyncio.CancelledError:
            self._drop(flights)
            raise
        done = {name: flight.task.result() for name, flight in flights.items() if flight.task.done()}
        for name, flight in flights.items():
            if name in done:
                del self._flights[name]
            else:
                self._leave(name, flight)
        return done

    async def wait_for(self, paths: Collection[str], seconds: float) -> None:
        """Wait, outside the rounds, for what the manifests at ``paths`` wait for; no round drops it."""
        names = {name for name, flight in self._flights.items() if not flight.paths.isdisjoint(paths)}
        tasks = {self._flights[name].task for name in names}
        if not tasks:
            return
        self._wanted.update(names)
        try:
            await asyncio.wait(tasks, timeout=seconds)
        finally:
            self._wanted.subtract(names)

    def drop_unasked(self) -> None:
        """Give up what nobody asked for since the last time: its file is gone, or is named no more."""
        self._drop(self._flights.keys() - self._asked - {n for n, count in self._wanted.items() if count > 0})
        self._asked.clear()
        self._wanted = +self._wanted

    async def aclose(self) -> None:
        """Give up everything; no sops and no worker is left running for it."""
        tasks = [flight.task for flight in self._flights.values()]
        self._drop(list(self._flights))
        await asyncio.gather(*tasks, return_exceptions=True)

    def _renew(self) -> None:
        self._deadline = asyncio.get_running_loop().time() + self._patience

    def _flight(self, name: str, job: Job[Any]) -> _PendingCheck:
        self._asked.add(name)
        flight = self._flights.get(name)
        if flight is None or flight.asked != job.asked:
            self._drop([name])
            flight = self._flights[name] = _PendingCheck(job.asked, asyncio.create_task(job.begin()))
        flight.paths = job.paths
        return flight

    async def _wait(self, flights: Iterable[_PendingCheck], at_most: float | None) -> None:
        tasks = {flight.task for flight in flights}
        when = asyncio.FIRST_COMPLETED if self.renewed else asyncio.ALL_COMPLETED
        while tasks:
            left = max(self._deadline - asyncio.get_running_loop().time(), 0)
            patience = left if at_most is None else min(left, at_most)
            done, tasks = await asyncio.wait(tasks, timeout=patience, return_when=when)
            if not done or not self.renewed:
                return
            self._renew()

    def _leave(self, name: str, flight: _PendingCheck) -> None:
        """Let a job go on without its round."""
        if flight.late:
            return
        flight.late = True

        def report(task: asyncio.Task[Any]) -> None:
            if not task.cancelled() and self._flights.get(name) is flight:
                for path in flight.paths:
                    self.hear(path)

        flight.task.add_done_callback(report)

    def _drop(self, names: Iterable[str]) -> None:
        for name in list(names):
            flight = self._flights.pop(name, None)
            if flight is not None:
                flight.task.cancel()
