"""Calls that a request forces, for a server that follows a JSON Schema but knows no tools. Pure.

llama.cpp writes by a grammar whatever its chat template knows, so ``tool_choice`` of ``required``, or of one
tool, is asked as ``response_format``, and the object that comes is the call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from agentsd.system.identifier import make_identifier

_OWN_FIELDS = ("tools", "tool_choice", "parallel_tool_calls", "response_format")
_ANY_OBJECT: Mapping[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}


@dataclass(frozen=True, slots=True)
class ForcedCall:
    """One of some tools that the model has to call."""

    functions: Sequence[Mapping[str, Any]]  # as ``tools`` of a request has them

    @property
    def _only(self) -> str | None:
        return str(self.functions[0]["name"]) if len(self.functions) == 1 else None

    def rewrite(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``request`` as one for an object that is the call."""
        passed = {key: value for key, value in request.items() if key not in _OWN_FIELDS}
        form = {"type": "json_schema", "json_schema": {"name": "call", "schema": self._make_schema()}}
        note = {"role": "system", "content": self._make_note()}
        return {**passed, "messages": [note, *request["messages"]], "response_format": form}

    def read(self, text: str) -> dict[str, Any]:
        """Return the delta of the call that the model wrote as ``text``, which may have been cut off."""
        name, arguments = self._only, text
        if name is None:
            name, arguments = _read_call(text, str(self.functions[0]["name"]))
        function = {"name": name, "arguments": arguments}
        call = {
            "index": 0,
            "id": make_identifier("call", digits=24),
            "type": "function",
            "function": function,
        }
        return {"role": "assistant", "content": None, "tool_calls": [call]}

    def _make_schema(self) -> Mapping[str, Any]:
        if self._only is not None:
            return _get_parameters(self.functions[0])
        calls = [
            {
                "type": "object",
                "properties": {"name": {"const": one["name"]}, "arguments": _get_parameters(one)},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
            for one in self.functions
        ]
        return {"anyOf": calls}

    def _make_note(self) -> str:
        shape = "its arguments as JSON" if self._only else 'the call as JSON: {"name": …, "arguments": …}'
        listed = "\n".join(
            f"{one['name']}: {one.get('description') or ''} {orjson.dumps(_get_parameters(one)).decode()}"
            for one in self.functions
        )
        return f"Call {'this tool' if self._only else 'one of these tools'}; write only {shape}.\n{listed}"


def find_forced_call(request: Mapping[str, Any]) -> ForcedCall | None:
    """Return the call that ``request`` forces; None where the model may answer with a text."""
    choice = request.get("tool_choice")
    names: set[Any] | None = None
    if isinstance(choice, Mapping) and choice.get("type") == "allowed_tools":
        allowed = choice.get("allowed_tools") or {}
        names = {_get_name(one) for one in allowed.get("tools") or ()}
        choice = allowed.get("mode")
    elif isinstance(choice, Mapping):
        names, choice = {_get_name(choice)}, "required"
    if choice != "required":
        return None
    offered = [_get_function(one) for one in request.get("tools") or ()]
    functions = [one for one in offered if one and (names is None or one.get("name") in names)]
    return ForcedCall(functions) if functions else None


def _get_function(tool: Any) -> Mapping[str, Any] | None:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    return function if isinstance(function, Mapping) and isinstance(function.get("name"), str) else None


def _get_name(tool: Any) -> Any:
    return (_get_function(tool) or {}).get("name")


def _get_parameters(function: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = function.get("parameters")
    return parameters if isinstance(parameters, Mapping) and parameters else _ANY_OBJECT


def _read_call(text: str, otherwise: str) -> tuple[str, str]:
    """Return name and arguments of an object that is a call; the text itself where it was cut off."""
    try:
        call = orjson.loads(text)
    except orjson.JSONDecodeError:
        return otherwise, text
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        return otherwise, text
    return call["name"], orjson.dumps(call.get("arguments") or {}).decode()
