"""Answers of ``/v1/responses``: chunks of a chat completion become items and events. Pure.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, NotRequired, cast
from uuid import uuid4

from pydantic import Field
from typing_extensions import TypedDict

from agentsd.core.manifest.tool_schema import repair_arguments
from agentsd.services.rag import Citation
from agentsd.services.tools.events import ToolEnded, ToolEvent, ToolStarted, get_event
from agentsd.web.http.reply import Count
from agentsd.web.openai.responses.tool_items import ApprovalItem, ToolItem
from agentsd.web.openai.responses.tools import OfferedTools

Event = dict[str, Any]
NO_TOOLS = OfferedTools()
Status = Literal["in_progress", "completed", "incomplete", "failed"]


class ResponseEcho(TypedDict):
    """Part of a response that repeats its request, with OpenAI's defaults."""

    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, Any]
    parallel_tool_calls: bool
    previous_response_id: str | None
    reasoning: dict[str, Any]
    store: Annotated[bool, Field(description="False where the request has none.")]
    temperature: Any
    text: dict[str, Any]
    tool_choice: Any
    tools: list[Any]
    top_p: Any
    truncation: Literal["disabled"]
    background: Literal[False]
    user: Any


class ResponseFailure(TypedDict):
    """Reason of a failed response."""

    code: str
    message: str


class IncompleteDetails(TypedDict):
    """Reason of an incomplete response."""

    reason: str


class ResponseUsage(TypedDict):
    """Tokens, as the provider counts them."""

    input_tokens: int
    input_tokens_details: dict[str, int]
    output_tokens: int
    output_tokens_details: dict[str, int]
    total_tokens: int


class ResponseReply(ResponseEcho):
    """Response as OpenAI defines it; `citations` in addition, for an agent with `rag`."""

    id: str
    object: Literal["response"]
    created_at: Count
    model: Annotated[str, Field(description="The agent's slug.")]
    status: Status
    error: ResponseFailure | None
    incomplete_details: IncompleteDetails | None
    output: Annotated[list[dict[str, Any]], Field(description="Items.")]
    usage: ResponseUsage | None
    citations: NotRequired[list[Citation]]


_STATUS_BY_REASON = {"length": "max_output_tokens", "content_filter": "content_filter"}


def make_response_id() -> str:
    """Return a unique ``resp_…``."""
    return f"resp_{uuid4().hex}"


