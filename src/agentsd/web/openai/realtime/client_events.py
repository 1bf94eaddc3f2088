"""Client events of the Realtime API, with one handler each. Every fault of an event is a ``Problem``."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

from pydantic import Field

from agentsd.services.voicebot.call import Call
from agentsd.services.voicebot.conversation import TEXT_BYTES_MAX, ConversationItem, Role, make_id
from agentsd.services.voicebot.turns import AnswerRequest
from agentsd.web.http.problem import Problem, bad_request
from agentsd.web.openai.realtime.server_events import Frame, make_user_item
from agentsd.web.openai.realtime.session import RealtimeModel, RealtimeSession, SessionUpdate, parse_model

Event = Mapping[str, Any]
TEXT_MAX = 200_000
"""Maximum characters of one item."""


class ContentPart(RealtimeModel):
    """Part of the content of a message."""

    type: Literal["input_text", "output_text", "text"]
    text: str = Field(max_length=TEXT_MAX)


class MessageItem(RealtimeModel):
    """Field ``item`` of ``conversation.item.create``."""

    type: Literal["message"]
    role: Role
    content: list[ContentPart] = Field(min_length=1, max_length=100)
    id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,64}$")


class ResponseParams(RealtimeModel):
    """Field ``response`` of ``response.create``."""

    instructions: str | None = Field(default=None, max_length=TEXT_MAX)
    output_modalities: list[Literal["text", "audio"]] | None = Field(default=None, min_length=1, max_length=2)
    max_output_tokens: Literal["inf"] | int | None = None
    conversation: Literal["auto"] | None = None
    input: None = None
    tools: list[Any] | None = Field(default=None, max_length=0)


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

    async def handle(self, event: Event) -> None:
        """Execute ``event``. Raise ``Problem`` or an ``AgentsdError``; then nothing was changed."""
        kind = event.get("type")
        handler = EVENT_HANDLERS.get(kind) if isinstance(kind, str) else None
        if handler is None:
            raise bad_request(
                "unknown type of client event",
                param="type",
                hint="known: " + ", ".join(EVENT_HANDLERS),
            )
        waiting = handler(self, event)
        if waiting is not None:
            await waiting

    def tell_session(self, kind: str = "session.updated") -> None:
        """Send the current session, in its place among the events."""
        self._call.note({"type": kind, "session": self.view()}, len(self.session.instructions))

    def view(self) -> Frame:
        """Return ``session`` as in events."""
        call = self._call
        serving = call.serving
        return self.session.view(
            serving.agent, serving.version, call.turn_settings.model_dump(), voiced=serving.voiced
        )

    async def _session_update(self, event: Event) -> None:
        update: SessionUpdate = parse_model(SessionUpdate, event.get("session"), "session")
        session = self.session.updated(update)
        if update.model is not None:
            await self._call.switch(self._resolve(update.model))
        self.session = session
        self._call.preferences = session.preferences()
        self.tell_session()

    def _commit(self, _: Event) -> None:
        self._call.commit()

    def _clear(self, _: Event) -> None:
        self._call.clear()

    async def _append(self, event: Event) -> None:
        audio = event.get("audio")
        if not isinstance(audio, str):
            raise bad_request("audio must be base64", param="audio")
        try:
            data = b64decode(audio, validate=True)
        except (binascii.Error, ValueError):
            raise bad_request("audio must be base64", param="audio") from None
        await self._call.feed(self.session.input.decode(data))

    def _item_create(self, event: Event) -> None:
        message: MessageItem = parse_model(MessageItem, event.get("item"), "item")
        conversation, after = self._call.conversation, event.get("previous_item_id")
        if message.id is not None and conversation.find(message.id):
            raise bad_request("there is an item of this id already", param="item.id")
        if after is not None and (not isinstance(after, str) or conversation.find(after) is None):
            raise _make_no_item("previous_item_id")
        text = "".join(part.text for part in message.content)
        item = ConversationItem(message.id or make_id("item"), message.role, text)
        if not conversation.fits(item):
            raise Problem(
                413,
                "conversation_too_large",
                f"the texts of one call are limited to {TEXT_BYTES_MAX} bytes",
                hint="send less, or delete items with conversation.item.delete",
                param="item",
            )
        previous = conversation.add(item, after)
        shown = make_user_item(item, "output_text" if message.role == "assistant" else "input_text")
        for kind in ("added", "done"):
            self._call.note(
                {"type": f"conversation.item.{kind}", "previous_item_id": previous, "item": shown}, len(text)
            )

    def _item_delete(self, event: Event) -> None:
        item_id = event.get("item_id")
        if not isinstance(item_id, str) or not self._call.conversation.remove(item_id):
            raise _make_no_item("item_id")
        self._call.note({"type": "conversation.item.deleted", "item_id": item_id})

    def _item_retrieve(self, event: Event) -> None:
        item_id = event.get("item_id")
        item = self._call.conversation.find(item_id) if isinstance(item_id, str) else None
        if item is None:
            raise _make_no_item("item_id")
        kind = "output_text" if item.role == "assistant" else "input_text"
        self._call.note(
            {"type": "conversation.item.retrieved", "item": make_user_item(item, kind)}, len(item.text)
        )

    def _item_truncate(self, event: Event) -> None:
        wanted: Truncation = parse_model(Truncation, event, "event")
        if not self._call.truncate(wanted.item_id, wanted.audio_end_ms):
            raise bad_request("only the newest answer can be truncated, once it has ended", param="item_id")

    def _response_create(self, event: Event) -> None:
        params: ResponseParams = parse_model(ResponseParams, event.get("response") or {}, "response")
        modalities, most = params.output_modalities, params.max_output_tokens
        self._call.respond(
            AnswerRequest(
                instructions=params.instructions,
                aloud=None if modalities is None else "audio" in modalities,
                options={"max_tokens": most if isinstance(most, int) else None},
            )
        )

    def _response_cancel(self, _: Event) -> None:
        if not self._call.cancel():
            raise Problem(400, "response_cancel_not_active", "there is no response to cancel")


def _make_no_item(param: str) -> Problem:
    return Problem(400, "item_not_found", "the conversation has no such item", param=param)


EVENT_HANDLERS: Mapping[str, Callable[[ClientEvents, Event], Awaitable[None] | None]] = {
    "session.update": ClientEvents._session_update,
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
