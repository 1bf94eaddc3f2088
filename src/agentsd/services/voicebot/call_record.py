"""Record of a turn of a call, from what is left when it has ended. Pure."""

from __future__ import annotations

from dataclasses import replace

from agentsd.services.failures import describe_failure
from agentsd.services.turn_records.record import TurnRecord, TurnTimes, sum_usage
from agentsd.services.voicebot.turns import CallTurn


def make_call_record(conversation: str, turn: CallTurn, now: float) -> TurnRecord:
    """Return the record of a turn that ends ``now``."""
    answer, utterance = turn.answer, turn.utterance
    over = utterance is None or utterance.ended.is_set()
    times = TurnTimes(
        began=turn.began,
        speech_ended=turn.asked_at if over else None,
        transcribed=turn.transcribed_at,
        first_token=answer.first_token_at if answer else None,
        first_sound=answer.first_sound_at if answer else None,
        ended=now,
        last_sound=turn.voiced_at,
    )
    usage = replace(
        sum_usage(
            turn.attempts.meter,
            characters=answer.spoken_characters if answer else 0,
            seconds=utterance.seconds if utterance else 0.0,
        ),
        answers_discarded=len(turn.discarded),
        tokens_discarded=sum(one.answer.tokens for one in turn.discarded),
        characters_discarded=sum(one.answer.spoken_characters for one in turn.discarded),
    )
    return TurnRecord(
        conversation,
        "call",
        turn.agent,
        times,
        turn.state.reason or "dropped",
        usage,
        dict(turn.attempts.answered),
        tuple(turn.attempts.failed),
        answer.tools.uses if answer else (),
        interrupted=turn.state.reason == "interrupted",
        error=type(turn.error).__name__ if turn.error is not None else None,
        failure=describe_failure(turn.error),
        metered=tuple(turn.attempts.meter.used.items()),
    )
