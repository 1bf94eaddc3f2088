"""Error responses: ``application/problem+json`` (RFC 9457), or OpenAI's shape under ``/v1``.

Under ``/mcp`` an error is one of JSON-RPC, without the id of a request, with the problem as its data.

``code`` is stable and meant for programs; ``type`` is the same as a URI. ``detail`` describes the
error, ``hint`` the remedy. Texts are written here or in ``AgentsdError``, so they contain no
secret.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any, NotRequired

from aiohttp import web
from pydantic import Field
from typing_extensions import TypedDict

from agentsd.core.errors import (
    AgentNotFound,
    AgentsdError,
    AgentUnavailable,
    InvalidChat,
    OptionRefused,
    OverrideRefused,
    ProviderError,
    StoreError,
    VariableRefused,
)
from agentsd.core.violations import Violation, format_pointer
from agentsd.providers.base import (
    ProviderAuthError,
    ProviderEmpty,
    ProviderForbidden,
    ProviderNotFound,
    ProviderProtocolError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)
from agentsd.web.http.json import to_json

TYPE_PREFIX = "urn:agentsd:problem:"
OPENAI_PREFIX = "/v1/"
MCP_PATH = "/mcp"
INVALID_REQUEST, INTERNAL_ERROR = -32600, -32603
"""Codes of JSON-RPC 2.0 for a request that cannot be answered, and for a failure of the server."""

_STATUS_BY_ERROR: tuple[tuple[type[AgentsdError], int, str], ...] = (
    (AgentNotFound, 404, "agent_not_found"),
    (AgentUnavailable, 400, "agent_unavailable"),
    (InvalidChat, 400, "invalid_request"),
    (OptionRefused, 400, "unsupported_option"),
    (VariableRefused, 400, "invalid_variable"),
    (OverrideRefused, 400, "override_refused"),
    (ProviderAuthError, 502, "provider_auth"),
    (ProviderRateLimited, 429, "provider_rate_limited"),
    (ProviderNotFound, 502, "provider_not_found"),
    (ProviderForbidden, 502, "provider_forbidden"),
    (ProviderRejected, 400, "provider_rejected"),
    (ProviderTimeout, 504, "provider_timeout"),
    (ProviderUnavailable, 503, "provider_unavailable"),
    (ProviderProtocolError, 502, "provider_protocol"),
    (ProviderEmpty, 502, "provider_empty"),
    (ProviderError, 502, "provider_error"),
    (StoreError, 503, "store_unavailable"),
)
_WITH_PARAM = (InvalidChat, OptionRefused, OverrideRefused, ProviderError, VariableRefused)
_STATUS_BY_CODE = {"insufficient_quota": 429}
"""Statuses of OpenAI's own codes, where a vendor's differ."""
SHOULD_RETRY = "x-should-retry"
"""Header that OpenAI's clients obey before the status: they retry 408, 409, 429 and 5xx by themselves."""
_CODE_BY_STATUS = {
    400: "invalid_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
    422: "invalid_request",
}


RequestId = Annotated[str, Field(description="Of a failure of the server: search the log for it.")]


@dataclass(frozen=True)
class ViolationReply:
    """Violation of a rule, and its remedy."""

    path: str
    line: int
    column: int
    code: str
    message: str
    hint: str
    pointer: Annotated[str, Field(description="The field's pointer in the manifest.")]

    @classmethod
    def of(cls, one: Violation) -> ViolationReply:
        """Return the reply for one violation."""
        pointer = format_pointer(one.pointer)
        return cls(one.path, one.line, one.column, one.code, one.message, one.hint, pointer)


class ProblemDocument(TypedDict):
    """Error (RFC 9457)."""

    type: Annotated[str, Field(description="`code` as a URI.")]
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    code: Annotated[str, Field(description="Stable, for programs.")]
    detail: Annotated[str, Field(description="What is wrong.")]
    hint: NotRequired[Annotated[str, Field(description="What to do.")]]
    param: NotRequired[Annotated[str, Field(description="The invalid field.")]]
    request_id: NotRequired[RequestId]
    file: NotRequired[Annotated[str, Field(description="The manifest concerned.")]]
    reason: NotRequired[Annotated[str, Field(description="The machine reason of the agent's condition.")]]
    violations: NotRequired[
        Annotated[list[ViolationReply], Field(description="Rules that the agent would break (422).")]
    ]


class OpenAIErrorBody(TypedDict):
    """Content of an error in OpenAI's shape."""

    message: str
    type: str
    param: str | None
    code: str | None
    request_id: NotRequired[RequestId]


class OpenAIError(TypedDict):
    """Error in OpenAI's shape."""

    error: OpenAIErrorBody


