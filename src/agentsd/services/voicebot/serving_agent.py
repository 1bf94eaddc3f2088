"""Agent that serves a call now: what the call and its client have to know of it between turns."""

from __future__ import annotations

from collections.abc import Mapping

from agentsd.core.manifest.variables import Variable
from agentsd.providers.base import LiveAgent
from agentsd.services.overrides import OverridePolicy
from agentsd.services.voicebot.turn_judge import settle_detection


class ServingAgent:
    """Agent of the newest lease of one call."""

    def __init__(self, agent: LiveAgent) -> None:
        self.change(agent)

    def change(self, agent: LiveAgent) -> bool:
        """Take over the data of ``agent``. Return whether it is another agent or version."""
        before = getattr(self, "agent", None), getattr(self, "version", None)
        self.agent, self.version = agent.slug, agent.version
        self.voiced = agent.tts is not None
        self.partials = bool(getattr(agent.stt, "partials", False))
        self.turn, self.greeting = settle_detection(agent.spec.turn), agent.spec.greeting
        self.variables: Mapping[str, Variable] = agent.spec.variables or {}
        self.policy = OverridePolicy.of(agent)
        self.listens_by, self.language = agent.provider_names.get("stt"), agent.spec.language
        return before != (self.agent, self.version)
