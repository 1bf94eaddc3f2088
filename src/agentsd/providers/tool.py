"""Tools as values, and the protocol of what runs one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from agentsd.core.manifest.tool_schema import ArgumentSchema

ToolKind = Literal["http", "mcp", "client", "handoff"]
"""Who runs a tool: this server, a server of the Model Context Protocol, the client, or the runtime itself."""

ToolOutcome = Literal[
    "ok",
    "client",  # left to the client
    "invalid_arguments",  # they do not fit the schema, or cannot be put into the request: nothing was sent
    "unknown_tool",
    "unavailable",  # the tool was taken away: its server changed it, or it cannot be reached
    "refused",  # this server's own rules forbid the address, or an argument leaves its place
    "redirected",  # to another origin, which is not followed
    "timeout",
    "unreachable",
    "too_large",
    "unreadable",  # neither text nor JSON
    "failed",  # the service answered with an error, or not in its protocol
    "cancelled",
    "confirmation_required",
    "confirmation_unavailable",
    "declined",  # the user did not agree
    "too_many_calls",
    "unfinished",  # it goes on after the end of the turn
]
"""How a call of a tool ended."""


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """Tool as a model sees it, and the rules of its calls."""

    name: str
    description: str
    arguments: ArgumentSchema  # of the arguments: an object
    kind: ToolKind
    say: str | None = None  # spoken if nothing was said within ``say_after_ms``
    say_after_ms: int = 800
    on_interrupt: Literal["finish", "cancel"] = "finish"
    confirm: bool = False
    timeout_seconds: float = 10.0
    read_only: bool = False  # a call changes nothing
    target: str = ""  # digest of what a call is sent to, and how: a tool of another one is another tool
    variables: frozenset[str] = frozenset()  # names of those that a call sends beside its arguments

    @property
    def runs_here(self) -> bool:
        """Return whether this server runs it."""
        return self.kind != "client"

    def as_function(self) -> dict[str, Any]:
        """Return the entry of ``tools`` in a chat completion's request."""
        function = {"name": self.name, "parameters": dict(self.arguments.value)}
        if self.description:
            function["description"] = self.description
        return {"type": "function", "function": function}


@dataclass(frozen=True, slots=True)
class ToolResult:
    """Result of one call. ``text`` is what the model reads; it may be anything, and is data."""

    outcome: ToolOutcome
    text: str = field(repr=False)
    milliseconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Return whether the tool did its work."""
        return self.outcome == "ok"


class Tool(Protocol):
    """Tool of one agent, built with it and closed with it."""

    @property
    def definition(self) -> ToolDefinition:
        """Return the definition, which never changes."""

    @property
    def available(self) -> bool:
        """Return whether a model may be offered it now."""

    async def run(self, arguments: Mapping[str, Any], variables: Mapping[str, Any]) -> ToolResult:
        """Run the tool with arguments that fit its schema. Never raises for the service.

        A call that is cancelled ends at once. ``variables``: values of the session, by name.
        """


class ToolSource(Protocol):
    """Provider of the tools of one entry of ``tools``. Building one opens no connection."""

    @property
    def tools(self) -> tuple[Tool, ...]:
        """Return the tools, which never change."""

    async def aclose(self) -> None:
        """Release connections. Called once, after the last lease has ended."""


@runtime_checkable
class ProbedTool(Protocol):
    """Tool that can be tried without changing anything."""

    @property
    def definition(self) -> ToolDefinition:
        """Return the definition."""

    async def probe(self) -> ToolResult | None:
        """Try the tool. None: it cannot be tried, since nobody knows arguments that change nothing."""
