"""Completion of an LLM's answer after ``completion.Normalizer``: an answer has content, and is whole. Pure.

Clients' helpers rely on what OpenAI's own answers have: a role in the first delta of a choice and in no
other (helpers append it), a finish reason for each choice, and tool calls with an ``index``, whose id, type
and name come once. Vendors leave these out or repeat them.

Chunks before the first content are held back: a vendor that sends a role and then fails has not answered,
so that another may. An answer that ends without text, tool call, sound or image is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import orjson

from agentsd.core.errors import ProviderError
from agentsd.providers.errors import (
    VendorRef,
    make_empty_error,
    make_filtered_error,
    make_protocol_error,
    make_unfinished_error,
)

HELD_MAX = 1024
"""Chunks without content after which an answer counts as empty."""
CALLS_MAX = 256
"""Tool calls of one choice."""

_ANSWERS = ("content", "refusal", "function_call", "audio", "images")
_THOUGHTS = ("reasoning_content", "reasoning", "reasoning_details")


CUT_REASONS = frozenset({"length", "content_filter"})
"""Finish reasons of an answer that ended before its end."""


@dataclass(slots=True)
class _Call:
    id: str
    name: str = ""
    given: str | None = None  # the vendor's own id, which may be another call's, too
    pieces: list[str] = field(default_factory=list)  # of the arguments

    @property
    def whole(self) -> bool:
        """Return whether the arguments are a JSON object, so that nothing can be missing."""
        if not self.pieces or not self.pieces[-1].rstrip().endswith("}"):
            return False
        try:
            orjson.loads("".join(self.pieces))
        except orjson.JSONDecodeError:
            return False
        return True


@dataclass(slots=True)
class _Choice:
    answered: bool = False  # content that is more than thoughts
    thought: bool = False
    role: bool = False  # it was sent
    finish: str | None = None
    calls: list[_Call] = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)  # the vendor's index: ours


class AnswerStream:
    """Stream of normalised chunks of one answer. Raises ``ProviderError``."""

    __slots__ = ("_choices", "_held", "_may_be_empty", "_open", "_who")

    def __init__(self, who: VendorRef, *, may_be_empty: bool = False) -> None:
        self._who = who
        self._may_be_empty = may_be_empty
        self._choices: dict[int, _Choice] = {}
        self._held: list[dict[str, Any]] | None = []  # None: the first content has come
        self._open: set[int] = set()  # choices of which any text can be passed on as it is

    def is_plain(self, chunk: dict[str, Any]) -> bool:
        """Return whether ``chunk`` is one more text, which is nearly always so and needs no ``take``."""
        choices = chunk["choices"]
        if len(choices) != 1:
            return False
        choice = choices[0]
        delta = choice["delta"]
        return (
            len(delta) == 1
            and "content" in delta
            and choice["finish_reason"] is None
            and choice["index"] in self._open
        )

    def take(self, chunk: dict[str, Any]) -> Sequence[dict[str, Any]]:
        """Return the chunks that may leave now; changes ``chunk``."""
        for choice in chunk["choices"]:
            self._complete(choice)
        if self._held is None:
            return (chunk,)
        self._held.append(chunk)
        if any(one.answered or one.thought for one in self._choices.values()):
            held, self._held = self._held, None
            return held
        if len(self._held) > HELD_MAX:
            raise make_empty_error(self._who, "text")
        return ()

    def end(self) -> Iterator[dict[str, Any]]:
        """Yield the finish reasons that the vendor left out. Raises ``ProviderError`` for an empty answer."""
        if not self._may_be_empty:
            _check_content(self._who, self._choices.values())
        yield from self._held or ()
        for index, one in self._choices.items():
            if one.finish is None:
                reason = "tool_calls" if one.calls else "stop"
                choice = {"index": index, "delta": {}, "finish_reason": reason}
                yield {"object": "chat.completion.chunk", "choices": [choice]}

    def _complete(self, choice: dict[str, Any]) -> None:
        index, delta = choice["index"], choice["delta"]
        one = self._choices.get(index)
        if one is None:
            one = self._choices[index] = _Choice()
        if calls := delta.pop("tool_calls", None):
            delta["tool_calls"] = [self._call(one, call) for call in calls]
        one.answered = one.answered or has_content(delta, _ANSWERS) or any(call.name for call in one.calls)
        one.thought = one.thought or has_content(delta, _THOUGHTS)
        if one.role:
            delta.pop("role", None)
        else:
            choice["delta"] = {"role": "assistant", **delta}
            one.role = True
        choice["finish_reason"] = _correct_reason(choice["finish_reason"], bool(one.calls))
        one.finish = choice["finish_reason"] or one.finish
        if one.answered:
            self._open.add(index)

    def _call(self, one: _Choice, call: dict[str, Any]) -> dict[str, Any]:
        kind = "custom" if "custom" in call else "function"
        part = call.get(kind) or {}
        name, identifier = part.get("name") or "", call.get("id")
        arguments = part.get("input" if kind == "custom" else "arguments") or ""
        begins = bool(name and arguments)
        at = _find_place(one, call.get("index"), identifier, name, begins=begins)
        whole = {"index": at} | {key: value for key, value in call.items() if key == "extra_content"}
        if at == len(one.calls):
            if at >= CALLS_MAX:
                raise make_protocol_error(self._who, f"sent more than {CALLS_MAX} tool calls")
            taken = [each.id for each in one.calls]
            one.calls.append(_Call(_make_unique(identifier, taken), name, identifier, [arguments]))
            body = {"name": name, "input" if kind == "custom" else "arguments": "", **part}
            return {**whole, "id": one.calls[at].id, "type": kind, kind: body}
        if name and name == one.calls[at].name:
            part.pop("name")
        elif name:
            one.calls[at].name += name
        if arguments:
            one.calls[at].pieces.append(arguments)
        return {**whole, kind: part}


def _correct_reason(reason: str | None, has_calls: bool) -> str | None:
    """Return the reason that fits an answer, since clients run tools by it; LocalAI confuses the two."""
    if reason in ("stop", "tool_calls"):
        return "tool_calls" if has_calls else "stop"
    return reason


def _make_unique(identifier: str | None, taken: Sequence[str]) -> str:
    """Return the vendor's id of a call, or a new one where there is none, or another call has it already."""
    if identifier and identifier not in taken:
        return identifier
    return f"call_{uuid4().hex[:24]}"


