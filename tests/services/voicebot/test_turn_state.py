"""Life of a turn: whatever happens to it, in whatever order, it ends once and with a reason."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.services.voicebot.turn_state import (
    AnswerOver,
    AnswerWanted,
    ClientCancelled,
    Command,
    EndLikely,
    FloorTaken,
    Phase,
    SpeechConfirmed,
    SpeechOver,
    SpeechResumed,
    Superseded,
    Transcribed,
    TurnBroken,
    TurnDropped,
    TurnInput,
    TurnState,
    advance_turn,
    begin_listening,
)

ORDER = list(Phase)
STATUSES: Sequence[TurnInput] = (
    AnswerOver("completed"),
    AnswerOver("incomplete", "max_output_tokens"),
    AnswerOver("failed"),
    AnswerOver("cancelled", "turn_detected"),
    AnswerOver("cancelled", "client_cancelled"),
)
VERDICTS: Sequence[TurnInput] = tuple(
    Transcribed(verdict) for verdict in ("words", "unheard", "ignored", "echo", "failed")
)
EVENTS: Sequence[TurnInput] = (
    SpeechConfirmed(), EndLikely(), SpeechResumed(), SpeechOver(True), SpeechOver(False), *VERDICTS,
    AnswerWanted(), ClientCancelled(), Superseded(), FloorTaken(True), FloorTaken(False),
    *STATUSES, TurnBroken(), TurnDropped(),
)  # fmt: skip
BEGINNINGS = (
    TurnState(),
    TurnState(wants=False),
    begin_listening(),
    begin_listening(contested=True),
    begin_listening(certain=True),
)


def lived(state: TurnState, events: Sequence[TurnInput]) -> tuple[TurnState, list[Command]]:
    """The last state, and all commands."""
    told: list[Command] = []
    for event in events:
        state, commands = advance_turn(state, event)
        told += commands
    return state, told


@given(st.sampled_from(BEGINNINGS), st.lists(st.sampled_from(EVENTS), max_size=30))
def test_every_turn_ends_once_and_with_a_reason(state: TurnState, events: list[TurnInput]) -> None:
    """A turn reports its end exactly when it has ended; it answers at most once, and after nothing."""
    for event in events:
        before = state
        state, commands = advance_turn(state, event)
        assert ORDER.index(state.phase) >= ORDER.index(before.phase)
        assert (Command.REPORT in commands) == (
            state.phase is Phase.ENDED and before.phase is not Phase.ENDED
        )
        assert (state.reason is not None) == (state.phase is Phase.ENDED)
        assert before.phase is not Phase.ENDED or commands == ()
        assert (Command.ANSWER in commands) == (
            state.phase is Phase.ANSWERING and before.phase is not Phase.ANSWERING
        )


@given(st.sampled_from(BEGINNINGS), st.lists(st.sampled_from(EVENTS), max_size=30))
def test_no_turn_is_stuck(state: TurnState, events: list[TurnInput]) -> None:
    """From every state the ordinary course of things leads to its end."""
    state, _ = lived(state, events)
    ordinary: list[TurnInput] = [
        SpeechOver(True),
        Transcribed("words"),
        FloorTaken(False),
        AnswerOver("completed"),
    ]
    assert lived(state, ordinary)[0].phase is Phase.ENDED


@given(st.sampled_from(BEGINNINGS), st.lists(st.sampled_from(EVENTS), max_size=30))
def test_a_failure_is_said(state: TurnState, events: list[TurnInput]) -> None:
    """Whatever ends in failure asks for an apology, in the same step as the report."""
    for event in events:
        state, commands = advance_turn(state, event)
        if Command.REPORT in commands:
            assert (state.reason == "failed") == (Command.APOLOGISE in commands)


@given(st.sampled_from(BEGINNINGS), st.lists(st.sampled_from(EVENTS), max_size=30))
def test_what_is_prepared_is_answered_or_thrown_away(state: TurnState, events: list[TurnInput]) -> None:
    """Once each, and only for speech that a client knows of; an end leaves nothing behind."""
    prepared = False
    for event in events:
        before = state
        state, commands = advance_turn(state, event)
        if Command.PREPARE in commands:
            assert not prepared
            assert before.phase is Phase.LISTENING
            assert before.shown
        assert (Command.DISCARD in commands) <= prepared
        settled = Command.DISCARD in commands or Command.ANSWER in commands
        prepared = (prepared or Command.PREPARE in commands) and not settled
        assert state.prepared == prepared
        assert not (prepared and state.phase in (Phase.ANSWERING, Phase.ENDED))
        if Command.REPORT in commands and Command.DISCARD in commands:
            assert commands.index(Command.DISCARD) < commands.index(Command.REPORT)


@given(st.lists(st.sampled_from([SpeechConfirmed(), *VERDICTS, Superseded(), ClientCancelled()]), max_size=8))
def test_a_held_voice_is_let_go_or_stopped(events: list[TurnInput]) -> None:
    """A turn that began over the agent's voice interrupts it, or releases it: it is never left held."""
    state, told = lived(begin_listening(contested=True), [*events, SpeechOver(True), *events])
    state, more = lived(state, [Transcribed("unheard"), FloorTaken(False), AnswerOver("completed")])
    told += more
    assert Command.INTERRUPT in told or Command.RELEASE in told
    assert told.count(Command.INTERRUPT) <= 1
    shown = told.count(Command.SHOW)
    assert shown <= 1
    assert Command.INTERRUPT not in told or shown == 1


