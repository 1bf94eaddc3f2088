"""Client events of the Realtime API, with one handler each. Every fault of an event is a ``Problem``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from sys import getsizeof
from typing import Any

import orjson
from pydantic import Field

from agentsd.core.errors import AgentsdError
from agentsd.services.voicebot.call import Call
from agentsd.services.voicebot.conversation import TEXT_BYTES_MAX
from agentsd.services.voicebot.turns import AnswerRequest
from agentsd.web.http.problem import Problem, bad_request, from_error
from agentsd.web.openai.realtime.fields import RealtimeModel, limit_refusals, parse_model, refuse_value
from agentsd.web.openai.realtime.items import APPROVED, Frame, decode_base64, make_item, parse_item
from agentsd.web.openai.realtime.override_filter import filter_response, make_refusal
from agentsd.web.openai.realtime.response_request import parse_response
from agentsd.web.openai.realtime.server_events import make_error_frame
from agentsd.web.openai.realtime.session import RealtimeSession
from agentsd.web.openai.realtime.session_update import SessionEditor

Event = Mapping[str, Any]

ROOT = "root"
"""Value of ``previous_item_id`` that places an item first."""

IDLE_PROMPT = "(The caller has said nothing for a while.)"
"""Message to the model after ``idle_timeout_ms`` of silence."""

_REALTIME_ONLY = ("response.", "conversation.item.create", "conversation.item.truncate")
"""Events, or beginnings of them, that have no meaning in a transcription session."""


class Truncation(RealtimeModel):
    """Fields of ``conversation.item.truncate``."""

    item_id: str
    audio_end_ms: int = Field(ge=0)


class ClientEvents:
    """Handlers for the client events of one call. ``resolve`` maps a model to what the call can lease."""

    def __init__(self, call: Call, session: RealtimeSession, resolve: Callable[[str], str]) -> None:
        self.session = session
        self._call = call
        self._resolve = resolve
        self._event_id: str | None = None
        self._truncated = False  # an answer under way was truncated, which may have ended it
        self._odd = b""  # first byte of a sample whose second comes with the next append
        self._heard_bytes = 0.0
        self._settings_bytes = 0

    @property
    def held(self) -> int:
        """Return the bytes of memory that the call and its settings hold."""
        return self._call.held + self._settings_bytes

    @property
    def heard_ms(self) -> int:
        """Return how much audio the client has appended, in milliseconds."""
        return round(self._heard_bytes)

    async def handle(self, event: Event, event_id: str | None) -> None:
        """Execute ``event``. Raise ``Problem`` or an ``AgentsdError``; then nothing was changed."""
        self._event_id = event_id
        kind = event.get("type")
        handler = EVENT_HANDLERS.get(kind) if isinstance(kind, str) else None
        if handler is None:
            raise bad_request(
                "unknown type of client event",
                param="type",
                hint="known: " + ", ".join(EVENT_HANDLERS),
            )
        if self.session.kind == "transcription" and str(kind).startswith(_REALTIME_ONLY):
            raise bad_request(f"{kind} has no meaning in a transcription session", param="type")
        waiting = handler(self, event)
        if waiting is not None:
            await waiting

    def report_session(self, kind: str = "session.updated") -> None:
        """Send the current session, in its place among the events."""
        self._call.note({"type": kind, "session": self.view()}, len(self.session.instructions))

    def view(self) -> Frame:
        """Return ``session`` as in events."""
        settings = self._call.turn_settings
        turn = settings.model_dump() | {"interrupt": settings.interruption.enabled}
        return self.session.view(self._call.serving, turn)

    def prompt_idle(self, since_ms: int) -> None:
        """Commit the caller's silence as an item, and ask for an answer to it."""
        item, previous = self._call.add_silence()
        self._call.note(
            {
                "type": "input_audio_buffer.timeout_triggered",
                "item_id": item.id,
                "audio_start_ms": since_ms,
                "audio_end_ms": self.heard_ms,
            }
        )
        placed = {"previous_item_id": previous}
        self._call.note({"type": "input_audio_buffer.committed", "item_id": item.id, **placed})
        for kind in ("added", "done"):
            self._call.note({"type": f"conversation.item.{kind}", "item": make_item(item), **placed})
        self._call.respond(AnswerRequest(prompt=IDLE_PROMPT))

    # Session

    async def _session_update(self, event: Event) -> None:
        editor = SessionEditor(self.session, self._call.serving, begun=self._call.begun)
        editor.begin(event.get("session"))
        switching = await self._switch(editor)
        editor.finish()
        if editor.transcriber is not None and editor.session.kind == "transcription":
            await self._switch_transcriber(editor.transcriber)
        problems = [*limit_refusals(editor.refused), *switching]
        for problem in problems:
            self._call.note(make_error_frame(problem, self._event_id))
        if editor.applied or not problems:
            self._apply(editor.session)
            self.report_session()

    async def _switch(self, editor: SessionEditor) -> list[Problem]:
        """Switch to the agent that an update names; return what is wrong with it."""
        try:
            if editor.model is not None:
                await self._call.switch(self._resolve(editor.model))
                editor.applied += 1
        except AgentsdError as error:
            editor.applied -= 1
            return [from_error(error)]
        except Problem as problem:
            editor.applied -= 1
            return [problem]
        return []

    async def _switch_transcriber(self, model: str) -> None:
        """Let the agent of that name transcribe. Names of OpenAI's models change nothing."""
        try:
            await self._call.switch(self._resolve(model))
        except (Problem, AgentsdError):
            return

    def _apply(self, session: RealtimeSession) -> None:
        if session.input != self.session.input:
            self._odd = b""
        self.session = session
        self._call.preferences = session.preferences()
        tools = len(orjson.dumps(session.tools)) if session.tools else 0
        values = sum(map(getsizeof, session.variables.values()))
        self._settings_bytes = getsizeof(session.instructions) + tools + values

    # Audio

    def _commit(self, _: Event) -> None:
        self._odd = b""
        self._call.commit()

    def _clear(self, _: Event) -> None:
        self._odd = b""
        self._call.clear()

    async def _append(self, event: Event) -> None:
        data = decode_base64(event.get("audio"), "audio")
        form = self.session.input
        if form.law is None:
            data = self._odd + data
            cut = len(data) - len(data) % 2
            data, self._odd = data[:cut], data[cut:]
        self._heard_bytes += len(data) * 1000 / (form.hertz * (1 if form.law else 2))
        if data:
            await self._call.feed(form.decode(data))

    # Items

    async def _item_create(self, event: Event) -> None:
        conversation, after = self._call.conversation, event.get("previous_item_id")
        parsed = parse_item(event.get("item"), "item", conversation)
        item = parsed.item
        if item.role == "system" and not self._call.serving.policy.accepts_instructions(item.text):
            raise make_refusal("item.role", "instructions")
        if conversation.find(item.id):
            detail = "there is an item of this id already"
            raise Problem(400, "item_create_duplicate_item_id", detail, param="item.id")
        if (
            after is not None
            and after != ROOT
            and (not isinstance(after, str) or not conversation.find(after))
        ):
            raise _make_no_item("previous_item_id")
        if not conversation.fits(item):
            raise Problem(
                413,
                "conversation_too_large",
                f"the texts of one call are limited to {TEXT_BYTES_MAX} bytes",
                hint="send less, or delete items with conversation.item.delete",
                param="item",
            )
        pcm = self.session.input.decode(_cut_whole(parsed.audio, self.session)) if parsed.audio else b""
        if pcm:
            self._call.transcribe(item.id, pcm)
        previous = conversation.add(item, None if after == ROOT else after, first=after == ROOT)
        for kind in ("added", "done"):
            frame = {
                "type": f"conversation.item.{kind}",
                "previous_item_id": previous,
                "item": make_item(item),
            }
            self._call.note(frame, len(item.text))
        if item.kind == "approval_response" and (asked := conversation.find(item.call_id)) is not None:
            await self._call.answer_approval(asked, approve=item.text == APPROVED)

    def _item_delete(self, event: Event) -> None:
        item_id = event.get("item_id")
        if not isinstance(item_id, str) or not self._call.conversation.remove(item_id):
            raise _make_no_item("item_id", "item_delete_invalid_item_id")
        self._call.note({"type": "conversation.item.deleted", "item_id": item_id})

    def _item_retrieve(self, event: Event) -> None:
        item_id = event.get("item_id")
        item = self._call.conversation.find(item_id) if isinstance(item_id, str) else None
        if item is None:
            raise _make_no_item("item_id", "item_retrieve_invalid_item_id")
        self._call.note({"type": "conversation.item.retrieved", "item": make_item(item)}, len(item.text))

    def _item_truncate(self, event: Event) -> None:
        wanted = parse_model(Truncation, event, "")
        if not self._call.truncate(wanted.item_id, wanted.audio_end_ms):
            raise Problem(
                400,
                "item_truncate_invalid_item_id",
                "only the newest answer can be truncated",
                param="item_id",
            )
        self._truncated = True

    # Responses

    def _response_create(self, event: Event) -> None:
        conversation, serving = self._call.conversation, self._call.serving
        asked, refused = filter_response(serving.policy, serving.turn, event.get("response"))
        request = parse_response(asked, self.session, conversation, self._event_id)
        for problem in refused:
            self._call.note(make_error_frame(problem, self._event_id))
        self._call.respond(request)
        self._truncated = False

    def _response_cancel(self, event: Event) -> None:
        answer = event.get("response_id")
        if answer is not None and not isinstance(answer, str):
            raise refuse_value("response_id")
        if not self._call.cancel(answer):
            if self._truncated and answer is None:  # clients truncate first, and cancel then
                self._truncated = False
                return
            detail = "Cancellation failed: there is no response to cancel"  # clients know its beginning
            if answer is not None:
                detail = "Cancellation failed: no response of this id is in progress"
            param = None if answer is None else "response_id"
            raise Problem(400, "response_cancel_not_active", detail, param=param)


def _cut_whole(audio: bytes, session: RealtimeSession) -> bytes:
    """Return whole samples."""
    return audio if session.input.law else audio[: len(audio) - len(audio) % 2]


def _make_no_item(param: str, code: str = "item_not_found") -> Problem:
    return Problem(400, code, "the conversation has no such item", param=param)


EVENT_HANDLERS: Mapping[str, Callable[[ClientEvents, Event], Awaitable[None] | None]] = {
    "session.update": ClientEvents._session_update,
    "transcription_session.update": ClientEvents._session_update,  # of the beta interface
    "input_audio_buffer.append": ClientEvents._append,
    "input_audio_buffer.commit": ClientEvents._commit,
    "input_audio_buffer.clear": ClientEvents._clear,
    "conversation.item.create": ClientEvents._item_create,
    "conversation.item.delete": ClientEvents._item_delete,
    "conversation.item.truncate": ClientEvents._item_truncate,
    "conversation.item.retrieve": ClientEvents._item_retrieve,
    "response.create": ClientEvents._response_create,
    "response.cancel": ClientEvents._response_cancel,
}
"""Client events and their handlers; unbound, so that a call's commands do not refer to themselves."""
