"""Normalization of an LLM vendor's answers: an allow-list at every depth. Pure.

This module defines what a chat completion, or a chunk of one, may contain, with its type and its bound;
anything else that a vendor sends is dropped. Three kinds of text pass:

- content, which is meant for the client: texts, reasoning, refusals, names and arguments of tool calls,
  tokens. The provider's own secrets are masked in it (``providers.redaction``);
- words of a fixed list: roles, finish reasons, service tiers;
- identifiers of tool calls, which the vendor needs back: of a strict form, and not part of a secret.

``id`` and ``model`` are ours (``services.chat`` adds them). An ``error`` anywhere in an answer is
raised.

https://platform.openai.com/docs/api-reference/chat/object
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

import orjson

from agentsd.providers.errors import VendorRef, make_protocol_error, make_reported_error, refuse_error
from agentsd.providers.llm.surrogates import REPLACEMENT, is_encodable, join_halves
from agentsd.providers.redaction import RedactedStream, Redactor

CHOICES_MAX = 128
"""Choices of one answer; OpenAI's own limit of ``n``."""
CALLS_MAX = 256
"""Tool calls of one choice."""
PARTS_MAX = 4096
"""Parts of a content that is a list; annotations, images and reasoning details of one message."""
TOKENS_MAX = 1 << 18
"""Tokens of one answer whose probabilities are passed on."""
TOP_MAX = 64
"""Alternatives of one token."""
NUMBER_MAX = 1 << 53
"""The largest count: JavaScript's largest exact integer."""

FINISH_REASONS: Mapping[str, str] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "function_call": "function_call",
    "model_length": "length",
    "max_tokens": "length",
    "MAX_TOKENS": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "sensitive": "content_filter",
    "safety": "content_filter",
    "SAFETY": "content_filter",
}
"""Vendors' finish reasons as OpenAI's; any other word is `stop`."""
FAILED_REASONS = frozenset(
    {"error", "ERROR", "abort", "cancelled", "network_error", "insufficient_system_resource"}
)
"""Finish reasons of a failed answer."""
SERVICE_TIERS = frozenset({"auto", "default", "flex", "scale", "priority", "standard", "on_demand"})
TEXTS = ("content", "refusal", "reasoning", "reasoning_content")
"""Text fields of a message."""
_ORDINARY = frozenset({"role", *TEXTS})
COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
"""Counts in ``usage``; any other value here makes the answer invalid."""
EXTRA_COUNTS = ("prompt_cache_hit_tokens", "prompt_cache_miss_tokens", "num_cached_tokens")
DETAILS = {
    "prompt_tokens_details": ("cached_tokens", "audio_tokens", "text_tokens", "image_tokens"),
    "completion_tokens_details": (
        "reasoning_tokens",
        "audio_tokens",
        "text_tokens",
        "image_tokens",
        "accepted_prediction_tokens",
        "rejected_prediction_tokens",
    ),
}

_MARKS = frozenset({"error", "object", "type"})
"""Keys of which an object that reports an error has at least one."""
_CALL_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_FINGERPRINT = re.compile(r"fp_[0-9a-f]{6,16}")
_AUDIO_ID = re.compile(r"audio_[0-9a-f]{8,64}")
_DETAIL_TYPE = re.compile(r"reasoning\.(?:text|summary|encrypted)")
_DETAIL_FORMATS = frozenset(
    {"unknown", "anthropic-claude-v1", "openai-responses-v1", "google-gemini-v1", "xai-responses-v1"}
)


