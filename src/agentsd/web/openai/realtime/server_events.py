"""Events of a call as the Realtime API's server events (its general-availability shapes).

https://platform.openai.com/docs/api-reference/realtime-server-events. Extensions: ``agent`` and
``agent_version`` in sessions and responses, ``citations`` and ``heard_ms`` in responses.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any

from agentsd.core.errors import AgentsdError
from agentsd.services.voicebot import events as ev
from agentsd.services.voicebot.conversation import ConversationItem, make_id
from agentsd.web.http.problem import Problem, from_error
from agentsd.web.openai.realtime.session import AudioFormat

Frame = dict[str, Any]


def make_error_frame(problem: Problem, event_id: str | None = None) -> Frame:
    """Make an ``error`` event: ``event_id`` is the client's own for the event at fault."""
    return {"type": "error", "error": {**problem.as_openai()["error"], "event_id": event_id}}


def make_user_item(item: ConversationItem, kind: str = "input_text") -> Frame:
    """Make the item of a message from a caller, or from a client in another role."""
    said = {"input_audio": "transcript", "output_audio": "transcript"}.get(kind, "text")
    content = [{"type": kind, said: item.text or None}]
    return {
        "id": item.id,
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        "role": item.role,
        "content": content,
    }


class ServerEvents:
    """Converter from call events to frames. It keeps the answer in progress and its audio format."""

    def __init__(self, conversation_id: str) -> None:
        self._conversation = conversation_id
        self._began: ev.AnswerBegan | None = None
        self._format = AudioFormat()
        self._text: list[str] = []

    def of(self, event: ev.CallEvent) -> Iterator[Frame]:
        """Return the frames for ``event``, in order; the caller adds ``event_id``."""
        match event:
            case ev.AnswerSound():
                encoded = b64encode(self._format.encode(event.pcm)).decode()
                yield self._part("response.output_audio.delta", delta=encoded)
            case ev.AnswerText():
                self._text.append(event.delta)
                yield self._part(f"response.{self._words}.delta", delta=event.delta)
            case ev.AnswerBegan():
                yield from self._answer_began(event)
            case ev.AnswerEnded():
                yield from self._answer_ended(event)
            case ev.AnswerTruncated():
                yield _make_truncated_frame(event.item, event.heard_ms)
            case ev.TurnFailed():
                yield make_error_frame(from_error(event.error))
            case ev.EmbedderNote():
                yield dict(event.value)
            case ev.AgentServes():
                return
            case _:
                yield from _make_caller_frames(event)

    # Answers

    @property
    def _words(self) -> str:
        return "output_audio_transcript" if self._began and self._began.aloud else "output_text"

    def _answer_began(self, event: ev.AnswerBegan) -> Iterator[Frame]:
        self._began, self._text = event, []
        self._format = event.label if isinstance(event.label, AudioFormat) else AudioFormat()
        item = self._item("in_progress", None)
        yield {"type": "response.created", "response": self._response("in_progress", [])}
        yield self._placed("response.output_item.added", item=item)
        yield {"type": "conversation.item.added", "previous_item_id": event.previous, "item": item}
        part = {"type": "audio", "transcript": ""} if event.aloud else {"type": "text", "text": ""}
        yield self._part("response.content_part.added", part=part)

    def _answer_ended(self, event: ev.AnswerEnded) -> Iterator[Frame]:
        began, text = self._began, "".join(self._text)
        if began is None:
            return
        said = "transcript" if began.aloud else "text"
        if began.aloud:
            yield self._part("response.output_audio.done")
        yield self._part(f"response.{self._words}.done", **{said: text})
        part = {"type": "audio" if began.aloud else "text", said: text}
        yield self._part("response.content_part.done", part=part)
        item = self._item("completed" if event.status == "completed" else "incomplete", event.text)
        yield self._placed("response.output_item.done", item=item)
        yield {"type": "conversation.item.done", "previous_item_id": began.previous, "item": item}
        if event.heard_ms is not None:
            yield _make_truncated_frame(event.item, event.heard_ms)
        response = self._response(event.status, [item]) | _make_outcome(event)
        yield {"type": "response.done", "response": response}
        if event.error is not None:
            yield make_error_frame(from_error(event.error))

    def _item(self, status: str, text: str | None) -> Frame:
        aloud = self._began is not None and self._began.aloud
        content: list[Frame] = []
        if text is not None:
            content = [
                {"type": "output_audio", "transcript": text}
                if aloud
                else {"type": "output_text", "text": text}
            ]
        return {
            "id": self._began.item if self._began else "",
            "object": "realtime.item",
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": content,
        }

    def _response(self, status: str, output: list[Frame]) -> Frame:
        began = self._began
        assert began is not None  # noqa: S101  (called between began and ended only)
        return {
            "object": "realtime.response",
            "id": began.answer,
            "conversation_id": self._conversation,
            "status": status,
            "status_details": None,
            "output": output,
            "output_modalities": ["audio" if began.aloud else "text"],
            "audio": {"output": {"format": self._format.view()}} if began.aloud else None,
            "usage": None,
            "agent": began.agent,
            "agent_version": began.version,
        }

    def _placed(self, kind: str, **fields: Any) -> Frame:
        answer = self._began.answer if self._began else ""
        return {"type": kind, "response_id": answer, "output_index": 0, **fields}

    def _part(self, kind: str, **fields: Any) -> Frame:
        item = self._began.item if self._began else ""
        return self._placed(kind, item_id=item, content_index=0, **fields)


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
            failed = make_error_frame(from_error(event.error))
            yield {
                "type": f"{transcription}.failed",
                "item_id": event.item,
                "content_index": 0,
                "error": {key: failed["error"][key] for key in ("type", "code", "message", "param")},
            }
            yield failed


def _make_committed_frames(event: ev.UtteranceCommitted) -> Iterator[Frame]:
    item = make_user_item(ConversationItem(event.item, "user"), "input_audio")
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
    if event.status == "cancelled":
        details = {"type": "cancelled", "reason": event.reason}
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
    return {
        "total_tokens": read + written,
        "input_tokens": read,
        "output_tokens": written,
        "input_token_details": {"text_tokens": read, "audio_tokens": 0, "cached_tokens": 0},
        "output_token_details": {"text_tokens": written, "audio_tokens": 0},
    }


def _get_token_count(usage: Mapping[str, Any], key: str) -> int:
    value = usage.get(key)
    return value if isinstance(value, int) else 0


__all__ = ["Frame", "ServerEvents", "make_error_frame", "make_id", "make_user_item"]
