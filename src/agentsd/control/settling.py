"""Seals that only the real sops can judge, judged beside the rounds: a slow one holds up its file only.

Each round has some patience for all of them together. What is not settled by then is pending, and goes on
in the background, where no later round waits for it; whoever asks again, for the same bytes, is given the
result. How many sops run at a time, and how many of them for one owner, is bounded where sops is called.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass

from agentsd.control.check import Checked, Checker


@dataclass(frozen=True, slots=True)
class _Flight:
    """One file that is being settled. ``late``: a round went on without it."""

    asked: Checked
    task: asyncio.Task[Checked]
    late: bool = False


class Settling:
    """Files whose seals are being settled, by path."""

    def __init__(self, checker: Checker) -> None:
        self.hear: Callable[[str], None] = lambda _: None  # called with a path that was settled late
        self._checker = checker
        self._flights: dict[str, _Flight] = {}
        self._deadline = 0.0

    def begin_round(self, patience: float) -> None:
        """Give the seals that are asked for from now on so many seconds, all together."""
        self._deadline = asyncio.get_running_loop().time() + patience

    async def settled(self, checked: Checked) -> Checked:
        """Return the word of sops on ``checked``, or that it is pending."""
        path = checked.path
        flight = self._flights.get(path)
        if flight is None or flight.asked != checked:
            self._drop(path)
            flight = _Flight(checked, asyncio.create_task(self._checker.settle(checked)))
            self._flights[path] = flight
        left = 0.0 if flight.late else self._deadline - asyncio.get_running_loop().time()
        try:
            await asyncio.wait({flight.task}, timeout=max(left, 0))
        except asyncio.CancelledError:
            self._drop(path)
            raise
        if not flight.task.done():
            self._leave(flight)
            return self._checker.pend(checked)
        del self._flights[path]
        return flight.task.result()

    def keep_only(self, paths: Collection[str]) -> None:
        """Give up files that are not there any more."""
        for path in self._flights.keys() - set(paths):
            self._drop(path)

    async def aclose(self) -> None:
        """Give up everything; no sops is left running."""
        tasks = [flight.task for flight in self._flights.values()]
        for path in list(self._flights):
            self._drop(path)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _leave(self, flight: _Flight) -> None:
        """Let a file go on without its round."""
        if flight.late:
            return
        path = flight.asked.path
        self._flights[path] = _Flight(flight.asked, flight.task, late=True)

        def tell(task: asyncio.Task[Checked]) -> None:
            if not task.cancelled() and (now := self._flights.get(path)) and now.task is task:
                self.hear(path)

        flight.task.add_done_callback(tell)

    def _drop(self, path: str) -> None:
        flight = self._flights.pop(path, None)
        if flight is not None:
            flight.task.cancel()
