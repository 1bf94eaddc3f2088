"""Hand-offs in a call: the next turn begins on another agent, which answers what the caller said last.

What it sees of the conversation is decided by ``carry``: the rest stays in the call, hidden from models.
"""

from __future__ import annotations

from dataclasses import replace

from agentsd.core.errors import AgentsdError
from agentsd.core.manifest.handoff import Handoff
from agentsd.providers.base import LLM, Leases, LiveAgent
from agentsd.services.tools.carry import LAST_MESSAGES, make_notes, summarise_conversation
from agentsd.services.tools.events import HandedOver
from agentsd.services.tools.handoff import HANDOFFS_PER_TURN_MAX
from agentsd.services.variables import carry_values
from agentsd.services.voicebot.conversation import Conversation
from agentsd.services.voicebot.turns import AnswerRequest, CallTurn

TAKEN_OVER = "(The call was handed over to you: answer what the caller said last.)"
"""Message to the model of an agent that takes over."""


def prepare_agent(leased: LiveAgent, turn: CallTurn) -> LiveAgent:
    """Return the agent of a turn: with the session's values, and without hand-offs that it may not make.

    Raises ``VariableRefused``.
    """
    agent = carry_values(leased, turn.preferences.variables, "session.variables")
    if agent.spec.handoff and (turn.handovers >= HANDOFFS_PER_TURN_MAX or not turn.ask.kept):
        return replace(agent, spec=agent.spec.model_copy(update={"handoff": []}))
    return agent


async def find_first_target(leases: Leases, agent: LiveAgent) -> HandedOver | None:
    """Return the agent that goes on where ``agent`` fails: the first of its hand-offs, if it can."""
    for handoff in agent.spec.handoff[:1]:
        try:
            async with leases.lease(handoff.to) as target:
                if target.owner == agent.owner and target.id != agent.id:
                    return HandedOver(str(target.id), handoff)
        except AgentsdError:
            return None
    return None


async def carry_conversation(conversation: Conversation, handoff: Handoff, llm: LLM | None) -> None:
    """Hide what a hand-off does not carry; ``llm``, of the agent before, writes the summary."""
    if handoff.carry == "history":
        return
    question = conversation.find_question()
    if handoff.carry == "nothing":
        conversation.hide_before(question)
        return
    notes = await summarise_conversation(llm, conversation.messages()) if llm is not None else None
    if notes is None:
        conversation.hide_before(conversation.find_question(LAST_MESSAGES // 2) or question)
    else:
        conversation.hide_before(question, str(make_notes(notes)["content"]))


def make_next_turn(turn: CallTurn, ref: str) -> CallTurn:
    """Return the turn in which the agent ``ref`` answers after ``turn``."""
    ask = AnswerRequest(prompt=TAKEN_OVER)
    return CallTurn(ref, turn.preferences, ask=ask, handovers=turn.handovers + 1)
