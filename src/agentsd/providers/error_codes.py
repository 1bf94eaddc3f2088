"""Reading of vendors' error objects into OpenAI's vocabulary. Pure.

A vendor's text is read, never repeated: it may quote the prompt or the key. What leaves this module is
a code and a parameter's path made of the words listed here.

Codes: https://platform.openai.com/docs/guides/error-codes. Shapes that are read: OpenAI's, Azure's
(``innererror``), vLLM's and Mistral's (flat), llama.cpp's, FastAPI's (``detail``), OpenRouter's
(``metadata``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

TEXT_CHARACTERS_MAX = 4096
"""Characters of a vendor's text that are searched."""
PARTS_MAX = 16
"""Parts of a parameter's path, and rows of a ``detail``, that are read."""

CONTEXT, QUOTA, FILTER = "context_length_exceeded", "insufficient_quota", "content_filter"
RATE, KEY, MODEL = "rate_limit_exceeded", "invalid_api_key", "model_not_found"
TOOL_SCHEMA = "invalid_function_parameters"

CODE_OF_WORD: Mapping[str, str] = {
    "context_length_exceeded": CONTEXT,
    "context_window_exceeded": CONTEXT,
    "exceed_context_size_error": CONTEXT,
    "insufficient_quota": QUOTA,
    "quota_exceeded": QUOTA,
    "billing_hard_limit_reached": QUOTA,
    "billing_not_active": QUOTA,
    "insufficient_balance": QUOTA,
    "insufficient_credits": QUOTA,
    "payment_required": QUOTA,
    "content_filter": FILTER,
    "content_policy_violation": FILTER,
    "ResponsibleAIPolicyViolation": FILTER,
    "moderation_blocked": FILTER,
    "data_inspection_failed": FILTER,
    "rate_limit_exceeded": RATE,
    "rate_limit_error": RATE,
    "rate_limited": RATE,
    "too_many_requests": RATE,
    "too_many_concurrent_requests": RATE,
    "concurrency_limit_exceeded": RATE,
    "requests_limit_exceeded": RATE,
    "tokens_limit_exceeded": RATE,
    "RESOURCE_EXHAUSTED": RATE,
    "invalid_api_key": KEY,
    "authentication_error": KEY,
    "invalid_auth": KEY,
    "invalid_authentication_error": KEY,
    "expired_api_key": KEY,
    "model_not_found": MODEL,
    "invalid_model": MODEL,
    "model_decommissioned": MODEL,
    "model_not_active": MODEL,
    "model_id_does_not_exist": MODEL,
    "DeploymentNotFound": MODEL,
    "invalid_function_parameters": TOOL_SCHEMA,
    "invalid_prompt": "invalid_prompt",
    "invalid_value": "invalid_value",
    "json_validate_failed": "json_validate_failed",
    "missing_required_parameter": "missing_required_parameter",
    "string_above_max_length": "string_above_max_length",
    "tool_use_failed": "tool_use_failed",
    "unsupported_parameter": "unsupported_parameter",
    "unsupported_value": "unsupported_value",
}
"""Vendors' machine words as OpenAI's codes."""

STATUS_OF_WORD: Mapping[str, int] = {
    **{word: 400 for word, code in CODE_OF_WORD.items() if code not in (RATE, KEY, MODEL, QUOTA)},
    **{word: 429 for word, code in CODE_OF_WORD.items() if code in (RATE, QUOTA)},
    **{word: 401 for word, code in CODE_OF_WORD.items() if code == KEY},
    **{word: 404 for word, code in CODE_OF_WORD.items() if code == MODEL},
    "missing_permissions": 403,
    "permission_error": 403,
    "not_found_error": 404,
    "voice_not_found": 404,
    "voice_id_does_not_exist": 404,
    "invalid_request_error": 400,
}
"""The status that a word stands for, where it comes without one."""

