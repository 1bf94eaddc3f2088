"""The chunks of a streamed chat completion put together into a whole one. Pure.

https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Merged:
    """A completion that grows."""

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._usage: Any = None

    @property
    def finished(self) -> bool:
        """Whether every choice has said why it ended."""
        return bool(self._choices) and all(choice["finish_reason"] for choice in self._choices.values())

    def add(self, chunk: Mapping[str, Any]) -> None:
        """One more ``chat.completion.chunk``."""
        self._head = self._head or {key: chunk[key] for key in ("id", "created", "model") if key in chunk}
        self._usage = chunk.get("usage") or self._usage
        for part in chunk.get("choices") or ():
            index = part.get("index", 0)
            message = {"role": "assistant", "content": None}
            choice = self._choices.setdefault(
                index, {"index": index, "message": message, "finish_reason": None}
            )
            choice["finish_reason"] = part.get("finish_reason") or choice["finish_reason"]
            _grow(choice["message"], part.get("delta") or {})
            if part.get("logprobs"):
                _grow(choice.setdefault("logprobs", {}), part["logprobs"])

    def whole(self) -> dict[str, Any]:
        """The ``chat.completion`` object so far."""
        choices = [self._choices[index] for index in sorted(self._choices)]
        answer = {**self._head, "object": "chat.completion", "choices": choices}
        return answer if self._usage is None else {**answer, "usage": self._usage}


def _grow(whole: dict[str, Any], delta: Mapping[str, Any]) -> None:
    """Texts are appended, lists extended, tool calls merged by their index; the rest is said once."""
    for key, value in delta.items():
        if key == "tool_calls":
            _call(whole.setdefault(key, []), value)
        elif key == "role" or value is None:
            whole[key] = whole.get(key) or value
        elif isinstance(value, str):
            whole[key] = (whole.get(key) or "") + value
        elif isinstance(value, list):
            whole[key] = [*(whole.get(key) or []), *value]
        else:
            whole[key] = value


def _call(calls: list[dict[str, Any]], parts: list[dict[str, Any]]) -> None:
    """A call's id, type and name come once; its arguments come in pieces."""
    for part in parts:
        index = part.get("index", 0)
        while len(calls) <= index:
            calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
        call, function = calls[index], part.get("function") or {}
        call["id"] = part.get("id") or call["id"]
        call["function"]["name"] += function.get("name") or ""
        call["function"]["arguments"] += function.get("arguments") or ""
