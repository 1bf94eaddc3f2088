"""Sources of an agent's tools: one for each entry of its section ``tools``."""

from __future__ import annotations

from agentsd.core.manifest.tool_lock import ToolSettings
from agentsd.core.manifest.tools import ClientTool, HttpTool
from agentsd.providers.tool import ToolSource
from agentsd.providers.tools.client_tool import ClientToolSource
from agentsd.providers.tools.http_tool import HttpToolSource
from agentsd.providers.tools.mcp_source import McpToolSource
from agentsd.providers.transport.sessions import HttpSessions


def build_tool_source(entry: ToolSettings, sessions: HttpSessions) -> ToolSource:
    """Return the source of ``entry``. Raises ``ProviderError``; opens no connection."""
    match entry:
        case HttpTool():
            return HttpToolSource(entry, sessions)
        case ClientTool():
            return ClientToolSource(entry)
        case _:
            return McpToolSource(entry, sessions)
