"""Chain of a provider and its fallbacks, each with its limits, its retries and its metrics.

A call may be retried, or passed on, until the first item of its answer has come, and never after: a
caller must not get the beginning of one answer and the end of another.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from copy import copy
from time import perf_counter
from typing import Any, Generic, TypeVar, cast

from agentsd.core.errors import AgentsdError, ProviderError
from agentsd.providers.base import Provider, ProviderRateLimited, ProviderRejected, ProviderUnavailable
from agentsd.providers.errors import make_unforeseen_error
from agentsd.providers.resilience.attempts import NO_ITEM, find_limit, note_answer, note_failure
from agentsd.providers.resilience.tape import Tape
from agentsd.supervisor import ENDING_ERRORS
from agentsd.telemetry import Metrics

P = TypeVar("P", bound=Provider)
T = TypeVar("T")

QUEUE_SECONDS = 5.0
"""Timeout of a call's wait for one of the ``max_concurrency`` places."""
RETRY_PAUSE_SECONDS = 0.2
"""Longest pause before the second try; it doubles with each. The real one is drawn between none and this."""
RETRY_AFTER_MAX_SECONDS = 2.0
"""A vendor whose ``Retry-After`` is longer than this is not waited for."""
COOLDOWN_SECONDS = 10.0
"""Time for which a failed provider is skipped while another replaces it."""

_log = logging.getLogger(__name__)


class _Rest:
    """Time of a member's rest, shared by its copies."""

    until = 0.0


