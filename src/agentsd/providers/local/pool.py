"""Processes of all models of one event loop: started, watched, restarted and ended, within the bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Sequence
from functools import partial
from typing import Any

from agentsd.core.trust.engine_limits import EngineLimits
from agentsd.providers.base import ProviderUnavailable
from agentsd.providers.local.memory import available_memory, format_size
from agentsd.providers.local.process import EngineProcess
from agentsd.providers.local.spec import EngineFailure, EngineSpec, LoadFailure

FIRST_PAUSE_SECONDS = 1.0
"""Pause after the second failure in a row; the next one is twice as long, and so on."""
LONGEST_PAUSE_SECONDS = 60.0
WATCH_SECONDS = 5.0
"""Interval of measuring the memory of all processes together."""
OVERHEAD_BYTES = 256 << 20
"""Bytes that a process may map beyond its bound: threads' stacks, reserved but hardly used."""


class TooLarge(ProviderUnavailable):
    """Model that exceeds the bound of one engine by itself: it will not fit later either."""


class SharedEngine:
    """Model with its process, shared by its claims."""

    def __init__(self, pool: EnginePool, spec: EngineSpec) -> None:
        self.spec = spec
        self.holders = 0
        self.streams = 0  # of audio: its process must stay between two requests
        self.owner = ""  # the owner that the process was started for
        self.need = 0
        self.last_used = 0.0
        self._pool = pool
        self._process: EngineProcess | None = None
        self._starting: asyncio.Task[EngineProcess] | None = None
        self._failures = 0
        self._retry_at = 0.0
        self._too_large: TooLarge | None = None

    @property
    def current(self) -> EngineProcess | None:
        """Return the process if one is running and its model is loaded."""
        return self._process if self._process and self._process.alive else None

    @property
    def running(self) -> bool:
        """Return whether there is a process, loaded or not yet."""
        return self._starting is not None or self.current is not None

    @property
    def idle(self) -> bool:
        """Return whether its process could end without failing a request."""
        process = self.current
        return process is not None and not process.busy and not self.streams

    def memory(self) -> int:
        """Return the bytes that are reserved for the process."""
        process = self.current
        return max(self.need, process.memory()) if process else self.need if self._starting else 0

    async def process(self, owner: str) -> EngineProcess:
        """Return the process, started if there is none. Raises ``EngineFailure``, ``ProviderError``."""
        if process := self.current:
            return process
        if self._starting is None:
            self._check_pause()
            self._starting = asyncio.create_task(self._start(owner))
            self._starting.add_done_callback(retrieve_error)
        starting = self._starting
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            if starting.cancelled():
                raise EngineFailure(EngineFailure.CLOSED) from None
            raise

    def touch(self, *, answered: bool) -> None:
        """Record that the process was used; ``answered`` records that it works, too."""
        self.last_used = asyncio.get_running_loop().time()
        if answered:
            self._failures = 0

    def evict(self) -> None:
        """End the process; the next request starts another."""
        process, self._process = self._process, None
        if process:
            self._pool.discard(process)

    async def close(self) -> None:
        """End the process and wait until it is gone."""
        if starting := self._starting:
            starting.cancel()
            await asyncio.wait([starting])
        process, self._process = self._process, None
        if process:
            await process.aclose()

    def _check_pause(self) -> None:
        """Count a process that ended by itself.

        Raises ``ProviderUnavailable`` during the model's pause.
        """
        if self._process:
            self._process = None
            self._count_failure()
        left = self._retry_at - asyncio.get_running_loop().time()
        if left > 0:
            if self._too_large:
                raise TooLarge(self._too_large.message, hint=self._too_large.hint)
            raise ProviderUnavailable(
                f"{self.spec.vendor}: its engine failed {self._failures} times in a row; "
                f"it is tried again in {max(1, round(left))} s",
                hint="check the file of the model: it may be damaged; agentsd doctor shows what is installed",
            )

    def _count_failure(self) -> None:
        self._failures += 1
        if self._failures > 1:
            pause = FIRST_PAUSE_SECONDS * 2.0 ** min(self._failures - 2, 30)
            self._retry_at = asyncio.get_running_loop().time() + min(pause, LONGEST_PAUSE_SECONDS)

    async def _start(self, owner: str) -> EngineProcess:
        try:
            self._pool.make_room(self, owner)
            self.owner, self.need = owner, 0
            memory = self._pool.memory + OVERHEAD_BYTES
            self._process = await EngineProcess.start(self.spec, memory, partial(self._pool.admit, self))
        except TooLarge as error:
            self._count_failure()
            self._too_large = error
            raise
        except (LoadFailure, TimeoutError):
            self._count_failure()
            raise
        finally:
            self._starting = None
        self.touch(answered=False)
        self._pool.watch()
        return self._process


