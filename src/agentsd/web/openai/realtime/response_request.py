"""Field ``response`` of ``response.create``: options of one answer. A wrong one refuses the whole answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentsd.services.voicebot.conversation import Conversation, ConversationItem
from agentsd.services.voicebot.turns import AnswerRequest
from agentsd.web.http.problem import Problem
from agentsd.web.openai.realtime.fields import refuse_unknown, refuse_value
from agentsd.web.openai.realtime.items import TEXT_MAX, parse_item
from agentsd.web.openai.realtime.session import AudioFormat, RealtimeSession
from agentsd.web.openai.realtime.session_update import (
    read_format,
    read_max_tokens,
    read_modalities,
    read_reasoning,
    read_temperature,
)
from agentsd.web.openai.realtime.tools import is_choosable, make_tool_options, read_tool_choice, read_tools

INPUT_ITEMS_MAX = 400
METADATA_MAX = 16
METADATA_KEY_MAX = 64
METADATA_VALUE_MAX = 512

BETA_FIELDS = {
    "modalities": "output_modalities",
    "max_response_output_tokens": "max_output_tokens",
    "output_audio_format": "audio.output.format",
    "voice": "audio.output.voice",
}
FIELDS = frozenset(
    {
        "audio", "conversation", "input", "instructions", "max_output_tokens", "metadata",
        "output_modalities", "parallel_tool_calls", "prompt", "reasoning", "temperature", "tool_choice",
        "tools",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ResponseEcho:
    """Fields of a request that events repeat."""

    event_id: str | None = None
    metadata: Mapping[str, str] | None = None
    max_output_tokens: int | None = None
    format: AudioFormat | None = None


def parse_response(
    value: object, session: RealtimeSession, conversation: Conversation, event_id: str | None
) -> AnswerRequest:
    """Return the request. Raise ``Problem``, which names the field."""
    if value is None:
        value = {}
    if not isinstance(value, Mapping):
        raise refuse_value("response", "response must be an object")
    fields = _flatten_fields(value)
    refused: list[Problem] = []
    options = _parse_options(fields, session, refused)
    given = fields.get("audio.output.format")
    output = None if given is None else read_format(given, "response.audio.output.format", refused)
    if refused:
        raise refused[0]
    modalities = fields.get("output_modalities")
    most = options.get("max_tokens", session.max_output_tokens)
    return AnswerRequest(
        instructions=_parse_instructions(fields.get("instructions")),
        aloud=None if modalities is None else read_modalities(modalities, "response.output_modalities"),
        output_rate=output.hertz if output else None,
        options=options,
        context=_parse_input(fields.get("input"), conversation),
        kept=_parse_conversation(fields.get("conversation")),
        label=ResponseEcho(event_id, _parse_metadata(fields.get("metadata")), most, output),
    )


def _flatten_fields(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields by their present names. Raise ``Problem`` for unknown ones."""
    fields: dict[str, Any] = {}
    for key, one in value.items():
        name = BETA_FIELDS.get(key, key)
        if name == key and key not in FIELDS:
            raise refuse_unknown("response", key)
        if name == "audio":
            output = (one or {}).get("output") if isinstance(one, Mapping | None) else 0
            if not isinstance(output, Mapping | None):
                raise refuse_value("response.audio")
            fields |= {f"audio.output.{inner}": part for inner, part in (output or {}).items()}
        else:
            fields[name] = one
    if fields.get("prompt") is not None:
        raise refuse_value("response.prompt", "response.prompt is not supported", "send instructions")
    return fields


def _parse_options(
    fields: Mapping[str, Any], session: RealtimeSession, refused: list[Problem]
) -> dict[str, Any]:
    """Return the fields of a chat completion that replace the session's."""
    options: dict[str, Any] = {}
    if "max_output_tokens" in fields:
        options["max_tokens"] = read_max_tokens(fields["max_output_tokens"], "response.max_output_tokens")
    if fields.get("temperature") is not None:
        options["temperature"] = read_temperature(fields["temperature"], "response.temperature")
    if fields.get("reasoning") is not None:
        reasoning = read_reasoning(fields["reasoning"], "response.reasoning", refused)
        options["reasoning_effort"] = (reasoning or {}).get("effort")
    if any(fields.get(key) is not None for key in ("tools", "tool_choice", "parallel_tool_calls")):
        options |= _parse_tools(fields, session, refused)
    return options


def _parse_tools(
    fields: Mapping[str, Any], session: RealtimeSession, refused: list[Problem]
) -> dict[str, Any]:
    tools, choice = session.tools, session.tool_choice
    if fields.get("tools") is not None:
        tools = read_tools(fields["tools"], "response.tools", refused) or ()
        choice = choice if is_choosable(choice, tools) else "auto"
    if fields.get("tool_choice") is not None:
        choice = read_tool_choice(fields["tool_choice"], "response.tool_choice")
    if not is_choosable(choice, tools):
        detail = "tool_choice names a function that is not among the tools"
        raise refuse_value("response.tool_choice", detail)
    parallel = fields.get("parallel_tool_calls")
    if not isinstance(parallel, bool | None):
        raise refuse_value("response.parallel_tool_calls")
    return make_tool_options(
        tools, choice, parallel=session.parallel_tool_calls if parallel is None else parallel
    )


def _parse_instructions(value: object) -> str | None:
    if value is not None and (not isinstance(value, str) or len(value) > TEXT_MAX):
        detail = f"instructions must be a text of at most {TEXT_MAX} characters"
        raise refuse_value("response.instructions", detail)
    return value


def _parse_conversation(value: object) -> bool:
    """Return whether the answer is part of the conversation."""
    if value not in (None, "auto", "none"):
        raise refuse_value("response.conversation", hint="known: auto, none")
    return value != "none"


def _parse_metadata(value: object) -> Mapping[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping) or len(value) > METADATA_MAX:
        hint = f"at most {METADATA_MAX} pairs of texts"
        raise refuse_value("response.metadata", hint=hint)
    for key, one in value.items():
        if len(key) > METADATA_KEY_MAX or not isinstance(one, str) or len(one) > METADATA_VALUE_MAX:
            hint = f"keys of {METADATA_KEY_MAX}, texts of {METADATA_VALUE_MAX} characters at most"
            raise refuse_value("response.metadata", hint=hint)
    return dict(value)


def _parse_input(value: object, conversation: Conversation) -> tuple[ConversationItem, ...] | None:
    """Return the items that are answered in place of the conversation."""
    if value is None:
        return None
    if not isinstance(value, list) or len(value) > INPUT_ITEMS_MAX:
        hint = f"at most {INPUT_ITEMS_MAX} items"
        raise refuse_value("response.input", "response.input must be a list of items", hint)
    context = Conversation()
    items: list[ConversationItem] = []
    for index, one in enumerate(value):
        where = f"response.input[{index}]"
        item = _parse_input_item(one, where, conversation, context)
        context.add(item)
        items.append(item)
    return tuple(items)


def _parse_input_item(
    value: object, where: str, conversation: Conversation, context: Conversation
) -> ConversationItem:
    if isinstance(value, Mapping) and value.get("type") == "item_reference":
        known = conversation.find(str(value.get("id")))
        if known is None:
            raise Problem(400, "item_not_found", "the conversation has no such item", param=f"{where}.id")
        return known
    calls = context
    if isinstance(value, Mapping) and conversation.has_call(str(value.get("call_id"))):
        calls = conversation
    parsed = parse_item(value, where, calls)
    if parsed.audio is not None:
        raise refuse_value(f"{where}.content[0].audio", "audio in input must have a transcript")
    return parsed.item