class ResponseBuilder:
    """Builder of one response, and of the events that describe its growth."""

    def __init__(self, slug: str, echo: ResponseEcho, *, offered: OfferedTools = NO_TOOLS) -> None:
        self.id = make_response_id()
        self._slug, self._echo, self._created = slug, echo, int(time.time())
        self._offered = offered
        self._items: list[_Item | ToolItem | ApprovalItem] = []
        self._open: dict[object, _Item] = {}  # by kind, calls by index
        self._tools: dict[str, ToolItem] = {}  # calls that are run here, by id
        self._usage: Mapping[str, Any] | None = None
        self._citations: Any = None
        self._finish: str | None = None
        self._number = 0
        self.failed = False

    # Events

    def begin(self) -> Iterator[Event]:
        """Yield the first events."""
        for kind in ("response.created", "response.in_progress"):
            yield self._event(kind, response=self.snapshot("in_progress"))

    def take(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        """Take a chunk of a chat completion and yield the events that it causes."""
        if (event := get_event(chunk)) is not None:
            yield from self.take_event(event)
            return
        self._slug = chunk.get("model") or self._slug
        self._usage = chunk.get("usage") or self._usage
        self._citations = chunk.get("citations") or self._citations
        for choice in chunk.get("choices") or ():
            if choice.get("index", 0) == 0:
                self._finish = choice.get("finish_reason") or self._finish
                yield from self._take_delta(choice.get("delta") or {}, choice.get("logprobs"))

    def take_event(self, event: ToolEvent) -> Iterator[Event]:
        """Take an event of a tool that is run here and yield the events that it causes."""
        yield from self._close_texts()
        if isinstance(event, ToolStarted):
            item = ToolItem(event.call, len(self._items))
            self._items.append(item)
            self._tools[event.call.id] = item
            for kind, members in item.begin():
                yield self._event(kind, **members)
        elif isinstance(event, ToolEnded):
            yield from self._end_tool(event)

    def take_events(self, events: Iterable[ToolEvent]) -> None:
        """Take what happened before a whole answer."""
        for event in events:
            for _ in self.take_event(event):
                pass

    def _end_tool(self, event: ToolEnded) -> Iterator[Event]:
        item = self._tools.get(event.call.id)
        for kind, members in item.end(event.result) if item else ():
            yield self._event(kind, **members)
        if event.approval is not None:
            asked = ApprovalItem(event, len(self._items))
            self._items.append(asked)
            for kind in ("response.output_item.added", "response.output_item.done"):
                yield self._event(kind, output_index=asked.index, item=asked.value())

    def take_whole(self, answer: Mapping[str, Any]) -> None:
        """Take a whole chat completion."""
        choices = [
            {**choice, "delta": _number_calls(choice.get("message") or {})}
            for choice in answer.get("choices") or ()
        ]
        for _ in self.take({**answer, "choices": choices}):
            pass
        for _ in self._close_all():
            pass

    def end(self) -> Iterator[Event]:
        """Yield the last events of an answer that is complete."""
        yield from self._close_all()
        status = self.status
        yield self._event(f"response.{status}", response=self.snapshot(status))

    def fail(self, code: str, message: str) -> Iterator[Event]:
        """Yield the last event of an answer that failed."""
        self.failed = True
        response = self.snapshot("failed", error={"code": code, "message": message})
        yield self._event("response.failed", response=response)

    @property
    def status(self) -> Literal["completed", "incomplete"]:
        """Return how a complete answer ended: completed, or incomplete."""
        return "incomplete" if self._finish in _STATUS_BY_REASON else "completed"

    def snapshot(self, status: Status, error: ResponseFailure | None = None) -> ResponseReply:
        """Return the response as it is now."""
        reason = _STATUS_BY_REASON.get(self._finish or "") if status == "incomplete" else None
        done = status != "in_progress"
        response = {
            "id": self.id,
            "object": "response",
            "created_at": self._created,
            "model": self._slug,
            **self._echo,
            "status": status,
            "error": error,
            "incomplete_details": {"reason": reason} if reason else None,
            "output": [item.value() for item in self._items] if done else [],
            "usage": _convert_usage(self._usage) if done else None,
        }
        if self._citations:
            response["citations"] = self._citations
        return cast("ResponseReply", response)

    def messages(self) -> list[dict[str, Any]]:
        """Return the answer as messages of a chat completion, for a request that continues it."""
        messages: list[dict[str, Any]] = []
        texts, calls = "", []
        for item in self._items:
            if not isinstance(item, _Item):
                messages += _make_message(texts, ()) + item.messages()
                texts = ""
            elif item.kind in ("output_text", "refusal"):
                texts += item.text
            elif item.kind in ("function", "custom"):
                calls.append(item.call())
        return messages + _make_message(texts, calls)

    # Parts of a chunk

    def _take_delta(self, delta: Mapping[str, Any], logprobs: Any) -> Iterator[Event]:
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(reasoning, str) and reasoning:
            yield from self._grow("reasoning", "reasoning_text", reasoning)
        content = delta.get("content")
        for kind, text in _split_content(content):
            if text:
                yield from self._grow("message", kind, text, _convert_logprobs(logprobs))
        refusal = delta.get("refusal")
        if isinstance(refusal, str) and refusal:
            yield from self._grow("message", "refusal", refusal)
        for call in delta.get("tool_calls") or ():
            yield from self._take_call(call)

    def _take_call(self, call: Mapping[str, Any]) -> Iterator[Event]:
        index = ("call", call.get("index", 0))
        part = call.get("function") or call.get("custom") or {}
        item = self._open.get(index)
        if item is None:
            yield from self._close_texts()
            name = part.get("name") or ""
            kind = "custom" if call.get("type") == "custom" or name in self._offered.custom else "function"
            item = _Item(
                kind, len(self._items), name=name, call_id=call.get("id") or f"call_{uuid4().hex[:24]}"
            )
            item.namespaced = self._offered.namespaced
            yield from self._add(index, item)
        elif part.get("name"):
            item.name += part["name"]
        text = part.get("arguments") or part.get("input") or ""
        if text:
            item.pieces.append(text)
            yield self._event(f"{item.delta_event}.delta", **item.place(), delta=text)

    def _grow(self, group: str, kind: str, text: str, logprobs: list[Any] | None = None) -> Iterator[Event]:
        """Add text to the open item of ``group``; open one where another kind of text came before."""
        item = self._open.get(group)
        if item is None or item.kind != kind:
            yield from self._close_texts()
            item = _Item(kind, len(self._items))
            yield from self._add(group, item)
            yield self._event("response.content_part.added", **item.place(0), part=item.part(empty=True))
        item.pieces.append(text)
        more = {"logprobs": logprobs or []} if kind == "output_text" else {}
        item.logprobs += logprobs or []
        yield self._event(f"{item.delta_event}.delta", **item.place(0), delta=text, **more)

    def _add(self, key: object, item: _Item) -> Iterator[Event]:
        self._items.append(item)
        self._open[key] = item
        value = item.value(empty=True)
        yield self._event("response.output_item.added", output_index=item.index, item=value)

    def _close_texts(self) -> Iterator[Event]:
        for group in ("reasoning", "message"):
            item = self._open.pop(group, None)
            if item is not None:
                yield from self._close(item)

    def _close_all(self) -> Iterator[Event]:
        opened, self._open = sorted(self._open.values(), key=lambda item: item.index), {}
        for item in opened:
            yield from self._close(item)

    def _close(self, item: _Item) -> Iterator[Event]:
        cut = item.kind == "function" and repair_arguments(item.text) != item.text
        item.status = self.status if cut or item.kind in ("output_text", "refusal") else "completed"
        if item.kind in ("function", "custom"):
            yield self._event(f"{item.delta_event}.done", **item.place(), **item.done())
        else:
            yield self._event(f"{item.delta_event}.done", **item.place(0), **item.done())
            yield self._event("response.content_part.done", **item.place(0), part=item.part())
        yield self._event("response.output_item.done", output_index=item.index, item=item.value())

    def _event(self, kind: str, **members: Any) -> Event:
        event = {"type": kind, "sequence_number": self._number, **members}
        self._number += 1
        return event


class _Item:
    """One item of the output: a text of some kind, or a call of a tool."""

    def __init__(self, kind: str, index: int, *, name: str = "", call_id: str = "") -> None:
        prefix = {"reasoning_text": "rs", "function": "fc", "custom": "ctc"}.get(kind, "msg")
        self.id = f"{prefix}_{uuid4().hex}"
        self.kind, self.index, self.name, self.call_id = kind, index, name, call_id
        self.pieces: list[str] = []
        self.logprobs: list[Any] = []
        self.status = "in_progress"
        self.namespaced: Mapping[str, tuple[str, str]] = {}

    @property
    def head(self) -> dict[str, Any]:
        """Return the identity of a call, its name as the client wrote it."""
        namespace, name = self.namespaced.get(self.name, ("", self.name))
        return {"call_id": self.call_id, "name": name, **({"namespace": namespace} if namespace else {})}

    @property
    def text(self) -> str:
        """Return the text so far."""
        return "".join(self.pieces)

    @property
    def delta_event(self) -> str:
        """Return the name of this item's events, without ``.delta`` and ``.done``."""
        calls = {"function": "function_call_arguments", "custom": "custom_tool_call_input"}
        return f"response.{calls.get(self.kind, self.kind)}"

    def place(self, content_index: int | None = None) -> dict[str, Any]:
        """Return where an event belongs."""
        place: dict[str, Any] = {"item_id": self.id, "output_index": self.index}
        return place if content_index is None else {**place, "content_index": content_index}

    def done(self) -> dict[str, Any]:
        """Return the members of the event that ends the text."""
        match self.kind:
            case "function":
                return {"name": self.head["name"], "arguments": self.text}
            case "custom":
                return {"input": self.text}
            case "refusal":
                return {"refusal": self.text}
            case "output_text":
                return {"text": self.text, "logprobs": self.logprobs}
            case _:
                return {"text": self.text}

    def part(self, *, empty: bool = False) -> dict[str, Any]:
        """Return the part of a content."""
        text = "" if empty else self.text
        if self.kind == "refusal":
            return {"type": "refusal", "refusal": text}
        if self.kind == "reasoning_text":
            return {"type": "reasoning_text", "text": text}
        return {
            "type": "output_text",
            "text": text,
            "annotations": [],
            "logprobs": [] if empty else self.logprobs,
        }

    def call(self) -> dict[str, Any]:
        """Return a call as a chat completion has it."""
        text = "input" if self.kind == "custom" else "arguments"
        return {"id": self.call_id, "type": self.kind, self.kind: {"name": self.name, text: self.text}}

    def value(self, *, empty: bool = False) -> dict[str, Any]:
        """Return the item, or how it begins."""
        head: dict[str, Any] = {"id": self.id, "status": self.status}
        text = "" if empty else self.text
        match self.kind:
            case "function":
                return {**head, "type": "function_call", **self.head, "arguments": text}
            case "custom":
                return {**head, "type": "custom_tool_call", **self.head, "input": text}
            case "reasoning_text":
                return {**head, "type": "reasoning", "summary": [], "content": [] if empty else [self.part()]}
            case _:
                content = [] if empty else [self.part()]
                return {**head, "type": "message", "role": "assistant", "content": content}


def _make_message(texts: str, calls: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the message of the assistant; none where it is empty."""
    message: dict[str, Any] = {"role": "assistant", "content": texts or None}
    if calls:
        message["tool_calls"] = list(calls)
    return [message] if texts or calls else []


def _number_calls(message: Mapping[str, Any]) -> dict[str, Any]:
    calls = message.get("tool_calls")
    return (
        {**message, "tool_calls": [{**call, "index": at} for at, call in enumerate(calls)]}
        if calls
        else {**message}
    )


def _split_content(content: Any) -> Iterator[tuple[str, str]]:
    """Yield (kind, text) of a content: a text, or parts."""
    if isinstance(content, str):
        yield "output_text", content
    for part in content if isinstance(content, list) else ():
        if part.get("type") == "refusal":
            yield "refusal", str(part.get("refusal") or "")
        elif isinstance(part.get("text"), str):
            yield "output_text", part["text"]


def _convert_logprobs(logprobs: Any) -> list[Any]:
    tokens = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    return list(tokens or ())


def _convert_usage(usage: Mapping[str, Any] | None) -> ResponseUsage | None:
    if not usage:
        return None
    read, written = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    of_prompt = usage.get("prompt_tokens_details") or {}
    cached, cache_written = of_prompt.get("cached_tokens") or 0, of_prompt.get("cache_write_tokens") or 0
    thought = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": cache_written},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": usage.get("total_tokens") or read + written,
    }
