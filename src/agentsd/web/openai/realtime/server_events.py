"""Events of a call as the Realtime API's server events (its general-availability shapes).

https://platform.openai.com/docs/api-reference/realtime-server-events. Extensions: ``agent`` and
``agent_version`` in sessions and responses, ``citations`` and ``heard_ms`` in responses. A failure of a
vendor is in ``response.done`` or ``….failed``: ``error`` is for wrong events, and some clients end at it.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from agentsd.core.errors import AgentsdError
from agentsd.services.voicebot import events as ev
from agentsd.services.voicebot.conversation import ConversationItem
from agentsd.web.http.problem import Problem, from_error
from agentsd.web.openai.realtime.items import Frame, make_item
from agentsd.web.openai.realtime.response_request import ResponseEcho
from agentsd.web.openai.realtime.session import AudioFormat
from agentsd.web.openai.realtime.turn_report import make_report_frame

AnswerPart = (
    ev.AnswerSound
    | ev.AnswerText
    | ev.ToolCallBegan
    | ev.ToolCallDelta
    | ev.ToolCallEnded
    | ev.ServerCallBegan
    | ev.ServerCallEnded
    | ev.ApprovalRequested
)


def make_error_frame(problem: Problem, event_id: str | None = None) -> Frame:
    """Make an ``error`` event: ``event_id`` is the client's own for the event at fault."""
    return {"type": "error", "error": {**problem.as_openai()["error"], "event_id": event_id}}


class ServerEvents:
    """Converter from call events to frames. It keeps the answers in progress."""

    def __init__(self, conversation_id: str) -> None:
        self._conversation = conversation_id
        self._answers: dict[str, ResponseFrames] = {}
        self._late: dict[str, OpenCall] = {}  # calls that go on after their answers, by their items

    def of(self, event: ev.CallEvent) -> Iterator[Frame]:
        """Return the frames for ``event``, in order; the caller adds ``event_id``."""
        match event:
            case ev.AnswerBegan():
                frames = self._answers[event.answer] = ResponseFrames(event, self._conversation)
                yield frames.begin()
            case (
                ev.AnswerSound()
                | ev.AnswerText()
                | ev.ToolCallBegan()
                | ev.ToolCallDelta()
                | ev.ToolCallEnded()
                | ev.ServerCallBegan()
                | ev.ServerCallEnded()
                | ev.ApprovalRequested()
            ):
                yield from self._take_part(event)
            case ev.AnswerEnded():
                ended = self._answers.pop(event.answer, None)
                if ended is not None:
                    yield from ended.end(event)
                    self._late |= ended.open_calls
            case ev.AnswerTruncated():
                yield _make_truncated_frame(event.item, event.heard_ms)
            case ev.TurnFailed():
                asked = event.ask.event_id if isinstance(event.ask, ResponseEcho) else None
                yield make_error_frame(from_error(event.error), asked)
            case ev.EmbedderNote():
                yield dict(event.value)
            case ev.TurnEnded() | ev.AnswerDiscarded():
                yield make_report_frame(event)
            case _:
                yield from _make_caller_frames(event)

    def _take_part(self, event: AnswerPart) -> Iterator[Frame]:
        answer = self._answers.get(event.answer)
        if answer is not None:
            yield from answer.take(event)
        elif isinstance(event, ev.ServerCallEnded) and event.item in self._late:
            yield from self._late.pop(event.item).end(event)


@dataclass(frozen=True, slots=True)
class OpenCall:
    """Call that this server runs, and that has not ended."""

    item: ConversationItem
    previous: str | None
    index: int  # in the answer's output
    kept: bool  # part of the conversation

    def end(self, event: ev.ServerCallEnded) -> Iterator[Frame]:
        """Yield the frames of its end: whether it worked, and the item with what it returned."""
        kind = "completed" if event.result.ok else "failed"
        yield {"type": f"response.mcp_call.{kind}", "item_id": self.item.id, "output_index": self.index}
        if self.kept:
            item = make_item(replace(self.item, result=event.result))
            yield {"type": "conversation.item.done", "previous_item_id": self.previous, "item": item}


