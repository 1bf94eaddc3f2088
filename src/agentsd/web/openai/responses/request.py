"""Requests of ``/v1/responses``: the same as a chat completion's, in other words. Pure.

Whatever this server cannot do is refused by name with status 400; nothing is dropped in silence.
https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from agentsd.services.tools.events import ToolCall
from agentsd.services.variables import FIELD, drop_values
from agentsd.web.http.problem import Problem, bad_request
from agentsd.web.json_body import RequestModel, parse_model
from agentsd.web.openai.chat_completions import Streamed
from agentsd.web.openai.models import ModelName
from agentsd.web.openai.responses.output import ResponseEcho
from agentsd.web.openai.responses.tool_items import make_call_messages
from agentsd.web.openai.responses.tools import OfferedTools, join_name, parse_tool_choice, parse_tools

SAME_FIELDS = (
    "parallel_tool_calls", "prompt_cache_key", "safety_identifier", "service_tier", "temperature",
    "top_logprobs", "top_p", "user",
)  # fmt: skip
"""Fields that a chat completion has by the same name."""

Include = Literal["message.output_text.logprobs", "reasoning.encrypted_content"]
"""Values of ``include`` that are taken. Reasoning is never encrypted here: there is none to include."""

CALL_ID_MAX = 64
"""Characters of a call's id that vendors take."""
ITEMS_MAX = 4096
"""Items of one request's ``input``."""

Message = dict[str, Any]

_Passed = Annotated[Any, Field(description="As in a chat: passed to the provider unchanged.")]
_MESSAGES = Field(description="Not supported: send the messages and instructions themselves.")


class ResponsesRequest(RequestModel):
    """Request as OpenAI defines it, with the fields that this server can do."""

    model: ModelName = None
    input: Annotated[
        str | Annotated[list[dict[str, Any]], Field(max_length=ITEMS_MAX, fail_fast=True)] | None,
        Field(description=f"A text, or a list of up to {ITEMS_MAX} items."),
    ] = None
    instructions: Annotated[str | None, Field(description="Follow the agent's own system prompt.")] = None
    previous_response_id: Annotated[str | None, Field(description="A stored response to continue.")] = None
    store: Annotated[
        bool | None, Field(description="Keep the response for an hour, in this replica's memory.")
    ] = None
    stream: Streamed = None
    stream_options: dict[str, Any] | None = None
    tools: Annotated[
        list[Any] | None,
        Field(description="Run by the client, beside the agent's own: function, custom, and namespaces."),
    ] = None
    tool_choice: Any = None
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    include: Annotated[
        list[Include] | None,
        Field(description="Reasoning is never encrypted here: there is none to include."),
    ] = None
    max_output_tokens: int | None = None
    metadata: Annotated[
        dict[str, Any] | None,
        Field(description="`variables` has values of the agent's variables; the rest is repeated."),
    ] = None
    truncation: Annotated[
        Literal["disabled"] | None, Field(description="Not supported: send fewer items.")
    ] = None
    background: Annotated[Literal[False] | None, Field(description="Not supported: use stream.")] = None
    conversation: Annotated[None, _MESSAGES] = None
    prompt: Annotated[None, _MESSAGES] = None
    max_tool_calls: Annotated[
        None, Field(description="Not supported: the manifest's tool_rounds counts.")
    ] = None
    prompt_cache_retention: Any = None
    client_metadata: Annotated[
        dict[str, Any] | None, Field(description="A client's notes on itself, as of Codex: not used.")
    ] = None
    parallel_tool_calls: _Passed = None
    prompt_cache_key: _Passed = None
    safety_identifier: _Passed = None
    service_tier: _Passed = None
    temperature: _Passed = None
    top_logprobs: _Passed = None
    top_p: _Passed = None
    user: _Passed = None


@dataclass(frozen=True, slots=True)
class TranslatedRequest:
    """Request in the terms of a chat completion, and what the reply repeats of it."""

    chat: Mapping[str, Any]  # the body of a chat completion, without instructions and earlier messages
    echo: ResponseEcho
    previous: str | None = None
    store: bool = False
    stream: bool = False
    offered: OfferedTools = field(default=OfferedTools())
    choice: Any = None  # of tools

    def make_chat(
        self,
        earlier: Sequence[Mapping[str, Any]],
        later: Sequence[Mapping[str, Any]] = (),
        *,
        has_tools: bool = False,
    ) -> dict[str, Any]:
        """Return the chat: instructions, then ``earlier`` messages, then the input, then ``later`` ones.

        ``has_tools``: the agent has tools of its own, so that a choice among them has a meaning.
        """
        instructions = self.echo["instructions"]
        system = [{"role": "system", "content": instructions}] if instructions else []
        chosen = {"tool_choice": self.choice} if self.choice and (has_tools or self.offered.tools) else {}
        return {**self.chat, **chosen, "messages": [*system, *earlier, *self.chat["messages"], *later]}

    def name_message(self, earlier: int, index: int) -> str:
        """Return the field of the request that a message of ``make_chat`` comes from."""
        own = index - bool(self.echo["instructions"])
        if own < 0:
            return "instructions"
        return "previous_response_id" if own < earlier else "input"


