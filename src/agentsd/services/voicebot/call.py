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
from typing import Any

from agentsd.core.manifest.turn import Turn as TurnSettings
from agentsd.providers.base import Leases
from agentsd.services import chat
from agentsd.services.turn_records.sinks import TurnSinks
from agentsd.services.voicebot import events as ev
from agentsd.services.voicebot.call_clock import MicrophoneClock, SilenceClock
from agentsd.services.voicebot.conversation import Conversation, ConversationItem, make_id
from agentsd.services.voicebot.metrics import VoiceMetrics
from agentsd.services.voicebot.pipe import Pipe
from agentsd.services.voicebot.speech_detector import SpeechDetector, SpeechSlice
from agentsd.services.voicebot.streams import TaskGroup
from agentsd.services.voicebot.turn_detection import SpeechEnd, SpeechStart
from agentsd.services.voicebot.turn_runner import ChatFunction, ServingAgent, TurnRunner
from agentsd.services.voicebot.turn_state import (
    AnswerWanted,
    ClientCancelled,
    Phase,
    SpeechConfirmed,
    SpeechOver,
    TurnState,
    begin_listening,
)
from agentsd.services.voicebot.turns import AnswerRequest, CallPreferences, CallRefused, CallTurn
from agentsd.services.voicebot.utterance import Utterance

EVENTS_AHEAD = 256
"""Maximum queued events of a slow reader; beyond it the vendors' streams wait."""

UNHEARD_BYTES_MAX = 16 << 20
"""Maximum audio of one call not yet read by a recogniser: beyond it audio is refused, or dropped."""

TICK_SECONDS = 0.1
"""How often a call looks at the clock, for what does not happen: sound, speech."""

TURNS_MAX = 8
"""Maximum turns in progress: one answers, the others are still being transcribed."""

MUTE_MARGIN_MS = 400
"""Silence beyond the wait that the detector is given for a microphone that stopped."""


