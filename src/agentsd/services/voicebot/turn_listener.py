"""Listening of a turn: its transcript is reported as it comes, judged, and put into the conversation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from agentsd.core.errors import AgentsdError, AgentUnavailable
from agentsd.core.manifest.turn import Turn as TurnSettings
from agentsd.providers.base import LiveAgent
from agentsd.services.voicebot import events as ev
from agentsd.services.voicebot.conversation import Conversation
from agentsd.services.voicebot.streams import detach_error
from agentsd.services.voicebot.transcriber import transcribe_utterance
from agentsd.services.voicebot.transcript_judge import count_contribution, judge_transcript
from agentsd.services.voicebot.turn_state import Transcribed, TurnInput
from agentsd.services.voicebot.turns import CallTurn
from agentsd.services.voicebot.utterance import Utterance


class TurnHost(Protocol):
    """Part of a turn's runner that its listener needs."""

    conversation: Conversation
    clock: Callable[[], float]

    @property
    def spoken(self) -> str | None:
        """Return the text of the agent's newest answer."""

    def settle(self, turn: CallTurn) -> TurnSettings:
        """Return the settings of turn-taking as ``turn`` has them now."""

    def emit(self, turn: CallTurn, event: ev.CallEvent) -> None:
        """Report an event of the caller's speech, once it is certain that it counts."""

    def advance(self, turn: CallTurn, event: TurnInput) -> object:
        """Change the turn's state, and do what follows."""

    def consider(self, turn: CallTurn) -> None:
        """Confirm the speech if it is long enough now, or has enough words."""

    def consider_end(self, turn: CallTurn) -> None:
        """Begin the answer if the caller has likely finished."""


async def listen_to_turn(host: TurnHost, agent: LiveAgent, turn: CallTurn, utterance: Utterance) -> None:
    """Report the transcript as it comes, and put it into the conversation."""
    try:
        text = await _transcribe(host, agent, turn, utterance)
    except AgentsdError as error:
        await utterance.ended.wait()
        turn.error = detach_error(error)
        host.emit(turn, ev.TranscriptFailed(utterance.item, turn.error))
        host.advance(turn, Transcribed("failed"))
        return
    await utterance.ended.wait()  # a recogniser may end before the caller has finished
    turn.transcribed_at = host.clock()
    verdict = judge_transcript(turn, text, host.settle(turn), host.spoken)
    _keep(host.conversation, turn, utterance.item, text if verdict == "words" else "")
    host.emit(turn, ev.TranscriptCompleted(utterance.item, text, utterance.seconds))
    host.advance(turn, Transcribed(verdict))


async def _transcribe(host: TurnHost, agent: LiveAgent, turn: CallTurn, utterance: Utterance) -> str:
    if agent.stt is None:
        hint = "add an stt section to its manifest, or write to it"
        raise AgentUnavailable(f"agent {agent.slug!r} cannot listen", reason="NoSTT", hint=hint)

    def report(delta: str, text: str) -> None:
        turn.words = count_contribution(turn, text, host.settle(turn), host.spoken)
        if delta:
            host.emit(turn, ev.TranscriptDelta(utterance.item, delta))
        host.consider(turn)

    def report_pause(text: str) -> None:
        turn.so_far = text
        host.consider_end(turn)

    return await transcribe_utterance(agent.stt, utterance, report, report_pause)


def _keep(conversation: Conversation, turn: CallTurn, item_id: str, text: str) -> None:
    """Put the transcript into the conversation; what nobody knows of is removed from it."""
    item = conversation.find(item_id)
    if item is None:
        return
    item.text = text
    conversation.shrink()
    if not text and not turn.state.shown:
        conversation.remove(item_id)
