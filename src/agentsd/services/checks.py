"""Checks of a manifest (``checks:``): the agent's real answers, compared with the expected ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from agentsd.core.errors import AgentsdError
from agentsd.core.manifest.checks import Check
from agentsd.providers.base import Knowledge, LiveAgent
from agentsd.services import chat, rag
from agentsd.services.tools.turn import ToolTurn

ANSWER_MAX = 20_000
"""Maximum characters of an answer that are checked."""


@dataclass(frozen=True, slots=True)
class AgentCheckResult:
    """Result of one check; it passed if ``failures`` is empty."""

    title: str
    say: str
    answer: str
    seconds: float
    failures: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Return whether it passed."""
        return not self.failures


async def run_checks(agent: LiveAgent, knowledge: Knowledge | None = None) -> list[AgentCheckResult]:
    """Run the checks in sequence, so that their times are the agent's own.

    Never raises for a vendor.
    """
    return [await _run_check(agent, check, knowledge) for check in agent.spec.checks]


async def _run_check(agent: LiveAgent, check: Check, knowledge: Knowledge | None) -> AgentCheckResult:
    began = perf_counter()
    body: dict[str, Any] = {"messages": [{"role": "user", "content": check.say}]}
    if check.variables:
        body["metadata"] = {"variables": check.variables}
    try:
        grounded, passages = await rag.add_passages(agent, body, knowledge)
        reply = await chat.complete_chat(agent, grounded, ToolTurn(read_only=True))
    except AgentsdError as error:
        failed = f"no answer: {error.message}"
        return AgentCheckResult(check.title, check.say, "", perf_counter() - began, (failed,))
    seconds = perf_counter() - began
    answer = _extract_text(reply)
    sources: Sequence[str] = [passage.path for passage in passages]
    return AgentCheckResult(
        check.title, check.say, answer, seconds, tuple(check.failures(answer, sources, seconds))
    )


def _extract_text(reply: dict[str, Any]) -> str:
    try:
        content = reply["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        return ""
    return content[:ANSWER_MAX] if isinstance(content, str) else ""