@asynccontextmanager
async def open_call(
    leases: Leases,
    ref: str,
    *,
    preferences: CallPreferences | None = None,
    metrics: VoiceMetrics | None = None,
    clock: Callable[[], float] = time.monotonic,
    talk: ChatFunction = chat.stream_chat,
    sinks: TurnSinks | None = None,
) -> AsyncGenerator[Call, None]:
    """Open a call with the agent ``ref``. Raises ``AgentNotFound`` and ``AgentUnavailable`` first.

    ``clock`` is in seconds and never goes back; it measures how much of an answer has been played.
    """
    async with leases.lease(ref) as agent:
        first = agent
    async with TaskGroup() as tasks:
        events: Pipe[ev.CallEvent] = Pipe(EVENTS_AHEAD, _measure_event)
        runner = TurnRunner(
            leases, tasks, events, ServingAgent(first), clock=clock, talk=talk, metrics=metrics, sinks=sinks
        )
        call = Call(ref, runner, events, preferences or CallPreferences(), clock)
        ticking = tasks.create_task(call.watch_clock())
        try:
            yield call
        finally:
            ticking.cancel()
            call.hang_up()


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
        self._ref = ref
        self._preferences = preferences
        self._clock = clock
        self._speaker: CallTurn | None = None  # the turn whose utterance is being fed
        self._ear: SpeechDetector | None = None
        self._microphone = MicrophoneClock()
        self._silence = SilenceClock(clock())
        self._feeding = False
        self._greeting: CallTurn | None = None
        self._closing = False

    async def events(self) -> AsyncIterator[ev.CallEvent]:
        """Yield what happens, in order, until ``finish`` or ``hang_up``."""
        async for event in self.queue:
            if isinstance(event, ev.AnswerSound):
                now = self._clock()
                self.runner.echo.add_played(event.pcm, event.ms, event.playback.starts(now))
                event.playback.sent(event.ms, now)
            yield event

    def note(self, value: Mapping[str, Any], size: int = 0) -> None:
        """Put a note of the embedder's own among the events; ``size``: bytes of its texts."""
        self.queue.push(ev.EmbedderNote(value, size))

    @property
    def held(self) -> int:
        """Return the bytes of memory that the call holds: its texts, waiting notes, sound not yet taken."""
        return self.conversation.size + self.queue.weight + self._kept

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
        return self._preferences

    @preferences.setter
    def preferences(self, preferences: CallPreferences) -> None:
        old, self._preferences = self._preferences, preferences
        if (preferences.input_rate, preferences.detect) != (old.input_rate, old.detect):
            self._drop_utterance()
            self._close_ear()
        if (preferences.output_rate, preferences.label) != (old.output_rate, old.label):
            self._greet_again()

    @property
    def turn_settings(self) -> TurnSettings:
        """Return the settings of turn-taking: the manifest's, overridden by this call's."""
        return self._preferences.turn_over(self.serving.turn)

    async def switch(self, ref: str) -> None:
        """Use another agent from the next turn on. Raises ``AgentNotFound`` and ``AgentUnavailable``."""
        async with self.runner.leases.lease(ref) as agent:
            self._ref, self.runner.handed_to = ref, None
            self.serving.change(agent)

    async def feed(self, pcm: bytes) -> None:
        """Take sound from the microphone: whole samples at ``preferences.input_rate``.

        Raises ``CallRefused`` for more than ``max_seconds`` that the client does not commit.
        """
        if self._closing and self._speaker is None:
            return
        self._microphone.add(pcm, self._preferences.input_rate, self._clock())
        if not self._preferences.detect:
            self._feed_unheard(pcm)
            return
        self._feeding = True
        try:
            await self._feed_detector(pcm)
        finally:
            self._feeding = False

    async def _feed_detector(self, pcm: bytes) -> None:
        if self._ear is None:
            self._ear = await SpeechDetector.open(self._preferences.input_rate, self.turn_settings)
        ear = self._ear
        for number, part in enumerate(ear.slices(pcm), 1):
            await ear.consider()
            if self._closing and self._speaker is None:  # set while it waited
                self._close_ear()
                return
            self._hear(ear, part)
            if number % 8 == 0:  # after a millisecond of work, yield to other tasks
                await asyncio.sleep(0)

    def _hear(self, ear: SpeechDetector, part: bytes) -> None:
        """Take one frame of the microphone."""
        ear.turn = self.turn_settings
        if self.runner.answering:
            self.runner.echo.add_heard(part, self._preferences.input_rate, self._clock())
        for heard in ear.hear(part):
            self._take(heard)
        self._follow(ear)

    def _follow(self, ear: SpeechDetector) -> None:
        """Do what the voice that is there now asks for: hold the agent's, confirm, let the STT finish."""
        turn, runner = self._speaker, self.runner
        if turn is not None and turn.utterance is not None and ear.speaking:
            if ear.paused:
                turn.utterance.pause()
            else:
                turn.utterance.resume()
            turn.speech_ms = ear.speech_ms
            if ear.stirring:
                turn.voiced_at = self._clock()
            runner.consider(turn)
        confirmed = turn is not None and turn.state.confirmed
        if ear.stirring and not confirmed and runner.answering:
            if ear.turn.interruption.enabled and not runner.echo.known:
                runner.hold_voice()
        elif not ear.speaking or ear.paused or confirmed:
            runner.release_voice()

    def commit(self) -> str:
        """End the utterance at the client's request, without an answer. Return the item's id."""
        turn, self._speaker = self._speaker, None
        if turn is None or turn.utterance is None or not turn.utterance.seconds:
            self._speaker = turn
            raise CallRefused(
                "there is no audio to commit",
                code="input_audio_buffer_commit_empty",
                hint="append audio first",
            )
        if self._ear is not None:
            self._ear.forget()
        self.runner.advance(turn, SpeechConfirmed())  # the client knows that it is speech
        self._end(turn, turn.utterance, reply=False)
        return turn.utterance.item

    def clear(self) -> None:
        """Discard what the caller is saying."""
        self._drop_utterance()
        self.queue.push(ev.UtteranceCleared())

    def respond(self, ask: AnswerRequest | None = None) -> None:
        """Ask for an answer to the present conversation (after the greeting, if that goes on).

        An utterance committed just before is waited for, and answered in the same turn.
        Raises ``CallRefused``.
        """
        turns, ask = self.runner.turns, ask or AnswerRequest()
        if not ask.kept:
            self._start(CallTurn(self._ref, self._preferences, ask=ask))
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
            self._start(CallTurn(self._ref, self._preferences, ask=ask))

    def transcribe(self, item: str, pcm: bytes) -> None:
        """Transcribe a recording at ``preferences.input_rate`` for an item of the conversation."""
        utterance = Utterance(self._preferences.input_rate, len(pcm) / 2 / self._preferences.input_rate + 1)
        utterance.item = item
        utterance.put(pcm)
        utterance.end()
        state = TurnState(Phase.TRANSCRIBING, wants=False, verdict="unheard")
        self._start(CallTurn(self._ref, self._preferences, state, utterance))

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
            self._greeting = self._start(CallTurn(self._ref, self._preferences, greets=True))

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
        if not self._preferences.detect:
            self._drop_utterance()
        while tasks := [turn.task for turn in self.runner.turns if turn.task]:
            await asyncio.wait(tasks)
        self.queue.end()

    def hang_up(self) -> None:
        """End everything now."""
        self._closing = self.runner.closing = True
        self._speaker = self._greeting = None
        self._close_ear()
        for turn in self.runner.turns:
            if turn.task is not None:
                turn.task.cancel()
        self.queue.end()

    async def watch_clock(self) -> None:
        """Notice what does not happen: a microphone that stops in mid-word, and silence of both."""
        while not self._closing or self._speaker is not None:
            await asyncio.sleep(TICK_SECONDS)
            await self._end_muted()
            if not self._closing:
                await self._break_silence()

    async def _end_muted(self) -> None:
        """Take a microphone that sends no more for silence."""
        ear, rate = self._ear, self._preferences.input_rate
        if ear is None or self._feeding or not ear.speaking:
            return
        if self._microphone.missing(self._clock()) < ear.wait_ms / 1000:
            return
        quiet = bytes(2 * rate * (ear.wait_ms + MUTE_MARGIN_MS) // 2000 * 2)
        for part in ear.slices(quiet):
            await ear.consider()
            if self._feeding or ear is not self._ear:
                return
            self._hear(ear, part)
            if not ear.speaking:
                return

    async def _break_silence(self) -> None:
        """Say what the manifest has for silence of both, and hang up after the last time if it wants that."""
        idle, newest, now = self.turn_settings.idle, self.runner.newest_answer, self._clock()
        busy = self.runner.turns or (newest is not None and newest.sounds())
        if idle is None or busy or (self._ear is not None and self._ear.speaking):
            self._silence.reset(now)
        elif self._silence.seconds(now) < idle.after_seconds:
            return
        elif self._silence.prompts < idle.times:
            self._silence.prompts += 1
            self._silence.reset(now)
            self._start(CallTurn(self._ref, self._preferences, breaks_silence=True))
        elif idle.then == "hang_up":
            self._closing = True
            await self.runner.end_call("idle")

    def _close_ear(self) -> None:
        ear, self._ear = self._ear, None
        if ear is not None:
            ear.close()

    @property
    def _unheard(self) -> int:
        return sum(turn.utterance.waiting for turn in self.runner.turns if turn.utterance is not None)

    @property
    def _kept(self) -> int:
        return sum(turn.utterance.kept for turn in self.runner.turns if turn.utterance is not None)

    def _feed_unheard(self, pcm: bytes) -> None:
        """Take sound without a detector: everything counts, until the client commits or clears it."""
        if self._speaker is None:
            self._speaker = self._listen()
        utterance = self._speaker.utterance
        if utterance is None or utterance.full or self._unheard > UNHEARD_BYTES_MAX:
            hint = "send input_audio_buffer.commit or .clear"
            raise CallRefused("the audio buffer is full", code="input_audio_buffer_full", hint=hint)
        utterance.put(pcm)

    def _take(self, heard: SpeechStart | SpeechSlice | SpeechEnd) -> None:
        if isinstance(heard, SpeechStart) and not self._closing:
            self._speaker = self._listen()
            self._silence.prompts = 0
            if self._speaker.utterance:
                began = ev.SpeechBegan(self._speaker.utterance.item, heard.at_ms)
                self.runner.emit(self._speaker, began)
        turn = self._speaker
        if turn is None or turn.utterance is None:
            return
        if isinstance(heard, SpeechSlice):
            if self._unheard <= UNHEARD_BYTES_MAX:
                turn.utterance.put(heard.pcm)
        elif isinstance(heard, SpeechEnd):
            self._speaker = None
            self.runner.emit(turn, ev.SpeechEnded(turn.utterance.item, heard.at_ms))
            self._end(turn, turn.utterance, reply=turn.preferences.reply)

    def _listen(self) -> CallTurn:
        settings = self.turn_settings
        room = settings.max_seconds + settings.prefix_padding_ms / 1000 + 1
        utterance = Utterance(self._preferences.input_rate, room)
        detects = self._preferences.detect
        contested = detects and self.runner.answering
        state = begin_listening(contested=contested, certain=not detects)
        turn = CallTurn(self._ref, self._preferences, state, utterance, contested=contested)
        turn.partials = self.serving.partials
        return self._start(turn)

    def _end(self, turn: CallTurn, utterance: Utterance, *, reply: bool) -> None:
        turn.asked_at = self._clock()
        item = ConversationItem(utterance.item, "user", spoken=True)
        previous = self.conversation.add(item)
        self.runner.emit(turn, ev.UtteranceCommitted(utterance.item, previous))
        self.runner.advance(turn, SpeechOver(reply))
        utterance.end()

    def _drop_utterance(self) -> None:
        turn, self._speaker = self._speaker, None
        if self._ear is not None:
            self._ear.forget()
        if turn is not None:
            self.runner.drop(turn)
        self.runner.release_voice()

    def _start(self, turn: CallTurn) -> CallTurn:
        if self._closing:
            raise CallRefused("the server stops", code="server_stopping", hint="connect again")
        if len(self.runner.turns) >= TURNS_MAX:
            raise CallRefused("too many turns are in progress", code="rate_limit_exceeded", hint="wait")
        turn.asked_at = None if turn.greets or turn.breaks_silence else self._clock()
        self.runner.start(turn)
        return turn


def _measure_event(event: ev.CallEvent) -> int:
    return event.size if isinstance(event, ev.EmbedderNote) else 0
