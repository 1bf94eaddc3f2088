"""Hand-offs: a conversation goes on with another agent of the same owner, by the model's decision.

A hand-off is a tool in the rounds of a turn. A call of it leases the other agent until the turn ends, and
ends the rounds: a chat goes on with that agent (``services.chat``), a call does with its next turn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from agentsd.core.errors import AgentsdError
from agentsd.core.manifest.handoff import Handoff
from agentsd.core.manifest.tool_schema import ArgumentSchema
from agentsd.providers.base import Knowledge, Leases, LiveAgent
from agentsd.providers.tool import Tool, ToolDefinition, ToolResult
from agentsd.services.overrides import restrict_body
from agentsd.services.variables import carry_values, drop_values

HANDOFFS_PER_TURN_MAX = 3
"""Hand-offs of one turn: agents may hand over to each other."""

NAME_PREFIX = "transfer_to_"
NAME_MAX = 64

_ARGUMENTS = ArgumentSchema({"type": "object", "properties": {}})
_REFUSED = "this agent cannot take over now: answer yourself, as well as you can"


@dataclass(frozen=True, slots=True)
class Takeover:
    """Agent that takes over, with its variables filled in, and the hand-off to it."""

    agent: LiveAgent
    handoff: Handoff


class HandoffTool:
    """Tool that hands over: one entry of ``handoff``, for one turn."""

    available = True

    def __init__(self, name: str, handoff: Handoff, agent: LiveAgent, switch: HandoffSwitch) -> None:
        self.definition = ToolDefinition(
            name,
            f"Hands the conversation over to another agent. Use it for: {handoff.when}",
            _ARGUMENTS,
            "handoff",
            on_interrupt="cancel",
        )
        self._handoff = handoff
        self._agent = agent
        self._switch = switch

    async def run(self, arguments: Mapping[str, Any], variables: Mapping[str, Any]) -> ToolResult:
        """Lease the other agent. Never raises for it."""
        return await self._switch.take(self._agent, self._handoff)


class HandoffSwitch:
    """Hand-offs of one turn: the agents that take over, leased until ``aclose``.

    ``body``: the client's own request, without what was added for the first agent. ``check`` raises
    ``AgentsdError`` where an agent cannot answer a request. ``goes_on``: the turn goes on with the other
    agent; otherwise it ends, and the next one begins there.
    """

    def __init__(
        self,
        leases: Leases,
        body: Mapping[str, Any],
        knowledge: Knowledge | None = None,
        *,
        check: Callable[[LiveAgent, Mapping[str, Any]], None] | None = None,
        goes_on: bool = True,
    ) -> None:
        self.body = body
        self.knowledge = knowledge
        self.goes_on = goes_on
        self.taken: Takeover | None = None
        self.serving: LiveAgent | None = None  # the agent that took over last
        self.rounds: Sequence[Mapping[str, Any]] = ()  # calls of the agent before, with their results
        self.usage: Mapping[str, Any] | None = None  # of the agent before
        self._check = check
        self._leases = leases
        self._left = HANDOFFS_PER_TURN_MAX
        self._blocked = False
        self._stack = AsyncExitStack()

    def make_tools(self, agent: LiveAgent) -> tuple[Tool, ...]:
        """Return the tools that hand ``agent``'s conversation over; none once all hand-offs were used."""
        if not self._left:
            return ()
        taken = {tool.definition.name for tool in agent.tools}
        tools: list[Tool] = []
        for one in agent.spec.handoff:
            name = make_tool_name(one.to, taken)
            taken.add(name)
            tools.append(HandoffTool(name, one, agent, self))
        return tuple(tools)

    def begin_round(self, *, blocked: bool) -> None:
        """Begin a round of calls. ``blocked``: the client's tools are called, too, so that the turn ends."""
        self._blocked = blocked

    async def take(self, agent: LiveAgent, handoff: Handoff) -> ToolResult:
        """Lease the target of a hand-off of ``agent``; one that may not, or cannot, take over is refused."""
        if self._blocked:
            return ToolResult("refused", "this cannot be done together with the other calls")
        self._blocked = True  # the first one of a round counts
        try:
            target = await self._lease(agent, handoff)
        except AgentsdError:
            target = None
        if target is None:
            return ToolResult("unavailable", _REFUSED)
        self._left -= 1
        self.taken, self.serving = Takeover(target, handoff), target
        return ToolResult("ok", "the conversation goes on with the other agent")

    async def _lease(self, agent: LiveAgent, handoff: Handoff) -> LiveAgent | None:
        """Lease the target, with the session's values; None for one that may not take over from ``agent``."""
        async with AsyncExitStack() as attempt:
            leased = await attempt.enter_async_context(self._leases.lease(handoff.to))
            if leased.owner != agent.owner or leased.id == agent.id or leased.llm is None:
                return None
            target = carry_values(leased, agent.given)
            if self._check is not None:
                self._check(target, self.make_body(target))
            await self._stack.enter_async_context(attempt.pop_all())
            return target

    def make_body(self, target: LiveAgent) -> dict[str, Any]:
        """Return the client's request for ``target``: without values, and without what it does not allow."""
        body = restrict_body(target, self.body)
        body["metadata"] = drop_values(body.get("metadata"))
        if not isinstance(body.get("tool_choice"), str) or body["tool_choice"] == "required":
            body.pop("tool_choice", None)  # a call that was forced was made
        return body

    def pop(self) -> Takeover | None:
        """Return the agent that takes over, once."""
        taken, self.taken = self.taken, None
        return taken if self.goes_on else None

    async def aclose(self) -> None:
        """Give the leases back."""
        await self._stack.aclose()


def make_tool_name(slug: str, taken: set[str]) -> str:
    """Return the name of the tool that hands over to ``slug``, unique among ``taken``."""
    tail = re.sub(r"[^A-Za-z0-9_-]", "_", slug.rpartition("/")[2])
    base = f"{NAME_PREFIX}{tail}"[:NAME_MAX]
    name, number = base, 2
    while name in taken:
        suffix = f"_{number}"
        name, number = base[: NAME_MAX - len(suffix)] + suffix, number + 1
    return name


def drop_handoff_calls(messages: Sequence[Mapping[str, Any]], names: frozenset[str]) -> list[dict[str, Any]]:
    """Return the messages of rounds without calls of the tools ``names``, and their results.

    An id belongs to the message before its result: vendors number the calls of each round anew.
    """
    gone: set[str] = set()
    kept: list[dict[str, Any]] = []
    for message in messages:
        calls = message.get("tool_calls")
        if calls:
            own = [call for call in calls if call["function"]["name"] not in names]
            gone = {call["id"] for call in calls if call["function"]["name"] in names}
            if own:
                kept.append({**message, "tool_calls": own})
        elif message.get("tool_call_id") not in gone:
            kept.append(dict(message))
    return kept
