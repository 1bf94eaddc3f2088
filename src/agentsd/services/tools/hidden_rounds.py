"""Rounds that a client does not see, kept until it sends the results of its own calls.

A client sees only its own calls. What this server ran before them, or beside them, is put back into the
conversation when the results of the client's calls come, found by their ids, which are unique for that
(``call_ids``); the vendor gets its own ids back. Kept in memory by token, for an
hour: a replica that does not know it answers without.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

KEEP_SECONDS = 3600.0
TOTAL_BYTES_MAX = 32 << 20
"""Bytes of all that is kept, as JSON; the oldest goes first."""
OWNER_BYTES_MAX = 8 << 20
"""Bytes of what is kept for one owner."""

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class HiddenRound:
    """Part of a conversation around the calls of a client."""

    before: Sequence[Message]  # messages of earlier rounds of the turn
    calls: Sequence[Mapping[str, Any]]  # of the same message as the client's
    results: Sequence[Message]  # of ``calls``
    renamed: Mapping[str, str] = field(default_factory=dict)  # ids of the client's calls: the vendor's


@dataclass(frozen=True, slots=True)
class _Entry:
    value: HiddenRound
    owner: str
    size: int
    expires: float


class HiddenRoundStore:
    """Hidden rounds of this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: OrderedDict[tuple[str, bytes, str], _Entry] = OrderedDict()
        self._bytes: dict[str, int] = {}

    def of(self, owner: str, token: bytes) -> HiddenRounds:
        """Return what belongs to one token."""
        return HiddenRounds(self, owner, token)

    def put(self, owner: str, token: bytes, call: str, value: HiddenRound) -> None:
        """Keep ``value`` for the call of the id ``call``."""
        now = self._clock()
        while self._entries and next(iter(self._entries.values())).expires <= now:
            self._drop(next(iter(self._entries)))
        size = len(orjson.dumps([value.before, value.calls, value.results, value.renamed]))
        if size > OWNER_BYTES_MAX:
            return
        self._drop((owner, token, call))
        while self._bytes.get(owner, 0) + size > OWNER_BYTES_MAX:
            self._drop(next(key for key, one in self._entries.items() if one.owner == owner))
        while sum(self._bytes.values()) + size > TOTAL_BYTES_MAX:
            self._drop(next(iter(self._entries)))
        self._entries[owner, token, call] = _Entry(value, owner, size, now + KEEP_SECONDS)
        self._bytes[owner] = self._bytes.get(owner, 0) + size

    def find(self, owner: str, token: bytes, call: str) -> HiddenRound | None:
        """Return what is kept for a call; None if it is unknown or too old."""
        entry = self._entries.get((owner, token, call))
        return entry.value if entry is not None and entry.expires > self._clock() else None

    def _drop(self, key: tuple[str, bytes, str]) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self._bytes[entry.owner] -= entry.size
        if not self._bytes[entry.owner]:
            del self._bytes[entry.owner]


@dataclass(frozen=True, slots=True)
class HiddenRounds:
    """Hidden rounds of one token."""

    store: HiddenRoundStore
    owner: str
    token: bytes

    def keep(self, call: str, value: HiddenRound) -> None:
        """Keep ``value`` until the client sends the result of its call."""
        self.store.put(self.owner, self.token, call, value)

    def restore(self, messages: Sequence[Any]) -> list[Any]:
        """Return ``messages`` with what the client did not see, where it is known."""
        whole: list[Any] = []
        renamed: dict[str, str] = {}
        for message in messages:
            found = self._find(message)
            if found is None:
                whole.append(_rename_answer(message, renamed))
            else:
                renamed |= found.renamed
                known = [_rename_call(one, renamed) for one in message["tool_calls"]]
                if _is_shown(found, whole):
                    whole.append({**message, "tool_calls": known})
                    continue
                calls = [*found.calls, *known]
                whole += [*found.before, {**message, "tool_calls": calls}, *found.results]
        return whole

    def _find(self, message: Any) -> HiddenRound | None:
        calls = message.get("tool_calls") if isinstance(message, Mapping) else None
        first = calls[0] if isinstance(calls, list) and calls else None
        name = first.get("id") if isinstance(first, Mapping) else None
        return self.store.find(self.owner, self.token, name) if isinstance(name, str) else None


def _is_shown(hidden: HiddenRound, messages: Sequence[Any]) -> bool:
    """Return whether the conversation has the calls already: items of responses contain them."""
    turn: list[Any] = []
    for message in reversed(messages):
        if isinstance(message, Mapping) and message.get("role") == "user":
            break
        turn.append(message)
    wanted = Counter(_iter_calls([*hidden.before, {"tool_calls": hidden.calls}]))
    return bool(wanted) and wanted <= Counter(_iter_calls(turn))


def _iter_calls(messages: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Yield name and arguments of the calls in ``messages``; their ids may differ."""
    for message in messages:
        calls = message.get("tool_calls") if isinstance(message, Mapping) else None
        for call in calls if isinstance(calls, list | tuple) else ():
            function = call.get("function") if isinstance(call, Mapping) else None
            if isinstance(function, Mapping):
                yield str(function.get("name")), str(function.get("arguments"))


def _rename_answer(message: Any, renamed: Mapping[str, str]) -> Any:
    given = message.get("tool_call_id") if isinstance(message, Mapping) else None
    return (
        {**message, "tool_call_id": renamed[given]}
        if isinstance(given, str) and given in renamed
        else message
    )


def _rename_call(call: Any, renamed: Mapping[str, str]) -> Any:
    given = call.get("id") if isinstance(call, Mapping) else None
    return {**call, "id": renamed[given]} if isinstance(given, str) and given in renamed else call