class Normalizer:
    """Normalizer of one answer of a vendor, whole or in chunks. Raises ``ProviderError`` only."""

    __slots__ = ("_halves", "_ids", "_masked", "_redactor", "_streams", "answered", "usage", "who")

    def __init__(self, who: VendorRef, redactor: Redactor) -> None:
        self.who = who
        self._redactor = redactor
        self._streams: dict[tuple[Any, ...], RedactedStream] | None = None
        self._halves: dict[tuple[Any, ...], str] = {}  # of characters, at the end of a text so far
        self._ids: dict[str, str] = {}  # of calls: of a vendor's form that is not passed on, ours
        self._masked = False  # part of this choice was masked or held back
        self.answered = False
        self.usage: Mapping[str, Any] | None = None  # the latest of the answer

    def whole(self, answer: object) -> dict[str, Any]:
        """Return a ``chat.completion`` without ``id`` and ``model``."""
        value = self._object(answer)
        choices = value.get("choices")
        if not isinstance(choices, list):
            raise make_protocol_error(self.who, "answered without choices")
        return self._answer(value, choices, "chat.completion", "message")

    def chunk(self, answer: object) -> dict[str, Any]:
        """Return a ``chat.completion.chunk`` without ``id`` and ``model``; empty if it has no choices."""
        if self._streams is None:
            self._streams = {}
        value = self._object(answer)
        choices = value.get("choices")
        if choices is not None and not isinstance(choices, list):
            raise make_protocol_error(self.who, "sent choices that are not a list")
        return self._answer(value, choices or [], "chat.completion.chunk", "delta")

    def _object(self, value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise make_protocol_error(self.who, "sent a value that is not a JSON object")
        if not _MARKS.isdisjoint(value):
            refuse_error(self.who, value)
        return value

    def _answer(self, value: dict[str, Any], raw: list[Any], kind: str, body: str) -> dict[str, Any]:
        if len(raw) > CHOICES_MAX:
            raise make_protocol_error(self.who, f"sent more than {CHOICES_MAX} choices")
        choices = [self._choice(position, choice, body) for position, choice in enumerate(raw)]
        answer: dict[str, Any] = {"object": kind, "choices": choices}
        self.answered = True
        created = value.get("created")
        if is_count(created) and created:
            answer["created"] = created
        usage = value.get("usage")
        if usage is not None:
            answer["usage"] = self.usage = self._usage(usage)
        tier, print_ = value.get("service_tier"), value.get("system_fingerprint")
        if isinstance(tier, str) and tier in SERVICE_TIERS:
            answer["service_tier"] = tier
        if isinstance(print_, str) and self._is_word(_FINGERPRINT, print_):
            answer["system_fingerprint"] = print_
        return answer

    def _choice(self, position: int, choice: object, body: str) -> dict[str, Any]:
        value = self._object(choice)
        index = _read_index(value, position, CHOICES_MAX)
        self._masked = False
        message = value.get(body)
        told = self._message(index, {} if message is None else self._object(message), body)
        out: dict[str, Any] = {"index": index, body: told}
        out["finish_reason"] = self._finish(value.get("finish_reason"))
        logprobs = value.get("logprobs")
        if logprobs is not None and not self._masked:
            out["logprobs"] = self._logprobs(logprobs)
        return out

    def _finish(self, reason: object) -> str | None:
        if reason is None or reason == "":
            return None
        if not isinstance(reason, str):
            raise make_protocol_error(self.who, "sent a finish_reason that is not a string")
        if reason in FAILED_REASONS:
            raise make_reported_error(self.who, "error")
        return FINISH_REASONS.get(reason, "stop")

    # Messages

    def _message(self, index: int, value: dict[str, Any], body: str) -> dict[str, Any]:
        out: dict[str, Any] = {}
        if body == "message" or value.get("role") is not None:
            out["role"] = "assistant"
        for field in TEXTS:
            if field in value:
                text = value[field]
                key = (index, field)
                out[field] = self._text(key, text) if type(text) is str else self._content(key, text, field)
        if body == "message":
            out.setdefault("content", None)
        if not value.keys() <= _ORDINARY:
            self._rest(index, value, out, body)
        return out

    def _rest(self, index: int, value: dict[str, Any], out: dict[str, Any], body: str) -> None:
        """Copy the fields that few messages have."""
        calls = value.get("tool_calls")
        if calls is not None:
            listed = self._list(calls, CALLS_MAX, "tool calls")
            out["tool_calls"] = [self._call(index, at, call, body) for at, call in enumerate(listed)]
        function = value.get("function_call")
        if function is not None:
            out["function_call"] = self._function((index, "function_call"), function, "arguments")
        for field, read in _LISTS.items():
            if value.get(field) is not None:
                items = self._list(value[field], PARTS_MAX, field)
                found = [read(self, (index, field), self._object(item)) for item in items]
                out[field] = [item for item in found if item]
        if value.get("audio") is not None:
            out["audio"] = self._audio((index, "audio"), self._object(value["audio"]))

    def _content(self, key: tuple[Any, ...], value: object, field: str) -> Any:
        """Return a text, None, or (for a content) a list of parts."""
        if value is None:
            return None
        if isinstance(value, str):
            return self._text(key, value)
        if field != "content":
            raise make_protocol_error(self.who, f"sent a {field} that is not a string")
        parts = self._list(value, PARTS_MAX, "parts of a content")
        return [part for part in (self._part(key, self._object(one)) for one in parts) if part]

    def _part(self, key: tuple[Any, ...], part: dict[str, Any]) -> dict[str, Any] | None:
        """Return a text part, or a thought, which is a text or a list of texts (Mistral)."""
        kind = part.get("type")
        if kind in ("text", "output_text") and isinstance(part.get("text"), str):
            return {"type": "text", "text": self._text(key, part["text"])}
        if kind == "refusal" and isinstance(part.get("refusal"), str):
            return {"type": "refusal", "refusal": self._text((*key, "refusal"), part["refusal"])}
        if kind == "thinking":
            return {"type": "thinking", "thinking": self._thought((*key, "thinking"), part.get("thinking"))}
        return None

    def _thought(self, key: tuple[Any, ...], value: object) -> Any:
        if isinstance(value, str):
            return self._text(key, value)
        items = self._list(value if value is not None else [], PARTS_MAX, "parts of a thought")
        texts = [item.get("text") for item in items if isinstance(item, dict)]
        return [{"type": "text", "text": self._text(key, text)} for text in texts if isinstance(text, str)]

    def _call(self, index: int, position: int, call: object, body: str) -> dict[str, Any]:
        value = self._object(call)
        at = _read_index(value, position, CALLS_MAX)
        out: dict[str, Any] = {"index": at} if body == "delta" and value.get("index") == at else {}
        identifier = value.get("id")
        if body == "message" or (isinstance(identifier, str) and identifier.strip()):
            out["id"] = self._call_id(identifier)
        kind = "custom" if value.get("type") == "custom" else "function"
        if body == "message" or value.get("type") is not None:
            out["type"] = kind
        inner, field = (value.get(kind), "input" if kind == "custom" else "arguments")
        if inner is not None:
            out[kind] = self._function((index, "tool_calls", at), inner, field)
        if (signature := _read_signature(value)) is not None:
            text = self._text((index, "signature", at), signature)
            out["extra_content"] = {"google": {"thought_signature": text}}
        return out

    def _function(self, key: tuple[Any, ...], value: object, field: str) -> dict[str, Any]:
        function = self._object(value)
        out: dict[str, Any] = {}
        name, arguments = function.get("name"), function.get(field)
        if isinstance(name, str):
            out["name"] = self._text((*key, "name"), name)
        if isinstance(arguments, dict):  # some servers send the object itself
            arguments = orjson.dumps(arguments).decode()
        if arguments is not None and not isinstance(arguments, str):
            raise make_protocol_error(self.who, f"sent {field} of a tool call that are not a string")
        if arguments is not None:
            out[field] = self._text((*key, field), arguments)
        return out

    def _call_id(self, identifier: object) -> str:
        """Return the vendor's own identifier if its form is safe: the vendor gets it back with the result."""
        if isinstance(identifier, str) and self._is_word(_CALL_ID, identifier):
            return identifier
        new = f"call_{uuid4().hex[:24]}"
        if not isinstance(identifier, str) or self._streams is None:
            return new
        if identifier not in self._ids and len(self._ids) < CALLS_MAX:
            self._ids[identifier] = new
        return self._ids.get(identifier, new)  # some vendors repeat it with every part

    def _audio(self, key: tuple[Any, ...], value: dict[str, Any]) -> dict[str, Any]:
        out = self._texts(key, value, ("data", "transcript"))
        if isinstance(value.get("id"), str) and self._is_word(_AUDIO_ID, value["id"]):
            out["id"] = value["id"]
        if is_count(value.get("expires_at")):
            out["expires_at"] = value["expires_at"]
        return out

    def _annotation(self, key: tuple[Any, ...], value: dict[str, Any]) -> dict[str, Any] | None:
        cited = value.get("url_citation")
        if value.get("type") != "url_citation" or not isinstance(cited, dict):
            return None
        out = self._texts(key, cited, ("url", "title", "content"))
        out |= {name: cited[name] for name in ("start_index", "end_index") if is_count(cited.get(name))}
        return {"type": "url_citation", "url_citation": out}

    def _image(self, key: tuple[Any, ...], value: dict[str, Any]) -> dict[str, Any] | None:
        image = value.get("image_url")
        if not isinstance(image, dict) or not isinstance(image.get("url"), str):
            return None
        return {"type": "image_url", "image_url": {"url": self._text((*key, "url"), image["url"])}}

    def _detail(self, key: tuple[Any, ...], value: dict[str, Any]) -> dict[str, Any] | None:
        """Return reasoning in OpenRouter's form: a client sends it back, signatures included."""
        kind, form = value.get("type"), value.get("format")
        if not isinstance(kind, str) or not _DETAIL_TYPE.fullmatch(kind):
            return None
        out = {"type": kind} | self._texts(key, value, ("text", "summary", "data", "signature"))
        if isinstance(form, str) and form in _DETAIL_FORMATS:
            out["format"] = form
        if is_count(value.get("index")):
            out["index"] = value["index"]
        return out

    def _texts(self, key: tuple[Any, ...], value: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
        return {
            name: self._text((*key, name), value[name]) for name in names if isinstance(value.get(name), str)
        }

    # Numbers

    def _usage(self, usage: object) -> dict[str, Any]:
        """Return the counts. A ``usage`` that contains no counts is not an answer of this protocol."""
        if not isinstance(usage, dict):
            raise make_protocol_error(self.who, "sent a usage that is not an object")
        out: dict[str, Any] = {}
        for name in COUNTS:
            value = usage.get(name)
            if value is None:
                continue
            if not is_count(value):
                raise make_protocol_error(self.who, f"sent a usage whose {name} is not a count")
            out[name] = value
        out |= {name: usage[name] for name in EXTRA_COUNTS if is_count(usage.get(name))}
        if _is_number(usage.get("cost")):
            out["cost"] = usage["cost"]
        for name, counts in DETAILS.items():
            details = usage.get(name)
            if isinstance(details, dict):
                out[name] = {each: details[each] for each in counts if is_count(details.get(each))}
        return out

    def _logprobs(self, value: object) -> dict[str, Any] | None:
        if not isinstance(value, dict):
            return None
        out: dict[str, Any] = {}
        for field in ("content", "refusal"):
            tokens = value.get(field)
            if isinstance(tokens, list):
                if len(tokens) > TOKENS_MAX:
                    raise make_protocol_error(
                        self.who, f"sent the probabilities of more than {TOKENS_MAX} tokens"
                    )
                out[field] = [found for token in tokens if (found := self._token(token, top=True))]
            elif field in value:
                out[field] = None
        return out

    def _token(self, value: object, *, top: bool) -> dict[str, Any] | None:
        if not isinstance(value, dict) or not isinstance(value.get("token"), str):
            return None
        token = self._redactor.redact(value["token"])
        out: dict[str, Any] = {"token": token, "logprob": None, "bytes": None}
        if _is_number(value.get("logprob")):
            out["logprob"] = value["logprob"]
        data = value.get("bytes")
        if token == value["token"] and isinstance(data, list) and data == list(token.encode()):
            out["bytes"] = data
        if top:
            others = value.get("top_logprobs")
            alternatives = others[:TOP_MAX] if isinstance(others, list) else []
            out["top_logprobs"] = [
                found for other in alternatives if (found := self._token(other, top=False))
            ]
        return out

    # Texts

    def _text(self, key: tuple[Any, ...], text: str) -> str:
        if self._halves or not (text.isascii() or is_encodable(text)):
            text = self._join(key, text)
        if not self._redactor.masked:
            return text
        if self._streams is None:
            masked = self._redactor.redact(text)
        else:
            stream = self._streams.get(key)
            if stream is None:
                stream = self._streams[key] = RedactedStream(self._redactor)
            masked = stream.take(text)
        self._masked = self._masked or masked != text
        return masked

    def _join(self, key: tuple[Any, ...], text: str) -> str:
        """Join ``text`` with half a character that the last piece ended with."""
        text, rest = join_halves(self._halves.pop(key, ""), text)
        if rest and self._streams is not None:
            self._halves[key] = rest
            return text
        return text + REPLACEMENT if rest else text

    def _is_word(self, shape: re.Pattern[str], word: str) -> bool:
        return shape.fullmatch(word) is not None and not self._redactor.touches(word)

    def _list(self, value: object, most: int, what: str) -> list[Any]:
        if not isinstance(value, list):
            raise make_protocol_error(self.who, f"sent {what} that are not a list")
        if len(value) > most:
            raise make_protocol_error(self.who, f"sent more than {most} {what}")
        return value


_LISTS: Mapping[str, Callable[[Normalizer, tuple[Any, ...], dict[str, Any]], dict[str, Any] | None]] = {
    "annotations": Normalizer._annotation,
    "images": Normalizer._image,
    "reasoning_details": Normalizer._detail,
}


def is_count(value: Any) -> bool:
    """Return whether ``value`` is an integer from 0 to ``NUMBER_MAX``."""
    return type(value) is int and 0 <= value <= NUMBER_MAX


def _read_index(value: dict[str, Any], position: int, most: int) -> int:
    """Return the object's own ``index`` if it is below ``most``, else its position."""
    index = value.get("index")
    return index if type(index) is int and 0 <= index < most else position


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and abs(value) <= NUMBER_MAX


def _read_signature(call: dict[str, Any]) -> str | None:
    """Return Gemini's signature of a thought, which it needs back with the call."""
    extra = call.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) else None