def _find_place(one: _Choice, index: int | None, identifier: str | None, name: str, *, begins: bool) -> int:
    """Return which tool call a part belongs to; the number of known calls for a new one.

    By the vendor's index; without one by id, then by order. An index that comes again with another id and a
    name is another call (Gemini numbers all calls 0); so is, whatever its index and id, a part that
    ``begins`` with a name and arguments after a call that is whole (Ollama: no id, and 0 for all).
    """
    known = one.calls
    if index is None:
        return _find_unnumbered(known, identifier, name, begins=begins)
    place = one.places.get(index)
    if place is None or _is_another(known[place], identifier, name, begins=begins):
        place = one.places[index] = len(known)
    return place


def _find_unnumbered(known: Sequence[_Call], identifier: str | None, name: str, *, begins: bool) -> int:
    same = [at for at, call in enumerate(known) if identifier and call.given == identifier]
    if same:
        return len(known) if begins and known[same[-1]].whole else same[-1]
    new = not known or identifier is not None or (name and known[-1].name)
    return len(known) if new else len(known) - 1


def _is_another(call: _Call, identifier: str | None, name: str, *, begins: bool) -> bool:
    return bool(identifier and name and call.given != identifier) or (begins and call.whole)


def complete_answer(who: VendorRef, answer: dict[str, Any], *, may_be_empty: bool = False) -> dict[str, Any]:
    """Complete a whole normalised answer. Raises ``ProviderError`` for an empty one."""
    found = []
    for choice in answer["choices"]:
        message = choice["message"]
        calls = message.get("tool_calls")
        reason = choice["finish_reason"]
        for at, call in enumerate(calls or ()):
            _complete_call(call, cut=reason in CUT_REASONS)
            call["id"] = _make_unique(call["id"], [each["id"] for each in calls[:at]])
        choice["finish_reason"] = _correct_reason(reason or "stop", bool(calls))
        one = _Choice(bool(calls) or has_content(message, _ANSWERS), finish=reason)
        one.calls = [_Call(call["id"], call[call["type"]]["name"]) for call in calls or ()]
        found.append(one)
    if not may_be_empty:
        _check_content(who, found)
    return answer


def _complete_call(call: dict[str, Any], *, cut: bool) -> None:
    """Complete a whole call. ``cut``: arguments that are missing are not those of a call without any."""
    kind = call["type"]
    body = call.setdefault(kind, {})
    body.setdefault("name", "")
    if kind == "function":
        body["arguments"] = body.get("arguments") or ("" if cut else "{}")
    else:
        body.setdefault("input", "")


def _check_content(who: VendorRef, choices: Any) -> None:
    """Check that one of ``choices`` is an answer, and that each tool call has a name."""
    if any(not call.name for one in choices for call in one.calls):
        raise make_protocol_error(who, "sent a tool call without a name")
    if any(one.answered for one in choices):
        return
    raise _explain_silence(who, {one.finish for one in choices})


def _explain_silence(who: VendorRef, reasons: set[str | None]) -> ProviderError:
    if "content_filter" in reasons:
        return make_filtered_error(who)
    return make_unfinished_error(who) if "length" in reasons else make_empty_error(who, "text")


def has_content(message: Mapping[str, Any], fields: Sequence[str]) -> bool:
    """Return whether one of ``fields`` contains more than white space."""
    return any(_is_filled(message[name]) for name in fields if message.get(name))


def _is_filled(value: Any) -> bool:
    if isinstance(value, str):
        return not value.isspace() and value != ""
    if isinstance(value, list):
        return any(_is_filled(item) for item in value)
    if isinstance(value, dict):
        return any(_is_filled(item) for key, item in value.items() if key not in ("type", "id", "index"))
    return False
