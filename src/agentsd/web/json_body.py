"""Request bodies: JSON objects of a bounded size and depth, or a 4xx."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import orjson
from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from agentsd.core.errors import SandboxError
from agentsd.core.violations import Pointer, format_pointer, suggest_word
from agentsd.sandbox.limits import CallLimits
from agentsd.sandbox.shared import get_shared_sandbox
from agentsd.web.agent_lookup import get_memory_hold, get_principal
from agentsd.web.context import APP_CONTEXT
from agentsd.web.http.problem import Problem, bad_request
from agentsd.web.middleware.memory_budget import COUNTED_BYTES_MIN, estimate_json_bytes, find_hold
from agentsd.web.views.pagination import TEXT_MAX, sanitize_text

BODY_SETTING, UPLOAD_SETTING = "AGENTSD_MAX_BODY", "AGENTSD_MAX_UPLOAD"
DEPTH_MAX = 100
"""Deeper JSON cannot be encoded by orjson (its limit is 254), and no API needs it."""

CONTAINERS_MAX, VALUES_MAX = 50_000, 250_000
"""Maximum lists and objects in one body, and values: more would block the event loop for too long."""

_ERROR_TEXTS = {
    "missing": "is missing",
    "string_type": "must be a text",
    "string_too_short": "must not be empty",
    "string_too_long": "is longer than {max_length} characters",
    "string_pattern_mismatch": "does not have the expected form",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "literal_error": "must be {expected}",
    "none_required": "is not supported",
    "too_short": "must have at least {min_length}",
    "too_long": "must have at most {max_length}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
}
"""Texts of pydantic's types of errors. Its own texts are not shown; the values are of our own models."""

_LIMITS = CallLimits(memory=1 << 30, cpu_seconds=3.0, wall_seconds=10.0)


class RequestModel(BaseModel):
    """Request body. The description of a field is also the hint of errors in it."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


Model = TypeVar("Model", bound=RequestModel)


def parse_model(model: type[Model], body: Mapping[str, Any], *, status: int = 400) -> Model:
    """Return ``body`` as a model. Raise ``Problem`` of ``status`` for the first mistake, with its place."""
    if model.model_config["extra"] == "forbid":
        _refuse_unknown(model, body, status)
    try:
        return model.model_validate(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
    raise _make_invalid(model, body, found, status)


def _refuse_unknown(model: type[Model], body: Mapping[str, Any], status: int) -> None:
    known = model.model_fields
    unknown = next((name for name in body if name not in known), None)
    if unknown is not None:
        name = sanitize_text(unknown)
        hint = suggest_word(unknown[:TEXT_MAX], known) or f"known: {', '.join(known)}"
        raise bad_request(f"unknown field {name}", hint=hint, param=name, status=status)


def _make_invalid(model: type[Model], body: Any, found: list[ErrorDetails], status: int) -> Problem:
    field = str(found[0]["loc"][0])
    places = [(_find_place(body, one), one) for one in found if one["loc"][0] == field]
    place, deepest = max(places, key=lambda one: len(one[0]))
    text = _ERROR_TEXTS.get(deepest["type"], "is not valid").format(**deepest.get("ctx", {}))
    if [one for one, _ in places].count(place) > 1:  # each alternative of a union has its own
        text = "has none of the allowed forms"
    param = format_pointer(place)
    hint = model.model_fields[field].description or ""
    return bad_request(f"{param} {text}", hint=hint, param=param, status=status)


def _find_place(body: Any, error: ErrorDetails) -> Pointer:
    """Return the place of an error without the names that pydantic gives to alternatives of a union."""
    place: list[str | int] = []
    for part in error["loc"]:
        is_member = isinstance(body, list if isinstance(part, int) else dict)
        if is_member and (isinstance(part, int) or part in body):
            body = body[part]
        elif error["type"] != "missing" or part != error["loc"][-1]:
            continue
        place.append(part)
    return tuple(place)


async def read_json_object(request: web.Request, *, limit: int | None = None) -> dict[str, Any]:
    """Read the body as a JSON object; ``limit`` is in bytes, where it is lower than the general one.

    Raise ``Problem`` 400, 413 or 415.
    """
    _check_content_type(request)
    raw = await _read_body(request)
    _count_memory(request, raw)
    if limit is not None and len(raw) > limit:
        raise make_too_large(limit)
    if _may_have_many_values(raw):
        await _refuse_many_values(raw, get_principal(request).owner)
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise bad_request(f"the body is not JSON ({where})", hint="send a JSON object in UTF-8") from None
    if not isinstance(value, dict):
        raise bad_request("the body must be a JSON object")
    if raw.count(b"[") + raw.count(b"{") > DEPTH_MAX and measure_depth(value) > DEPTH_MAX:
        raise bad_request(f"the body is nested deeper than {DEPTH_MAX} levels")
    return value


def _may_have_many_values(raw: bytes) -> bool:
    """Return whether parsing the body may block the event loop.

    True is not certain: a string may contain as many commas.
    """
    return raw.count(b"[") + raw.count(b"{") > CONTAINERS_MAX or raw.count(b",") > VALUES_MAX


async def _refuse_many_values(raw: bytes, owner: str) -> None:
    """Raise ``Problem`` 413 where the body has too many values; a worker counts them."""
    try:
        fits = await get_shared_sandbox().run(has_few_values, raw, limits=_LIMITS, key=owner)
    except (SandboxError, OSError):
        fits = False
    if fits is not True:
        message = f"the body has more than {CONTAINERS_MAX:,} lists and objects, or {VALUES_MAX:,} values"
        raise bad_request(message, status=413)


def has_few_values(raw: bytes) -> bool:
    """Return whether a body has few enough values to be parsed quickly; also True for invalid JSON."""
    try:
        level = [orjson.loads(raw)]
    except orjson.JSONDecodeError:
        return True
    holders = values = 0
    while level and holders <= CONTAINERS_MAX and values <= VALUES_MAX:
        values += len(level)
        found = [item for item in level if isinstance(item, (list, dict))]
        holders += len(found)
        level = [inner for item in found for inner in (item.values() if isinstance(item, dict) else item)]
    return holders <= CONTAINERS_MAX and values <= VALUES_MAX


def measure_depth(value: Any) -> int:
    """Return how deep lists and objects are nested; not recursive."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, (list, dict))]:
        depth += 1
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return depth


