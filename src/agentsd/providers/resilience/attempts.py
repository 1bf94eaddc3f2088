"""Attempts of one turn: which vendors answered, which failed, and how long each may take to begin.

A turn opens a scope (a ``ContextVar``, so that tasks of the turn share it); every chain that answers within
it takes its limits and writes down what happened. Without a scope nothing is noted and nothing limited.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from agentsd.providers.base import ProviderTimeout
from agentsd.providers.meter import Meter, open_meter

NO_ITEM = object()
"""What a stream without any item begins with."""


class FirstItemLimit:
    """Limit of the time to a vendor's first item, for each vendor that is asked. ``start`` begins it."""

    def __init__(self, seconds: float, *, started: bool = True) -> None:
        self.seconds = seconds
        self._started = started
        self._timeout: asyncio.Timeout | None = None

    def start(self) -> None:
        """Begin to count, also for the vendor that is being waited for."""
        if self._started:
            return
        self._started = True
        if self._timeout is not None:
            self._timeout.reschedule(self._deadline())

    async def wait(self, stream: AsyncIterator[Any], name: str) -> Any:
        """Return the first item, or ``NO_ITEM`` at the end. Raises ``ProviderTimeout``."""
        try:
            async with asyncio.timeout_at(self._deadline() if self._started else None) as self._timeout:
                async for item in stream:
                    return item
                return NO_ITEM
        except TimeoutError:
            message = f"{name}: no answer within {self.seconds:g} s"
            hint = "raise turn.timeouts in the manifest, or add a fallback"
            raise ProviderTimeout(message, hint=hint) from None
        finally:
            self._timeout = None

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self.seconds


@dataclass(slots=True)
class Attempts:
    """Vendors that one turn asked. ``limits`` by kind of provider."""

    answered: dict[str, str] = field(default_factory=dict)  # {"llm": "groq.com"}
    failed: list[tuple[str, str]] = field(default_factory=list)  # (kind, vendor), in order
    limits: dict[str, FirstItemLimit] = field(default_factory=dict)
    meter: Meter = field(default_factory=Meter)


_CURRENT: ContextVar[Attempts | None] = ContextVar("attempts", default=None)


@contextmanager
def open_attempts() -> Iterator[Attempts]:
    """Note the attempts of everything within the context."""
    attempts = Attempts()
    token = _CURRENT.set(attempts)
    try:
        with open_meter(attempts.meter):
            yield attempts
    finally:
        _CURRENT.reset(token)


def find_limit(kind: str) -> FirstItemLimit | None:
    """Return the limit of the current turn, if it has one for this kind."""
    attempts = _CURRENT.get()
    return attempts.limits.get(kind) if attempts is not None else None


def note_answer(kind: str, name: str) -> None:
    """Note that a vendor answers."""
    attempts = _CURRENT.get()
    if attempts is not None:
        attempts.answered[kind] = name


def note_failure(kind: str, name: str) -> None:
    """Note that a vendor did not answer."""
    attempts = _CURRENT.get()
    if attempts is not None:
        attempts.failed.append((kind, name))
