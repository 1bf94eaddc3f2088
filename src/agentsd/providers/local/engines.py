"""Models in memory: loaded once per path, shared by every provider that names them, freed with the last.

A model works in threads of its own, never on the event loop and never in the loop's shared pool,
so neither a long answer nor a slow load holds up anything else. How many threads it has bounds how
many requests it works on at a time; others wait their turn.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable, Hashable
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from agentsd.core.errors import AgentsdError
from agentsd.providers.base import ProviderTimeout, ProviderUnavailable
from agentsd.providers.faults import Who

if TYPE_CHECKING:
    import asyncio


class Engine(Protocol):
    """A loaded model."""

    def close(self) -> None:
        """Free its memory. Called once, in a thread, when nothing runs on it."""


E = TypeVar("E", bound=Engine)
T = TypeVar("T")


class Stopped(Exception):
    """The caller went away before the work began."""


class Shared(Generic[E]):
    """One model and its threads. It loads at the first work; a load that failed is tried again."""

    def __init__(self, load: Callable[[], E], threads: int) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self.holders = 0
        self.executor = ThreadPoolExecutor(threads, thread_name_prefix="agentsd-model")
        self._load = load
        self._lock = threading.Lock()
        self._engine: E | None = None

    @property
    def loaded(self) -> bool:
        """Whether the model is in memory."""
        return self._engine is not None

    def engine(self) -> E:
        """The model, loaded if it was not. Call it in a thread."""
        with self._lock:
            if self._engine is None:
                self._engine = self._load()
            return self._engine

    def close(self) -> None:
        """Wait for what runs, then free the model. Call it in a thread."""
        self.executor.shutdown(wait=True)
        with self._lock:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()


class Engines:
    """The models of one event loop."""

    def __init__(self) -> None:
        self._shared: dict[Hashable, Shared[Any]] = {}

    def claim(
        self, who: Who, key: Hashable, load: Callable[[], E], *, threads: int = 1, timeout: float = 60.0
    ) -> Claim[E]:
        """A claim on the model called ``key``. Loads nothing; ``load`` runs in a thread at the first work."""
        shared: Shared[E] | None = self._shared.get(key)
        if shared is None:
            shared = self._shared[key] = Shared(load, threads)
        shared.holders += 1
        return Claim(self, key, shared, who, timeout)

    def holders(self) -> dict[Hashable, int]:
        """How many claims each model has."""
        return {key: shared.holders for key, shared in self._shared.items()}

    def loaded(self) -> frozenset[Hashable]:
        """Which models are in memory."""
        return frozenset(key for key, shared in self._shared.items() if shared.loaded)

    async def aclose(self) -> None:
        """Free every model, claimed or not."""
        everything, self._shared = list(self._shared.values()), {}
        for shared in everything:
            await _in_thread(shared.close)

    async def release(self, key: Hashable, shared: Shared[Any]) -> None:
        """One claim fewer; the last one frees the model."""
        shared.holders -= 1
        if shared.holders == 0 and self._shared.get(key) is shared:
            del self._shared[key]
            await _in_thread(shared.close)


class Emit(Generic[T]):
    """How work in a thread hands a part of its answer to the event loop."""

    __slots__ = ("_loop", "_put", "_stop")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, put: Callable[[T], None], stop: threading.Event
    ) -> None:
        self._loop = loop
        self._put = put
        self._stop = stop

    @property
    def stopped(self) -> bool:
        """Whether nobody listens any more: the work should end."""
        return self._stop.is_set()

    def __call__(self, part: T) -> bool:
        """Hand over ``part``; True if the work should end."""
        try:
            self._loop.call_soon_threadsafe(self._put, part)
        except RuntimeError:  # the loop is closed
            return True
        return self.stopped


class Claim(Generic[E]):
    """One provider's claim on a model."""

    def __init__(self, engines: Engines, key: Hashable, shared: Shared[E], who: Who, timeout: float) -> None:
        self._engines = engines
        self._key = key
        self._shared = shared
        self._who = who
        self._timeout = timeout
        self._stops: set[threading.Event] = set()
        self._released = False

    async def run(self, work: Callable[[E], T]) -> T:
        """``work`` on the model, in one of its threads. Raises ``ProviderError``.

        Cancelled, it returns at once: work that waits for a thread is dropped, work that runs goes
        on to its end, unheard.
        """
        import asyncio

        stop = threading.Event()
        try:
            async with asyncio.timeout(self._timeout):
                return await self._submit(stop, work)
        except Exception as error:
            raise self._failure(error) from None
        finally:
            stop.set()

    async def stream(self, work: Callable[[E, Emit[T]], None]) -> AsyncGenerator[T, None]:
        """What ``work`` emits, as it comes. Closing the iterator stops the work at its next part."""
        import asyncio

        stop, parts = threading.Event(), asyncio.Queue[Any]()
        emit: Emit[T] = Emit(asyncio.get_running_loop(), parts.put_nowait, stop)
        try:
            job = self._submit(stop, lambda engine: work(engine, emit))
            job.add_done_callback(lambda done: parts.put_nowait(_End(_error_of(done))))
            while True:
                async with asyncio.timeout(self._timeout):
                    part = await parts.get()
                if isinstance(part, _End):
                    if part.error:
                        raise part.error
                    return
                yield part
        except Exception as error:
            raise self._failure(error) from None
        finally:
            stop.set()

    def later(self, work: Callable[[E], object]) -> None:
        """``work`` after what was asked for so far, unheard: for tidying up behind a cancelled caller."""
        if not self._released:
            self._submit(threading.Event(), work).add_done_callback(_error_of)

    async def release(self) -> None:
        """Give the claim up; what still runs for it is stopped. May be called twice."""
        if self._released:
            return
        self._released = True
        for stop in self._stops:
            stop.set()
        await self._engines.release(self._key, self._shared)

    def _submit(self, stop: threading.Event, work: Callable[[E], T]) -> asyncio.Future[T]:
        import asyncio

        if self._released:
            raise ProviderUnavailable(f"{self._who.vendor} was closed", hint="try again")
        self._stops.add(stop)
        job = asyncio.get_running_loop().run_in_executor(self._shared.executor, self._work, stop, work)
        job.add_done_callback(lambda _: self._stops.discard(stop))
        return job

    def _work(self, stop: threading.Event, work: Callable[[E], T]) -> T:
        if stop.is_set():
            raise Stopped
        return work(self._shared.engine())

    def _failure(self, error: Exception) -> AgentsdError:
        """A library's failure in our own words: its text may quote the prompt."""
        vendor, kind = self._who.vendor, self._who.kind
        if isinstance(error, AgentsdError):
            return error
        if isinstance(error, TimeoutError):
            hint = f"this machine is busy: try again, or raise {kind}.timeout_seconds"
            return ProviderTimeout(f"{vendor} did not answer in time", hint=hint)
        if isinstance(error, Stopped):
            return ProviderUnavailable(f"{vendor} was closed", hint="try again")
        hint = f"run: agentsd doctor, and check the manifest's {kind} section"
        return ProviderUnavailable(f"{vendor} failed: {type(error).__name__}", hint=hint)


class _End:
    """The last part of a stream, and what ended it."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def _error_of(job: asyncio.Future[Any]) -> BaseException | None:
    """What a finished job raised; asking for it keeps asyncio from warning that nobody did."""
    return Stopped() if job.cancelled() else job.exception()


async def _in_thread(work: Callable[[], None]) -> None:
    import asyncio

    await asyncio.to_thread(work)


def preloaded(claim: Claim[Any], *, wanted: bool) -> None:
    """Start loading now, if ``wanted`` and inside an event loop. A failure shows at the first use."""
    import asyncio

    if not wanted:
        return
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    claim.later(lambda _engine: None)