class EnginePool:
    """Pool of all models of one event loop, within the operator's bounds."""

    def __init__(self, limits: EngineLimits) -> None:
        self.limits = limits
        self.shared: dict[Hashable, SharedEngine] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._watching: asyncio.TimerHandle | None = None

    @property
    def memory(self) -> int:
        """Return the bytes that one engine may use."""
        return self.limits.memory or available_memory() // 2

    @property
    def total_memory(self) -> int:
        """Return the bytes that all engines may use together."""
        return self.limits.total_memory or available_memory() * 3 // 4

    def share(self, key: Hashable, spec: EngineSpec) -> SharedEngine:
        """Return the model called ``key``, created if there is none."""
        if key not in self.shared:
            self.shared[key] = SharedEngine(self, spec)
        return self.shared[key]

    def make_room(self, shared: SharedEngine, owner: str) -> None:
        """End idle processes until one more is within the bounds. Raises ``ProviderUnavailable``."""
        running = self._others(shared)
        own = [other for other in running if other.owner == owner]
        if len(own) >= self.limits.per_owner and not self._evict(own):
            raise _make_full_error(shared, f"{len(own)} engines of this owner", "AGENTSD_ENGINES_PER_OWNER")
        running = self._others(shared)
        if len(running) >= self.limits.engines and not self._evict(running):
            raise _make_full_error(shared, f"{len(running)} engines", "AGENTSD_ENGINES")

    def admit(self, shared: SharedEngine, need: int) -> None:
        """Reserve ``need`` bytes for a model that is about to be loaded.

        Raises ``ProviderUnavailable``.
        """
        if need > self.memory:
            raise TooLarge(
                f"{shared.spec.vendor} needs about {format_size(need)} of memory, "
                f"but this server allows an engine {format_size(self.memory)}",
                hint="choose a smaller model or a shorter context, or raise AGENTSD_ENGINE_MEMORY",
            )
        shared.need = 0
        while sum(other.memory() for other in self._others(shared)) + need > self.total_memory:
            if not self._evict(self._others(shared)):
                raise _make_full_error(
                    shared, "engines with all the memory that they may have", "AGENTSD_ENGINES_MEMORY"
                )
        shared.need = need

    def discard(self, process: EngineProcess) -> None:
        """End a process in the background."""
        process.kill()
        task = asyncio.create_task(process.aclose())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def watch(self) -> None:
        """Measure the memory of all processes from time to time, while there are any."""
        if self._watching is None:
            self._watching = asyncio.get_running_loop().call_later(WATCH_SECONDS, self._measure)

    async def aclose(self) -> None:
        """End every process, claimed or not."""
        everything, self.shared = list(self.shared.values()), {}
        for shared in everything:
            await shared.close()
        if self._ending:
            await asyncio.wait(self._ending)
        if self._watching:
            self._watching.cancel()

    def _measure(self) -> None:
        self._watching = None
        used = [(process.memory(), process) for each in self.shared.values() if (process := each.current)]
        if sum(size for size, _ in used) > self.total_memory:
            max(used, key=lambda one: one[0])[1].kill()
        if used:
            self.watch()

    def _others(self, shared: SharedEngine) -> list[SharedEngine]:
        return [other for other in self.shared.values() if other is not shared and other.running]

    @staticmethod
    def _evict(among: Sequence[SharedEngine]) -> bool:
        idle = [shared for shared in among if shared.idle]
        if idle:
            min(idle, key=lambda shared: shared.last_used).evict()
        return bool(idle)


def _make_full_error(shared: SharedEngine, what: str, setting: str) -> ProviderUnavailable:
    message = f"{shared.spec.vendor} cannot be started: this server runs {what}, and all are busy"
    return ProviderUnavailable(message, hint=f"try again, or raise {setting}")


def retrieve_error(task: asyncio.Task[Any]) -> None:
    """Retrieve a task's error, which keeps asyncio from reporting that it was never retrieved."""
    if not task.cancelled():
        task.exception()
