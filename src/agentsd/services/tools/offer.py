"""Offer of a turn: the agent's tools and those of the client, as a model gets them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentsd.core.errors import InvalidChat
from agentsd.core.names import quote_word
from agentsd.providers.tool import Tool


@dataclass(frozen=True, slots=True)
class ToolOffer:
    """Tools of one turn."""

    server: Mapping[str, Tool]  # by name: those that are run here
    functions: Sequence[Mapping[str, Any]]  # all, as a chat completion's request has them
    client: frozenset[str]  # names of those that the client runs


def make_offer(tools: Sequence[Tool], request: Mapping[str, Any]) -> ToolOffer | None:
    """Return the offer of an agent's ``tools`` and of those in the client's ``request``.

    None where no tool of this server is available, so that the request goes to the model as it is. Raises
    ``InvalidChat``.
    """
    offered = [tool for tool in tools if tool.available]
    own = request.get("tools") or []
    if not isinstance(own, list):
        raise InvalidChat("tools must be a list", param="tools")
    names = [_read_name(one) for one in own]
    server = {tool.definition.name: tool for tool in offered if tool.definition.runs_here}
    for index, name in enumerate(names):
        if name in server:
            shown = quote_word(name, "this name")
            message, hint = (
                f"{shown} is the name of a tool of this agent",
                "rename your tool, or leave it out",
            )
            raise InvalidChat(message, param=f"tools[{index}]", hint=hint)
    _check_request(request, bool(server))
    lent = [tool for tool in offered if not tool.definition.runs_here and tool.definition.name not in names]
    functions = [*(tool.definition.as_function() for tool in (*server.values(), *lent)), *own]
    if not functions:
        return None
    client = {tool.definition.name for tool in lent} | {name for name in names if name}
    return ToolOffer(server, functions, frozenset(client))


def _check_request(request: Mapping[str, Any], runs_here: bool) -> None:
    if not runs_here:
        return
    if (request.get("n") or 1) != 1:
        hint = "ask several times"
        raise InvalidChat("an agent with tools gives one answer at a time", param="n", hint=hint)
    for field in ("functions", "function_call"):
        if request.get(field):
            hint = "use tools and tool_choice"
            raise InvalidChat(f"{field} cannot be combined with this agent's tools", param=field, hint=hint)


def _read_name(value: Any) -> str:
    """Return the name of a client's tool; empty where it has none."""
    kind = value.get("type") if isinstance(value, Mapping) else None
    inner = value.get(kind) if isinstance(kind, str) else None
    name = inner.get("name") if isinstance(inner, Mapping) else None
    return name if isinstance(name, str) else ""


def relax_choice(choice: Any) -> Any:
    """Return ``tool_choice`` for the rounds after the first: a call that was forced was made."""
    if isinstance(choice, Mapping) and choice.get("type") == "allowed_tools":
        inner = choice.get("allowed_tools")
        return (
            {**choice, "allowed_tools": {**inner, "mode": "auto"}} if isinstance(inner, Mapping) else choice
        )
    return "auto" if choice == "required" or isinstance(choice, Mapping) else choice
