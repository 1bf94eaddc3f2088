"""Requests of ``/v1/responses``: the same as a chat completion's, in other words. Pure.

Whatever this server cannot do is refused by name with status 400; nothing is dropped in silence.
https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentsd.core.names import quote_word
from agentsd.web.http.problem import Problem, bad_request
from agentsd.web.openai.responses.tools import OfferedTools, join_name, parse_tool_choice, parse_tools

SAME_FIELDS = (
    "parallel_tool_calls", "prompt_cache_key", "safety_identifier", "service_tier", "temperature",
    "top_logprobs", "top_p", "user",
)  # fmt: skip
"""Fields that a chat completion has by the same name."""

OWN_FIELDS = frozenset(
    {
        "background", "client_metadata", "conversation", "include", "input", "instructions",
        "max_output_tokens", "max_tool_calls", "metadata", "model", "previous_response_id", "prompt",
        "prompt_cache_retention", "reasoning", "store", "stream", "stream_options", "text", "tool_choice",
        "tools", "truncation",
    }
)  # fmt: skip
"""``client_metadata`` is a client's note to itself (Codex): it asks for nothing."""
INCLUDES = frozenset({"message.output_text.logprobs", "reasoning.encrypted_content"})
"""Values of ``include`` that are taken. Reasoning is never encrypted here: there is none to include."""

