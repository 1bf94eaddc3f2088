"""Record of a turn of a call, from what is left when it has ended. Pure."""

from __future__ import annotations

from agentsd.services.turn_records.record import TurnRecord, TurnTimes, TurnUsage, read_token_usage
from agentsd.services.voicebot.turns import CallTurn


def make_call_record(conversation: str, turn: CallTurn, now: float) -> TurnRecord:
    """Return the record of a turn that ends ``now``."""
    answer, utterance = turn.answer, turn.utterance
    tokens_in, tokens_out, cached = read_token_usage(answer.usage if answer else None)
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
    usage = TurnUsage(
        tokens_in,
        tokens_out,
        cached,
        answer.spoken_characters if answer else 0,
        utterance.seconds if utterance else 0.0,
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
        interrupted=turn.state.reason == "interrupted",
        error=type(turn.error).__name__ if turn.error is not None else None,
    )
