"""Life of a turn as a state machine: events in, commands out. Pure; drawn in ``docs/voice.md``.

A turn that ends has exactly one ``REPORT``, with the reason: none ends unnoticed. Who executes the
commands is ``turn_runner``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from agentsd.services.voicebot.events import AnswerStatus, CancelReason, EndReason


class Phase(StrEnum):
    """Phase of a turn; it only advances."""

    LISTENING = "listening"  # the caller speaks
    TRANSCRIBING = "transcribing"  # the caller has finished
    WAITING = "waiting"  # the words are known; earlier turns answer
    ANSWERING = "answering"
    ENDED = "ended"


class Command(StrEnum):
    """Act that an event asks for."""

    SHOW = "show"  # let the client know of the speech
    INTERRUPT = "interrupt"  # stop what older turns answer or are about to
    RELEASE = "release"  # let the held voice go on
    PREPARE = "prepare"  # begin an answer that nobody hears before the end is certain
    DISCARD = "discard"  # throw the prepared answer away
    ANSWER = "answer"  # with what was prepared, if that is still what is asked
    STOP_ANSWER = "stop-answer"
    APOLOGISE = "apologise"  # say what the manifest has for failures
    REPORT = "report"  # the end of the turn and its reason


@dataclass(frozen=True, slots=True)
class TurnState:
    """State of one turn."""

    phase: Phase = Phase.WAITING
    wants: bool = True  # it is to be answered
    shown: bool = True  # the client knows of its speech
    confirmed: bool = True  # its speech counts, whatever the agent was doing
    verdict: Verdict = "words"
    asked: bool = False  # the client asked for an answer, whatever was said
    prepared: bool = False  # an answer is being prepared
    cancelled: bool = False
    reason: EndReason | None = None

    @property
    def answers_own(self) -> bool:
        """Return whether it is to be answered for what was said in it."""
        return self.wants and (self.verdict == "words" or (self.asked and self.verdict != "failed"))


Verdict = Literal["words", "unheard", "ignored", "echo", "failed"]
"""What the caller's speech turned out to be."""


@dataclass(frozen=True, slots=True)
class SpeechConfirmed:
    """Enough speech, or enough words, to interrupt whatever goes on."""


@dataclass(frozen=True, slots=True)
class EndLikely:
    """Pause that is likely the end of the speech, and whose transcript has words."""


@dataclass(frozen=True, slots=True)
class SpeechResumed:
    """Speech after a pause: it was not the end."""


@dataclass(frozen=True, slots=True)
class SpeechOver:
    """End of the caller's speech; ``reply``: whether it is to be answered."""

    reply: bool


@dataclass(frozen=True, slots=True)
class Transcribed:
    """Transcript of the whole speech, or its failure."""

    verdict: Verdict


@dataclass(frozen=True, slots=True)
class AnswerWanted:
    """Request of the client to answer this turn."""


@dataclass(frozen=True, slots=True)
class Superseded:
    """Newer speech that will be answered instead."""


@dataclass(frozen=True, slots=True)
class ClientCancelled:
    """Request of the client not to answer."""


@dataclass(frozen=True, slots=True)
class FloorTaken:
    """Turn to answer. ``owed``: an earlier turn was cut off for this one, and not answered."""

    owed: bool


@dataclass(frozen=True, slots=True)
class AnswerOver:
    """End of the answer."""

    status: AnswerStatus
    reason: CancelReason | None = None


@dataclass(frozen=True, slots=True)
class TurnBroken:
    """Failure outside the answer: no agent, or a fault of the server."""


@dataclass(frozen=True, slots=True)
class TurnDropped:
    """Removal of the turn: the client cleared its sound, or the call is over."""


TurnInput = (
    SpeechConfirmed
    | EndLikely
    | SpeechResumed
    | SpeechOver
    | Transcribed
    | AnswerWanted
    | Superseded
    | ClientCancelled
    | FloorTaken
    | AnswerOver
    | TurnBroken
    | TurnDropped
)
Step = tuple[TurnState, tuple[Command, ...]]

_CANCELLED: dict[CancelReason | None, EndReason] = {
    "turn_detected": "interrupted",
    "client_cancelled": "cancelled",
}


def begin_listening(*, contested: bool = False, certain: bool = False) -> TurnState:
    """Return the state of a turn whose caller begins to speak.

    ``contested``: while the agent answers; ``certain``: the client knows that it is speech.
    """
    return TurnState(Phase.LISTENING, wants=False, shown=not contested, confirmed=certain, verdict="unheard")


