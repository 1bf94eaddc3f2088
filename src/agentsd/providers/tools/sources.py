"""Sources of an agent's tools: one for each entry of its section ``tools``."""

from __future__ import annotations

from agentsd.core.manifest.tools import ClientTool, HttpTool, ToolEntry
from agentsd.providers.tool import Tool, ToolSource
from agentsd.providers.tools.client_tool import ClientToolSource
from agentsd.providers.tools.http_tool import HttpToolSource
from agentsd.providers.transport.sessions import HttpSessions


class EmptySource:
    """Source without tools, of an entry that this program cannot run."""

    tools: tuple[Tool, ...] = ()

    async def aclose(self) -> None:
        """Do nothing."""


def build_tool_source(entry: ToolEntry, sessions: HttpSessions) -> ToolSource:
    """Return the source of ``entry``. Raises ``ProviderError``; opens no connection."""
    match entry:
        case HttpTool():
            return HttpToolSource(entry, sessions)
        case ClientTool():
            return ClientToolSource(entry)
        case _:
            return EmptySource()