class ResponseFrames:
    """Frames of one answer: its message, if it has text, and its calls of tools, in the order they began."""

    def __init__(self, began: ev.AnswerBegan, conversation: str) -> None:
        self._began = began
        self._conversation = conversation if began.kept else None
        self._echo = began.ask if isinstance(began.ask, ResponseEcho) else ResponseEcho()
        label = began.label if isinstance(began.label, AudioFormat) else AudioFormat()
        self._format = self._echo.format or label
        self._text: list[str] = []
        self._items: dict[str, Frame] = {}  # by id, in the order they began
        self._previous: dict[str, str | None] = {}
        self.open_calls: dict[str, OpenCall] = {}  # of this server, by their items
        self._message_previous = began.previous

    def begin(self) -> Frame:
        """Return the first frame."""
        return {"type": "response.created", "response": self._response("in_progress")}

    def take(self, event: AnswerPart) -> Iterator[Frame]:
        """Return the frames for one event of the answer."""
        match event:
            case ev.AnswerSound():
                yield from self._open_message()
                encoded = b64encode(self._format.encode(event.pcm)).decode()
                yield self._part("response.output_audio.delta", delta=encoded)
            case ev.AnswerText():
                yield from self._open_message()
                self._text.append(event.delta)
                yield self._part(f"response.{self._words}.delta", delta=event.delta)
            case ev.ToolCallBegan():
                item = ConversationItem(
                    event.item, "assistant", kind="call", call_id=event.call_id, name=event.name
                )
                yield from self._add_item(make_item(item, "in_progress"), event.previous)
            case ev.ToolCallDelta():
                call_id = self._items[event.item]["call_id"]
                kind = "response.function_call_arguments.delta"
                yield self._placed(kind, event.item, item_id=event.item, call_id=call_id, delta=event.delta)
            case ev.ToolCallEnded():
                yield from self._end_call(event)
            case ev.ServerCallBegan():
                yield from self._begin_server_call(event)
            case ev.ServerCallEnded():
                yield from self._end_server_call(event)
            case ev.ApprovalRequested():
                yield from self._ask_approval(event)

    def end(self, event: ev.AnswerEnded) -> Iterator[Frame]:
        """Return the last frames."""
        for open_call in self.open_calls.values():  # ends later, beside what follows
            yield self._make_item_done(self._items[open_call.item.id])
        if event.item in self._items:
            yield from self._close_message(event)
        if event.heard_ms is not None and event.item in self._items:
            yield _make_truncated_frame(event.item, event.heard_ms)
        yield {"type": "response.done", "response": self._response(event.status) | _make_outcome(event)}

    @property
    def _words(self) -> str:
        return "output_audio_transcript" if self._began.aloud else "output_text"

    def _open_message(self) -> Iterator[Frame]:
        began = self._began
        if began.item in self._items:
            return
        item = {**make_item(ConversationItem(began.item, "assistant"), "in_progress"), "content": []}
        yield from self._add_item(item, self._message_previous)
        part = {"type": "audio", "transcript": ""} if began.aloud else {"type": "text", "text": ""}
        yield self._part("response.content_part.added", part=part)

    def _close_message(self, event: ev.AnswerEnded) -> Iterator[Frame]:
        aloud, text = self._began.aloud, "".join(self._text)
        said = "transcript" if aloud else "text"
        if aloud:
            yield self._part("response.output_audio.done")
        yield self._part(f"response.{self._words}.done", **{said: text})
        yield self._part(
            "response.content_part.done", part={"type": "audio" if aloud else "text", said: text}
        )
        item = make_item(
            ConversationItem(event.item, "assistant", event.text, spoken=aloud),
            "completed" if event.status == "completed" else "incomplete",
        )
        item["content"][0][said] = event.text
        yield from self._end_item(item)

    def _end_call(self, event: ev.ToolCallEnded) -> Iterator[Frame]:
        item = {**self._items[event.item], "arguments": event.arguments}
        item["status"] = "completed" if event.whole else "incomplete"
        if event.whole:
            call = {key: item[key] for key in ("call_id", "name", "arguments")}
            kind = "response.function_call_arguments.done"
            yield self._placed(kind, event.item, item_id=event.item, **call)
        yield from self._end_item(item)

    def _begin_server_call(self, event: ev.ServerCallBegan) -> Iterator[Frame]:
        item = ConversationItem(
            event.item,
            "assistant",
            event.arguments,
            "server_call",
            call_id=event.call_id,
            name=event.name,
        )
        yield from self._add_item(make_item(item), event.previous)
        index = len(self._items) - 1
        self.open_calls[item.id] = OpenCall(item, event.previous, index, self._began.kept)
        if self._began.item not in self._items:
            self._message_previous = item.id
        kind = "response.mcp_call_arguments.done"
        yield self._placed(kind, item.id, item_id=item.id, arguments=item.text)
        yield {"type": "response.mcp_call.in_progress", "item_id": item.id, "output_index": index}

    def _ask_approval(self, event: ev.ApprovalRequested) -> Iterator[Frame]:
        item = ConversationItem(event.item, "assistant", event.arguments, "approval_request", name=event.name)
        frame = make_item(item)
        yield from self._add_item(frame, event.previous)
        yield from self._end_item(frame)
        if self._began.item not in self._items:
            self._message_previous = item.id

    def _end_server_call(self, event: ev.ServerCallEnded) -> Iterator[Frame]:
        """Return the frames for the end of a call that this server ran."""
        ended = self.open_calls.pop(event.item, None)
        if ended is None:
            return
        outcome, *rest = ended.end(event)
        yield outcome
        item = self._items[event.item] = make_item(replace(ended.item, result=event.result))
        yield self._make_item_done(item)
        yield from rest

    def _add_item(self, item: Frame, previous: str | None) -> Iterator[Frame]:
        self._items[item["id"]], self._previous[item["id"]] = item, previous
        yield self._placed("response.output_item.added", item["id"], item=item)
        if self._began.kept:
            yield {"type": "conversation.item.added", "previous_item_id": previous, "item": item}

    def _end_item(self, item: Frame) -> Iterator[Frame]:
        self._items[item["id"]] = item
        yield self._make_item_done(item)
        if self._began.kept:
            previous = self._previous[item["id"]]
            yield {"type": "conversation.item.done", "previous_item_id": previous, "item": item}

    def _make_item_done(self, item: Frame) -> Frame:
        return self._placed("response.output_item.done", item["id"], item=item)

    def _response(self, status: str) -> Frame:
        began = self._began
        output = {"format": self._format.view(), "voice": None}
        return {
            "object": "realtime.response",
            "id": began.answer,
            "conversation_id": self._conversation,
            "status": status,
            "status_details": None,
            "output": list(self._items.values()),
            "output_modalities": ["audio" if began.aloud else "text"],
            "audio": {"output": output} if began.aloud else None,
            "max_output_tokens": self._echo.max_output_tokens or "inf",
            "metadata": self._echo.metadata,
            "usage": None,
            "agent": began.agent,
            "agent_version": began.version,
        }

    def _placed(self, kind: str, item: str, /, **fields: Any) -> Frame:
        place = list(self._items).index(item)
        return {"type": kind, "response_id": self._began.answer, "output_index": place, **fields}

    def _part(self, kind: str, **fields: Any) -> Frame:
        item = self._began.item
        return self._placed(kind, item, item_id=item, content_index=0, **fields)


