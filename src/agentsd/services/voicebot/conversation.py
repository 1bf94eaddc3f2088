"""Conversation of a call: the items that a client addresses by id, and the messages for a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from sys import getsizeof
from typing import Any, Literal

from agentsd.core.manifest.tool_schema import repair_arguments
from agentsd.providers.tool import ToolResult
from agentsd.services.tools.executor import make_content
from agentsd.system.identifier import make_identifier

Role = Literal["user", "assistant", "system"]
ItemKind = Literal["message", "call", "result", "server_call", "approval_request", "approval_response"]
"""What an item is: words, a call of a client's tool, its result, a call of this server's, consent to one."""

CALL_KINDS: tuple[ItemKind, ...] = ("call", "server_call")

NO_RESULT = "There is no result yet."
"""Result of a call that the client has not answered: vendors refuse calls without one."""

STILL_RUNNING = "This call has not ended yet. Do not make it again: its result will be here when it has."
"""Result of a call that goes on while the caller does."""

ITEMS_MAX = 400
"""Maximum items of a call; older ones are dropped, since calls may be of any length."""

TEXT_BYTES_MAX = 2 << 20
"""Maximum bytes of one call's texts: beyond it older items are dropped, and a client's new ones refused."""


def make_id(prefix: str) -> str:
    """Return a unique ``item_…`` or ``resp_…``."""
    return make_identifier(prefix, digits=24)


@dataclass(slots=True)
class ConversationItem:
    """Contribution of one speaker, a call of a tool, or its result.

    ``text`` is what counts: of an answer the part that was heard, of a call its arguments.
    """

    id: str
    role: Role
    text: str = ""
    kind: ItemKind = "message"
    spoken: bool = False  # whether it was said, not written
    call_id: str = ""
    name: str = ""  # of the tool
    whole: bool = True  # False for a call whose arguments did not come
    hidden: bool = False  # from models: it was before a hand-off that does not carry it
    extra: Mapping[str, Any] = field(default_factory=dict)  # what a vendor adds to a call, and wants back
    answered: bool = False  # of a request for consent
    result: ToolResult | None = None  # of a call that this server runs, once it has ended

    @property
    def size(self) -> int:
        """Return the bytes of memory that the texts hold."""
        return getsizeof(self.text) + (getsizeof(self.result.text) if self.result is not None else 0)


class Conversation:
    """Items of one call, in order."""

    def __init__(self) -> None:
        self._items: list[ConversationItem] = []
        self._notes = ""  # in place of what is hidden
        self.size = 0  # bytes of memory that the texts held when items were last added, removed or completed

    @property
    def last(self) -> ConversationItem | None:
        """Return the newest item."""
        return self._items[-1] if self._items else None

    @property
    def awaits_answer(self) -> bool:
        """Return whether the last contribution was the caller's."""
        said = [item for item in self._items if _is_said(item)]
        return bool(said) and said[-1].role == "user" and said[-1].kind == "message"

    def fits(self, item: ConversationItem) -> bool:
        """Return whether ``item`` can be added without forgetting texts."""
        return self.size + item.size <= TEXT_BYTES_MAX

    def shrink(self) -> None:
        """Forget the oldest items until the texts are within their bound. The newest stays."""
        self._weigh()
        while self.size > TEXT_BYTES_MAX and len(self._items) > 1:
            self.size -= self._items.pop(0).size

    def _weigh(self) -> None:
        self.size = sum(item.size for item in self._items)

    def find(self, item_id: str) -> ConversationItem | None:
        """Return the item of that id."""
        return next((item for item in self._items if item.id == item_id), None)

    def add(self, item: ConversationItem, after: str | None = None, *, first: bool = False) -> str | None:
        """Put ``item`` at the end, after another one, or ``first``; return its predecessor's id."""
        known = self.find(after) if after else None
        at = self._items.index(known) + 1 if known else len(self._items)
        at = 0 if first else at
        self._items.insert(at, item)
        self.size += item.size
        if len(self._items) > ITEMS_MAX:
            self.size -= self._items.pop(0).size
        at = next((index for index, other in enumerate(self._items) if other is item), 0)
        return self._items[at - 1].id if at else None

    def remove(self, item_id: str) -> bool:
        """Remove an item; return False if there is none."""
        found = self.find(item_id)
        if found is None:
            return False
        self._items.remove(found)
        self._weigh()
        return True

    def has_call(self, call_id: str) -> bool:
        """Return whether a tool of the client was called under that id."""
        return any(item.kind == "call" and item.call_id == call_id for item in self._items)

    def is_taken(self, call_id: str) -> bool:
        """Return whether any tool was called under that id."""
        return any(item.kind in CALL_KINDS and item.call_id == call_id for item in self._items)

    def messages(self) -> list[dict[str, Any]]:
        """Return the items as messages of a chat completion, with notes in place of those that are hidden."""
        notes = [{"role": "user", "content": self._notes}] if self._notes else []
        return [*notes, *make_messages([item for item in self._items if not item.hidden])]

    def hide_before(self, first: ConversationItem | None, notes: str = "") -> None:
        """Hide what is before an item, or everything (None), from models; ``notes`` take its place."""
        self._notes = notes
        for item in self._items:
            if item is first:
                return
            item.hidden = True

    def find_question(self, count: int = 1) -> ConversationItem | None:
        """Return the ``count``-th newest words of the caller; None where there are not so many."""
        said = [item for item in self._items if item.role == "user" and item.kind == "message" and item.text]
        return said[-count] if len(said) >= count else None


def _is_said(item: ConversationItem) -> bool:
    """Return whether an item is a contribution; a call that this server makes is part of an answer."""
    return bool(item.text) and item.role != "system" and item.kind in ("message", "call", "result")


def make_messages(items: Sequence[ConversationItem]) -> list[dict[str, Any]]:
    """Return items as messages of a chat completion; the result of a call follows the call at once."""
    results = _find_results(items)
    messages: list[dict[str, Any]] = []
    calls: list[ConversationItem] = []
    for item in items:
        if item.kind in CALL_KINDS and item.whole:
            calls.append(item)
        else:
            messages += _make_call_messages(calls, results)
            calls = []
        if item.kind == "message" and item.text.strip():
            messages.append({"role": item.role, "content": item.text})
    return [*messages, *_make_call_messages(calls, results)]


def _find_results(items: Sequence[ConversationItem]) -> dict[str, str]:
    """Return the results by the id of the call's item: some vendors use the id of a call again."""
    newest: dict[str, str] = {}
    results: dict[str, str] = {}
    for item in reversed(items):
        if item.kind == "server_call":
            results[item.id] = STILL_RUNNING if item.result is None else make_content(item.result)
        elif item.kind == "result":
            newest[item.call_id] = item.text
        elif item.kind == "call" and item.call_id in newest:
            results[item.id] = newest.pop(item.call_id)
    return results


def _make_call_messages(
    calls: Iterable[ConversationItem], results: Mapping[str, str]
) -> Iterable[dict[str, Any]]:
    """Return the messages of calls that were made side by side."""
    made = [
        {
            "id": call.call_id,
            "type": "function",
            "function": {"name": call.name, "arguments": repair_arguments(call.text)},
            **call.extra,
        }
        for call in calls
    ]
    if not made:
        return []
    answers = [
        {"role": "tool", "tool_call_id": call.call_id, "content": results.get(call.id, NO_RESULT)}
        for call in calls
    ]
    return [{"role": "assistant", "content": None, "tool_calls": made}, *answers]
