"""Tools of one turn: what a caller of a chat gives to it, and what happened when it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from agentsd.providers.tool import ToolDefinition
from agentsd.services.tools.events import ToolCall, ToolEnded, ToolEvent
from agentsd.services.tools.handoff import HandoffSwitch
from agentsd.services.tools.hidden_rounds import HiddenRounds
from agentsd.services.turn_records.record import ToolUse


class Consents(Protocol):
    """Consent of the user to calls that cannot be undone, for one turn. Raises ``AgentsdError``."""

    async def begin_turn(self) -> None:
        """Take note that a turn begins."""

    async def redeem(self, call: bytes) -> bool:
        """Return whether the user may have agreed to exactly this call before; valid once.

        ``call``: hash of agent, tool and canonical arguments.
        """

    async def request(self, call: bytes) -> str | None:
        """Note that the user is asked; return the id of the request. None: nobody can be asked here."""


@dataclass(slots=True)
class ToolTurn:
    """Context of the calls of one turn. Made by the interface that runs it; used once."""

    variables: Mapping[str, Any] = field(default_factory=dict)  # values of the session
    consents: Consents | None = None  # None: there is no conversation that consent could belong to
    consents_begun: bool = False
    hidden: HiddenRounds | None = None  # what a client does not see of rounds before its own calls
    read_only: bool = False  # what may change something is not run
    approved: tuple[ToolCall, ...] = ()  # run before the model is asked
    keep: Callable[[asyncio.Future[ToolEnded], ToolDefinition], None] | None = None
    """Takes over a call that goes on when the turn is interrupted (``on_interrupt: finish``)."""
    left: list[ToolEnded] = field(default_factory=list)
    """Calls that go on, each with the outcome ``unfinished``."""
    switch: HandoffSwitch | None = None  # None: no other agent may take over
    events: list[ToolEvent] = field(default_factory=list)
    """What happened, in order; the chunks of a stream carry the same."""

    @property
    def uses(self) -> tuple[ToolUse, ...]:
        """Return the calls for the turn's record."""
        return tuple(
            ToolUse(one.call.name, one.result.outcome, one.result.milliseconds)
            for one in (*self.events, *self.left)
            if isinstance(one, ToolEnded)
        )