QUOTED_WORDS = frozenset(STATUS_OF_WORD) | {
    "account_deactivated",
    "api_error",
    "audio_too_short",
    "bad_request",
    "detected_unusual_activity",
    "engine_overloaded",
    "failed_generation",
    "input_timeout_exceeded",
    "internal_error",
    "internal_server_error",
    "invalid_parameter_error",
    "max_character_limit_exceeded",
    "model_terms_required",
    "not_found",
    "overloaded_error",
    "permission_denied",
    "request_too_large",
    "server_error",
    "service_unavailable",
    "timeout",
    "unavailable_error",
    "unsupported_country_region_territory",
    "voice_access_denied",
}
"""Vendors' machine words that are quoted. A word of any other kind may be a key."""

_TEXTS: tuple[tuple[str, frozenset[int], re.Pattern[str]], ...] = (
    (
        CONTEXT,
        frozenset({400, 413, 422, 500}),
        re.compile(
            r"maximum context|context (?:length|size|window)|prompt is too long"
            r"|too long for (?:the|this) model|input token count|maximum number of (?:input )?tokens"
            r"|inputs? tokens \+|tokens? (?:limit|count) of"
        ),
    ),
    (
        FILTER,
        frozenset({400, 403, 422, 451}),
        re.compile(r"\bmoderation\b|\bflagged\b|content (?:management )?policy|content filter|usage polic"),
    ),
    (
        QUOTA,
        frozenset({400, 401, 403, 429}),
        re.compile(
            r"insufficient (?:quota|credit|balance|funds)|exceeded your current quota|credit balance"
            r"|out of credits|billing"
        ),
    ),
    (
        TOOL_SCHEMA,
        frozenset({400, 422}),
        re.compile(r"invalid schema for (?:function|tool)|tools?\b.{0,80}\bschema|function parameters"),
    ),
    (
        MODEL,
        frozenset({400, 404}),
        re.compile(r"model\b.{0,120}\b(?:does not exist|not found|not a valid model)|not a valid model"),
    ),
)
"""What vendors write where they send no word that distinguishes it; by status."""

_CODE_KEYS = ("code", "err_code", "status", "type")
_TEXT_KEYS = ("message", "msg", "detail", "error", "raw")

_PARAM_WORDS = frozenset(
    [
        "audio",
        "content",
        "description",
        "dimensions",
        "encoding_format",
        "file",
        "frequency_penalty",
        "function",
        "function_call",
        "functions",
        "image_url",
        "input",
        "input_audio",
        "instructions",
        "json_schema",
        "language",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "metadata",
        "modalities",
        "model",
        "n",
        "name",
        "parallel_tool_calls",
        "parameters",
        "prediction",
        "presence_penalty",
        "prompt",
        "properties",
        "reasoning_effort",
        "required",
        "response_format",
        "role",
        "schema",
        "seed",
        "speed",
        "stop",
        "store",
        "stream",
        "stream_options",
        "strict",
        "temperature",
        "text",
        "tool_call_id",
        "tool_calls",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "type",
        "url",
        "user",
        "verbosity",
        "voice",
    ]
)
_PARAM_PART = re.compile(r"\.?([a-z_]+)|\[([0-9]{1,4})\]|\.([0-9]{1,4})")
_PARAM_IN_TEXT = re.compile(
    r"\b(?:tools|functions|messages|response_format|tool_choice)(?:\[[0-9]{1,4}\]|\.[a-z_0-9]{1,24})+"
)


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """Content of a vendor's error, in words of this module."""

    status: int | None = None  # HTTP's, or the one that the word stands for
    word: str | None = None  # to be quoted
    code: str | None = None  # OpenAI's
    param: str | None = None  # a path such as ``tools[0].function.parameters``