ITEMS_MAX = 4096
"""Items of one request's ``input``."""

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ResponsesRequest:
    """Request in the terms of a chat completion, and what the reply repeats of it."""

    chat: Mapping[str, Any]  # the body of a chat completion, without instructions and earlier messages
    echo: Mapping[str, Any]  # fields of the reply
    previous: str | None = None
    store: bool = False
    stream: bool = False
    offered: OfferedTools = field(default=OfferedTools())

    def make_chat(self, earlier: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the chat: instructions, then ``earlier`` messages, then the input."""
        instructions = self.echo["instructions"]
        system = [{"role": "system", "content": instructions}] if instructions else []
        return {**self.chat, "messages": [*system, *earlier, *self.chat["messages"]]}


def parse_request(body: Mapping[str, Any]) -> ResponsesRequest:
    """Parse a request. Raise ``Problem`` 400 that names the field."""
    _refuse_unable(body)
    offered = parse_tools(body.get("tools"))
    _refuse_unknown_includes(body)
    chat: dict[str, Any] = {key: body[key] for key in SAME_FIELDS if body.get(key) is not None}
    chat |= {key: value for key, value in _parse_options(body).items() if value is not None}
    chat["model"] = _get(body, "model", str)
    chat["messages"] = parse_input(body.get("input"))
    if offered.tools:
        chat["tools"] = list(offered.tools)
        chat["tool_choice"] = parse_tool_choice(body.get("tool_choice"))
    stream = bool(_get(body, "stream", bool))
    if stream:
        chat["stream_options"] = {"include_usage": True}
    return ResponsesRequest(
        chat={key: value for key, value in chat.items() if value is not None},
        echo=_make_echo(body),
        previous=_get(body, "previous_response_id", str) or None,
        store=bool(_get(body, "store", bool)),
        stream=stream,
        offered=offered,
    )


def _refuse_unable(body: Mapping[str, Any]) -> None:
    known = OWN_FIELDS.union(SAME_FIELDS)
    for name, value in body.items():
        if name not in known:
            shown = quote_word(name, "a request field")
            raise _refuse(shown, f"{shown} is not a field of this server's responses")
        if name in ("conversation", "prompt", "max_tool_calls") and value is not None:
            raise _refuse(name, f"{name} is not supported", "send the messages and instructions themselves")
    if body.get("background"):
        raise _refuse("background", "background responses are not supported", "use stream")
    if body.get("truncation") not in (None, "disabled", "auto"):
        raise _refuse("truncation", "truncation must be auto or disabled")
    if body.get("truncation") == "auto":
        raise _refuse("truncation", "automatic truncation is not supported", "send fewer items")
    _get(body, "client_metadata", dict)


def _refuse_unknown_includes(body: Mapping[str, Any]) -> None:
    for value in _get(body, "include", list) or ():
        if value not in INCLUDES:
            shown = quote_word(value, "a value of include")
            raise _refuse("include", f"{shown} cannot be included", f"known: {', '.join(sorted(INCLUDES))}")


def _parse_options(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that a chat completion has by other names."""
    reasoning = _get(body, "reasoning", dict) or {}
    text = _get(body, "text", dict) or {}
    logprobs = "message.output_text.logprobs" in (body.get("include") or ())
    return {
        "max_completion_tokens": _get(body, "max_output_tokens", int),
        "reasoning_effort": reasoning.get("effort"),
        "response_format": _parse_format(text.get("format")),
        "verbosity": text.get("verbosity"),
        "logprobs": True if logprobs or body.get("top_logprobs") else None,
    }


def _parse_format(value: Any) -> dict[str, Any] | None:
    kind = value.get("type") if isinstance(value, Mapping) else None
    if value is None or kind == "text":
        return None
    if kind == "json_object":
        return {"type": kind}
    if kind == "json_schema":
        schema = {key: part for key, part in value.items() if key != "type"}
        return {"type": kind, "json_schema": schema}
    raise _refuse("text.format", "text.format must be of type text, json_schema or json_object")


# Items


def parse_input(value: Any) -> list[Message]:
    """Return ``input`` as messages of a chat completion. Raise ``Problem`` 400."""
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > ITEMS_MAX:
        raise _refuse("input", f"input must be a text or a list of up to {ITEMS_MAX} items")
    messages: list[Message] = []
    for index, item in enumerate(value):
        where = f"input[{index}]"
        if not isinstance(item, Mapping):
            raise _refuse(where, "an item must be an object")
        kind = item.get("type") or "message"
        parse = _ITEMS.get(kind) if isinstance(kind, str) else None
        if parse is None:
            raise _refuse(where, "an item of this type is not supported", f"known types: {', '.join(_ITEMS)}")
        _add_message(messages, parse(item, where))
    return messages


def _add_message(messages: list[Message], message: Message | None) -> None:
    """Add a message; calls of one turn belong to one message of the assistant."""
    if message is None:
        return
    last = messages[-1] if messages else None
    if last and "tool_calls" in message and last["role"] == "assistant":
        messages[-1] = {**last, "tool_calls": [*last.get("tool_calls", ()), *message["tool_calls"]]}
    else:
        messages.append(message)


def _parse_message(item: Mapping[str, Any], where: str) -> Message:
    role, content = item.get("role"), item.get("content")
    if role not in ("user", "assistant", "system", "developer"):
        raise _refuse(f"{where}.role", "a message must have a role: user, assistant, system or developer")
    if isinstance(content, str):
        return {"role": role, "content": content}
    if not isinstance(content, list):
        raise _refuse(f"{where}.content", "content must be a text or a list of parts")
    parts = [_parse_part(part, f"{where}.content[{at}]") for at, part in enumerate(content)]
    if all(part["type"] == "text" for part in parts):  # what every vendor takes
        return {"role": role, "content": "".join(part["text"] for part in parts)}
    return {"role": role, "content": parts}


def _parse_part(part: Any, where: str) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind in ("input_text", "output_text", "text") and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if kind == "refusal" and isinstance(part.get("refusal"), str):
        return {"type": "text", "text": part["refusal"]}
    if kind == "input_image" and isinstance(part.get("image_url"), str):
        image = {"url": part["image_url"], "detail": part.get("detail")}
        return {"type": "image_url", "image_url": {key: one for key, one in image.items() if one}}
    if kind == "input_audio" and isinstance(part.get("input_audio"), Mapping):
        return {"type": kind, kind: part["input_audio"]}
    if kind == "input_file" and isinstance(part.get("file_data"), str):
        return {"type": "file", "file": {key: part[key] for key in ("file_data", "filename") if key in part}}
    hint = "known: input_text, output_text, refusal, input_image, input_audio, input_file (file_data)"
    raise _refuse(where, "a part of this type is not supported", hint)


def _parse_call(item: Mapping[str, Any], where: str) -> Message:
    kind = "custom" if item["type"] == "custom_tool_call" else "function"
    text = "input" if kind == "custom" else "arguments"
    if not all(isinstance(item.get(key), str) for key in ("call_id", "name", text)):
        raise _refuse(where, f"a call has call_id, name and {text}, all texts")
    name = join_name(item.get("namespace"), item["name"])
    call = {"id": item["call_id"], "type": kind, kind: {"name": name, text: item[text]}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _parse_call_output(item: Mapping[str, Any], where: str) -> Message:
    output = item.get("output")
    if not isinstance(item.get("call_id"), str):
        raise _refuse(f"{where}.call_id", "the output of a call has its call_id")
    if isinstance(output, list):
        parts = [_parse_part(part, f"{where}.output[{at}]") for at, part in enumerate(output)]
        texts = all(part["type"] == "text" for part in parts)
        output = "".join(part["text"] for part in parts) if texts else parts
    elif not isinstance(output, str):
        raise _refuse(f"{where}.output", "the output of a call is a text or a list of parts")
    return {"role": "tool", "tool_call_id": item["call_id"], "content": output}


def _parse_reasoning(item: Mapping[str, Any], where: str) -> None:
    """Return nothing: a chat completion takes no earlier reasoning, and its answers need none."""


_ITEMS: Mapping[str, Callable[[Mapping[str, Any], str], Message | None]] = {
    "message": _parse_message,
    "function_call": _parse_call,
    "function_call_output": _parse_call_output,
    "custom_tool_call": _parse_call,
    "custom_tool_call_output": _parse_call_output,
    "reasoning": _parse_reasoning,
}


# Replies


def _make_echo(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a reply repeats of its request, with OpenAI's defaults."""
    reasoning = body.get("reasoning") or {}
    return {
        "instructions": _get(body, "instructions", str),
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": _get(body, "metadata", dict) or {},
        "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": {"effort": reasoning.get("effort"), "summary": None},
        "store": bool(body.get("store")),
        "temperature": body.get("temperature"),
        "text": {"format": {"type": "text"}, **(body.get("text") or {})},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p"),
        "truncation": "disabled",
        "background": False,
        "user": body.get("user"),
    }


def _get(body: Mapping[str, Any], name: str, kind: type) -> Any:
    value = body.get(name)
    if value is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        words = {
            str: "a text",
            bool: "true or false",
            int: "a whole number",
            list: "a list",
            dict: "an object",
        }
        raise _refuse(name, f"{name} must be {words[kind]}")
    return value


def _refuse(param: str, detail: str, hint: str = "") -> Problem:
    return bad_request(detail, hint=hint, param=param)