def _make_caller_frames(event: ev.CallEvent) -> Iterator[Frame]:
    """Return the frames for the caller's speech."""
    transcription = "conversation.item.input_audio_transcription"
    match event:
        case ev.SpeechBegan():
            yield {
                "type": "input_audio_buffer.speech_started",
                "audio_start_ms": event.at_ms,
                "item_id": event.item,
            }
        case ev.SpeechEnded():
            yield {
                "type": "input_audio_buffer.speech_stopped",
                "audio_end_ms": event.at_ms,
                "item_id": event.item,
            }
        case ev.UtteranceCommitted():
            yield from _make_committed_frames(event)
        case ev.UtteranceCleared():
            yield {"type": "input_audio_buffer.cleared"}
        case ev.TranscriptDelta():
            yield {
                "type": f"{transcription}.delta",
                "item_id": event.item,
                "content_index": 0,
                "delta": event.delta,
            }
        case ev.TranscriptCompleted():
            yield {
                "type": f"{transcription}.completed",
                "item_id": event.item,
                "content_index": 0,
                "transcript": event.text,
                "usage": {"type": "duration", "seconds": round(event.seconds, 3)},
            }
        case ev.TranscriptFailed():
            error = from_error(event.error).as_openai()["error"]
            yield {
                "type": f"{transcription}.failed",
                "item_id": event.item,
                "content_index": 0,
                "error": {key: error[key] for key in ("type", "code", "message", "param")},
            }


def _make_committed_frames(event: ev.UtteranceCommitted) -> Iterator[Frame]:
    item = make_item(ConversationItem(event.item, "user", spoken=True))
    placed = {"previous_item_id": event.previous}
    yield {"type": "input_audio_buffer.committed", "item_id": event.item, **placed}
    yield {"type": "conversation.item.added", "item": item, **placed}
    yield {"type": "conversation.item.done", "item": item, **placed}


def _make_truncated_frame(item: str, heard_ms: int) -> Frame:
    return {
        "type": "conversation.item.truncated",
        "item_id": item,
        "content_index": 0,
        "audio_end_ms": heard_ms,
    }


def _make_outcome(event: ev.AnswerEnded) -> Frame:
    details: Frame | None = None
    if event.status in ("cancelled", "incomplete"):
        details = {"type": event.status, "reason": event.reason}
    elif event.error is not None:
        details = {"type": "failed", "error": _summarize_error(event.error)}
    extra: Frame = {"citations": list(event.citations)} if event.citations else {}
    if event.heard_ms is not None:
        extra["heard_ms"] = event.heard_ms
    return {"status_details": details, "usage": _convert_usage(event.usage), **extra}


def _summarize_error(error: AgentsdError) -> Frame:
    told = from_error(error).as_openai()["error"]
    return {"type": told["type"], "code": told["code"], "message": told["message"]}


def _convert_usage(usage: Mapping[str, Any] | None) -> Frame | None:
    """Convert chat completions' usage to the Realtime API's fields; None where the LLM sent none."""
    if usage is None:
        return None
    read, written = _get_token_count(usage, "prompt_tokens"), _get_token_count(usage, "completion_tokens")
    details = usage.get("prompt_tokens_details")
    cached = _get_token_count(details, "cached_tokens") if isinstance(details, Mapping) else 0
    return {
        "total_tokens": read + written,
        "input_tokens": read,
        "output_tokens": written,
        "input_token_details": {
            "text_tokens": read,
            "audio_tokens": 0,
            "image_tokens": 0,
            "cached_tokens": cached,
            "cached_tokens_details": {"text_tokens": cached, "audio_tokens": 0, "image_tokens": 0},
        },
        "output_token_details": {"text_tokens": written, "audio_tokens": 0},
    }


def _get_token_count(usage: Mapping[str, Any], key: str) -> int:
    value = usage.get(key)
    return value if isinstance(value, int) else 0
