"""Bounded queue between two tasks that ends, and from which stale items can be removed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Pipe(AsyncIterator[T], Generic[T]):
    """Bounded queue: ``put`` waits for room, ``push`` does not. One reader, ``async for``, until ``end``."""

    def __init__(self, limit: int, weigh: Callable[[T], int] = lambda _: 0) -> None:
        self.weight = 0  # of the queued items
        self._limit = limit
        self._weigh = weigh
        self._items: deque[T] = deque()
        self._some = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._taken = asyncio.Event()  # something was taken or removed
        self._ended = False
        self._held: dict[str, Callable[[T], bool]] = {}  # by the name of the hold

    def __len__(self) -> int:
        return len(self._items)

    @property
    def ended(self) -> bool:
        """Return whether nothing more comes."""
        return self._ended

    def push(self, item: T) -> None:
        """Add ``item`` at once, room or not; after the end it is dropped."""
        if self._ended:
            return
        self._items.append(item)
        self.weight += self._weigh(item)
        self._changed()

    async def put(self, item: T) -> None:
        """Add ``item`` when there is room; after the end it is dropped."""
        while len(self._items) >= self._limit and not self._ended:
            await self._room.wait()
        self.push(item)

    def end(self) -> None:
        """End the queue; what is in it can still be read."""
        self._ended = True
        self._taken.set()
        self._changed()

    def discard(self, stale: Callable[[T], bool]) -> None:
        """Remove every item that is ``stale``."""
        self._items = deque(item for item in self._items if not stale(item))
        self.weight = sum(map(self._weigh, self._items))
        self._taken.set()
        self._changed()

    def take(self) -> list[T]:
        """Return everything that is in it now, and remove it."""
        items = list(self._items)
        self._items.clear()
        self.weight = 0
        self._changed()
        return items

    async def wait(self) -> None:
        """Wait until there is something, or the end."""
        await self._some.wait()

    def holds(self, name: str) -> bool:
        """Return whether the hold of that name is on."""
        return name in self._held

    def hold(self, name: str, held: Callable[[T], bool]) -> None:
        """Keep items that are ``held`` until ``release`` of that name; others overtake them."""
        self._held[name] = held
        self._changed()

    def release(self, name: str) -> None:
        """Let the items go that this hold keeps, and no other does."""
        if self._held.pop(name, None) is not None:
            self._changed()

    async def wait_taken(self, wanted: Callable[[T], bool]) -> None:
        """Wait until no item of that kind is in it any more, or the end."""
        while not self._ended and any(map(wanted, self._items)):
            self._taken.clear()
            await self._taken.wait()

    async def __anext__(self) -> T:
        while (at := self._find_next()) is None:
            if self._ended:
                raise StopAsyncIteration
            await self._some.wait()
        item = self._items[at]
        del self._items[at]
        self.weight -= self._weigh(item)
        self._taken.set()
        self._changed()
        return item

    def _find_next(self) -> int | None:
        """Return the index of the first item that may leave. After the end none is held."""
        if not self._held or self._ended:
            return 0 if self._items else None
        holds = tuple(self._held.values())
        free = (at for at, item in enumerate(self._items) if not any(held(item) for held in holds))
        return next(free, None)

    def _changed(self) -> None:
        _set_event(self._some, true=self._ended or self._find_next() is not None)
        _set_event(self._room, true=len(self._items) < self._limit or self._ended)


def _set_event(event: asyncio.Event, *, true: bool) -> None:
    if true:
        event.set()
    else:
        event.clear()