def parse_request(body: Mapping[str, Any]) -> TranslatedRequest:
    """Parse a request. Raise ``Problem`` 400 that names the field."""
    offered = parse_tools(body.get("tools"))  # first: what a refused tool needs elsewhere explains nothing
    wanted = parse_model(ResponsesRequest, body)
    chat = {name: getattr(wanted, name) for name in SAME_FIELDS} | _parse_options(wanted)
    chat |= {"model": wanted.model, "messages": parse_input(wanted.input)}
    if offered.tools:
        chat["tools"] = list(offered.tools)
    if wanted.stream:
        chat["stream_options"] = {"include_usage": True}
    if wanted.metadata and FIELD in wanted.metadata:
        chat["metadata"] = {FIELD: wanted.metadata[FIELD]}
    return TranslatedRequest(
        chat={key: value for key, value in chat.items() if value is not None},
        echo=_make_echo(wanted),
        previous=wanted.previous_response_id or None,
        store=bool(wanted.store),
        stream=bool(wanted.stream),
        offered=offered,
        choice=parse_tool_choice(wanted.tool_choice),
    )


def _parse_options(wanted: ResponsesRequest) -> dict[str, Any]:
    """Return the fields that a chat completion has by other names."""
    text = wanted.text or {}
    logprobs = "message.output_text.logprobs" in (wanted.include or ())
    return {
        "max_completion_tokens": wanted.max_output_tokens,
        "reasoning_effort": (wanted.reasoning or {}).get("effort"),
        "response_format": _parse_format(text.get("format")),
        "verbosity": text.get("verbosity"),
        "logprobs": True if logprobs or wanted.top_logprobs else None,
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


def parse_input(value: str | Sequence[Mapping[str, Any]] | None) -> list[Message]:
    """Return ``input`` as messages of a chat completion. Raise ``Problem`` 400."""
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    messages: list[Message] = []
    for index, item in enumerate(value or ()):
        where = f"input[{index}]"
        kind = item.get("type") or "message"
        parse = _ITEMS.get(kind) if isinstance(kind, str) else None
        if parse is None:
            raise _refuse(where, "an item of this type is not supported", f"known types: {', '.join(_ITEMS)}")
        _add_message(messages, parse(item, where))
    return messages


def _add_message(messages: list[Message], message: Message | list[Message] | None) -> None:
    """Add a message; calls of one turn belong to one message of the assistant."""
    if message is None:
        return
    if isinstance(message, list):
        messages += message
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


def _parse_tool_call(item: Mapping[str, Any], where: str) -> list[Message]:
    """Return a call of a tool of the agent, as an earlier response had it, and its result."""
    if not all(isinstance(item.get(key), str) for key in ("id", "name", "arguments")):
        raise _refuse(where, "a call of the agent's tool has id, name and arguments, all texts")
    output = item.get("output")
    content = output if isinstance(output, str) else str(item.get("error") or "")
    return make_call_messages(ToolCall(item["id"][:CALL_ID_MAX], item["name"], item["arguments"]), content)


def _parse_nothing(item: Mapping[str, Any], where: str) -> None:
    """Return nothing: consent is read elsewhere, and the model knows its tools."""


def _parse_reasoning(item: Mapping[str, Any], where: str) -> None:
    """Return nothing: a chat completion takes no earlier reasoning, and its answers need none."""


_ITEMS: Mapping[str, Callable[[Mapping[str, Any], str], Message | list[Message] | None]] = {
    "message": _parse_message,
    "function_call": _parse_call,
    "function_call_output": _parse_call_output,
    "custom_tool_call": _parse_call,
    "custom_tool_call_output": _parse_call_output,
    "reasoning": _parse_reasoning,
    "mcp_call": _parse_tool_call,
    "mcp_list_tools": _parse_nothing,
    "mcp_approval_request": _parse_nothing,
    "mcp_approval_response": _parse_nothing,
}


# Replies


def _make_echo(wanted: ResponsesRequest) -> ResponseEcho:
    """Return what a reply repeats of its request, with OpenAI's defaults."""
    return {
        "instructions": wanted.instructions,
        "max_output_tokens": wanted.max_output_tokens,
        "metadata": drop_values(wanted.metadata),
        "parallel_tool_calls": wanted.parallel_tool_calls is not False,
        "previous_response_id": wanted.previous_response_id,
        "reasoning": {"effort": (wanted.reasoning or {}).get("effort"), "summary": None},
        "store": bool(wanted.store),
        "temperature": wanted.temperature,
        "text": {"format": {"type": "text"}, **(wanted.text or {})},
        "tool_choice": wanted.tool_choice or "auto",
        "tools": wanted.tools or [],
        "top_p": wanted.top_p,
        "truncation": "disabled",
        "background": False,
        "user": wanted.user,
    }


def _refuse(param: str, detail: str, hint: str = "") -> Problem:
    return bad_request(detail, hint=hint, param=param)
