"""Items of the conversation as clients send and get them: messages, calls of tools and their results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import Field

from agentsd.audio.pcm import BadAudio, decode_base64_audio
from agentsd.providers.tool import ToolResult
from agentsd.services.voicebot.conversation import Conversation, ConversationItem, Role, make_id
from agentsd.web.http.problem import Problem, bad_request
from agentsd.web.openai.realtime.fields import RealtimeModel, parse_model, refuse_value
from agentsd.web.openai.responses.tool_items import APPROVAL_PREFIX, SERVER_LABEL

Frame = dict[str, Any]

TEXT_MAX = 200_000
"""Maximum characters of one item."""

APPROVED = "approved"
"""Text of an item by which the user agrees to a call."""

ID_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"

_TEXT_PARTS = ("input_text", "output_text", "text")
_AUDIO_PARTS = ("input_audio", "output_audio", "audio")


class ContentPart(RealtimeModel):
    """Part of the content of a message."""

    type: Literal["input_text", "output_text", "text", "input_audio", "output_audio", "audio"]
    text: str | None = Field(default=None, max_length=TEXT_MAX)
    transcript: str | None = Field(default=None, max_length=TEXT_MAX)
    audio: str | None = None


class MessageItem(RealtimeModel):
    """Item of the type ``message``."""

    role: Role
    content: list[ContentPart] = Field(min_length=1, max_length=100)


class CallItem(RealtimeModel):
    """Item of the type ``function_call``."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    arguments: str = Field(max_length=TEXT_MAX)
    call_id: str | None = Field(default=None, min_length=1, max_length=128)


class ResultItem(RealtimeModel):
    """Item of the type ``function_call_output``."""

    call_id: str = Field(min_length=1, max_length=128)
    output: str = Field(max_length=TEXT_MAX)


class ApprovalItem(RealtimeModel):
    """Item of the type ``mcp_approval_response``."""

    approval_request_id: str = Field(max_length=128)
    approve: bool
    reason: str | None = Field(default=None, max_length=TEXT_MAX)


class ItemHead(RealtimeModel):
    """Fields that every item has."""

    id: str | None = Field(default=None, pattern=ID_PATTERN)


@dataclass(frozen=True, slots=True)
class ParsedItem:
    """Item, and its audio where a transcript must be made of it."""

    item: ConversationItem
    audio: bytes | None = None


def parse_item(value: object, where: str, conversation: Conversation) -> ParsedItem:
    """Parse an item of a client. Raise ``Problem``, which names the field."""
    if not isinstance(value, Mapping):
        raise refuse_value(where, f"{where} must be an object")
    kind = value.get("type") or "message"
    parse = _PARSERS.get(kind) if isinstance(kind, str) else None
    if parse is None:
        raise refuse_value(f"{where}.type", hint="known: " + ", ".join(_PARSERS))
    given = parse_model(ItemHead, value, where)
    return parse(value, where, given.id or make_id("item"), conversation)


def _parse_message(
    value: Mapping[str, Any], where: str, item_id: str, conversation: Conversation
) -> ParsedItem:
    _check_parts(value.get("content"), f"{where}.content")
    if isinstance(value.get("content"), str):
        value = {**value, "content": [{"type": "text", "text": value["content"]}]}
    message = parse_model(MessageItem, value, where)
    texts, spoken = [], False
    for index, part in enumerate(message.content):
        spoken = spoken or part.type in _AUDIO_PARTS
        text = part.text if part.type in _TEXT_PARTS else part.transcript
        if text is None and part.type == "input_audio" and part.audio and len(message.content) == 1:
            item = ConversationItem(item_id, message.role, spoken=True)
            return ParsedItem(item, decode_base64(part.audio, f"{where}.content[0].audio"))
        if text is None:
            field = "text" if part.type in _TEXT_PARTS else "transcript"
            raise refuse_value(f"{where}.content[{index}].{field}", f"a part of this type has a {field}")
        texts.append(text)
    return ParsedItem(ConversationItem(item_id, message.role, "".join(texts), spoken=spoken))