def read_error(error: object, status: int | None = None) -> ErrorReport:
    """Read an error object, or a code alone. ``status`` is the answer's where it is not a success."""
    fields = _flatten_error(error if isinstance(error, Mapping) else {"code": error, "message": error})
    words = [value for value in (fields.get(key) for key in _CODE_KEYS) if value]
    status = status or next((found for word in words if (found := _read_status(word))), None)
    known = [word for word in words if isinstance(word, str)]
    code = next((CODE_OF_WORD[word] for word in known if word in CODE_OF_WORD), None)
    text = _join_texts(fields)
    if code is None or code == RATE:
        code = _find_in_text(text, status) or code
    if code is None and (status == 402 or (status == 403 and isinstance(fields.get("reasons"), list))):
        code = QUOTA if status == 402 else FILTER  # OpenRouter gives the reasons of its moderation
    word = code or next((word for word in known if word in QUOTED_WORDS), None)
    return ErrorReport(status, word, code, _find_param(fields, text, code))


def unwrap_error(value: object) -> object:
    """Return the error object of a refusal's body, whichever way it is wrapped; None without one."""
    if isinstance(value, list) and value:  # Google wraps its errors in a list
        value = value[0]
    if not isinstance(value, Mapping):
        return None
    error = value.get("error")
    if isinstance(error, str) and error:
        return {"code": error, **value, "error": error}
    return error if isinstance(error, Mapping) else value


def _flatten_error(error: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields with those of Azure's ``innererror`` and OpenRouter's ``metadata`` beneath them."""
    inner, more = error.get("innererror"), error.get("metadata")
    below = dict(inner) if isinstance(inner, Mapping) else {}
    above = {key: more[key] for key in ("raw", "reasons") if key in more} if isinstance(more, Mapping) else {}
    fields = {**below, **above, **error}
    if below.get("code") in CODE_OF_WORD:
        fields["code"] = below["code"]
    return fields


def _read_status(word: object) -> int | None:
    if isinstance(word, str):
        digits = word.isascii() and word.isdecimal() and len(word) == 3
        return int(word) if digits else STATUS_OF_WORD.get(word)
    return word if type(word) is int and 300 <= word < 600 else None


def _join_texts(fields: Mapping[str, Any]) -> str:
    texts = (value[:TEXT_CHARACTERS_MAX] for key in _TEXT_KEYS if isinstance(value := fields.get(key), str))
    return "\n".join(texts).lower()


def _find_in_text(text: str, status: int | None) -> str | None:
    return next(
        (code for code, statuses, form in _TEXTS if (status or 400) in statuses and form.search(text)), None
    )


def _find_param(fields: Mapping[str, Any], text: str, code: str | None) -> str | None:
    """Return the parameter that an error names: as ``param``, as FastAPI's ``loc``, or in its text."""
    for found in (fields.get("param"), *_list_locations(fields.get("detail"))):
        if isinstance(found, str) and (path := _clean_param(found)):
            return path
    if code == CONTEXT:
        return "messages"
    named = _PARAM_IN_TEXT.search(text)
    return _clean_param(named.group()) if named else None


def _list_locations(detail: object) -> Iterator[str]:
    for row in detail[:PARTS_MAX] if isinstance(detail, list) else ():
        place = row.get("loc") if isinstance(row, Mapping) else None
        if isinstance(place, list):
            yield ".".join(str(part) for part in place[:PARTS_MAX] if part != "body")


def _clean_param(path: str) -> str | None:
    """Return the known beginning of ``path`` in OpenAI's form.

    Of ``messages`` the place is left out, since the vendor's list is longer than the client's.
    """
    out, at = "", 0
    while (part := _PARAM_PART.match(path, at)) and len(out) < TEXT_CHARACTERS_MAX:
        name, number = part.group(1), part.group(2) or part.group(3)
        if name is not None and name not in _PARAM_WORDS:
            break
        if number is not None and not out:
            break
        out += (f".{name}" if out else name) if name is not None else f"[{number}]"
        at = part.end()
    return "messages" if out.startswith("messages") else out or None
