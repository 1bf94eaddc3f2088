"""Runner of turns: each is one task, leases once, listens, waits until it may speak, answers.

``turn_state`` decides what follows from what happens to a turn; here it is done. Whatever ends a turn (a
vendor, the caller, the call), its streams are closed and its lease given back when its task ends; a
vendor's failure is an event, and the next turn starts afresh. An answer that speech cut off is a *debt*: if
that speech turns out to be none, the answer is given after all.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from agentsd.core.errors import AgentsdError, AgentUnavailable
from agentsd.core.manifest.turn import Interrupt
from agentsd.core.manifest.turn import Turn as TurnSettings
from agentsd.core.manifest.variables import Variable
from agentsd.core.text.spoken_words import count_words, is_echo, is_ignored
from agentsd.providers.base import Leases, LiveAgent
from agentsd.providers.resilience.attempts import open_attempts
from agentsd.services.overrides import OverridePolicy
from agentsd.services.tools.events import HandedOver
from agentsd.services.turn_records.record import TurnAgent
from agentsd.services.turn_records.sinks import TurnSinks
from agentsd.services.voicebot import events as ev
from agentsd.services.voicebot.answer import Answer
from agentsd.services.voicebot.call_handover import (
    carry_conversation,
    find_first_target,
    make_next_turn,
    prepare_agent,
)
from agentsd.services.voicebot.call_record import make_call_record
from agentsd.services.voicebot.conversation import Conversation, make_id, make_messages
from agentsd.services.voicebot.echo_guard import EchoGuard
from agentsd.services.voicebot.metrics import VoiceMetrics
from agentsd.services.voicebot.pipe import Pipe
from agentsd.services.voicebot.streams import detach_error
from agentsd.services.voicebot.transcriber import transcribe_utterance
from agentsd.services.voicebot.turn_judge import settle_detection
from agentsd.services.voicebot.turn_state import (
    AnswerOver,
    ClientCancelled,
    Command,
    FloorTaken,
    Phase,
    SpeechConfirmed,
    Superseded,
    Transcribed,
    TurnBroken,
    TurnDropped,
    TurnInput,
    TurnState,
    Verdict,
    advance_turn,
)
from agentsd.services.voicebot.turns import CallTurn, Debt, is_certain
from agentsd.services.voicebot.utterance import Utterance

ChatFunction = Callable[[LiveAgent, Mapping[str, Any]], AsyncIterator[dict[str, Any]]]
"""``services.chat.stream_chat``, or a wrapper of it."""

OPENING_PROMPT = "The call has begun, and nobody has spoken yet: open the conversation."
"""Message to a model that must answer before anything was said."""

COMPARE_MS = 128
"""Speech between two comparisons with what was played."""

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
        self.partials = bool(getattr(agent.stt, "partials", False))
        self.turn, self.greeting = settle_detection(agent.spec.turn), agent.spec.greeting
        self.variables: Mapping[str, Variable] = agent.spec.variables or {}
        self.policy = OverridePolicy.of(agent)
        self.listens_by, self.language = agent.provider_names.get("stt"), agent.spec.language
        return before != (self.agent, self.version)


class TurnRunner:
    """Runner of the turns of one call."""

    def __init__(
        self,
        leases: Leases,
        tasks: asyncio.TaskGroup,
        events: Pipe[ev.CallEvent],
        serving: ServingAgent,
        *,
        clock: Callable[[], float],
        talk: ChatFunction,
        metrics: VoiceMetrics | None,
        sinks: TurnSinks | None = None,
    ) -> None:
        self.id = make_id("conv")
        self.conversation = Conversation()
        self.turns: list[CallTurn] = []  # in progress, oldest first
        self.newest_answer: Answer | None = None
        self.debt: Debt | None = None
        self.closing = False
        self.leases = leases
        self.handed_to: str | None = None  # agent that took the call over, until the client names another
        self.echo = EchoGuard()
        self._tasks = tasks
        self._events = events
        self.serving = serving
        self._clock = clock
        self._talk = talk
        self._metrics = metrics
        self._sinks = sinks
        self._floor = asyncio.Lock()  # held by the turn that answers

    @property
    def answering(self) -> bool:
        """Return whether the agent answers, or is still heard."""
        newest = self.newest_answer
        answers = any(turn.state.phase is Phase.ANSWERING and turn.ask.kept for turn in self.turns)
        return answers or (newest is not None and newest.sounds())

    def start(self, turn: CallTurn) -> None:
        """Begin ``turn``: it leases at once, and so runs on the agent as it is now."""
        turn.began = self._clock()
        turn.earlier = tuple(self.turns)
        self.turns.append(turn)
        turn.task = self._tasks.create_task(self._run(turn))
        turn.task.add_done_callback(lambda _: self._forget(turn))

    def advance(self, turn: CallTurn, event: TurnInput) -> tuple[Command, ...]:
        """Change the turn's state, and do what does not have to wait. Return all commands."""
        turn.state, commands = advance_turn(turn.state, event)
        for command in commands:
            if command is Command.SHOW:
                self._show(turn)
            elif command is Command.INTERRUPT:
                self._interrupt(turn)
            elif command is Command.RELEASE:
                self._events.release()
            elif command is Command.STOP_ANSWER and turn.answer is not None:
                cancelled = isinstance(event, ClientCancelled)
                turn.answer.interrupt("client_cancelled" if cancelled else "turn_detected")
            elif command is Command.REPORT and Command.APOLOGISE not in commands:
                self._report(turn)
        return commands

    def consider(self, turn: CallTurn) -> None:
        """Confirm the speech of ``turn`` if it is long enough now, or has enough words."""
        if turn.state.confirmed or turn.state.phase is Phase.ENDED:
            return
        rule = self._settings(turn).interruption
        if is_certain(turn, rule) and not (turn.contested and self._is_own_voice(turn, rule)):
            self.advance(turn, SpeechConfirmed())

    def _is_own_voice(self, turn: CallTurn, rule: Interrupt) -> bool:
        """Return whether the speech resembles the agent's, and has no other words."""
        if turn.words >= max(1, rule.min_words):
            return False
        if turn.speech_ms >= turn.compare_ms:
            turn.compare_ms = turn.speech_ms + COMPARE_MS
            turn.resembles = self.echo.suspects()
        return turn.resembles

    def hold_voice(self) -> None:
        """Hold what was not sent of the answer: somebody may be about to speak."""
        if not self._events.holding:
            self._events.hold(_is_of_answer)

    def release_voice(self) -> None:
        """Let a held answer go on."""
        if self._events.holding:
            self._events.release()

    def emit(self, turn: CallTurn, event: ev.CallEvent) -> None:
        """Report an event of the caller's speech, once it is certain that it counts."""
        if turn.state.shown:
            self._events.push(event)
        else:
            turn.hidden.append(event)

    def drop(self, turn: CallTurn) -> None:
        """End a turn at once: its sound was cleared, or the call is over."""
        self.advance(turn, TurnDropped())
        if turn.task is not None:
            turn.task.cancel()

    # The life of a turn

    async def _run(self, turn: CallTurn) -> None:
        try:
            with open_attempts() as turn.attempts:
                async with self.leases.lease(self.handed_to or turn.ref) as leased:
                    agent = prepare_agent(leased, turn)
                    turn.agent = TurnAgent(agent.id, agent.slug, agent.owner, agent.version, agent.commit)
                    if self.serving.change(agent):
                        self._events.push(ev.AgentServes(agent.slug, agent.version))
                    await self._live(agent, turn)
        except AgentsdError as error:  # from the lease: listening and answering report their own
            await _wait_until_spoken(turn)
            self._fail(turn, detach_error(error))
        finally:
            self._forget(turn)

    async def _live(self, agent: LiveAgent, turn: CallTurn) -> None:
        try:
            if turn.utterance is not None:
                await self._listen(agent, turn, turn.utterance)
            turn.heard.set()
            await self._reply(agent, turn)
        except AgentsdError:
            raise
        except Exception as error:
            _log_error(error)
            detach_error(error)
            reported = turn.answer is not None  # an answer reports its own end
            self._fail(
                turn, AgentsdError("the server failed", hint="see the server's log"), tell=not reported
            )
            async with self._floor:
                await self._apologise(agent, turn)

    def _fail(self, turn: CallTurn, error: AgentsdError, *, tell: bool = True) -> None:
        """End a turn by a failure outside its answer."""
        turn.error, self.debt = error, None
        if Command.REPORT in self.advance(turn, TurnBroken()):
            if tell:
                self._events.push(ev.TurnFailed(error, turn.ask.label))
            self._report(turn)

    def _forget(self, turn: CallTurn) -> None:
        """Drop a turn that ended, also before it began. A cancelled task refers to its frames."""
        self.advance(turn, TurnDropped())
        turn.heard.set()
        turn.earlier = ()
        turn.task = None
        turn.hidden.clear()
        if turn in self.turns:
            self.turns.remove(turn)
            self._settle(turn)

    def _settle(self, last: CallTurn) -> None:
        """Give an answer that is owed, if no turn is left that would do it."""
        if not self.closing and not self.turns and self._is_owed(last):
            self.start(CallTurn(last.ref, last.preferences, state=TurnState(wants=False)))

    # Listening

    async def _listen(self, agent: LiveAgent, turn: CallTurn, utterance: Utterance) -> None:
        """Report the transcript as it comes, and put it into the conversation."""
        try:
            text = await self._transcribe(agent, turn, utterance)
        except AgentsdError as error:
            await utterance.ended.wait()
            turn.error = detach_error(error)
            self.emit(turn, ev.TranscriptFailed(utterance.item, turn.error))
            self.advance(turn, Transcribed("failed"))
            return
        await utterance.ended.wait()  # a recogniser may end before the caller has finished
        turn.transcribed_at = self._clock()
        verdict = self._judge(turn, text)
        self._keep(turn, utterance.item, text if verdict == "words" else "")
        self.emit(turn, ev.TranscriptCompleted(utterance.item, text, utterance.seconds))
        self.advance(turn, Transcribed(verdict))

    async def _transcribe(self, agent: LiveAgent, turn: CallTurn, utterance: Utterance) -> str:
        if agent.stt is None:
            hint = "add an stt section to its manifest, or write to it"
            raise AgentUnavailable(f"agent {agent.slug!r} cannot listen", reason="NoSTT", hint=hint)

        def report(delta: str, text: str) -> None:
            turn.words = self._count_words(turn, text)
            if delta:
                self.emit(turn, ev.TranscriptDelta(utterance.item, delta))
            self.consider(turn)

        return await transcribe_utterance(agent.stt, utterance, report)

    def _count_words(self, turn: CallTurn, text: str) -> int:
        if not turn.contested:
            return count_words(text)
        return 0 if self._is_echo(turn, text) else count_words(text, self._settings(turn).ignore)

    def _is_echo(self, turn: CallTurn, text: str) -> bool:
        """Return whether a transcript is what the agent is saying. Callers do repeat older answers."""
        newest = self.newest_answer
        return newest is not None and is_echo(text, newest.text, suspected=turn.resembles)

    def _judge(self, turn: CallTurn, text: str) -> Verdict:
        """Return what the speech turned out to be."""
        settings = self._settings(turn)
        if not count_words(text):
            return "words" if text.strip() and not turn.contested else "unheard"
        if not turn.contested:
            return "words"
        if self._is_echo(turn, text):
            return "echo"
        rule = settings.interruption
        too_few = rule.enabled and not turn.state.confirmed and count_words(text) < rule.min_words
        return "ignored" if too_few or is_ignored(text, settings.ignore) else "words"

    def _keep(self, turn: CallTurn, item_id: str, text: str) -> None:
        """Put the transcript into the conversation; what nobody knows of is removed from it."""
        item = self.conversation.find(item_id)
        if item is None:
            return
        item.text = text
        self.conversation.shrink()
        if not text and not turn.state.shown:
            self.conversation.remove(item_id)

    # Interruption

    def _show(self, turn: CallTurn) -> None:
        hidden, turn.hidden = turn.hidden, []
        for event in hidden:
            self._events.push(event)

    def _interrupt(self, turn: CallTurn) -> None:
        """Stop older turns that have not begun to answer; silence the agent if the settings allow it."""
        silences = self._settings(turn).interruption.enabled
        for other in self.turns[: self.turns.index(turn)]:  # words that come late stop nothing newer
            waits = other.pending and other.state.phase is not Phase.ANSWERING
            by_itself = other.greets or other.breaks_silence or not other.ask.kept
            if waits and not by_itself and (silences or other.utterance is not None):
                self.debt = Debt("answer")
                self.advance(other, Superseded())
        newest = self.newest_answer
        if silences and newest is not None:
            self._cut(newest)
        self._events.release()

    def _cut(self, answer: Answer) -> None:
        """Silence an answer that is given, or still heard."""
        if answer.interrupt("turn_detected"):
            if self._metrics:
                self._metrics.barge_ins.inc()
        elif not answer.talked_over():
            return
        known = answer.rest() is not None or bool(answer.item.text)
        self.debt = Debt("resume", answer) if known else Debt("answer")

    # Answering

    async def _reply(self, agent: LiveAgent, turn: CallTurn) -> None:
        for earlier in turn.earlier:
            if not earlier.listening:
                await earlier.heard.wait()
        turn.earlier = ()
        if turn.ask.kept:
            async with self._floor:
                await self._take_floor(agent, turn)
        else:
            await self._take_floor(agent, turn)

    async def _take_floor(self, agent: LiveAgent, turn: CallTurn) -> None:
        """Answer, if that is wanted or owed, and report the end."""
        if _find_saying(agent, turn) == "":  # the manifest has no such sentence any more
            return
        asks_again = turn.state.verdict == "failed" and agent.spec.on_error is not None
        owed = turn.ask.kept and self._is_owed(turn, resume=not asks_again)
        commands = self.advance(turn, FloorTaken(owed))
        if Command.ANSWER in commands:
            await self._answer(agent, turn)
            answer = turn.answer
            status = "failed" if answer is None or answer.status is None else answer.status
            commands = self.advance(turn, AnswerOver(status, answer.reason if answer else None))
            if answer is not None and answer.handed_over is not None:
                await self._hand_over(agent, turn, answer.handed_over, goes_on=status == "completed")
        if Command.APOLOGISE in commands:
            try:
                await self._apologise(agent, turn)
            finally:
                self._report(turn)

    def _is_owed(self, turn: CallTurn, *, resume: bool = True) -> bool:
        """Return whether the turn has to give an answer that it did not ask for."""
        if self.debt is None or self._is_followed(turn):
            return False
        if self.debt.kind == "answer":
            return self.conversation.awaits_answer
        return resume and self._settings(turn).interruption.resume_false

    def _is_followed(self, turn: CallTurn) -> bool:
        """Return whether the caller has gone on after the speech of ``turn``: the newest answers for all."""
        newer = self.turns[self.turns.index(turn) + 1 :] if turn in self.turns else ()
        return any(one.utterance is not None and one.state.confirmed for one in newer)

    async def _answer(self, agent: LiveAgent, turn: CallTurn) -> None:
        debt: Debt | None = None
        if turn.ask.kept:
            debt, self.debt = self.debt, None
        try:
            source = self._find_source(agent, turn, debt)
        except AgentsdError as error:  # without an LLM there is no answer to begin
            turn.error = detach_error(error)
            self._events.push(ev.TurnFailed(turn.error, turn.ask.label))
            return
        turn.answer = answer = self._new_answer(agent, turn)
        await self._give(answer, source, first=turn.greets)
        turn.error = turn.error or answer.error

    def _find_source(
        self, agent: LiveAgent, turn: CallTurn, debt: Debt | None
    ) -> str | AsyncIterator[dict[str, Any]]:
        """Return what is said: a sentence of the manifest, the rest of an answer, or the model's words."""
        saying = _find_saying(agent, turn)
        if saying is not None:
            return saying
        if not turn.state.answers_own and debt is not None and debt.cut is not None:
            rest = debt.cut.rest()
            if rest is not None:
                return rest
            debt.cut.item.text = ""  # its rest was never written: it is said again
        return self._completion(agent, turn)

    async def _give(
        self, answer: Answer, source: str | AsyncIterator[dict[str, Any]], *, first: bool = False
    ) -> None:
        previous = None
        if answer.kept:
            self.newest_answer = answer
            previous = self.conversation.add(answer.item, first=first)
        self._events.push(answer.began(previous))
        try:
            await answer.run(source)
        finally:
            if not answer.begun:  # otherwise clients know its item, and may place others after it
                self.conversation.remove(answer.item.id)
            self.conversation.shrink()

    async def _apologise(self, agent: LiveAgent, turn: CallTurn) -> None:
        """Say what the manifest has for failures, so that the caller is not left in silence."""
        on_error, self.debt = agent.spec.on_error, None
        if on_error is None or self.closing or not turn.ask.kept:
            return
        answer = self._new_answer(agent, turn, timed=False)
        await self._give(answer, on_error.say)
        if on_error.then == "hang_up":
            await self.end_call("error")
        elif on_error.then == "handoff":
            target = await find_first_target(self.leases, agent)
            if target is not None:
                await self._hand_over(agent, turn, target)

    async def _hand_over(
        self, agent: LiveAgent, turn: CallTurn, target: HandedOver, *, goes_on: bool = True
    ) -> None:
        """Let another agent serve from the next turn on, and answer at once, unless the caller spoke."""
        self.handed_to = target.ref
        await carry_conversation(self.conversation, target.handoff, agent.llm)
        if goes_on and not self.closing:
            following = make_next_turn(turn, target.ref)
            following.asked_at = self._clock()
            self.start(following)

    async def end_call(self, reason: ev.CallEndReason) -> None:
        """End the call once what was said has been heard."""
        if self.newest_answer is not None:
            await asyncio.sleep(self.newest_answer.playing_seconds())
        self.closing = True
        self._events.push(ev.CallEnded(reason))
        self._events.end()

    def _new_answer(self, agent: LiveAgent, turn: CallTurn, *, timed: bool = True) -> Answer:
        ask, preferences = turn.ask, turn.preferences
        return Answer(
            agent,
            self._events,
            rate=ask.output_rate or preferences.output_rate,
            aloud=preferences.aloud if ask.aloud is None else ask.aloud,
            clock=self._clock,
            metrics=self._metrics,
            asked_at=turn.asked_at,
            attempts=turn.attempts,
            timeouts=agent.spec.turn.timeouts if timed else None,
            conversation=self.conversation if ask.kept else Conversation(),
            label=preferences.label,
            ask=ask.label,
            kept=ask.kept,
        )

    def _completion(self, agent: LiveAgent, turn: CallTurn) -> AsyncIterator[dict[str, Any]]:
        ask, preferences = turn.ask, turn.preferences
        told = preferences.instructions if ask.instructions is None else ask.instructions
        messages = self.conversation.messages() if ask.context is None else make_messages(ask.context)
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
        return self._talk(agent, body)

    def _settings(self, turn: CallTurn) -> TurnSettings:
        return turn.preferences.turn_over(self.serving.turn)

    def _report(self, turn: CallTurn) -> None:
        """Report the end of a turn, and hand it to the sinks."""
        record = make_call_record(self.id, turn, self._clock())
        item = turn.utterance.item if turn.utterance is not None else None
        answer = turn.answer.id if turn.answer is not None else None
        self._events.push(ev.TurnEnded(record, item, answer, turn.ask.label))
        if self._sinks is not None:
            self._sinks.put(record)


def _find_saying(agent: LiveAgent, turn: CallTurn) -> str | None:
    """Return the sentence of the manifest that a turn says instead of the model's answer; None for others."""
    if turn.greets:
        return agent.spec.greeting
    if turn.breaks_silence:
        return agent.spec.turn.idle.say if agent.spec.turn.idle else ""
    return None


def _is_of_answer(event: ev.CallEvent) -> bool:
    return isinstance(event, (ev.AnswerSound, ev.AnswerEnded, ev.AnswerTruncated))


async def _wait_until_spoken(turn: CallTurn) -> None:
    """Wait until the caller has finished, so that events stay in order."""
    if turn.utterance is not None:
        await turn.utterance.ended.wait()


def _log_error(error: Exception) -> None:
    """Log where an unexpected error arose, without its text, which may quote the conversation."""
    place = "".join(traceback.format_tb(error.__traceback__))
    _log.error("unexpected %s in a turn\n%s", type(error).__name__, place)
