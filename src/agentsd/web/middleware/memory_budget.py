"""Memory budgets: how many bytes the requests of one owner, and of all, may hold at a time.

These are counted: large bodies and uploads while their handler works, large responses until they
are sent, and the data that calls keep (texts, unread events, sound that no recogniser has taken).
Small bodies and responses are not counted: the number of connections bounds them.
"""

from __future__ import annotations

from collections import Counter
from io import BytesIO
from types import TracebackType
from typing import Protocol, Self, cast

from aiohttp import web

from agentsd.web.http.problem import Problem

MIB = 1 << 20
OWNER_BYTES_MAX = 512 * MIB
TOTAL_BYTES_MAX = 1024 * MIB
COUNTED_BYTES_MIN = 64 << 10
"""Bytes; smaller bodies and responses are not counted."""


class MemoryBudget:
    """Bytes held, by owner. A limit of 0 means unlimited."""

    def __init__(self, per_owner: int = OWNER_BYTES_MAX, total: int = TOTAL_BYTES_MAX) -> None:
        self._per_owner = per_owner
        self._total = total
        self._held: Counter[str] = Counter()
        self.held = 0  # bytes, by all owners

    def hold(self, owner: str) -> MemoryHold:
        """Return a new, empty share of ``owner``."""
        return MemoryHold(self, owner)

    def allows(self, owner: str, more: int) -> bool:
        """Return whether ``owner`` may hold ``more`` bytes than now."""
        if self._per_owner and self._held[owner] + more > self._per_owner:
            return False
        return not self._total or self.held + more <= self._total

    def change(self, owner: str, difference: int) -> None:
        """Count ``difference`` more bytes for ``owner``."""
        self.held += difference
        self._held[owner] += difference
        if not self._held[owner]:
            del self._held[owner]


class MemoryHold:
    """Share of one request, or of one call. ``with hold:`` releases it at the end."""

    __slots__ = ("_budget", "owner", "size")

    def __init__(self, budget: MemoryBudget, owner: str) -> None:
        self._budget = budget
        self.owner = owner
        self.size = 0

    def check(self, more: int) -> None:
        """Raise ``Problem`` 429 if ``more`` bytes do not fit."""
        if more > 0 and not self._budget.allows(self.owner, more):
            raise Problem(
                429,
                "memory_limit",
                "the requests and calls of this owner hold too much memory",
                hint="wait until others have ended, read responses promptly, or send less",
                headers={"Retry-After": "1"},
            )

    def grow(self, more: int) -> None:
        """Count ``more`` bytes. Raise ``Problem`` 429 if they do not fit."""
        self.check(more)
        self.set(self.size + more)

    def set(self, size: int) -> None:
        """Set the share to ``size`` bytes without a check: they are in use already."""
        if size != self.size:
            self._budget.change(self.owner, size - self.size)
            self.size = size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.set(0)


class HoldingProtocol(Protocol):
    """Connection that keeps the memory share of its request: it handles one at a time."""

    hold: MemoryHold | None


def find_hold(request: web.BaseRequest) -> MemoryHold | None:
    """Return the memory share of a request; None while it holds nothing."""
    return getattr(request.protocol, "hold", None)


def get_or_make_hold(request: web.BaseRequest, budget: MemoryBudget, owner: str) -> MemoryHold:
    """Return the share of ``request``; create it for ``owner`` if necessary."""
    protocol = cast("HoldingProtocol", request.protocol)
    if protocol.hold is None:
        protocol.hold = budget.hold(owner)
    return protocol.hold


def count_reply(hold: MemoryHold, response: web.StreamResponse, *, refuse: bool) -> None:
    """Count a large response until it is sent, in place of what its request held.

    ``refuse``: raise ``Problem`` 429 if it does not fit; False for actions that are done already.
    """
    body = response.body if isinstance(response, web.Response) else None
    if not isinstance(body, (bytes, bytearray)) or len(body) < COUNTED_BYTES_MIN:
        return
    hold.set(0)
    if refuse:
        hold.check(len(body))
    hold.set(len(body))
    assert isinstance(response, web.Response)  # noqa: S101  (or it had no body)
    response.body = BytesIO(body)  # written in chunks: the transport would copy the whole


def estimate_json_bytes(raw: bytes) -> int:
    """Estimate the bytes of a JSON text and its values: small values cost more than their text."""
    return len(raw) + 64 * (raw.count(b",") + raw.count(b"[") + raw.count(b"{"))