LIKELY: Sequence[TurnInput] = (SpeechConfirmed(), EndLikely())


@pytest.mark.parametrize(
    ("events", "fate"),
    [
        ([SpeechOver(True), Transcribed("words"), FloorTaken(False)], Command.ANSWER),
        ([SpeechResumed()], Command.DISCARD),
        ([SpeechOver(True), Transcribed("unheard")], Command.DISCARD),
        ([SpeechOver(True), ClientCancelled()], Command.DISCARD),
        ([SpeechOver(True), Superseded()], Command.DISCARD),
        ([SpeechOver(False), Transcribed("words"), FloorTaken(False)], Command.DISCARD),
        ([TurnDropped()], Command.DISCARD),
    ],
)
def test_the_fate_of_a_prepared_answer(events: list[TurnInput], fate: Command) -> None:
    """It goes on when the end is certain; whatever else follows throws it away."""
    _, told = lived(begin_listening(), [*LIKELY, *events])
    other = Command.DISCARD if fate is Command.ANSWER else Command.ANSWER
    assert told.count(Command.PREPARE) == told.count(fate) == 1
    assert other not in told


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([SpeechOver(True), Transcribed("words"), FloorTaken(False), AnswerOver("completed")], "answered"),
        ([SpeechOver(True), Transcribed("unheard"), FloorTaken(False)], "unheard"),
        ([SpeechOver(True), Transcribed("unheard"), FloorTaken(True), AnswerOver("completed")], "answered"),
        ([SpeechOver(True), Transcribed("failed"), FloorTaken(True), AnswerOver("completed")], "answered"),
        ([SpeechOver(True), Transcribed("failed"), FloorTaken(False)], "failed"),
        ([SpeechOver(True), Transcribed("ignored"), FloorTaken(False)], "ignored"),
        ([SpeechOver(False), Transcribed("words"), FloorTaken(False)], "unanswered"),
        ([SpeechOver(False), AnswerWanted(), Transcribed("unheard"), FloorTaken(False), AnswerOver("completed")], "answered"),  # noqa: E501
        ([SpeechOver(True), Superseded(), Transcribed("words"), FloorTaken(False)], "unanswered"),
        ([SpeechOver(True), ClientCancelled(), Transcribed("words"), FloorTaken(True)], "cancelled"),
        ([SpeechOver(True), Transcribed("words"), FloorTaken(False), AnswerOver("cancelled", "turn_detected")], "interrupted"),  # noqa: E501
        ([TurnDropped()], "dropped"),
    ],
)  # fmt: skip
def test_why_a_turn_ends(events: list[TurnInput], reason: str) -> None:
    """The course of each kind of turn."""
    assert lived(begin_listening(), events)[0].reason == reason
