"""Statuses of errors and their meanings here. ``code`` in the response distinguishes the cases."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from agentsd.web.openapi.headers import ANYWHERE
from agentsd.web.openapi.model import JSON, Operation, Schema, ref

PROBLEM = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Error:
    """Status with its meaning, the headers it may have, and its codes, also those under ``/v1``."""

    meaning: str
    codes: tuple[str, ...]
    openai: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()

    def codes_of(self, *, openai: bool) -> tuple[str, ...]:
        """Return the codes in one of the two shapes."""
        return (self.openai or self.codes) if openai else self.codes


_INVALID = ("invalid_request",)
_NOT_NOW = ("not_ready", "agent_unavailable")
_RETRY = ("Retry-After",)

ERRORS: dict[int, Error] = {
    400: Error(
        "The request is malformed; `param` names the culprit.", _INVALID, (*_INVALID, "provider_rejected")
    ),
    401: Error(
        "No valid bearer token was sent.", ("unauthorized",), ("invalid_api_key",), ("WWW-Authenticate",)
    ),
    403: Error(
        "The token's role does not allow it, or the `Host` or `Origin` is not this server's.",
        ("forbidden", "host_not_allowed", "origin_not_allowed"),
    ),
    404: Error(
        "There is no such agent or token, or it is not yours to see.",
        ("agent_not_found", "not_found", "token_not_found"),
        ("model_not_found", "not_found"),
    ),
    405: Error(
        "This server does not write; `file` names the file to edit.",
        ("read_only", "method_not_allowed"),
        headers=("Allow",),
    ),
    408: Error("The body did not come in time.", ("body_too_slow",)),
    409: Error(
        "The present state does not allow it; `hint` says what would.",
        (
            *("agent_exists", "agent_suspended", "conflict", "key_needed", "git_refused", "mass_deletion"),
            *("seal_broken", "sync_refused", "token_exists", "lockout"),
        ),
    ),
    412: Error("The agent is no longer what `If-Match` names: read it again.", ("precondition_failed",)),
    413: Error("The body is too large.", ("body_too_large",)),
    415: Error("The body's type is not one of those listed.", ("unsupported_media_type",)),
    422: Error(
        "The agent would break rules; `violations` lists them.",
        ("invalid_manifest", "secret_needed", "invalid_request"),
    ),
    426: Error("This is a WebSocket: connect with ws:// or wss://.", _INVALID),
    429: Error(
        "Too many requests, here or at the provider.",
        ("rate_limited", "owner_busy"),
        ("rate_limit_exceeded", "owner_busy", "provider_rate_limited"),
        _RETRY,
    ),
    500: Error("A fault of this program; its log says where.", ("internal",)),
    502: Error(
        "The provider refused the agent's key, or answered nonsense.",
        ("provider_auth", "provider_forbidden", "provider_not_found", "provider_protocol", "provider_error"),
    ),
    503: Error(
        "Not now: the agents are not loaded yet, the agent cannot run, or what it needs is away.",
        (*_NOT_NOW, "store_unavailable", "busy", "not_synced", "sops_failed", "disk_full"),
        (*_NOT_NOW, "provider_unavailable", "too_many_calls"),
        _RETRY,
    ),
    504: Error("The provider did not answer in time.", ("provider_timeout",)),
}

ANY = (403, 429, 500)
"""What any request may meet."""


def errors_of(operation: Operation) -> tuple[int, ...]:
    """Return the sorted statuses of errors that ``operation`` may return."""
    guarded = (401,) if operation.role else ()
    slow = (408,) if operation.body else ()
    return tuple(sorted({*ANY, *guarded, *slow, *operation.errors}))


def name_of(status: int, *, openai: bool) -> str:
    """Return the component's name: ``NotFound``, ``OpenAINotFound``."""
    return ("OpenAI" if openai else "") + HTTPStatus(status).phrase.title().replace(" ", "").replace("-", "")


def responses() -> dict[str, Any]:
    """Return both shapes of every error, as components."""
    return {
        name_of(status, openai=openai): _response(status, error, openai=openai)
        for openai in (False, True)
        for status, error in ERRORS.items()
    }


def _response(status: int, error: Error, *, openai: bool) -> dict[str, Any]:
    codes = ", ".join(f"`{code}`" for code in error.codes_of(openai=openai))
    schema = ref("OpenAIError" if openai else "InvalidManifest" if status == 422 else "Problem")
    return {
        "description": f"{error.meaning} Codes: {codes}.",
        "headers": {name: header(name) for name in sorted({*ANYWHERE, *error.headers})},
        "content": {JSON if openai else PROBLEM: {"schema": schema}},
    }


def header(name: str) -> Schema:
    """Return a reference to a header among the components."""
    return {"$ref": f"#/components/headers/{name}"}
