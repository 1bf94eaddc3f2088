"""Call: one conversation with an agent, which may be another one at every turn.

    async with open_call(registry, "acme/sales") as call:
        await call.feed(pcm)                    # the microphone
        async for event in call.events(): ...   # what happens: see ``events``

Turns answer one at a time, each on the version that it leased at its start; the call keeps the
history. A vendor's failure ends its turn, never the call. Leaving the block ends every task, closes
every stream and gives every lease back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from agentsd.core.manifest.turn import Turn as TurnSettings
from agentsd.providers.base import Leases
from agentsd.providers.tool import ToolResult
from agentsd.services import chat
from agentsd.services.tools.consents import CallApprovals
from agentsd.services.tools.events import ToolCall
from agentsd.services.turn_records.sinks import TurnSink
from agentsd.services.voicebot import events as ev
from agentsd.services.voicebot.answer_maker import ChatFunction
from agentsd.services.voicebot.call_clock import SilenceClock
from agentsd.services.voicebot.call_microphone import CallMicrophone
from agentsd.services.voicebot.conversation import Conversation, ConversationItem, make_id
from agentsd.services.voicebot.metrics import VoiceMetrics
from agentsd.services.voicebot.pipe import Pipe
from agentsd.services.voicebot.serving_agent import ServingAgent
from agentsd.services.voicebot.streams import TaskGroup
from agentsd.services.voicebot.turn_runner import TurnRunner
from agentsd.services.voicebot.turn_state import AnswerWanted, ClientCancelled, Phase, TurnState
from agentsd.services.voicebot.turns import AnswerRequest, CallPreferences, CallRefused, CallSetup, CallTurn
from agentsd.services.voicebot.utterance import Utterance

DECLINED = ToolResult("declined", "the user does not want this: do not try it again")

EVENTS_AHEAD = 256
"""Maximum queued events of a slow reader; beyond it the vendors' streams wait."""

TICK_SECONDS = 0.1
"""How often a call looks at the clock, for what does not happen: sound, speech."""


@asynccontextmanager
async def open_call(
    leases: Leases,
    ref: str,
    *,
    preferences: CallPreferences | None = None,
    metrics: VoiceMetrics | None = None,
    clock: Callable[[], float] = time.monotonic,
    talk: ChatFunction = chat.stream_chat,
    sinks: TurnSink | None = None,
    approvals: CallApprovals | None = None,
) -> AsyncGenerator[Call, None]:
    """Open a call with the agent ``ref``. Raises ``AgentNotFound`` and ``AgentUnavailable`` first.

    ``clock`` is in seconds and never goes back; it measures how much of an answer has been played.
    """
    async with leases.lease(ref) as agent:
        first = agent
    async with TaskGroup() as tasks:
        events: Pipe[ev.CallEvent] = Pipe(EVENTS_AHEAD, _measure_event)
        runner = TurnRunner(
            leases,
            tasks,
            events,
            ServingAgent(first),
            clock=clock,
            talk=talk,
            metrics=metrics,
            sinks=sinks,
            approvals=approvals,
        )
        call = Call(ref, runner, events, preferences or CallPreferences(), clock)
        ticking = tasks.create_task(call.watch_clock())
        try:
            yield call
        finally:
            ticking.cancel()
            call.hang_up()
            await runner.left_calls.wait_closed()


