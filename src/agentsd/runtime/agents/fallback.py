"""Fallback agents, which answer when no other does: in no store, without a key or a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agentsd.core.manifest.agent import AgentHead
from agentsd.core.names import DEFAULT_OWNER, derive_agent_id
from agentsd.providers.base import LiveAgent
from agentsd.providers.llm.echo import Echo, EchoSettings
from agentsd.providers.schema import ProviderSettings
from agentsd.runtime.agents.leases import BuiltAgent, ProviderPool, make_live_agent

FALLBACK_SLUG = "echo"

FALLBACK_REF = "~echo"
"""Reference to the fallback even where an agent has its name; no slug contains a ``~``."""


@dataclass(frozen=True, slots=True)
class FallbackAgent:
    """Configured agent in place of the built-in one, of the default owner. ``settings`` hold plaintext."""

    slug: str
    head: AgentHead
    settings: Mapping[str, ProviderSettings] = field(repr=False)

    def built(self, boxes: ProviderPool) -> BuiltAgent:
        """Build the agent with its providers. Raises ``DocumentRefused`` where one cannot be built."""
        mine = boxes.take_all(derive_agent_id(self.slug), self.settings)
        fields = {
            "id": derive_agent_id(self.slug),
            "slug": self.slug,
            "owner": DEFAULT_OWNER,
            "version": 0,
            "digest": b"",
            "spec": self.head,
            "provider_names": {kind: settings.provider for kind, settings in self.settings.items()},
        }
        return BuiltAgent(make_live_agent(fields, mine), mine, boxes)


def make_fallback_agent() -> LiveAgent:
    """Make the agent ``echo``, which is in no store."""
    return LiveAgent(
        id=derive_agent_id(FALLBACK_SLUG),
        slug=FALLBACK_SLUG,
        owner=DEFAULT_OWNER,
        version=0,
        digest=b"",
        spec=AgentHead(name="Echo", description="Built in: says back what it is told."),
        llm=Echo(EchoSettings(provider="echo.local")),
        provider_names={"llm": "echo.local"},
    )
