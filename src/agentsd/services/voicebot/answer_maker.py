"""Maker of answers: what the model is asked for a turn, and the form of what it answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentsd.core.manifest.turn import Turn as TurnSettings
from agentsd.providers.base import LiveAgent
from agentsd.services.tools.consents import CallApprovals
from agentsd.services.tools.turn import ToolTurn
from agentsd.services.voicebot import events as ev
from agentsd.services.voicebot.answer import Answer
from agentsd.services.voicebot.answer_gate import AnswerGate
from agentsd.services.voicebot.conversation import Conversation, make_messages
from agentsd.services.voicebot.metrics import VoiceMetrics
from agentsd.services.voicebot.pipe import Pipe
from agentsd.services.voicebot.turns import AnswerRequest, CallTurn

ChatFunction = Callable[[LiveAgent, Mapping[str, Any], ToolTurn], AsyncIterator[dict[str, Any]]]
"""``services.chat.stream_chat``, or a wrapper of it."""

OPENING_PROMPT = "The call has begun, and nobody has spoken yet: open the conversation."
"""Message to a model that must answer before anything was said."""


@dataclass(frozen=True, slots=True)
class Question:
    """Request of a turn to a model. Equal ones have the same answer."""

    body: Mapping[str, Any]  # a chat completion
    ask: AnswerRequest
    words: str | None = field(default=None, compare=False)  # item of the caller's that is answered


class AnswerMaker:
    """Maker of the answers of one call."""

    def __init__(
        self,
        events: Pipe[ev.CallEvent],
        conversation: Conversation,
        *,
        clock: Callable[[], float],
        talk: ChatFunction,
        metrics: VoiceMetrics | None,
        approvals: CallApprovals | None = None,
    ) -> None:
        self._events = events
        self._conversation = conversation
        self._clock = clock
        self._talk = talk
        self._metrics = metrics
        self._approvals = approvals

    def make_gate(self, *, is_open: bool = True) -> AnswerGate:
        """Return the way of an answer to the caller."""
        return AnswerGate(self._events, is_open=is_open)

    def make_answer(
        self,
        agent: LiveAgent,
        turn: CallTurn,
        settings: TurnSettings,
        *,
        gate: AnswerGate | None = None,
        timed: bool = True,
        tools: ToolTurn | None = None,
    ) -> Answer:
        """Return an answer to ``turn`` that has not begun."""
        ask, preferences = turn.ask, turn.preferences
        return Answer(
            agent,
            gate or self.make_gate(),
            rate=ask.output_rate or preferences.output_rate,
            aloud=preferences.aloud if ask.aloud is None else ask.aloud,
            clock=self._clock,
            metrics=self._metrics,
            asked_at=turn.asked_at,
            attempts=turn.attempts,
            timeouts=agent.spec.turn.timeouts if timed else None,
            conversation=self._conversation if ask.kept else Conversation(),
            tools=tools,
            label=preferences.label,
            ask=ask.label,
            kept=ask.kept,
            lead_ms=settings.lead_ms,
        )

    def make_question(self, turn: CallTurn, said: str = "") -> Question:
        """Return what the model is asked; ``said``: of the caller, and not yet in the conversation."""
        ask, preferences = turn.ask, turn.preferences
        told = preferences.instructions if ask.instructions is None else ask.instructions
        messages = self._conversation.messages() if ask.context is None else make_messages(ask.context)
        if said:
            messages.append({"role": "user", "content": said})
        if ask.prompt:
            messages.append({"role": "user", "content": ask.prompt})
        if told:
            messages.insert(0, {"role": "system", "content": told})
        body = {
            **preferences.options,
            **ask.options,
            "messages": messages or [{"role": "user", "content": OPENING_PROMPT}],
            "stream_options": {"include_usage": True},
        }
        return Question(body, ask, self._find_words(turn, said))

    def _find_words(self, turn: CallTurn, said: str) -> str | None:
        """Return the item of the caller's newest words, which may be those of ``turn`` itself."""
        if said and turn.utterance is not None:
            return turn.utterance.item
        newest = self._conversation.find_question()
        return newest.id if newest is not None and turn.ask.context is None else None

    def put(self, agent: LiveAgent, question: Question, tools: ToolTurn) -> AsyncIterator[dict[str, Any]]:
        """Return the chunks of the model's answer; ``tools`` is its context.

        Raises ``AgentsdError`` where the agent has no model.
        """
        approved = question.ask.approved
        if self._approvals is not None:
            tools.approved = approved
            tools.consents = self._approvals.of_turn(question.words, [call.id for call in approved])
        return self._talk(agent, question.body, tools)
