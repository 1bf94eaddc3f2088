"""Runner of turns: each is one task, leases once, listens, waits until it may speak, answers.

``turn_state`` decides what follows from what happens to a turn; here it is done. Whatever ends a turn (a
vendor, the caller, the call), its streams are closed and its lease given back when its task ends; a
vendor's failure is an event, and the next turn starts afresh. An answer that speech cut off is a *debt*: if
that speech turns out to be none, the answer is given after all. An answer that is begun before the end of
speech is certain is ``answer_preparer``'s.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from contextvars import copy_context
from functools import partial

from agentsd.core.errors import AgentsdError
from agentsd.core.manifest.turn import Interrupt
from agentsd.core.manifest.turn import Turn as TurnSettings
from agentsd.providers.base import Leases, LiveAgent
from agentsd.providers.resilience.attempts import open_attempts
from agentsd.services.tools.consents import CallApprovals
from agentsd.services.tools.events import HandedOver
from agentsd.services.tools.turn import ToolTurn
from agentsd.services.turn_records.record import TurnAgent
from agentsd.services.turn_records.sinks import TurnSink
from agentsd.services.voicebot import events as ev
from agentsd.services.voicebot.answer import Answer
from agentsd.services.voicebot.answer_maker import AnswerMaker, ChatFunction, Question
from agentsd.services.voicebot.answer_preparer import AnswerPreparer
from agentsd.services.voicebot.call_handover import (
    carry_conversation,
    find_first_target,
    make_next_turn,
    prepare_agent,
)
from agentsd.services.voicebot.call_record import make_call_record
from agentsd.services.voicebot.conversation import Conversation, make_id
from agentsd.services.voicebot.echo_guard import EchoGuard
from agentsd.services.voicebot.left_calls import LeftCalls
from agentsd.services.voicebot.metrics import VoiceMetrics
from agentsd.services.voicebot.pipe import Pipe
from agentsd.services.voicebot.serving_agent import ServingAgent
from agentsd.services.voicebot.streams import detach_error
from agentsd.services.voicebot.transcript_judge import judge_transcript
from agentsd.services.voicebot.turn_listener import listen_to_turn
from agentsd.services.voicebot.turn_state import (
    AnswerOver,
    ClientCancelled,
    Command,
    EndLikely,
    FloorTaken,
    Phase,
    SpeechConfirmed,
    SpeechResumed,
    Superseded,
    TurnBroken,
    TurnDropped,
    TurnInput,
    TurnState,
    advance_turn,
)
from agentsd.services.voicebot.turns import CallRefused, CallTurn, Debt, is_certain

BARGE_IN = "barge-in"
"""Name of the hold on the voice while somebody may be about to speak."""

COMPARE_MS = 128
"""Speech between two comparisons with what was played."""

TURNS_MAX = 8
"""Maximum turns in progress: one answers, the others are still being transcribed."""

_log = logging.getLogger(__name__)


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
        sinks: TurnSink | None = None,
        approvals: CallApprovals | None = None,
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
        self.clock = clock
        self._metrics = metrics
        self.approvals = approvals
        self._maker = AnswerMaker(
            events, self.conversation, clock=clock, talk=talk, metrics=metrics, approvals=approvals
        )
        self._preparer = AnswerPreparer(self._maker, events, metrics)
        self._sinks = sinks
        self.left_calls = LeftCalls()
        self._floor = asyncio.Lock()  # held by the turn that answers

    @property
    def answering(self) -> bool:
        """Return whether the agent answers, or is still heard."""
        newest = self.newest_answer
        answers = any(turn.state.phase is Phase.ANSWERING and turn.ask.kept for turn in self.turns)
        return answers or (newest is not None and newest.sounds())

    def begin(self, turn: CallTurn) -> CallTurn:
        """Begin a turn of the call's own or its client's. Raises ``CallRefused`` where too many go on."""
        if self.closing:
            raise CallRefused("the server stops", code="server_stopping", hint="connect again")
        if len(self.turns) >= TURNS_MAX:
            raise CallRefused("too many turns are in progress", code="rate_limit_exceeded", hint="wait")
        turn.asked_at = None if turn.greets or turn.breaks_silence else self.clock()
        self.start(turn)
        return turn

    @property
    def spoken(self) -> str | None:
        """Return the text of the newest answer."""
        return None if self.newest_answer is None else self.newest_answer.text

    def start(self, turn: CallTurn) -> None:
        """Begin ``turn``: it leases at once, and so runs on the agent as it is now."""
        turn.began = self.clock()
        turn.earlier = tuple(self.turns)
        self.turns.append(turn)
        turn.task = self._tasks.create_task(self._run(turn))
        turn.task.add_done_callback(lambda _: self._forget(turn))

    def advance(self, turn: CallTurn, event: TurnInput) -> tuple[Command, ...]:
        """Change the turn's state, and do what does not have to wait. Return all commands."""
        turn.state, commands = advance_turn(turn.state, event)
        for command in commands:
            if command is Command.REPORT and Command.APOLOGISE not in commands:
                self._report(turn)
            else:
                self._execute(turn, command, event)
        return commands

    def _execute(self, turn: CallTurn, command: Command, event: TurnInput) -> None:
        """Do what ``command`` asks for, where that does not have to wait."""
        if command is Command.SHOW:
            self._show(turn)
        elif command is Command.INTERRUPT:
            self._interrupt(turn)
        elif command is Command.PREPARE:
            self._preparer.prepare(turn, self.settle(turn))
        elif command is Command.DISCARD:
            resumed = isinstance(event, SpeechResumed)
            self._preparer.discard(turn, "resumed" if resumed else "unwanted")
        elif command is Command.RELEASE:
            self.release_voice()
        elif command is Command.STOP_ANSWER and turn.answer is not None:
            cancelled = isinstance(event, ClientCancelled)
            turn.answer.interrupt("client_cancelled" if cancelled else "turn_detected")

    def consider(self, turn: CallTurn) -> None:
        """Confirm the speech of ``turn`` if it is long enough now, or has enough words."""
        if turn.state.confirmed or turn.state.phase is Phase.ENDED:
            return
        rule = self.settle(turn).interruption
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
        if not self._events.holds(BARGE_IN):
            self._events.hold(BARGE_IN, _is_of_answer)

    def release_voice(self) -> None:
        """Let a held answer go on."""
        self._events.release(BARGE_IN)

    def resume(self, turn: CallTurn) -> None:
        """Take the pause of ``turn`` as one: its caller goes on."""
        turn.so_far = None
        self.advance(turn, SpeechResumed())

    def consider_end(self, turn: CallTurn) -> None:
        """Begin the answer to ``turn`` if its caller has likely finished, and said something."""
        text = turn.so_far
        if not text or not turn.likely_over or turn.state.prepared:
            return
        if not self._preparer.suits(turn, self.turns):
            return
        if judge_transcript(turn, text, self.settle(turn), self.spoken) == "words":
            self.advance(turn, EndLikely())

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
                async with AsyncExitStack() as lease:
                    leased = await lease.enter_async_context(self.leases.lease(self.handed_to or turn.ref))
                    agent = prepare_agent(leased, turn)
                    turn.agent = TurnAgent(agent.id, agent.slug, agent.owner, agent.version, agent.commit)
                    turn.live, turn.context = agent, copy_context()
                    if self.serving.change(agent):
                        self._events.push(ev.AgentServes(agent.slug, agent.version))
                    try:
                        await self._live(agent, turn)
                    finally:
                        turn.live = turn.context = None
                        await self._preparer.close(turn)
                        await self.left_calls.take(turn, lease)
        except AgentsdError as error:  # from the lease: listening and answering report their own
            await _wait_until_spoken(turn)
            self._fail(turn, detach_error(error))
        finally:
            self._forget(turn)

    async def _live(self, agent: LiveAgent, turn: CallTurn) -> None:
        try:
            if turn.utterance is not None:
                await listen_to_turn(self, agent, turn, turn.utterance)
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
        turn.discarded.clear()
        if turn in self.turns:
            self.turns.remove(turn)
            self._settle(turn)

    def _settle(self, last: CallTurn) -> None:
        """Give an answer that is owed, if no turn is left that would do it."""
        if not self.closing and not self.turns and self._is_owed(last):
            self.start(CallTurn(last.ref, last.preferences, state=TurnState(wants=False)))

    # Interruption

    def _show(self, turn: CallTurn) -> None:
        hidden, turn.hidden = turn.hidden, []
        for event in hidden:
            self._events.push(event)

    def _interrupt(self, turn: CallTurn) -> None:
        """Stop older turns that have not begun to answer; silence the agent if the settings allow it."""
        silences = self.settle(turn).interruption.enabled
        for other in self.turns[: self.turns.index(turn)]:  # words that come late stop nothing newer
            waits = other.pending and other.state.phase is not Phase.ANSWERING
            by_itself = other.greets or other.breaks_silence or not other.ask.kept
            if waits and not by_itself and (silences or other.utterance is not None):
                self.debt = Debt("answer")
                self.advance(other, Superseded())
        newest = self.newest_answer
        if silences and newest is not None:
            self._cut(newest)
        self.release_voice()

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
        return resume and self.settle(turn).interruption.resume_false

    def _is_followed(self, turn: CallTurn) -> bool:
        """Return whether the caller has gone on after the speech of ``turn``: the newest answers for all."""
        newer = self.turns[self.turns.index(turn) + 1 :] if turn in self.turns else ()
        return any(one.utterance is not None and one.state.confirmed for one in newer)

    async def _answer(self, agent: LiveAgent, turn: CallTurn) -> None:
        debt: Debt | None = None
        if turn.ask.kept:
            debt, self.debt = self.debt, None
        try:
            words = self._find_words(agent, turn, debt)
            answer, run = self._begin(agent, turn, words)
        except AgentsdError as error:  # without an LLM there is no answer to begin
            turn.error = detach_error(error)
            self._events.push(ev.TurnFailed(turn.error, turn.ask.label))
            return
        turn.answer = answer
        await self._give(answer, run, first=turn.greets)
        turn.error = turn.error or answer.error

    def _begin(
        self, agent: LiveAgent, turn: CallTurn, words: str | Question
    ) -> tuple[Answer, Callable[[], Awaitable[None]]]:
        """Return the answer, and what gives it: the prepared one, if it is an answer to that question."""
        if isinstance(words, Question):
            prepared = self._preparer.take(turn, words)
            if prepared is not None:
                return prepared.answer, partial(prepared.finish, turn.asked_at)
        tools = ToolTurn()
        source = self._maker.put(agent, words, tools) if isinstance(words, Question) else words
        answer = self._maker.make_answer(agent, turn, self.settle(turn), tools=tools)
        return answer, partial(answer.run, source)

    def _find_words(self, agent: LiveAgent, turn: CallTurn, debt: Debt | None) -> str | Question:
        """Return what is said: a sentence of the manifest, the rest of an answer, or a model's question."""
        saying = _find_saying(agent, turn)
        if saying is not None:
            return saying
        if not turn.state.answers_own and debt is not None and debt.cut is not None:
            rest = debt.cut.rest()
            if rest is not None:
                return rest
            debt.cut.item.text = ""  # its rest was never written: it is said again
        return self._maker.make_question(turn)

    async def _give(self, answer: Answer, run: Callable[[], Awaitable[None]], *, first: bool = False) -> None:
        previous = None
        if answer.kept:
            self.newest_answer = answer
            previous = self.conversation.add(answer.item, first=first)
        self._events.push(answer.began(previous))
        try:
            await run()
        finally:
            if not answer.begun:  # otherwise clients know its item, and may place others after it
                self.conversation.remove(answer.item.id)
            self.conversation.shrink()

    async def _apologise(self, agent: LiveAgent, turn: CallTurn) -> None:
        """Say what the manifest has for failures, so that the caller is not left in silence."""
        on_error, self.debt = agent.spec.on_error, None
        if on_error is None or self.closing or not turn.ask.kept:
            return
        answer = self._maker.make_answer(agent, turn, self.settle(turn), timed=False)
        await self._give(answer, partial(answer.run, on_error.say))
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
            following.asked_at = self.clock()
            self.start(following)

    async def end_call(self, reason: ev.CallEndReason) -> None:
        """End the call once what was said has been heard."""
        if self.newest_answer is not None:
            await asyncio.sleep(self.newest_answer.playing_seconds())
        self.closing = True
        self._events.push(ev.CallEnded(reason))
        self._events.end()

    def settle(self, turn: CallTurn) -> TurnSettings:
        """Return the settings of turn-taking as ``turn`` has them now."""
        return turn.preferences.turn_over(self.serving.turn)

    def _report(self, turn: CallTurn) -> None:
        """Report the end of a turn, and hand it to the sinks."""
        record = make_call_record(self.id, turn, self.clock())
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
