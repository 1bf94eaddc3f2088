"""The built-in agent that answers when no other does: it needs no key, no network and no store."""

from __future__ import annotations

from agentsd.core.agent import AgentHead
from agentsd.core.names import DEFAULT_OWNER, id_of
from agentsd.providers.base import LiveAgent
from agentsd.providers.llm.echo import Echo, EchoSettings

FALLBACK_SLUG = "echo"

FALLBACK_REF = "~echo"
"""Leases the built-in agent even where one is configured under its name; no slug holds a ``~``."""


def fallback_agent() -> LiveAgent:
    """The agent ``echo``, which is in no store."""
    return LiveAgent(
        id=id_of(FALLBACK_SLUG),
        slug=FALLBACK_SLUG,
        owner=DEFAULT_OWNER,
        version=0,
        digest=b"",
        spec=AgentHead(name="Echo", description="Built in: says back what it is told."),
        llm=Echo(EchoSettings(provider="echo.local")),
        provider_names={"llm": "echo.local"},
    )