class Call:
    """Conversation made by ``open_call``. Its methods are for one task, ``events`` for one other.

    Nothing that it refers to refers to it, so that it is freed as soon as it has ended.
    """

    def __init__(
        self,
        ref: str,
        runner: TurnRunner,
        events: Pipe[ev.CallEvent],
        preferences: CallPreferences,
        clock: Callable[[], float],
    ) -> None:
        self.runner = runner
        self.queue = events
        self._setup = CallSetup(ref, preferences)
        self._clock = clock
        self._silence = SilenceClock(clock())
        self._microphone = CallMicrophone(runner, self._setup, self._silence, clock)
        self._greeting: CallTurn | None = None
        self._closing = False

    async def events(self) -> AsyncIterator[ev.CallEvent]:
        """Yield what happens, in order, until ``finish`` or ``hang_up``."""
        async for event in self.queue:
            if isinstance(event, ev.AnswerSound):
                now = self._clock()
                self.runner.echo.add_played(event.pcm, event.ms, event.playback.starts(now))
                event.playback.sent(event.ms, now)
                self._pace(event, now)
            yield event

    def _pace(self, sound: ev.AnswerSound, now: float) -> None:
        """Hold the rest of an answer's sound where its client has enough of it unplayed."""
        wait = sound.playback.wait_seconds(sound.ms, now)
        if wait > 0:
            self.queue.hold(sound.answer, partial(_is_of_answer, sound.answer))
            asyncio.get_running_loop().call_later(wait, self.queue.release, sound.answer)

    def note(self, value: Mapping[str, Any], size: int = 0) -> None:
        """Put a note of the embedder's own among the events; ``size``: bytes of its texts."""
        self.queue.push(ev.EmbedderNote(value, size))

    @property
    def held(self) -> int:
        """Return the bytes of memory that the call holds: its texts, waiting notes, sound not yet taken."""
        return self.conversation.size + self.queue.weight + self._microphone.kept

    @property
    def begun(self) -> bool:
        """Return whether anything was said, or is being said."""
        return bool(self.runner.turns) or self.conversation.last is not None

    @property
    def serving(self) -> ServingAgent:
        """Return the agent that serves now."""
        return self.runner.serving

    @property
    def conversation(self) -> Conversation:
        """Return the conversation so far."""
        return self.runner.conversation

    @property
    def preferences(self) -> CallPreferences:
        """Return the preferences of the next turn."""
        return self._setup.preferences

    @preferences.setter
    def preferences(self, preferences: CallPreferences) -> None:
        old, self._setup.preferences = self._setup.preferences, preferences
        if (preferences.input_rate, preferences.detect) != (old.input_rate, old.detect):
            self._microphone.restart()
        if (preferences.output_rate, preferences.label) != (old.output_rate, old.label):
            self._greet_again()

    @property
    def turn_settings(self) -> TurnSettings:
        """Return the settings of turn-taking: the manifest's, overridden by this call's."""
        return self._setup.preferences.turn_over(self.serving.turn)

    async def switch(self, ref: str) -> None:
        """Use another agent from the next turn on. Raises ``AgentNotFound`` and ``AgentUnavailable``."""
        async with self.runner.leases.lease(ref) as agent:
            self._setup.ref, self.runner.handed_to = ref, None
            self.serving.change(agent)

    async def feed(self, pcm: bytes) -> None:
        """Take sound from the microphone: whole samples at ``preferences.input_rate``.

        Raises ``CallRefused`` for more than ``max_seconds`` that the client does not commit.
        """
        await self._microphone.feed(pcm)

    def commit(self) -> str:
        """End the utterance at the client's request, without an answer. Return the item's id."""
        return self._microphone.commit()

    def clear(self) -> None:
        """Discard what the caller is saying."""
        self._microphone.drop_utterance()
        self.queue.push(ev.UtteranceCleared())

    def respond(self, ask: AnswerRequest | None = None) -> None:
        """Ask for an answer to the present conversation (after the greeting, if that goes on).

        An utterance committed just before is waited for, and answered in the same turn.
        Raises ``CallRefused``.
        """
        turns, ask = self.runner.turns, ask or AnswerRequest()
        if not ask.kept:
            self.runner.begin(CallTurn(self._setup.ref, self._setup.preferences, ask=ask))
            return
        turns = [turn for turn in turns if turn.ask.kept]
        if any(turn.pending and not turn.listening and not turn.greets for turn in turns):
            hint = "wait for response.done, or send response.cancel"
            raise CallRefused(
                "an answer is in progress", code="conversation_already_has_active_response", hint=hint
            )
        newest = turns[-1] if turns else None
        if newest is not None and newest.utterance and not newest.listening and not newest.heard.is_set():
            newest.ask, newest.asked_at = ask, self._clock()
            self.runner.advance(newest, AnswerWanted())
        else:
            self.runner.begin(CallTurn(self._setup.ref, self._setup.preferences, ask=ask))

    async def answer_approval(self, request: ConversationItem, *, approve: bool) -> None:
        """Make the call that an item of the kind ``approval_request`` is about, or not; then answer.

        An answer that goes on is heard to its end before. Raises ``CallRefused`` and ``StoreError``.
        """
        ask = AnswerRequest()
        if approve:
            ask = AnswerRequest(approved=(ToolCall(request.id, request.name, request.text),))
        elif self.runner.approvals is not None:
            await self.runner.approvals.decline(request.id)
            made = self.conversation.find(request.call_id)
            if made is not None:
                made.result = DECLINED
        request.answered = True
        self.runner.begin(CallTurn(self._setup.ref, self._setup.preferences, ask=ask))

    def transcribe(self, item: str, pcm: bytes) -> None:
        """Transcribe a recording at ``preferences.input_rate`` for an item of the conversation."""
        utterance = Utterance(
            self._setup.preferences.input_rate, len(pcm) / 2 / self._setup.preferences.input_rate + 1
        )
        utterance.item = item
        utterance.put(pcm)
        utterance.end()
        state = TurnState(Phase.TRANSCRIBING, wants=False, verdict="unheard")
        self.runner.begin(CallTurn(self._setup.ref, self._setup.preferences, state, utterance))

    def add_silence(self) -> tuple[ConversationItem, str | None]:
        """Add the caller's silence to the conversation; return its item, and its predecessor's id."""
        item = ConversationItem(make_id("item"), "user", spoken=True)
        return item, self.conversation.add(item)

    def say(self, text: str) -> None:
        """Add a text that the caller writes instead of speaking, and answer it."""
        self.conversation.add(ConversationItem(make_id("item"), "user", text))
        self.respond()

    def greet(self) -> None:
        """Speak the agent's ``greeting``, if it has one. It comes first in the conversation."""
        if self.serving.greeting:
            self._greeting = self.runner.begin(
                CallTurn(self._setup.ref, self._setup.preferences, greets=True)
            )

    def _greet_again(self) -> None:
        """Repeat a greeting that is under way or playing: the client has changed the format of sound."""
        turn, newest = self._greeting, self.runner.newest_answer
        if turn is None or self._closing:
            return
        answer = turn.answer
        if answer is None:
            if turn.state.phase is Phase.ENDED:
                return
            self.runner.drop(turn)
        elif answer is newest and answer.sounds():
            if not answer.interrupt("client_cancelled"):
                answer.talked_over()
            answer.item.text = ""  # it was not understood
        else:
            return
        self.greet()

    def cancel(self, answer_id: str | None = None) -> bool:
        """Stop the conversation's answer, or the one of that id. Return False if there is none."""
        turns = [turn for turn in self.runner.turns if turn.pending and not turn.listening]
        if answer_id is None:
            turns = [turn for turn in turns if turn.ask.kept]
        else:
            turns = [turn for turn in turns if turn.answer is not None and turn.answer.id == answer_id]
        for turn in turns:
            self.runner.advance(turn, ClientCancelled())
        newest, cancelled = self.runner.newest_answer, bool(turns)
        if not turns and newest is not None and answer_id in (None, newest.id):
            cancelled = newest.interrupt("client_cancelled")  # what is said about a failure
        if cancelled:
            self.runner.debt = None
        return cancelled

    def truncate(self, item_id: str, heard_ms: float) -> bool:
        """Record how much of the newest answer the client played. Return False for another item.

        An answer under way ends with it. The same again changes nothing, more does not restore anything.
        """
        answer = self.runner.newest_answer
        if answer is None or answer.item.id != item_id:
            return False
        answer.truncate(heard_ms)
        return True

    async def finish(self) -> None:
        """Begin no more turns, let those in progress end, then end ``events``.

        A caller who is speaking is heard to the end and answered, where a detector notices that end.
        """
        self._closing = self.runner.closing = True
        self._microphone.stop()
        while tasks := [
            *(turn.task for turn in self.runner.turns if turn.task),
            *self.runner.left_calls.tasks,
        ]:
            await asyncio.wait(tasks)
        self.queue.end()

    def hang_up(self) -> None:
        """End everything now."""
        self._closing = self.runner.closing = True
        self._greeting = None
        self._microphone.close()
        self.runner.left_calls.close()
        for turn in self.runner.turns:
            if turn.task is not None:
                turn.task.cancel()
        self.queue.end()

    async def watch_clock(self) -> None:
        """Notice what does not happen: a microphone that stops in mid-word, and silence of both."""
        while not self._closing or self._microphone.busy:
            await asyncio.sleep(TICK_SECONDS)
            await self._microphone.end_muted()
            if not self._closing:
                await self._break_silence()

    async def _break_silence(self) -> None:
        """Say what the manifest has for silence of both, and hang up after the last time if it wants that."""
        idle, newest, now = self.turn_settings.idle, self.runner.newest_answer, self._clock()
        busy = self.runner.turns or (newest is not None and newest.sounds())
        if idle is None or busy or self._microphone.speaking:
            self._silence.reset(now)
        elif self._silence.seconds(now) < idle.after_seconds:
            return
        elif self._silence.prompts < idle.times:
            self._silence.prompts += 1
            self._silence.reset(now)
            self.runner.begin(CallTurn(self._setup.ref, self._setup.preferences, breaks_silence=True))
        elif idle.then == "hang_up":
            self._closing = self.runner.closing = True
            self._microphone.stop()
            await self.runner.end_call("idle")


def _is_of_answer(answer: str, event: ev.CallEvent) -> bool:
    return isinstance(event, (ev.AnswerSound, ev.AnswerEnded)) and event.answer == answer


def _measure_event(event: ev.CallEvent) -> int:
    return event.size if isinstance(event, ev.EmbedderNote) else 0