class ChainMember(Generic[P]):
    """Provider in a chain."""

    def __init__(
        self,
        provider: P,
        kind: str,
        name: str,
        metrics: Metrics,
        *,
        retries: int = 0,
        limit: int | None = None,
    ) -> None:
        self.provider = provider
        self.kind = kind
        self.name = name
        self.retries = retries
        self._rest = _Rest()
        self._places = asyncio.Semaphore(limit) if limit else None
        self._metrics = metrics
        self._requests = metrics.provider_requests.labels(kind, name)
        self._first = metrics.provider_first_seconds.labels(kind, name)

    @property
    def rests_until(self) -> float:
        """Return the time until which it is skipped where another replaces it, by ``perf_counter``."""
        return self._rest.until

    def replace_provider(self, provider: P) -> ChainMember[P]:
        """Return this member with ``provider`` for one request; its limits and its rest are shared."""
        member = copy(self)
        member.provider = provider
        return member

    async def once(self, ask: Callable[[P], Awaitable[T]]) -> T:
        """Try one whole answer, and count it.

        Separate from ``call``, because chats come by the thousand.
        """
        await self._enter()
        began = perf_counter()
        try:
            answer = await ask(self.provider)
        except ProviderError as error:
            self._note(error)
            raise
        except (AgentsdError, *ENDING_ERRORS):
            raise
        except BaseException as error:
            raise self._unforeseen(error) from None
        finally:
            self._leave()
        self._first.observe(perf_counter() - began)
        return answer

    async def call(
        self,
        start: Callable[[P], AsyncIterator[T]],
        since: Callable[[], float],
        is_of_input: Callable[[BaseException], bool],
    ) -> AsyncGenerator[T, None]:
        """Try once: yield the items of ``start``, counted; ``since`` returns when its clock began.

        ``is_of_input`` returns whether an error comes from what is sent to the vendor, and not from the
        vendor.
        """
        await self._enter()
        began = perf_counter()
        try:
            async with aclosing(cast("AsyncGenerator[T, None]", start(self.provider))) as stream:
                limit = find_limit(self.kind)
                if limit is not None:
                    first = await limit.wait(stream, self.name)
                    if first is NO_ITEM:
                        return
                    self._first.observe(perf_counter() - max(began, since()))
                    began = 0.0
                    yield first
                async for item in stream:
                    if began:
                        self._first.observe(perf_counter() - max(began, since()))
                        began = 0.0
                    yield item
        except ProviderError as error:
            self._note(error)
            raise
        except ENDING_ERRORS:
            raise
        except BaseException as error:
            if isinstance(error, AgentsdError) or is_of_input(error):
                raise
            raise self._unforeseen(error) from None
        finally:
            self._leave()

    def pause(self, error: ProviderError, number: int) -> float | None:
        """Return the seconds to wait after try ``number`` (from 0); None if another is useless or unsafe.

        A timeout is not retried: the caller has waited long enough.
        """
        known = isinstance(error, (ProviderUnavailable, ProviderRateLimited)) and error.retryable
        if number >= self.retries or not known:
            return None
        said = (error.retry_after or 0.0) if isinstance(error, ProviderRateLimited) else 0.0
        if said > RETRY_AFTER_MAX_SECONDS:
            return None
        self._metrics.provider_retries.labels(self.kind, self.name).inc()
        return said + random.SystemRandom().uniform(0, RETRY_PAUSE_SECONDS * 2**number)

    def rest(self, error: ProviderError | None) -> None:
        """Skip this member for a while if a fallback exists; not after a request that was refused."""
        self._metrics.provider_failures.labels(self.kind, self.name).inc()
        note_failure(self.kind, self.name)
        if isinstance(error, ProviderRejected):
            return
        self._rest.until = perf_counter() + COOLDOWN_SECONDS
        _log.warning(
            "a provider did not answer",
            extra={"kind": self.kind, "provider": self.name, "error": type(error).__name__},
        )

    async def _enter(self) -> None:
        """Take a place, or wait for one. Raises ``ProviderRateLimited``."""
        if self._places is not None and self._places.locked():
            await self._wait()
        elif self._places is not None:
            await self._places.acquire()
        self._requests.inc()

    async def _wait(self) -> None:
        assert self._places is not None  # noqa: S101  (the caller looked)
        try:
            async with asyncio.timeout(QUEUE_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            self._count("Busy")
            message, hint = f"{self.name}: too many calls at once", f"raise {self.kind}.max_concurrency"
            raise ProviderRateLimited(
                message, hint=hint, retry_after=QUEUE_SECONDS
            ) from None  # not the vendor's

    def _leave(self) -> None:
        if self._places is not None:
            self._places.release()

    def _unforeseen(self, error: BaseException) -> ProviderError:
        known = make_unforeseen_error(self.name, error)
        self._note(known)
        return known

    def _note(self, error: ProviderError) -> None:
        """Count an error, and write into it whose it is."""
        error.kind, error.vendor = self.kind, self.name
        self._count(type(error).__name__)

    def _count(self, error: str) -> None:
        self._metrics.provider_errors.labels(self.kind, self.name, error).inc()


class ChainCall(Generic[P, T]):
    """Requested answer: how to request it, and how far it came."""

    def __init__(
        self, start: Callable[[P], AsyncIterator[T]], tape: Tape[Any] | None = None, *, heard: bool = False
    ) -> None:
        self.answered = False
        self.failure: ProviderError | None = None  # the last one of the first member that failed
        self.latest: ProviderError | None = None
        self.tries = 0  # that failed
        self._start = start
        self._tape = tape
        self._heard = heard
        self._begun = False

    async def ask(self, member: ChainMember[P]) -> AsyncGenerator[T, None]:
        """Yield the answer of ``member``, retried where that is safe.

        Sets ``answered``, or ``failure``.
        """
        for number in range(1 + member.retries):
            try:
                async with aclosing(member.call(self._start, self._since, self._is_of_input)) as items:
                    async for item in items:
                        if not self._begun:
                            self._begin(member)
                        yield item
                self.answered = True
                return
            except ProviderError as error:
                self.tries += 1
                error.tries = self.tries
                if not self._repeatable(error):
                    raise
                self.latest = error
                pause = member.pause(error, number)
            if pause is None:
                self.failure = self.failure or self.latest
                return
            await asyncio.sleep(pause)

    def _begin(self, member: ChainMember[P]) -> None:
        if self._tape is not None:
            self._tape.let_go()
        note_answer(member.kind, member.name)
        self._begun = True

    def _repeatable(self, error: ProviderError) -> bool:
        """Return whether nothing was answered, and all that was sent can be sent again."""
        tape = self._tape
        return not self._begun and (tape is None or (tape.whole and error is not tape.failure))

    def _is_of_input(self, error: BaseException) -> bool:
        return self._tape is not None and error is self._tape.failure

    def _since(self) -> float:
        if self._tape is None:
            return 0.0
        return self._tape.latest if self._heard else self._tape.began


class Chain(Generic[P]):
    """Providers in the order in which they are tried."""

    def __init__(self, members: Sequence[ChainMember[P]]) -> None:
        self.members = tuple(members)

    @property
    def first(self) -> P:
        """Return the provider that is asked first."""
        return self.members[0].provider

    async def once(self, ask: Callable[[P], Awaitable[T]]) -> T:
        """Return one whole answer. Raises ``ProviderError``."""

        failure: ProviderError | None = None
        error: ProviderError | None = None
        tries = 0
        for member in self._in_order():
            error = None
            for number in range(1 + member.retries):
                try:
                    answer = await member.once(ask)
                    note_answer(member.kind, member.name)
                    return answer
                except ProviderError as caught:
                    error, tries = caught, tries + 1
                pause = member.pause(error, number)
                if pause is None:
                    break
                await asyncio.sleep(pause)
            failure = failure or error
            member.rest(error)
        failure = failure or ProviderUnavailable("no provider was called")
        failure.tries = tries
        try:
            raise failure
        finally:
            failure = error = None  # they refer to this frame

    async def stream(self, call: ChainCall[P, T]) -> AsyncGenerator[T, None]:
        """Yield an answer as it comes.

        Raises the first provider's last ``ProviderError`` if none answers.
        """
        for member in self._in_order():
            async with aclosing(call.ask(member)) as items:
                async for item in items:
                    yield item
            if call.answered:
                return
            member.rest(call.latest)
        if call.failure is not None:
            call.failure.tries = call.tries
            try:
                raise call.failure
            finally:
                call.failure = call.latest = None  # it refers to this frame

    async def aclose(self) -> None:
        """Close all, also after one failed; then raise its error."""
        failures: list[Exception] = []
        for member in self.members:
            try:
                await member.provider.aclose()
            except Exception as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def _in_order(self) -> Sequence[ChainMember[P]]:
        """Return the members in the manifest's order, but those that failed a moment ago last."""
        if len(self.members) == 1:
            return self.members
        now = perf_counter()
        return sorted(self.members, key=lambda member: member.rests_until > now)
