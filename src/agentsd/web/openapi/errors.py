"""Statuses of errors and their meanings here. ``code`` in the response distinguishes the cases."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from agentsd.web.openapi.headers import COMMON_HEADERS
from agentsd.web.openapi.model import JSON_TYPE, Operation, Schema, refer_to_schema

PROBLEM_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class ErrorStatus:
    """Status with its meaning, the headers it may have, and its codes, also those under ``/v1``."""

    meaning: str
    codes: tuple[str, ...]
    openai: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()

    def codes_of(self, *, openai: bool) -> tuple[str, ...]:
        """Return the codes in one of the two shapes."""
        return (self.openai or self.codes) if openai else self.codes


_INVALID_CODES = ("invalid_request",)
_UNAVAILABLE_CODES = ("not_ready", "agent_unavailable")
_RETRY_HEADERS = ("Retry-After",)

ERRORS: dict[int, ErrorStatus] = {
    400: ErrorStatus(
        "The request is malformed; `param` names the invalid field.",
        _INVALID_CODES,
        (
            *(*_INVALID_CODES, "agent_unavailable", "provider_rejected", "content_filter"),
            *("context_length_exceeded", "invalid_function_parameters", "max_tokens_reached"),
            *("unsupported_option", "invalid_variable", "override_refused"),
        ),
    ),
    401: ErrorStatus(
        "No valid bearer token was sent.", ("unauthorized",), ("invalid_api_key",), ("WWW-Authenticate",)
    ),
    403: ErrorStatus(
        "The token's role does not allow it, or the `Host` or `Origin` is not this server's.",
        ("forbidden", "host_not_allowed", "origin_not_allowed"),
    ),
    404: ErrorStatus(
        "The agent or token does not exist, or is not visible to you.",
        ("agent_not_found", "not_found", "token_not_found", "tool_not_found"),
        ("model_not_found", "not_found"),
    ),
    405: ErrorStatus(
        "This server is read-only; `file` names the file to edit.",
        ("read_only", "method_not_allowed"),
        headers=("Allow",),
    ),
    408: ErrorStatus("The body did not arrive in time.", ("body_too_slow",)),
    409: ErrorStatus(
        "The current state does not allow it; `hint` contains the remedy.",
        (
            *("agent_exists", "agent_suspended", "conflict", "key_needed", "git_refused", "mass_deletion"),
            *("seal_broken", "sync_refused", "token_exists", "lockout"),
        ),
    ),
    412: ErrorStatus("The agent no longer matches `If-Match`: read it again.", ("precondition_failed",)),
    413: ErrorStatus("The body is too large.", ("body_too_large",)),
    415: ErrorStatus("The body's media type is not supported.", ("unsupported_media_type",)),
    422: ErrorStatus(
        "The agent would break rules; `violations` lists them.",
        ("invalid_manifest", "secret_needed", "invalid_request"),
    ),
    426: ErrorStatus("This is a WebSocket: connect with ws:// or wss://.", _INVALID_CODES),
    429: ErrorStatus(
        "Too many requests, here or at the provider.",
        ("rate_limited", "owner_busy"),
        ("rate_limit_exceeded", "owner_busy", "provider_rate_limited", "insufficient_quota"),
        _RETRY_HEADERS,
    ),
    500: ErrorStatus("Internal error; the details are in the server's log.", ("internal",)),
    502: ErrorStatus(
        "The provider refused the agent's key, or returned an invalid response.",
        (
            *("provider_auth", "provider_forbidden", "provider_not_found", "provider_protocol"),
            *("provider_empty", "provider_error", "invalid_api_key", "model_not_found"),
        ),
    ),
    503: ErrorStatus(
        "The agents are not loaded yet, the agent cannot run for now, or a dependency is unavailable.",
        (*_UNAVAILABLE_CODES, "store_unavailable", "busy", "not_synced", "sops_failed", "disk_full"),
        (*_UNAVAILABLE_CODES, "provider_unavailable", "too_many_calls", "busy"),
        _RETRY_HEADERS,
    ),
    504: ErrorStatus("The provider did not answer in time.", ("provider_timeout",)),
}

ANY_REQUEST_STATUSES = (403, 429, 500)
"""Errors that any request may return."""


def list_error_statuses(operation: Operation) -> tuple[int, ...]:
    """Return the sorted statuses of errors that ``operation`` may return."""
    guarded = (401,) if operation.role else ()
    slow = (408,) if operation.body else ()
    return tuple(sorted({*ANY_REQUEST_STATUSES, *guarded, *slow, *operation.errors}))


def name_component(status: int, *, openai: bool) -> str:
    """Return the component's name: ``NotFound``, ``OpenAINotFound``."""
    return ("OpenAI" if openai else "") + HTTPStatus(status).phrase.title().replace(" ", "").replace("-", "")


def make_responses() -> dict[str, Any]:
    """Return both shapes of every error, as components."""
    return {
        name_component(status, openai=openai): _make_response(status, error, openai=openai)
        for openai in (False, True)
        for status, error in ERRORS.items()
    }


def _make_response(status: int, error: ErrorStatus, *, openai: bool) -> dict[str, Any]:
    codes = ", ".join(f"`{code}`" for code in error.codes_of(openai=openai))
    schema = refer_to_schema("OpenAIError" if openai else "ProblemDocument")
    return {
        "description": f"{error.meaning} Codes: {codes}.",
        "headers": {name: refer_to_header(name) for name in sorted({*COMMON_HEADERS, *error.headers})},
        "content": {JSON_TYPE if openai else PROBLEM_TYPE: {"schema": schema}},
    }


def refer_to_header(name: str) -> Schema:
    """Return a reference to a header among the components."""
    return {"$ref": f"#/components/headers/{name}"}