def count_values(value: Any, most: int) -> int:
    """Return the number of values in ``value``, itself included.

    Counting stops at most one level past ``most``.
    """
    found, level = 0, [value]
    while level and found <= most:
        found += len(level)
        holders = [item for item in level if isinstance(item, (list, dict))]
        level = [inner for item in holders for inner in (item.values() if isinstance(item, dict) else item)]
    return found


def _count_memory(request: web.Request, raw: bytes) -> None:
    """Count a large body and its values, in place of the estimate. Raise ``Problem`` 429."""
    if len(raw) >= COUNTED_BYTES_MIN:
        hold = get_memory_hold(request)
        hold.set(0)
        hold.grow(estimate_json_bytes(raw))
    elif (held := find_hold(request)) is not None:
        held.set(0)


def _check_content_type(request: web.Request) -> None:
    kind = request.content_type
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise bad_request(
            "the body's Content-Type is not JSON", hint="send Content-Type: application/json", status=415
        )
    if (request.charset or "utf-8").lower().replace("_", "-") not in ("utf-8", "utf8"):
        raise bad_request("the body's charset is not UTF-8", hint="send JSON in UTF-8", status=415)


async def _read_body(request: web.Request) -> bytes:
    limit = request.app[APP_CONTEXT].max_body
    if request.content_length is not None and request.content_length > limit:
        raise make_too_large(limit, BODY_SETTING)
    expected = request.content_length
    if expected is None or "Content-Encoding" in request.headers:
        expected = limit
    try:
        if expected >= COUNTED_BYTES_MIN:
            get_memory_hold(request).grow(expected)
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise make_too_large(limit, BODY_SETTING) from None
    except (ClientPayloadError, HttpProcessingError, web.RequestPayloadError):
        raise bad_request("the body cannot be read: it is cut short or badly encoded") from None


def make_too_large(limit: int, setting: str = "") -> Problem:
    """Return the problem for a body beyond ``limit``, which the operator's ``setting`` sets: 413."""
    hint = f"send less; the server's operator may raise {setting}" if setting else ""
    return bad_request(f"the body is larger than {limit} bytes", hint=hint, status=413)
