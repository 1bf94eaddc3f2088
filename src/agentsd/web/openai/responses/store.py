"""Responses that a client asked to store: in this replica's memory, for an hour, never on disk.

An entry belongs to a token and an agent: for every other it does not exist. The bytes of one owner are
bounded; the oldest of its entries go first.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from agentsd.core.access import Principal

KEEP_SECONDS = 3600.0
"""How long a response is kept."""

OWNER_BYTES_MAX = 8 << 20
"""Bytes of the responses of one owner, as JSON."""

TOTAL_BYTES_MAX = 64 << 20
"""Bytes of all responses."""


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """Response with the conversation that it ends."""

    response: Mapping[str, Any]
    messages: Sequence[Mapping[str, Any]]  # all of the conversation but instructions
    input: Sequence[Mapping[str, Any]]  # items of its own request
    agents: tuple[str, str]  # slugs: the one that was asked, and the one that answered
    principal: Principal
    size: int
    expires: float  # by the clock of the store


class ResponseStore:
    """Stored responses of this replica."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: OrderedDict[str, StoredResponse] = OrderedDict()  # oldest first
        self._bytes: dict[str, int] = {}  # by owner

    def add(
        self,
        principal: Principal,
        agent: str,
        response: Mapping[str, Any],
        messages: Sequence[Mapping[str, Any]],
        items: Sequence[Mapping[str, Any]],
        *,
        answered: str | None = None,
    ) -> bool:
        """Store a response of ``agent``, or of the one that ``answered`` for it.

        Return False where it alone is larger than its owner may store.
        """
        self._drop_expired()
        size = len(orjson.dumps([response, messages, items]))
        owner = principal.owner
        if size > OWNER_BYTES_MAX:
            return False
        while self._bytes.get(owner, 0) + size > OWNER_BYTES_MAX:
            self._drop(next(key for key, one in self._entries.items() if one.principal.owner == owner))
        while self._entries and sum(self._bytes.values()) + size > TOTAL_BYTES_MAX:
            self._drop(next(iter(self._entries)))
        expires = self._clock() + KEEP_SECONDS
        self._entries[str(response["id"])] = StoredResponse(
            response, messages, items, (agent, answered or agent), principal, size, expires
        )
        self._bytes[owner] = self._bytes.get(owner, 0) + size
        return True

    def find(self, principal: Principal, response_id: str, agent: str | None = None) -> StoredResponse | None:
        """Return the response of that id if it belongs to this token, and to ``agent`` where it is given."""
        self._drop_expired()
        entry = self._entries.get(response_id)
        if entry is None or entry.principal != principal or entry.principal.digest != principal.digest:
            return None
        return entry if agent is None or agent in entry.agents else None

    def remove(self, principal: Principal, response_id: str) -> bool:
        """Forget a response; return False if there is none for this token."""
        if self.find(principal, response_id) is None:
            return False
        self._drop(response_id)
        return True

    def _drop_expired(self) -> None:
        now = self._clock()
        while self._entries:
            key, entry = next(iter(self._entries.items()))
            if entry.expires > now:
                return
            self._drop(key)

    def _drop(self, response_id: str) -> None:
        entry = self._entries.pop(response_id)
        owner = entry.principal.owner
        self._bytes[owner] -= entry.size
        if not self._bytes[owner]:
            del self._bytes[owner]
