"""Tools that the client runs: their declarations, and the choice among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import orjson
from pydantic import Field

from agentsd.core.names import quote_word
from agentsd.web.http.problem import Problem
from agentsd.web.openai.realtime.fields import RealtimeModel, read_model, refuse_value

TOOLS_MAX = 128
TOOLS_BYTES_MAX = 256 << 10
"""Maximum tools of a session, and bytes of their JSON."""

CHOICES = ("auto", "none", "required")

Tool = Mapping[str, Any]


class FunctionTool(RealtimeModel):
    """Declaration of a function."""

    type: Literal["function"]
    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


def read_tools(value: object, where: str, refused: list[Problem]) -> tuple[Tool, ...] | None:
    """Return the functions of a list of tools; add a problem to ``refused`` for each other tool.

    Return None where nothing of it can be used.
    """
    if not isinstance(value, list) or len(value) > TOOLS_MAX:
        refused.append(refuse_value(where, f"{where} must be a list of at most {TOOLS_MAX} tools"))
        return None
    tools: dict[str, Tool] = {}
    for index, one in enumerate(value):
        tool = _read_tool(one, f"{where}[{index}]", refused)
        if tool is not None and tool["name"] in tools:
            refused.append(refuse_value(f"{where}[{index}].name", "two tools have the same name"))
        elif tool is not None:
            tools[tool["name"]] = tool
    if len(orjson.dumps(list(tools.values()))) > TOOLS_BYTES_MAX:
        refused.append(refuse_value(where, f"{where} is larger than {TOOLS_BYTES_MAX} bytes"))
        return None
    return tuple(tools.values()) if tools or not value else None


def _read_tool(value: object, where: str, refused: list[Problem]) -> dict[str, Any] | None:
    kind = value.get("type", "function") if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping) or kind != "function":
        shown = quote_word(kind, "this tool") if isinstance(kind, str) else "this tool"
        hint = "tools run by the client are of the type function"
        refused.append(refuse_value(where, f"{shown} is not a tool that this server runs", hint))
        return None
    problems: list[Problem] = []
    tool = read_model(FunctionTool, {**value, "type": kind}, where, problems)
    refused += problems
    return tool.model_dump(exclude_none=True) if tool is not None else None


def read_tool_choice(value: object, where: str) -> Any:
    """Return ``tool_choice``. Raise ``Problem`` for one that is not supported."""
    if value in CHOICES:
        return value
    if isinstance(value, Mapping) and value.get("type") == "function" and isinstance(value.get("name"), str):
        return {"type": "function", "name": value["name"]}
    raise refuse_value(where, hint=f"use {', '.join(CHOICES)}, or name a function")


def is_choosable(choice: Any, tools: Sequence[Tool]) -> bool:
    """Return whether the function that ``choice`` forces is one of ``tools``."""
    return not isinstance(choice, Mapping) or any(tool["name"] == choice["name"] for tool in tools)


def make_tool_options(tools: Sequence[Tool], choice: Any, *, parallel: bool | None) -> dict[str, Any]:
    """Return the fields of a chat completion; None for those that must not be sent."""
    if not tools:
        return {"tools": None, "tool_choice": None, "parallel_tool_calls": None}
    made = [
        {"type": "function", "function": {key: one for key, one in tool.items() if key != "type"}}
        for tool in tools
    ]
    if isinstance(choice, Mapping):
        choice = {"type": "function", "function": {"name": choice["name"]}}
    return {"tools": made, "tool_choice": choice, "parallel_tool_calls": parallel}
