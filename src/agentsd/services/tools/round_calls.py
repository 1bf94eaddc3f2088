"""Calls in a model's answer: the client's pass, those that are run here are held until it ends. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentsd.core.manifest.tool_schema import repair_arguments
from agentsd.providers.llm.answer_stream import CUT_REASONS
from agentsd.services.tools.call_ids import make_call_id, may_repeat
from agentsd.services.tools.events import ToolCall

KEPT_THOUGHTS = ("reasoning_details", "reasoning_content")
"""Fields of a message with calls that the vendor who sent them needs back."""


@dataclass(slots=True)
class HeldCall:
    """Call that grows chunk by chunk."""

    id: str = ""
    name: str = ""
    arguments: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    def grow(self, part: Mapping[str, Any], function: Mapping[str, Any]) -> None:
        """Add the next part."""
        self.id = part.get("id") or self.id
        self.name += function.get("name") or ""
        self.arguments += function.get("arguments") or ""
        if "extra_content" in part:
            self.extra["extra_content"] = part["extra_content"]

    def as_call(self, *, cut: bool = False) -> ToolCall:
        """Return the whole call. ``cut``: the answer ended early, so that missing arguments are unknown."""
        return ToolCall(self.id, self.name, self.arguments, cut and not self.arguments.strip())

    def as_message(self) -> dict[str, Any]:
        """Return the call as a message of the assistant contains it, for the vendor."""
        return self._make_message(repair_arguments(self.arguments))

    def as_written(self) -> dict[str, Any]:
        """Return the call as the model wrote it, for the client."""
        return self._make_message(self.arguments)

    def _make_message(self, arguments: str) -> dict[str, Any]:
        function = {"name": self.name, "arguments": arguments}
        return {"id": self.id, "type": "function", "function": function, **self.extra}


class RoundAnswer:
    """Answer of a model in one round, with ``client``: the names of the tools that the client runs.

    ``rename``: the client gets a new id of a call whose own may be another call's as well.
    """

    __slots__ = (
        "_calls", "_client", "_passed", "_rename", "client_ids", "finish", "renamed", "text", "thoughts",
    )  # fmt: skip

    def __init__(self, client: frozenset[str], *, rename: bool = False) -> None:
        self._client = client
        self._rename = rename
        self.renamed: dict[str, str] = {}  # the client's id: the vendor's
        self._calls: dict[int, HeldCall] = {}
        self._passed: dict[int, int] = {}  # index of the vendor: index for the client
        self.client_ids: list[str] = []
        self.text = ""
        self.thoughts: dict[str, Any] = {}
        self.finish: str | None = None

    @property
    def held(self) -> list[HeldCall]:
        """Return the calls that are run here, in order."""
        return [one for one in self._calls.values() if one.name not in self._client]

    @property
    def cut(self) -> bool:
        """Return whether the answer ended before its end."""
        return self.finish in CUT_REASONS

    @property
    def late(self) -> list[dict[str, Any]]:
        """Return the client's calls whose name came in pieces, so that they were held back, numbered."""
        late = [one for one in self._calls.values() if one.name in self._client]
        for one in late:
            if one.id not in self.renamed:
                one.id = self._name_call(one.id, one.name)
        return [{"index": at, **one.as_written()} for at, one in enumerate(late, len(self._passed))]

    def take_choice(self, choice: Mapping[str, Any], *, begun: bool) -> dict[str, Any] | None:
        """Take a choice of a chunk; return what the client gets of it, None for nothing.

        ``begun``: the role was sent. The reason of the end is kept here.
        """
        delta = choice.get("delta") or {}
        if (reason := choice.get("finish_reason")) is not None:
            self.finish = reason
        content = delta.get("content")
        if isinstance(content, str):
            self.text += content
        shown = {key: value for key, value in delta.items() if key not in ("role", "tool_calls")}
        if passed := self._take_calls(delta.get("tool_calls") or ()):
            shown["tool_calls"] = passed
        self._keep_thoughts(delta)
        if not any(shown.values()):
            return None
        return {**choice, "delta": shown if begun else {"role": "assistant", **shown}, "finish_reason": None}

    def take_message(self, choice: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Take the choice of a whole answer; return the client's calls."""
        message = choice.get("message") or {}
        self.finish = choice.get("finish_reason")
        content = message.get("content")
        self.text = content if isinstance(content, str) else ""
        self._keep_thoughts(message)
        numbered = [{**call, "index": at} for at, call in enumerate(message.get("tool_calls") or ())]
        return [
            {key: value for key, value in call.items() if key != "index"}
            for call in self._take_calls(numbered)
        ]

    def make_message(self) -> dict[str, Any]:
        """Return the message of the assistant with the calls that are run here."""
        calls = [one.as_message() for one in self.held]
        return {"role": "assistant", "content": self.text or None, "tool_calls": calls, **self.thoughts}

    def _keep_thoughts(self, delta: Mapping[str, Any]) -> None:
        for name in KEPT_THOUGHTS:
            if value := delta.get(name):
                self.thoughts[name] = self.thoughts[name] + value if name in self.thoughts else value

    def _take_calls(self, parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the parts that go to the client, in its numbering; hold the others."""
        passed = []
        for part in parts:
            index = part.get("index", 0)
            function = part.get("function") or {}
            if index not in self._passed and index not in self._calls and self._is_clients(part, function):
                self._passed[index] = len(self._passed)
                shown = self._name_call(str(part.get("id") or ""), function.get("name") or "")
                self.client_ids.append(shown)
                passed.append({**part, "index": self._passed[index], "id": shown})
            elif index in self._passed:
                passed.append({**part, "index": self._passed[index]})
            else:
                self._calls.setdefault(index, HeldCall()).grow(part, function)
        return passed

    def _name_call(self, identifier: str, name: str) -> str:
        """Return the id under which the client gets a call."""
        if not (self._rename and may_repeat(identifier, name)):
            return identifier
        shown = make_call_id()
        self.renamed[shown] = identifier
        return shown

    def _is_clients(self, part: Mapping[str, Any], function: Mapping[str, Any]) -> bool:
        return "custom" in part or function.get("name") in self._client