def advance_turn(state: TurnState, event: TurnInput) -> Step:
    """Return the state after ``event``, and what has to be done. After the end nothing has."""
    if state.phase is Phase.ENDED:
        return state, ()
    match event:
        case TurnDropped() | TurnBroken():
            return _break(state, event)
        case AnswerWanted() | ClientCancelled() | Superseded():
            return _ask(state, event)
        case EndLikely() | SpeechResumed():
            return _foresee(state, event)
        case SpeechConfirmed() | SpeechOver() | Transcribed():
            return _hear(state, event)
        case FloorTaken() | AnswerOver():
            return _answer(state, event)


def _foresee(state: TurnState, event: EndLikely | SpeechResumed) -> Step:
    """Prepare an answer for speech that the client knows of; throw it away if the speech goes on."""
    if state.phase is not Phase.LISTENING or not state.shown:
        return state, ()
    if isinstance(event, SpeechResumed):
        return _discard(state)
    return (state, ()) if state.prepared else (replace(state, prepared=True), (Command.PREPARE,))


def _discard(state: TurnState) -> Step:
    return (replace(state, prepared=False), (Command.DISCARD,)) if state.prepared else (state, ())


def _break(state: TurnState, event: TurnDropped | TurnBroken) -> Step:
    stop = (Command.STOP_ANSWER,) if _answers(state) else ()
    if isinstance(event, TurnDropped):
        return _end(state, "dropped", *stop)
    return _end(state, "failed", *stop, Command.APOLOGISE)


def _answer(state: TurnState, event: FloorTaken | AnswerOver) -> Step:
    match event, state.phase:
        case FloorTaken(owed), Phase.WAITING:
            return _take_floor(state, owed=owed)
        case AnswerOver(status, reason), Phase.ANSWERING:
            return _close_answer(state, status, reason)
        case _:
            return state, ()


def _hear(state: TurnState, event: SpeechConfirmed | SpeechOver | Transcribed) -> Step:
    match event, state.phase:
        case SpeechConfirmed(), Phase.LISTENING | Phase.TRANSCRIBING:
            return _confirm(state)
        case SpeechOver(reply), Phase.LISTENING:
            return replace(state, phase=Phase.TRANSCRIBING, wants=reply), ()
        case Transcribed(verdict), Phase.TRANSCRIBING:
            return _judge(replace(state, phase=Phase.WAITING, verdict=verdict))
        case _:
            return state, ()


def _confirm(state: TurnState) -> Step:
    if state.confirmed:
        return state, ()
    show = () if state.shown else (Command.SHOW,)
    return replace(state, shown=True, confirmed=True), (*show, Command.INTERRUPT)


def _judge(state: TurnState) -> Step:
    """Let words interrupt, however short they were; anything else lets the voice go on."""
    if state.verdict == "words":
        return _confirm(state)
    state, discard = _discard(state)
    show = (Command.SHOW,) if state.verdict == "failed" and not state.shown else ()
    release = () if state.confirmed else (Command.RELEASE,)
    return replace(state, shown=state.shown or bool(show)), (*discard, *show, *release)


def _take_floor(state: TurnState, *, owed: bool) -> Step:
    if state.answers_own or (owed and not state.cancelled):
        return replace(state, phase=Phase.ANSWERING, prepared=False), (Command.ANSWER,)
    if state.verdict == "failed":
        return _end(state, "failed", Command.APOLOGISE)
    if state.cancelled:
        return _end(state, "cancelled")
    return _end(state, "unanswered" if state.verdict == "words" else state.verdict)


def _ask(state: TurnState, event: AnswerWanted | ClientCancelled | Superseded) -> Step:
    if isinstance(event, AnswerWanted):
        if _answers(state):
            return state, ()  # its answer goes on
        asked = replace(state, wants=True, asked=True, cancelled=False)
        return _confirm(asked) if state.phase is Phase.TRANSCRIBING else (asked, ())
    if _answers(state):
        return state, (Command.STOP_ANSWER,)
    cancelled = state.cancelled or isinstance(event, ClientCancelled)
    state, discard = _discard(state)
    return replace(state, wants=False, asked=False, cancelled=cancelled), discard


def _close_answer(state: TurnState, status: AnswerStatus, reason: CancelReason | None) -> Step:
    if status == "failed":
        return _end(state, "failed", Command.APOLOGISE)
    return _end(state, "answered" if status == "completed" else _CANCELLED.get(reason, "cancelled"))


def _end(state: TurnState, reason: EndReason, *commands: Command) -> Step:
    release = () if state.confirmed else (Command.RELEASE,)
    state, discard = _discard(state)
    return replace(state, phase=Phase.ENDED, reason=reason), (*release, *discard, *commands, Command.REPORT)


def _answers(state: TurnState) -> bool:
    return state.phase is Phase.ANSWERING
