"""Eager answers: an answer begins at a likely end of speech, and nobody gets to know before that is certain.

``turn_state`` decides when one is prepared, used and thrown away; here it is done. What is thrown away is
counted, and reported to clients that ask for it.
"""

from __future__ import annotations

from collections.abc import Iterable

from agentsd.core.errors import AgentsdError
from agentsd.core.manifest.turn import Turn as TurnSettings
from agentsd.providers.base import LiveAgent
from agentsd.services.tools.turn import ToolTurn
from agentsd.services.voicebot import events as ev
from agentsd.services.voicebot.answer_maker import AnswerMaker, Question
from agentsd.services.voicebot.metrics import VoiceMetrics
from agentsd.services.voicebot.pipe import Pipe
from agentsd.services.voicebot.prepared_answer import PreparedAnswer
from agentsd.services.voicebot.turn_state import Phase
from agentsd.services.voicebot.turns import CallTurn

SHOWN_CHARACTERS_MAX = 2000
"""Text of a discarded answer that its event contains."""


def is_eager(agent: LiveAgent) -> bool:
    """Return whether answers are prepared: as ``turn.eager`` says, or where no vendor of them charges."""
    eager = agent.spec.turn.eager
    return eager is True or (eager == "auto" and not agent.charges & {"llm", "tts"})


class AnswerPreparer:
    """Preparer of the answers of one call."""

    def __init__(self, maker: AnswerMaker, events: Pipe[ev.CallEvent], metrics: VoiceMetrics | None) -> None:
        self._maker = maker
        self._events = events
        self._metrics = metrics

    def suits(self, turn: CallTurn, turns: Iterable[CallTurn]) -> bool:
        """Return whether an answer to ``turn`` may be prepared: nothing else may come before it."""
        agent, preferences = turn.live, turn.preferences
        if agent is None or agent.llm is None or not (preferences.reply and preferences.detect):
            return False
        before = (other for other in turns if other is not turn and other.ask.kept)
        return is_eager(agent) and all(other.state.phase is Phase.ENDED for other in before)

    def prepare(self, turn: CallTurn, settings: TurnSettings) -> None:
        """Begin the answer to what was said so far."""
        agent, context = turn.live, turn.context
        if agent is None or context is None or turn.so_far is None:
            return
        gate = self._maker.make_gate(is_open=False)
        tools = ToolTurn()
        answer = self._maker.make_answer(agent, turn, settings, gate=gate, tools=tools)
        question = self._maker.make_question(turn, turn.so_far)
        try:
            source = self._maker.put(agent, question, tools)
        except AgentsdError:  # reported when the end is certain, and it is asked in earnest
            return
        turn.prepared = PreparedAnswer(answer, question, source, context)

    def take(self, turn: CallTurn, question: Question) -> PreparedAnswer | None:
        """Return the prepared answer, if it is one to ``question``; otherwise throw it away."""
        prepared = turn.prepared
        if prepared is None:
            return None
        if prepared.failed or not prepared.answers(question):
            self.discard(turn, "failed" if prepared.failed else "changed")
            return None
        turn.prepared = None
        self._count("used")
        return prepared

    def discard(self, turn: CallTurn, reason: ev.DiscardReason) -> None:
        """Throw the prepared answer away."""
        prepared, turn.prepared = turn.prepared, None
        if prepared is None:
            return
        prepared.cancel()
        turn.discarded.append(prepared)
        answer = prepared.answer
        self._count(reason)
        if self._metrics:
            self._metrics.eager_discarded_tokens.inc(answer.tokens)
        if turn.utterance is not None:
            self._events.push(
                ev.AnswerDiscarded(
                    turn.utterance.item,
                    reason,
                    answer.text[:SHOWN_CHARACTERS_MAX],
                    answer.tokens,
                    answer.spoken_characters,
                    round(answer.sound_ms),
                )
            )

    async def close(self, turn: CallTurn) -> None:
        """Wait until the streams of everything that was thrown away are closed."""
        self.discard(turn, "unwanted")
        for prepared in turn.discarded:
            await prepared.close()

    def _count(self, outcome: str) -> None:
        if self._metrics:
            self._metrics.eager_answers.labels(outcome).inc()
