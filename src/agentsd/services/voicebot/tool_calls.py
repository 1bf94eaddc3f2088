"""Tool calls of one answer: the deltas of a chat completion become events, and items of the conversation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agentsd.core.manifest.tool_schema import repair_arguments
from agentsd.services.tools.events import EVENT_KEY
from agentsd.services.voicebot.conversation import Conversation, ConversationItem, make_id
from agentsd.services.voicebot.events import CallEvent, ToolCallBegan, ToolCallDelta, ToolCallEnded

CALLS_MAX = 64
"""Maximum calls of one answer; further ones are dropped."""

_OWN_KEYS = frozenset({"index", "id", "type", "function"})


class ToolCallBuilder:
    """Builder of the calls of one answer. ``anchor`` is the item that they come after."""

    def __init__(self, answer: str, conversation: Conversation) -> None:
        self.anchor: str | None = None
        self._answer = answer
        self._conversation = conversation
        self._calls: dict[object, ConversationItem] = {}  # by index
        self._ended = False

    def take(self, chunk: Mapping[str, Any]) -> Iterator[CallEvent]:
        """Yield the events that a chunk of a chat completion causes."""
        for part in _find_parts(chunk):
            function = part.get("function")
            function = function if isinstance(function, Mapping) else {}
            index = part.get("index", len(self._calls))
            item = self._calls.get(index)
            if item is None:
                if len(self._calls) >= CALLS_MAX or not function.get("name"):
                    continue
                item = self._begin(part, str(function["name"]))
                previous = self._conversation.add(item, self.anchor, first=self.anchor is None)
                self._calls[index], self.anchor = item, item.id
                yield ToolCallBegan(self._answer, item.id, previous, item.call_id, item.name)
            delta = function.get("arguments")
            if isinstance(delta, str) and delta:
                item.text += delta
                yield ToolCallDelta(self._answer, item.id, delta)

    def end(self, *, whole: bool, cut: bool = False) -> Iterator[CallEvent]:
        """Yield the ends of all calls, once. ``cut``: the model's answer ended early, perhaps within one."""
        if self._ended:
            return
        self._ended = True
        for item in self._calls.values():
            item.whole = whole and not (cut and repair_arguments(item.text) != item.text)
            item.text = item.text or "{}"
            yield ToolCallEnded(self._answer, item.id, item.text, item.whole)

    def _begin(self, part: Mapping[str, Any], name: str) -> ConversationItem:
        """Return a new item. The vendor's id is kept where it is one, since some vendors check its form."""
        given = part.get("id")
        known = not isinstance(given, str) or not given or self._conversation.is_taken(given)
        extra = {key: value for key, value in part.items() if key not in _OWN_KEYS}
        return ConversationItem(
            make_id("item"),
            "assistant",
            kind="call",
            call_id=make_id("call") if known else str(given),
            name=name,
            whole=False,
            extra=extra,
        )


def has_calls(chunk: Mapping[str, Any]) -> bool:
    """Return whether a chunk of a chat completion calls tools: of the client, or of this server.

    A server's tool is not run before the chunk after that is asked for.
    """
    return EVENT_KEY in chunk or next(iter(_find_parts(chunk)), None) is not None


def _find_parts(chunk: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    choices = chunk.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    delta = first.get("delta") if isinstance(first, Mapping) else None
    calls = delta.get("tool_calls") if isinstance(delta, Mapping) else None
    return (part for part in calls if isinstance(part, Mapping)) if isinstance(calls, list) else iter(())
