"""Models in memory, each in its own process, shared by all providers that name it, ended with the last.

If a damaged model file makes a native library abort, hang or grow, only its own process ends, never
the server. A process starts at the first request. One that ended is started again at the next
request; one that keeps failing is restarted after longer and longer pauses. The operator's bounds
(``EngineLimits``) apply to all of them: where one more would exceed a bound, the process that was
idle for longest ends.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from agentsd.core.errors import AgentsdError, ProviderError
from agentsd.core.trust.engine_limits import EngineLimits
from agentsd.providers.base import ProviderTimeout, ProviderUnavailable
from agentsd.providers.errors import VendorRef
from agentsd.providers.local.spec import AnswerPart, EngineFailure, EngineSpec, LoadFailure

if TYPE_CHECKING:
    import asyncio

    from agentsd.providers.local.pool import EnginePool, SharedEngine
    from agentsd.providers.local.process import EngineProcess, EngineRequest


class Engines:
    """Models of one event loop, as seen by one owner."""

    def __init__(self, limits: EngineLimits = EngineLimits(), *, owner: str = "") -> None:  # noqa: B008  (frozen)
        self.limits = limits
        self._owner = owner
        self._made: list[EnginePool] = []  # at the first claim, since it imports asyncio; shared by all views

    def of(self, owner: str) -> Engines:
        """Return the same models, for agents of ``owner``: bounds are counted by owner."""
        view = Engines(self.limits, owner=owner)
        view._made = self._made
        return view

    @property
    def _pool(self) -> EnginePool:
        if not self._made:
            from agentsd.providers.local.pool import EnginePool

            self._made.append(EnginePool(self.limits))
        return self._made[0]

    def threads(self, wanted: int | None) -> int:
        """Return the number of CPU threads of an engine: half of the cores if the manifest sets none.

        The rest is left to speech and to the event loop: threads that wait for a core slow all others down.
        """
        cores = os.cpu_count() or 2
        return min(wanted or max(1, cores // 2), self.limits.threads or cores)

    def claim(
        self,
        who: VendorRef,
        spec: EngineSpec,
        *,
        timeout: float = 60.0,
        refusal: Callable[[str], ProviderError | None] = lambda _code: None,
    ) -> EngineClaim:
        """Return a claim on the model of ``spec``. Starts nothing.

        ``refusal`` maps a code with which the engine refuses a request to its error, None for unknown
        codes.
        """
        key = spec if self.limits.shared else (spec, self._owner)
        shared = self._pool.share(key, spec)
        shared.holders += 1
        return EngineClaim(self, key, shared, who, timeout, refusal)

    def holders(self) -> dict[Hashable, int]:
        """Return how many claims each model has."""
        return {key: shared.holders for key, shared in self._pool.shared.items()}

    def loaded(self) -> frozenset[Hashable]:
        """Return which models are in memory."""
        return frozenset(key for key, shared in self._pool.shared.items() if shared.current)

    async def aclose(self) -> None:
        """End every process, claimed or not."""
        if self._made:
            await self._pool.aclose()

    async def start(self, shared: SharedEngine) -> EngineProcess:
        """Return the process of a model, started for this owner if there is none."""
        return await shared.process(self._owner)

    async def release(self, key: Hashable, shared: SharedEngine) -> None:
        """Decrease the number of claims by one; the last one ends the process."""
        shared.holders -= 1
        if shared.holders == 0 and self._pool.shared.get(key) is shared:
            del self._pool.shared[key]
            await shared.close()


class EngineClaim:
    """Claim of one provider on a model."""

    def __init__(
        self,
        engines: Engines,
        key: Hashable,
        shared: SharedEngine,
        who: VendorRef,
        timeout: float,
        refusal: Callable[[str], ProviderError | None],
    ) -> None:
        self._engines = engines
        self._key = key
        self._shared = shared
        self._who = who
        self._timeout = timeout
        self._refusal = refusal
        self._requests: dict[EngineRequest, EngineProcess] = {}
        self._warming: asyncio.Task[None] | None = None
        self._released = False

    async def run(self, op: str, fields: Mapping[str, Any], body: bytes = b"") -> list[AnswerPart]:
        """Return all parts of an answer. Cancelled, it returns at once. Raises ``ProviderError``."""
        return [part async for part in self.stream(op, fields, body)]

    async def stream(
        self, op: str, fields: Mapping[str, Any], body: bytes = b""
    ) -> AsyncGenerator[AnswerPart, None]:
        """Yield the parts of an answer as they come. Closing the iterator stops the work at its next part."""
        import asyncio

        process: EngineProcess | None = None
        request: EngineRequest | None = None
        try:
            async with asyncio.timeout(self._timeout):
                self._check_open()
                process = await self._engines.start(self._shared)
                self._check_open()
                request = await process.send(op, fields, body)
            self._requests[request] = process
            while True:
                async with asyncio.timeout(self._timeout):
                    part = await request.next()
                if part is None:
                    break
                yield part
            self._shared.touch(answered=True)
        except Exception as error:
            raise self._failure(error) from None
        finally:
            if process and request:
                self._requests.pop(request, None)
                process.leave(request)

    @contextmanager
    def streaming(self) -> Iterator[None]:
        """Keep the process alive between the requests of one audio stream."""
        self._shared.streams += 1
        try:
            yield
        finally:
            self._shared.streams -= 1

    def later(self, op: str, fields: Mapping[str, Any]) -> None:
        """Queue ``op`` after the earlier requests and ignore its answer, if the process still runs."""
        process = self._shared.current
        if process and not self._released:
            process.post(op, fields)

    def warm(self) -> None:
        """Start loading in the background. A failure shows at the first use."""
        import asyncio

        from agentsd.providers.local.pool import retrieve_error

        self._warming = asyncio.create_task(self._warm())
        self._warming.add_done_callback(retrieve_error)

    async def release(self) -> None:
        """Give the claim up; what still runs for it is stopped. May be called twice."""
        if self._released:
            return
        self._released = True
        for request, process in self._requests.items():
            process.leave(request)
            request.end(EngineFailure(EngineFailure.CLOSED))
        await self._engines.release(self._key, self._shared)

    async def _warm(self) -> None:
        await self._engines.start(self._shared)

    def _check_open(self) -> None:
        if self._released:
            raise EngineFailure(EngineFailure.CLOSED)

    def _failure(self, error: Exception) -> AgentsdError:
        """Return a failure with a text of ours: a library's text may quote the prompt."""
        vendor, kind = self._who.vendor, self._who.kind
        if isinstance(error, AgentsdError):
            return error
        if isinstance(error, TimeoutError):
            hint = f"this machine is busy: try again, or raise {kind}.timeout_seconds"
            return ProviderTimeout(f"{vendor} did not answer in time", hint=hint)
        code = error.code if isinstance(error, EngineFailure) else type(error).__name__
        if isinstance(error, LoadFailure):
            hint = f"its file may be damaged or too large: check {kind}.model_path, AGENTSD_ENGINE_MEMORY"
            return ProviderUnavailable(f"{vendor} cannot load its model: {code}", hint=hint)
        if isinstance(error, EngineFailure):
            self._shared.touch(answered=code not in _NOT_ANSWERED)
        if code == EngineFailure.CLOSED:
            return ProviderUnavailable(f"{vendor} was closed", hint="try again")
        if code == EngineFailure.ENDED:
            hint = f"try again: it is restarted; if this persists, check the file of {kind}.model_path"
            return ProviderUnavailable(f"{vendor}: its engine's process ended unexpectedly", hint=hint)
        hint = f"run: agentsd doctor, and check the manifest's {kind} section"
        return self._refusal(code) or ProviderUnavailable(f"{vendor} failed: {code}", hint=hint)


_NOT_ANSWERED = (EngineFailure.ENDED, EngineFailure.CLOSED)


def preload_engine(claim: EngineClaim, *, wanted: bool) -> None:
    """Start loading now, if ``wanted`` and inside an event loop. A failure shows at the first use."""
    import asyncio

    if not wanted:
        return
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    claim.warm()
