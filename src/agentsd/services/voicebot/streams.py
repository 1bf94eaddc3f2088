"""Small parts for streams that come from vendors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from traceback import clear_frames
from types import TracebackType
from typing import Any, TypeVar

E = TypeVar("E", bound=BaseException)
T = TypeVar("T")


class TaskGroup(asyncio.TaskGroup):
    """``asyncio.TaskGroup`` whose errors do not refer to themselves through a frame.

    Before Python 3.13 its ``__aexit__`` leaves such a cycle
    (https://github.com/python/cpython/issues/124958):
    whatever a call holds would stay until a full collection.
    """

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await super().__aexit__(kind, error, trace)
        except BaseException as raised:
            clear_frames(raised.__traceback__)
            raise
        finally:
            self._parent_task = None  # a cancelled task refers to its frames, and they to this group
            del error, trace


@asynccontextmanager
async def close_at_end(stream: AsyncIterator[T]) -> AsyncGenerator[AsyncIterator[T], None]:
    """Yield ``stream`` and close it at the end where possible, which closes the vendor's connection."""
    try:
        yield stream
    finally:
        aclose = getattr(stream, "aclose", None)
        if aclose is not None:
            await aclose()


def extract_content(chunk: Mapping[str, Any]) -> str:
    """Return the text in a ``chat.completion.chunk``; vendors send all sorts of chunks without any."""
    choices = chunk.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    delta = first.get("delta") if isinstance(first, Mapping) else None
    content = delta.get("content") if isinstance(delta, Mapping) else None
    return content if isinstance(content, str) else ""


def extract_finish(chunk: Mapping[str, Any]) -> str | None:
    """Return why a ``chat.completion.chunk`` ends its choice; None if it does not."""
    choices = chunk.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    reason = first.get("finish_reason") if isinstance(first, Mapping) else None
    return reason if isinstance(reason, str) else None


def find_first_error(error: BaseException) -> BaseException:
    """Return the first error in a group of groups: the one before the rest was cancelled."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def detach_error(error: E) -> E:
    """Return ``error`` without earlier frames and errors, so that keeping it keeps nothing else."""
    error.__cause__ = error.__context__ = error.__traceback__ = None
    return error
