"""Tool that the client runs: the model is offered it, and its calls end the turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentsd.core.manifest.tool_schema import ArgumentSchema
from agentsd.core.manifest.tools import ClientTool
from agentsd.providers.tool import Tool, ToolDefinition, ToolResult


class ClientToolSource:
    """Entry with ``client: true``, which is its own source."""

    def __init__(self, settings: ClientTool) -> None:
        schema = ArgumentSchema(settings.parameters_schema)
        self.definition = ToolDefinition(settings.name, settings.description, schema, "client")
        self.available = True

    @property
    def tools(self) -> tuple[Tool, ...]:
        """Return the one tool."""
        return (self,)

    async def run(self, arguments: Mapping[str, Any], variables: Mapping[str, Any]) -> ToolResult:
        """Return that the client runs it."""
        return ToolResult("client", "the client runs this tool")

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""
