"""Tools of ``/v1/responses``, in the terms of a chat completion. Pure.

A namespace groups tools. A chat completion has no such groups, so a tool of one gets a longer name there,
which is divided again in the calls that a model makes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentsd.core.names import quote_word
from agentsd.web.http.problem import Problem, bad_request

NAME_MAX = 64
"""Characters of a tool's name in a chat completion."""


@dataclass(frozen=True, slots=True)
class OfferedTools:
    """Tools that a client runs."""

    tools: tuple[Mapping[str, Any], ...] = ()  # as a chat completion has them
    custom: frozenset[str] = frozenset()  # names of those that take free text
    namespaced: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # name → (namespace, name in it)


def parse_tools(value: Any) -> OfferedTools:
    """Parse ``tools``. Raise ``Problem`` 400 that names the first one that only OpenAI runs."""
    if value is not None and not isinstance(value, list):
        raise bad_request("tools must be a list", param="tools")
    offered: dict[str, dict[str, Any]] = {}
    namespaced: dict[str, tuple[str, str]] = {}
    for where, namespace, tool in _iterate_tools(value or ()):
        kind, name = tool["type"], join_name(namespace, tool["name"])
        if name in offered:
            raise bad_request("two tools have the same name", param=where)
        inner = {key: part for key, part in tool.items() if key != "type" and part is not None}
        offered[name] = {"type": kind, kind: {**inner, "name": name}}
        if namespace:
            namespaced[name] = (namespace, tool["name"])
    custom = frozenset(name for name, tool in offered.items() if tool["type"] == "custom")
    return OfferedTools(tuple(offered.values()), custom, namespaced)


def parse_tool_choice(value: Any) -> Any:
    """Return ``tool_choice`` as a chat completion has it. Raise ``Problem`` 400."""
    if value is None or isinstance(value, str):
        return value
    kind = value.get("type") if isinstance(value, Mapping) else None
    if kind in ("function", "custom"):
        return _name_tool(value)
    if kind == "allowed_tools":
        tools = [_name_tool(one) for one in value.get("tools", ()) if isinstance(one, Mapping)]
        return {"type": kind, kind: {"mode": value.get("mode"), "tools": tools}}
    detail = "tool_choice must be a word, or name a function or a custom tool"
    raise bad_request(detail, param="tool_choice")


def join_name(namespace: object, name: str) -> str:
    """Return the name of a tool in a chat completion."""
    return f"{namespace}__{name}"[-NAME_MAX:] if isinstance(namespace, str) and namespace else name


def _iterate_tools(values: Any) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield the place, the namespace and the value of each tool."""
    for index, value in enumerate(values):
        where = f"tools[{index}]"
        kind = value.get("type") if isinstance(value, Mapping) else None
        inner = value.get("tools") if kind == "namespace" else None
        if isinstance(inner, list) and isinstance(value.get("name"), str):
            for at, tool in enumerate(inner):
                yield f"{where}.tools[{at}]", value["name"], _check_tool(tool, f"{where}.tools[{at}]")
        else:
            yield where, "", _check_tool(value, where)


def _check_tool(value: Any, where: str) -> Mapping[str, Any]:
    kind = value.get("type") if isinstance(value, Mapping) else None
    if kind in ("function", "custom") and isinstance(value.get("name"), str):
        return dict(value)
    raise _refuse_tool(kind, where)


def _refuse_tool(kind: object, where: str) -> Problem:
    shown = quote_word(kind, "this tool")
    hint = "leave it out, or run it in the client, as a function or a custom tool"
    return bad_request(f"{shown} is not a tool that this server runs", hint=hint, param=where)


def _name_tool(value: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(value.get("type"))
    return {"type": kind, kind: {"name": join_name(value.get("namespace"), str(value.get("name")))}}
