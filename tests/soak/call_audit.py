"""What is wrong with a call, read from the events that its client got. Pure.

Every turn ends once, with a reason, and whoever said something hears an answer, or what failed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Events = Sequence[dict[str, Any]]

TURN_DONE = "agentsd.turn.done"
TRANSCRIBED = "conversation.item.input_audio_transcription.completed"
UNTRANSCRIBED = "conversation.item.input_audio_transcription.failed"
NOT_WORDS = frozenset({"unheard", "ignored", "echo", "dropped"})


@dataclass(frozen=True)
class Asked:
    """A ``response.create``: its id, and how many events had come before it."""

    event_id: str
    at: int


def find_open(events: Events, asked: Sequence[Asked]) -> list[str]:
    """Return what has begun and not ended."""
    ended = {turn["item_id"] for turn in reports(events)}
    begun = dict.fromkeys(event["item_id"] for event in events if event["type"] in _BEGIN_SPEECH)
    answers = dict.fromkeys(_responses(events, "response.created"))
    over = set(_responses(events, "response.done"))
    settled = {turn["client_event_id"] for turn in reports(events)}
    settled |= {event["error"].get("event_id") for event in events if event["type"] == "error"}
    return [
        *(f"speech {item}" for item in begun if item not in ended),
        *(f"answer {answer}" for answer in answers if answer not in over),
        *(f"request {one.event_id}" for one in asked if one.event_id not in settled),
    ]


def describe(events: Events) -> list[str]:
    """Return the events that matter for turns in short: their type, and whose they are."""
    shown = []
    for event in events:
        kind, turn = event["type"], event.get("turn") or {}
        if kind == TURN_DONE:
            whose = f"{_short(turn['item_id'])} {_short(turn['response_id'])} {turn['reason']}"
        elif kind.startswith("response.") and "response" in event:
            whose = f"{_short(event['response']['id'])} {event['response']['status']}"
        elif kind.startswith(("input_audio", "conversation.item.input")) or kind == "error":
            whose = f"{_short(event.get('item_id'))} {event.get('transcript', '')[:12]!r}"
        else:
            continue
        shown.append(f"{kind.rpartition('_')[2] if 'transcription' in kind else kind} {whose}")
    return shown


def _short(name: str | None) -> str:
    return name[-4:] if name else "-"


def find_faults(events: Events, asked: Sequence[Asked], *, apologises: bool) -> list[str]:
    """Return what is wrong with a call in which no turn is in progress.

    ``apologises``: its agent has a sentence for failures.
    """
    faults = [f"never ended: {one}" for one in find_open(events, asked)]
    faults += _find_twice(events)
    for turn in reports(events):
        faults += _judge_turn(events, turn)
    if _was_left_alone(events, asked):
        faults.append("silence after the last words")
    if apologises and _lacks_apology(events):
        faults.append("no apology after a failure")
    return faults


def reports(events: Events) -> list[dict[str, Any]]:
    """Return the reports of turns."""
    return [event["turn"] for event in events if event["type"] == TURN_DONE]


_BEGIN_SPEECH = frozenset({"input_audio_buffer.speech_started", "input_audio_buffer.committed"})


def _responses(events: Events, kind: str) -> list[str]:
    return [event["response"]["id"] for event in events if event["type"] == kind]


def _find_twice(events: Events) -> Iterator[str]:
    for name, values in {
        "turn of speech": [turn["item_id"] for turn in reports(events)],
        "turn of answer": [turn["response_id"] for turn in reports(events)],
        "response.done": _responses(events, "response.done"),
    }.items():
        yield from (f"{name} {one} ended {n} times" for one, n in Counter(values).items() if one and n > 1)


def _judge_turn(events: Events, turn: dict[str, Any]) -> Iterator[str]:
    answer = turn["response_id"]
    if turn["reason"] == "answered" and not _has_content(events, answer):
        yield f"answered without content: {answer}"
    if turn["reason"] == "failed" and not _shows_failure(events, turn):
        yield f"failed and no event shows it: {turn['error']}"
    times = [one for one in turn["times_ms"].values() if one is not None]
    if min(times) < 0:
        yield f"times before the beginning: {turn['times_ms']}"


_CONTENT = (
    "response.output_audio_transcript.delta",
    "response.output_text.delta",
    "response.function_call_arguments.done",
)


def _has_content(events: Events, answer: str | None) -> bool:
    return any(event["type"] in _CONTENT and event["response_id"] == answer for event in events)


def _shows_failure(events: Events, turn: dict[str, Any]) -> bool:
    for event in events:
        if event["type"] == "error" and event["error"].get("event_id") in (None, turn["client_event_id"]):
            return True
        if event["type"] == UNTRANSCRIBED and event["item_id"] == turn["item_id"]:
            return True
        response = event.get("response") or {}
        if event["type"] == "response.done" and response["id"] == turn["response_id"]:
            return bool(response["status"] == "failed")
    return False


def _was_left_alone(events: Events, asked: Sequence[Asked]) -> bool:
    """Return whether nothing came after the last words of the caller: neither answer nor failure."""
    reasons = {turn["item_id"]: turn["reason"] for turn in reports(events)}
    words = [
        at
        for at, event in enumerate(events)
        if event["type"] == TRANSCRIBED
        and event["transcript"]
        and reasons.get(event["item_id"]) not in NOT_WORDS
    ]  # fmt: skip
    last = max([*words, *(one.at - 1 for one in asked)], default=None)
    return last is not None and not any(_answers(event) for event in events[last + 1 :])


def _answers(event: dict[str, Any]) -> bool:
    """Return whether an event is an answer, a failure, or the end of a turn that the client cancelled."""
    if event["type"] == TURN_DONE:
        return event["turn"]["reason"] in ("cancelled", "failed")
    return event["type"] in ("response.created", "error")


def _lacks_apology(events: Events) -> bool:
    """Return whether the last failure of a turn was followed by nothing. An apology that fails is none."""
    answers = {turn["response_id"] for turn in reports(events)}
    failures = [at for at, event in enumerate(events) if _is_failure(event, answers)]
    return bool(failures) and not any(event["type"] == "response.created" for event in events[failures[-1] :])


def _is_failure(event: dict[str, Any], answers: set[str | None]) -> bool:
    if event["type"] == "response.done":
        return event["response"]["status"] == "failed" and event["response"]["id"] in answers
    return bool(event["type"] == UNTRANSCRIBED)
