"""Events ``agentsd.turn.done``, how one turn ended and when, and ``agentsd.answer.discarded``.

Extensions, sent to clients that ask for them by ``include: ["agentsd.turn"]``: some clients of OpenAI's
interface treat an event of an unknown type as an error. The first contains no text of the conversation.
"""

from __future__ import annotations

from agentsd.services.turn_records.record import TurnTimes
from agentsd.services.voicebot import events as ev
from agentsd.web.openai.realtime.items import Frame
from agentsd.web.openai.realtime.response_request import ResponseEcho

REPORTS = (ev.TurnEnded, ev.AnswerDiscarded)
"""Events of a call that only such clients get."""

_STEPS = ("speech_ended", "transcribed", "first_token", "first_sound", "ended")


def make_report_frame(event: ev.TurnEnded | ev.AnswerDiscarded) -> Frame:
    """Return the frame of an event of ``REPORTS``."""
    return _make_turn_frame(event) if isinstance(event, ev.TurnEnded) else _make_discarded_frame(event)


def _make_turn_frame(event: ev.TurnEnded) -> Frame:
    """Return the event for a turn that has ended."""
    record = event.record
    turn = {
        "object": "agentsd.turn",
        "reason": record.reason,
        "error": record.error,
        "item_id": event.item,
        "response_id": event.answer,
        "client_event_id": event.ask.event_id if isinstance(event.ask, ResponseEcho) else None,
        "agent": record.agent.slug if record.agent else None,
        "agent_version": record.agent.version if record.agent else None,
        "times_ms": _count_times(record.times),
        "answers_discarded": record.usage.answers_discarded,
        "tokens_discarded": record.usage.tokens_discarded,
        "tools": [
            {"name": one.name, "outcome": one.outcome, "ms": round(one.milliseconds)} for one in record.tools
        ],
    }
    return {"type": "agentsd.turn.done", "turn": turn}


def _make_discarded_frame(event: ev.AnswerDiscarded) -> Frame:
    """Return the event for an answer that was prepared, and that nobody heard."""
    answer = {
        "object": "agentsd.answer",
        "item_id": event.item,
        "reason": event.reason,
        "text": event.text,
        "tokens": event.tokens,
        "characters": event.characters,
        "sound_ms": event.sound_ms,
    }
    return {"type": "agentsd.answer.discarded", "answer": answer}


def _count_times(times: TurnTimes) -> dict[str, int | None]:
    """Return when each step was done, in ms after the last sound of the caller, or after the request."""
    start = next(one for one in (times.last_sound, times.speech_ended, times.began) if one is not None)
    moments = {step: getattr(times, step) for step in _STEPS}
    return {step: None if at is None else round((at - start) * 1000) for step, at in moments.items()}
