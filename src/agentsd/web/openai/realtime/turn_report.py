"""Event ``agentsd.turn.done``: how one turn ended, and when each of its steps was done.

An extension, sent to clients that ask for it by ``include: ["agentsd.turn"]``: some clients of OpenAI's
interface treat an event of an unknown type as an error. It contains no text of the conversation.
"""

from __future__ import annotations

from agentsd.services.turn_records.record import TurnTimes
from agentsd.services.voicebot import events as ev
from agentsd.web.openai.realtime.items import Frame
from agentsd.web.openai.realtime.response_request import ResponseEcho

_STEPS = ("speech_ended", "transcribed", "first_token", "first_sound", "ended")


def make_turn_frame(event: ev.TurnEnded) -> Frame:
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
        "tools": [
            {"name": one.name, "outcome": one.outcome, "ms": round(one.milliseconds)} for one in record.tools
        ],
    }
    return {"type": "agentsd.turn.done", "turn": turn}


def _count_times(times: TurnTimes) -> dict[str, int | None]:
    """Return when each step was done, in ms after the last sound of the caller, or after the request."""
    start = next(one for one in (times.last_sound, times.speech_ended, times.began) if one is not None)
    moments = {step: getattr(times, step) for step in _STEPS}
    return {step: None if at is None else round((at - start) * 1000) for step, at in moments.items()}