@dataclass(eq=False)
class Problem(Exception):
    """Error response. Raised in a handler; the middleware writes it in the shape of the path."""

    status: int
    code: str
    detail: str
    hint: str = ""
    param: str | None = None  # the invalid field of the request
    headers: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)  # further members of the problem document

    def as_problem(self) -> dict[str, Any]:
        """Return the members of ``application/problem+json``."""
        members = {
            "type": TYPE_PREFIX + self.code,
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        optional = {"hint": self.hint, "param": self.param}
        return members | {key: value for key, value in optional.items() if value} | dict(self.extra)

    @property
    def text(self) -> str:
        """Return what is wrong and what to do, in one line."""
        return f"{self.detail} ({self.hint})" if self.hint else self.detail

    def as_openai(self) -> OpenAIError:
        """Return the error in OpenAI's shape."""
        return {
            "error": {
                "message": self.text,
                "type": get_openai_type(self.status),
                "param": self.param,
                "code": self.code,
            }
        }

    def as_json_rpc(self) -> dict[str, Any]:
        """Return the error as the response to a JSON-RPC request whose id is not known."""
        code = INTERNAL_ERROR if self.status >= 500 else INVALID_REQUEST
        error = {"code": code, "message": self.text, "data": self.as_problem()}
        return {"jsonrpc": "2.0", "id": None, "error": error}

    def as_frame(self, request_id: str) -> OpenAIError:
        """Return ``as_openai`` with the request's id, for an event after the head was sent."""
        body = self.as_openai()
        body["error"]["request_id"] = request_id
        return body

    def response(self, path: str, request_id: str = "") -> web.Response:
        """Return the response, shaped for the request's ``path``.

        Failures of the server and of vendors contain the request's id, with which the log can be searched.
        """
        body: Any
        if path == MCP_PATH:
            body = self.as_json_rpc()
            told = body["error"]["data"]
        elif path.startswith(OPENAI_PREFIX):
            body = self.as_openai()
            told = body["error"]
        else:
            body = told = self.as_problem()
        if request_id and self.status >= 500:
            told["request_id"] = request_id
        return web.Response(
            body=to_json(body),
            status=self.status,
            content_type="application/problem+json" if body is told else "application/json",
            headers=dict(self.headers),
        )


def get_openai_type(status: int) -> str:
    """Return the ``type`` that OpenAI's API gives to an error of this status."""
    if status == 429:
        return "rate_limit_error"
    return "server_error" if status >= 500 else "invalid_request_error"


def bad_request(detail: str, *, hint: str = "", param: str | None = None, status: int = 400) -> Problem:
    """Return the problem for a mistake of the client."""
    return Problem(status, _CODE_BY_STATUS.get(status, "invalid_request"), detail, hint=hint, param=param)


def from_error(error: AgentsdError) -> Problem:
    """Convert an ``AgentsdError``. Unknown ones become 500 without their text."""
    for kind, status, code in _STATUS_BY_ERROR:
        if isinstance(error, kind):
            return Problem(
                _get_error_status(error, status),
                _get_error_code(error) or code,
                error.message,
                hint=error.hint,
                param=_get_error_param(error),
                headers=_make_error_headers(error),
                extra=_make_error_members(error),
            )
    return make_internal_error()


def from_http_exception(error: web.HTTPException, path: str, hint: str = "") -> Problem:
    """Convert an error of aiohttp itself (no such path, method, size)."""
    status = error.status
    code = _CODE_BY_STATUS.get(status, "http_error")
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    return Problem(status, code, _explain_http_error(error, path), hint=hint, headers=headers)


def make_not_ready() -> Problem:
    """Return the problem for a request that came before the first load."""
    return Problem(
        503,
        "not_ready",
        "the agents have not been loaded yet",
        hint="try again in a moment; /readyz reports when they are",
        headers={"Retry-After": "1"},
    )


def make_internal_error() -> Problem:
    """Return the problem for a fault of this program; details are in the log only."""
    return Problem(500, "internal", "the server failed", hint="see the server's log")


def _explain_http_error(error: web.HTTPException, path: str) -> str:
    match error.status:
        case 404:
            return f"there is nothing at {path}"
        case 405:
            return f"{path} allows {error.headers.get('Allow', 'nothing')}"
        case 413:
            return "the request's body is too large"
        case _:
            return HTTPStatus(error.status).phrase


def _get_error_status(error: AgentsdError, status: int) -> int:
    if isinstance(error, AgentUnavailable) and error.retryable:
        return 503
    return _STATUS_BY_CODE.get(_get_error_code(error) or "", status)


def _get_error_code(error: AgentsdError) -> str | None:
    return error.code if isinstance(error, ProviderError) else None


def _make_error_headers(error: AgentsdError) -> dict[str, str]:
    headers = {"Retry-After": "1"} if isinstance(error, StoreError) else {}
    if isinstance(error, ProviderRateLimited) and error.retry_after is not None:
        headers["Retry-After"] = str(max(0, math.ceil(error.retry_after)))
    if isinstance(error, ProviderError) and (error.tries > 1 or not error.retryable):
        headers[SHOULD_RETRY] = "false"  # it was retried here, or the same request fails again
    return headers


def _get_error_param(error: AgentsdError) -> str | None:
    return error.param if isinstance(error, _WITH_PARAM) else None


def _make_error_members(error: AgentsdError) -> dict[str, Any]:
    return {"reason": error.reason} if isinstance(error, AgentUnavailable) else {}