def _check_parts(parts: object, where: str) -> None:
    """Refuse parts of other types by name."""
    known = get_args(ContentPart.model_fields["type"].annotation)
    for index, part in enumerate(parts if isinstance(parts, list) else ()):
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind not in known:
            named = "images are not supported in calls" if kind == "input_image" else ""
            raise refuse_value(f"{where}[{index}].type", named, hint="known: " + ", ".join(known))


def _parse_call(value: Mapping[str, Any], where: str, item_id: str, conversation: Conversation) -> ParsedItem:
    call = parse_model(CallItem, value, where)
    call_id = call.call_id or make_id("call")
    return ParsedItem(
        ConversationItem(item_id, "assistant", call.arguments, "call", call_id=call_id, name=call.name)
    )


def _parse_result(
    value: Mapping[str, Any], where: str, item_id: str, conversation: Conversation
) -> ParsedItem:
    result = parse_model(ResultItem, value, where)
    if not conversation.has_call(result.call_id):
        raise Problem(
            400,
            "invalid_tool_call_id",
            "the conversation has no call of this id",
            hint="create the function_call item first",
            param=f"{where}.call_id",
        )
    item = ConversationItem(item_id, "assistant", result.output, "result", call_id=result.call_id)
    return ParsedItem(item)


def _parse_approval(
    value: Mapping[str, Any], where: str, item_id: str, conversation: Conversation
) -> ParsedItem:
    answer = parse_model(ApprovalItem, value, where)
    asked = conversation.find(answer.approval_request_id)
    if asked is None or asked.kind != "approval_request" or asked.answered:
        detail = "the conversation has no such request, or it was answered"
        raise Problem(400, "item_not_found", detail, param=f"{where}.approval_request_id")
    text = APPROVED if answer.approve else ""
    return ParsedItem(ConversationItem(item_id, "user", text, "approval_response", call_id=asked.id))


_PARSERS: Mapping[str, Callable[[Mapping[str, Any], str, str, Conversation], ParsedItem]] = {
    "message": _parse_message,
    "function_call": _parse_call,
    "function_call_output": _parse_result,
    "mcp_approval_response": _parse_approval,
}


def decode_base64(text: object, param: str) -> bytes:
    """Return bytes. Raise ``Problem``."""
    try:
        return decode_base64_audio(text)
    except BadAudio:
        raise bad_request(f"{param} must be base64", param=param) from None


def make_item(item: ConversationItem, status: str = "completed") -> Frame:
    """Make the item of an event."""
    head = {"id": item.id, "object": "realtime.item"}
    if item.kind == "call":
        call = {"name": item.name, "call_id": item.call_id, "arguments": item.text}
        return {**head, "type": "function_call", "status": status, **call}
    if item.kind == "server_call":
        return make_mcp_call(item)
    if item.kind == "approval_request":
        call = {"name": item.name, "arguments": item.text, "server_label": SERVER_LABEL}
        return {**head, "type": "mcp_approval_request", **call}
    if item.kind == "approval_response":
        answer = {"approval_request_id": item.call_id, "approve": item.text == APPROVED}
        return {**head, "type": "mcp_approval_response", **answer}
    if item.kind == "result":
        result = {"call_id": item.call_id, "output": item.text}
        return {**head, "type": "function_call_output", "status": status, **result}
    return {**head, "type": "message", "status": status, "role": item.role, "content": [_make_part(item)]}


def make_mcp_call(item: ConversationItem) -> Frame:
    """Make the item of a call that this server runs: as OpenAI shows those of MCP servers."""
    result = item.result
    failed = result is not None and not result.ok
    return {
        "id": item.id,
        "object": "realtime.item",
        "type": "mcp_call",
        "server_label": SERVER_LABEL,
        "name": item.name,
        "arguments": item.text,
        "output": result.text if result is not None and result.ok else None,
        "error": _make_call_error(result) if result is not None and failed else None,
        "approval_request_id": item.call_id if item.call_id.startswith(APPROVAL_PREFIX) else None,
    }


def _make_call_error(result: ToolResult) -> Frame:
    return {"type": "tool_execution_error", "message": f"{result.outcome}: {result.text}"}


def _make_part(item: ConversationItem) -> Frame:
    way = "output" if item.role == "assistant" else "input"
    if item.spoken:
        return {"type": f"{way}_audio", "transcript": item.text or None}
    return {"type": f"{way}_text", "text": item.text}
