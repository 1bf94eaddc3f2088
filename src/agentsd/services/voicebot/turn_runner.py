"""Runner of turns: each is one task, leases once, listens, waits until it may speak, answers.

Whatever ends a turn (a vendor, the caller, the call), its streams are closed and its lease given
back when its task ends; a vendor's failure is an event, and the next turn starts afresh.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from agentsd.core.errors import AgentsdError, AgentUnavailable
from agentsd.providers.base import Leases, LiveAgent
from agentsd.services.voicebot.answer import Answer
from agentsd.services.voicebot.conversation import Conversation
from agentsd.services.voicebot.events import (
    AgentServes,
    CallEvent,
    TranscriptCompleted,
    TranscriptDelta,
    TranscriptFailed,
    TurnFailed,
)
from agentsd.services.voicebot.metrics import VoiceMetrics
from agentsd.services.voicebot.pipe import Pipe
from agentsd.services.voicebot.streams import close_at_end, detach_error
from agentsd.services.voicebot.turns import CallTurn
from agentsd.services.voicebot.utterance import TranscriptBuilder, Utterance

ChatFunction = Callable[[LiveAgent, Mapping[str, Any]], AsyncIterator[dict[str, Any]]]
"""``services.chat.stream_chat``, or a wrapper of it."""

OPENING_PROMPT = "The call has begun, and nobody has spoken yet: open the conversation."
"""Message to a model that must answer before anything was said."""

_log = logging.getLogger(__name__)


class ServingAgent:
    """Agent of the newest lease of one call."""

    def __init__(self, agent: LiveAgent) -> None:
        self.change(agent)

    def change(self, agent: LiveAgent) -> bool:
        """Take over the data of ``agent``. Return whether it is another agent or version."""
        before = getattr(self, "agent", None), getattr(self, "version", None)
        self.agent, self.version = agent.slug, agent.version
        self.voiced = agent.tts is not None
        self.turn, self.greeting = agent.spec.turn, agent.spec.greeting
        return before != (self.agent, self.version)


class TurnRunner:
    """Runner of the turns of one call."""

    def __init__(
        self,
        leases: Leases,
        tasks: asyncio.TaskGroup,
        events: Pipe[CallEvent],
        serving: ServingAgent,
        *,
        clock: Callable[[], float],
        talk: ChatFunction,
        metrics: VoiceMetrics | None,
    ) -> None:
        self.conversation = Conversation()
        self.turns: list[CallTurn] = []  # in progress, oldest first
        self.newest_answer: Answer | None = None
        self.leases = leases
        self._tasks = tasks
        self._events = events
        self.serving = serving
        self._clock = clock
        self._talk = talk
        self._metrics = metrics
        self._floor = asyncio.Lock()  # held by the turn that answers

    def start(self, turn: CallTurn) -> None:
        """Begin ``turn``: it leases at once, and so runs on the agent as it is now."""
        turn.earlier = tuple(self.turns)
        self.turns.append(turn)
        turn.task = self._tasks.create_task(self._run(turn))
        turn.task.add_done_callback(lambda _: self._forget(turn))

    async def _run(self, turn: CallTurn) -> None:
        try:
            async with self.leases.lease(turn.ref) as agent:
                if self.serving.change(agent):
                    self._events.push(AgentServes(agent.slug, agent.version))
                if turn.utterance is not None:
                    await self._listen(agent, turn, turn.utterance)
                turn.heard.set()
                await self._reply(agent, turn)
        except AgentsdError as error:  # from the lease: listening and answering report their own
            await _wait_until_spoken(turn)
            self._events.push(TurnFailed(detach_error(error)))
        except Exception as error:
            _log_error(error)
            detach_error(error)
            if turn.answer is None:  # an answer reports its own end
                hint = "see the server's log"
                self._events.push(TurnFailed(AgentsdError("the server failed", hint=hint)))
        finally:
            self._forget(turn)

    def _forget(self, turn: CallTurn) -> None:
        """Drop a turn that ended, also before it began. A cancelled task refers to its frames."""
        turn.heard.set()
        turn.earlier = ()
        turn.task = None
        if turn in self.turns:
            self.turns.remove(turn)

    # Listening

    async def _listen(self, agent: LiveAgent, turn: CallTurn, utterance: Utterance) -> None:
        """Report the transcript as it comes, and put it into the conversation. Its failure ends the turn."""
        try:
            text = await self._transcribe(agent, utterance)
        except AgentsdError as error:
            await utterance.ended.wait()
            turn.replies = False
            self._events.push(TranscriptFailed(utterance.item, detach_error(error)))
            return
        await utterance.ended.wait()  # a recogniser may end before the caller has finished
        item = self.conversation.find(utterance.item)
        if item is not None:
            item.text = text
            self.conversation.shrink()
        self._events.push(TranscriptCompleted(utterance.item, text, utterance.seconds))
        turn.replies = turn.replies and (bool(text) or self.conversation.awaits_answer)

    async def _transcribe(self, agent: LiveAgent, utterance: Utterance) -> str:
        if agent.stt is None:
            hint = "add an stt section to its manifest, or write to it"
            raise AgentUnavailable(f"agent {agent.slug!r} cannot listen", reason="NoSTT", hint=hint)
        listening = TranscriptBuilder()
        async with close_at_end(agent.stt.stream(utterance.sound(agent.stt.sample_rate))) as transcripts:
            async for transcript in transcripts:
                delta = listening.take(transcript)
                if delta:
                    await self._events.put(TranscriptDelta(utterance.item, delta))
        return listening.text

    # Answering

    async def _reply(self, agent: LiveAgent, turn: CallTurn) -> None:
        for earlier in turn.earlier:
            if not earlier.listening:
                await earlier.heard.wait()
        turn.earlier = ()
        async with self._floor:
            if turn.replies and not (turn.greets and not agent.spec.greeting):
                await self._answer(agent, turn)

    async def _answer(self, agent: LiveAgent, turn: CallTurn) -> None:
        answer = turn.answer = self.newest_answer = self._new_answer(agent, turn)
        try:
            source = agent.spec.greeting if turn.greets else self._completion(agent, turn)
        except AgentsdError as error:  # without an LLM there is no answer to begin
            answer.open = False
            self._events.push(TurnFailed(detach_error(error)))
            return
        self._events.push(answer.began(self.conversation.add(answer.item, first=turn.greets)))
        if turn.stopped is not None:
            answer.interrupt(turn.stopped)
        try:
            await answer.run(source)
        finally:
            if not answer.item.text:
                self.conversation.remove(answer.item.id)
            self.conversation.shrink()

    def _new_answer(self, agent: LiveAgent, turn: CallTurn) -> Answer:
        wanted, preferences = turn.ask.aloud, turn.preferences
        return Answer(
            agent,
            self._events,
            rate=preferences.output_rate,
            aloud=preferences.aloud if wanted is None else wanted,
            clock=self._clock,
            metrics=self._metrics,
            asked_at=turn.asked_at,
            label=preferences.label,
        )

    def _completion(self, agent: LiveAgent, turn: CallTurn) -> AsyncIterator[dict[str, Any]]:
        told = turn.preferences.instructions if turn.ask.instructions is None else turn.ask.instructions
        messages: list[dict[str, str]] = self.conversation.messages()
        if told:
            messages.insert(0, {"role": "system", "content": told})
        body = {
            "messages": messages or [{"role": "user", "content": OPENING_PROMPT}],
            "max_tokens": turn.ask.max_tokens,
            "stream_options": {"include_usage": True},
        }
        return self._talk(agent, body)


async def _wait_until_spoken(turn: CallTurn) -> None:
    """Wait until the caller has finished, so that events stay in order."""
    if turn.utterance is not None:
        await turn.utterance.ended.wait()


def _log_error(error: Exception) -> None:
    """Log where an unexpected error arose, without its text, which may quote the conversation."""
    place = "".join(traceback.format_tb(error.__traceback__))
    _log.error("unexpected %s in a turn\n%s", type(error).__name__, place)
