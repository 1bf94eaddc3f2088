"""Merging of the chunks of a streamed chat completion into a whole one. Pure.

https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class MergedCompletion:
    """Completion that grows chunk by chunk."""

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._usage: Any = None

    @property
    def finished(self) -> bool:
        """Return whether every choice has a finish reason."""
        return bool(self._choices) and all(choice["finish_reason"] for choice in self._choices.values())

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Add one more ``chat.completion.chunk``."""
        self._head = self._head or {key: chunk[key] for key in ("id", "created", "model") if key in chunk}
        self._usage = chunk.get("usage") or self._usage
        for part in chunk.get("choices") or ():
            index = part.get("index", 0)
            message = {"role": "assistant", "content": None}
            choice = self._choices.setdefault(
                index, {"index": index, "message": message, "finish_reason": None}
            )
            choice["finish_reason"] = part.get("finish_reason") or choice["finish_reason"]
            _merge_delta(choice["message"], part.get("delta") or {})
            if part.get("logprobs"):
                _merge_delta(choice.setdefault("logprobs", {}), part["logprobs"])

    def whole(self) -> dict[str, Any]:
        """Return the ``chat.completion`` object so far."""
        choices = [self._choices[index] for index in sorted(self._choices)]
        answer = {**self._head, "object": "chat.completion", "choices": choices}
        return answer if self._usage is None else {**answer, "usage": self._usage}


def _merge_delta(whole: dict[str, Any], delta: Mapping[str, Any]) -> None:
    """Append texts, extend lists and merge tool calls by their index; other fields come once."""
    for key, value in delta.items():
        if key == "tool_calls":
            _merge_call(whole.setdefault(key, []), value)
        elif key == "role" or value is None:
            whole[key] = whole.get(key) or value
        elif isinstance(value, str):
            whole[key] = (whole.get(key) or "") + value
        elif isinstance(value, list):
            whole[key] = [*(whole.get(key) or []), *value]
        else:
            whole[key] = value


def _merge_call(calls: list[dict[str, Any]], parts: list[dict[str, Any]]) -> None:
    """Merge the parts of a tool call: id, type and name come once, arguments come in pieces."""
    for part in parts:
        index = part.get("index", 0)
        while len(calls) <= index:
            calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
        call, function = calls[index], part.get("function") or {}
        call["id"] = part.get("id") or call["id"]
        call["function"]["name"] += function.get("name") or ""
        call["function"]["arguments"] += function.get("arguments") or ""
