"""Translation of vendors' failures into this project's errors, in one place.

Messages are written here, in our own words: a vendor's text may quote the prompt or the key.
Only a machine code of a fixed list, such as ``model_not_found``, is quoted (``providers.error_codes``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agentsd.core.errors import ProviderError, describe_error
from agentsd.providers.base import (
    ProviderAuthError,
    ProviderBroken,
    ProviderEmpty,
    ProviderForbidden,
    ProviderNotFound,
    ProviderProtocolError,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
    ProviderUnreachable,
)
from agentsd.providers.error_codes import CONTEXT, FILTER, QUOTA, TOOL_SCHEMA, ErrorReport, read_error
from agentsd.providers.limits import HEADER_BYTES_MAX
from agentsd.providers.outbound import OutboundRefused, ProxyFailed

if TYPE_CHECKING:
    import aiohttp

_RETRY_SECONDS_MAX = 86_400.0
_NUMBER_CHARACTERS_MAX = 32  # characters
_DATE_CHARACTERS_MAX = 64


@dataclass(frozen=True, slots=True)
class VendorRef:
    """Vendor that an error is about: ``groq.com`` in section ``llm``."""

    vendor: str
    kind: str


def make_status_error(
    who: VendorRef, status: int, headers: Mapping[str, str] | None = None, code: object = None
) -> ProviderError:
    """Return the error for an answer with an HTTP ``status`` that is not a success.

    ``code`` is the vendor's error object, or its code alone.
    """
    return _make_refusal(who, status, headers or {}, read_error(code, status))


def _make_refusal(
    who: VendorRef, status: int, headers: Mapping[str, str], report: ErrorReport
) -> ProviderError:
    told = f" ({report.word})" if report.word else ""
    key = 403 if status == 401 else status
    kind, what, hint = _REFUSALS.get(key) or _REFUSALS[key // 100] if 300 <= key < 500 else _SERVER_FAILURE
    if (special := _REFUSALS_BY_CODE.get(report.code or "")) is not None:
        kind, what, hint = kind if kind is ProviderRateLimited else special[0], *special[1:]
    message, advice = f"{who.vendor} answered {status}{told}: {what}", hint.format(kind=who.kind)
    if kind is ProviderRateLimited:
        made: ProviderError = ProviderRateLimited(
            message, hint=advice, retry_after=parse_retry_after(headers)
        )
        made.retryable = report.code != QUOTA
    elif kind is ProviderRejected:
        made = ProviderRejected(message, hint=advice, status=status)
    else:
        made = kind(message, hint=advice)
    made.code, made.param = report.code, report.param
    return made


_REFUSALS: Mapping[int, tuple[type[ProviderError], str, str]] = {
    3: (
        ProviderProtocolError,
        "a redirect, which is not followed, since the key would follow it",
        "set the URL in the manifest's {kind} section to the final one",
    ),
    4: (
        ProviderRejected,
        "it refuses this request",
        "check the request, and the fields of the manifest's {kind} section",
    ),
    403: (ProviderAuthError, "it does not accept the key", "check {kind}.api_key in the manifest"),
    404: (
        ProviderNotFound,
        "no such model, voice or path",
        "check the model, voice, URL and path in the manifest's {kind} section",
    ),
    408: (ProviderTimeout, "the request took too long", "try again"),
    429: (
        ProviderRateLimited,
        "too many requests, or the quota is used up",
        "wait, or ask the vendor for a higher limit",
    ),
}
_SERVER_FAILURE = (ProviderUnavailable, "it failed", "try again later")
_REFUSALS_BY_CODE: Mapping[str, tuple[type[ProviderError], str, str]] = {
    CONTEXT: (
        ProviderRejected,
        "the request is longer than the model's context",
        "shorten the conversation or the prompt, or choose a model with a longer context",
    ),
    QUOTA: (
        ProviderRejected,
        "the quota or the credit of the account is used up",
        "top up the account at the vendor, or raise its limit",
    ),
    FILTER: (
        ProviderRejected,
        "its moderation refuses the content",
        "change the content of the request; the key is not the cause",
    ),
    TOOL_SCHEMA: (
        ProviderRejected,
        "it refuses the schema of a tool",
        "correct the JSON Schema in the tool's parameters",
    ),
}
"""Failures that their status does not distinguish."""


def make_reported_error(who: VendorRef, error: object) -> ProviderError:
    """Return the error for an error object inside a stream: ``{"code": 429, "message": …}`` or a string."""
    report = read_error(error)
    status = report.status or (400 if report.code else None)
    if status is not None:
        return _make_refusal(who, status, {}, report)
    told = f" ({report.word})" if report.word else ""
    return ProviderUnavailable(f"{who.vendor} reported an error{told}", hint="try again later")


def refuse_error(who: VendorRef, value: Mapping[str, Any]) -> None:
    """Raise the error that an object of an answer reports, if it reports one."""
    error = value.get("error")
    if error:
        raise make_reported_error(who, error)
    if value.get("type") in _ERROR_TYPES or value.get("object") == "error":
        raise make_reported_error(who, {**value, "type": None})


_ERROR_TYPES = ("error", "Error")


def make_too_large_error(
    who: VendorRef, what: str, limit: int, unit: str = "bytes", *, setting: str = ""
) -> ProviderProtocolError:
    """Return the error for ``what`` of more than ``limit`` of ``unit``, which is not read.

    ``setting`` is the operator's variable that sets the limit; empty for a constant.
    """
    lower = f"ask for less at a time, or raise {setting}" if setting else "ask for less at a time"
    return ProviderProtocolError(
        f"{who.vendor} sent {what} of more than {limit} {unit}, which is not read",
        hint=f"{lower}; the limit protects this server's memory",
    )


ANSWER_SETTING = "AGENTSD_MAX_ANSWER"
HEADER_SETTING = "AGENTSD_MAX_ANSWER_HEADER"


def make_empty_error(who: VendorRef, what: str) -> ProviderEmpty:
    """Return the error for an answer in good form without ``what``: text, sound."""
    return ProviderEmpty(
        f"{who.vendor} answered without {what}",
        hint=f"try again; if it persists, check the model and the other fields of the {who.kind} section",
    )


def make_unfinished_error(who: VendorRef) -> ProviderRejected:
    """Return the error for an answer whose limit of tokens was used up before its first text."""
    error = ProviderRejected(
        f"{who.vendor} reached the limit of tokens before the answer began",
        hint=f"raise max_tokens in the request or in the manifest's {who.kind} section: thinking counts, too",
    )
    error.code, error.param = "max_tokens_reached", "max_tokens"
    return error


def make_filtered_error(who: VendorRef) -> ProviderRejected:
    """Return the error for an answer that the vendor's moderation withheld."""
    _, what, hint = _REFUSALS_BY_CODE[FILTER]
    error = ProviderRejected(f"{who.vendor} answered without text ({FILTER}): {what}", hint=hint)
    error.code = FILTER
    return error


def make_broken_error(who: VendorRef, error: Exception) -> ProviderBroken:
    """Return the error for an unforeseen exception.

    Its text may quote anything, so only its type is named.
    """
    return ProviderBroken(
        f"the client of {who.vendor} failed: {type(error).__name__}",
        hint="report it to the author of this provider; the server's log shows where it failed",
    )


def make_closed_early_error(who: VendorRef) -> ProviderUnavailable:
    """Return the error for a connection that ended before the answer did."""
    return ProviderUnavailable(f"{who.vendor} closed early: the answer is incomplete", hint="try again")


def make_policy_error(who: VendorRef) -> ProviderRejected:
    """Return the error for a WebSocket that the vendor closed with 1008, policy violation."""
    return ProviderRejected(
        f"{who.vendor} closed the connection: it refuses this request",
        hint=f"check the key, the voice and the other fields of the manifest's {who.kind} section",
    )


def make_protocol_error(who: VendorRef, what: str) -> ProviderProtocolError:
    """Return the error for an answer that is not the vendor's protocol; ``what`` is our own text."""
    return ProviderProtocolError(
        f"{who.vendor} {what}",
        hint=f"check that the URL in the manifest's {who.kind} section uses this vendor's protocol",
    )


def make_unforeseen_error(vendor: str, error: BaseException) -> ProviderError:
    """Return the error for whatever else a vendor's client or a plug-in raises, by type and place."""
    return ProviderProtocolError(
        f"{vendor} sent an answer that agentsd cannot handle ({describe_error(error)})",
        hint="try again; if it persists, please report it with the vendor's name",
    )


def make_wrong_rate_error(who: VendorRef, told: int, wanted: int) -> ProviderProtocolError:
    """Return the error for audio at a rate other than the manifest's: its speed would be wrong."""
    return ProviderProtocolError(
        f"{who.vendor} sends {told} Hz, but {who.kind}.sample_rate is {wanted}",
        hint=f"set {who.kind}.sample_rate: {told} in the manifest",
    )


def make_forbidden_error(who: VendorRef, error: OutboundRefused) -> ProviderForbidden:
    """Return the error for an address that this server does not connect to."""
    return ProviderForbidden(
        f"a connection to {who.vendor} is not allowed: {error}",
        hint=f"correct the URL in the manifest's {who.kind} section; AGENTSD_OUTBOUND lists what is allowed",
    )


def make_proxy_error(who: VendorRef, failure: ProxyFailed) -> ProviderError:
    """Return the error for a forward proxy that made no connection to the vendor."""
    shown, status = failure.proxy.shown, failure.status
    kind, what, hint = _PROXY_FAILURES.get(status or failure.what) or (
        _PROXY_REFUSAL if 400 <= status < 500 else _PROXY_FAILURES["status"]
    )
    if status == 407 and not failure.proxy.variable:
        hint = _NO_CREDENTIALS_HINT
    place = {"variable": failure.proxy.variable or f"{who.kind}.proxy", "kind": who.kind}
    told = f" ({status})" if status else ""
    return kind(f"{who.vendor} cannot be reached: {shown} {what}{told}", hint=hint.format(**place))


_PROXY_HINT = "check {variable}, and that the proxy can be reached from here"
_PROXY_REFUSAL = (
    ProviderForbidden,
    "refuses to connect to it",
    "let the proxy's operator allow the vendor's host and port, or except the host from the proxy",
)
_PROXY_FAILURES: Mapping[int | str, tuple[type[ProviderError], str, str]] = {
    407: (
        ProviderAuthError,
        "does not accept the credentials",
        "write user and password into {variable}: http://user:password@host:port",
    ),
    "status": (
        ProviderUnreachable,
        "cannot connect to it",
        "try again later; the proxy's log has the reason",
    ),
    "unreachable": (ProviderUnreachable, "cannot be reached", _PROXY_HINT),
    "timeout": (
        ProviderTimeout,
        "did not answer in time",
        "try again, or raise {kind}.connect_timeout_seconds",
    ),
    "closed": (ProviderUnreachable, "closed the connection before it answered", _PROXY_HINT),
    "protocol": (ProviderUnreachable, "does not answer as an HTTP proxy", _PROXY_HINT),
}
_NO_CREDENTIALS_HINT = "use the operator's HTTPS_PROXY: the proxy of a section has no credentials"


def make_timeout_error(who: VendorRef) -> ProviderTimeout:
    """Return the error for an answer that did not come within the limit."""
    hint = f"try again, or raise {who.kind}.timeout_seconds or {who.kind}.idle_timeout_seconds"
    return ProviderTimeout(f"{who.vendor} did not answer in time", hint=hint)


@contextmanager
def translate_errors(who: VendorRef) -> Iterator[None]:
    """Run a block of network calls; every failure in it leaves as a ``ProviderError``."""
    try:
        yield
    except ProviderError:
        raise
    except Exception as error:
        known = _translate_error(who, error)
        if known is None:
            raise
        try:
            raise known from None
        finally:
            del known  # it refers to this frame


def _translate_error(who: VendorRef, error: Exception) -> ProviderError | None:
    import aiohttp

    if isinstance(error, TimeoutError):
        return make_timeout_error(who)
    if isinstance(error, aiohttp.ClientResponseError):
        return _make_response_error(who, error)
    if isinstance(error, (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError)):
        return make_closed_early_error(who)
    if isinstance(error, (aiohttp.InvalidURL, UnicodeError)):
        hint = f"correct it in the manifest's {who.kind} section"
        return ProviderRejected(f"{who.vendor}: the URL cannot be used", hint=hint)
    return _make_connection_error(who, error) if isinstance(error, (aiohttp.ClientError, OSError)) else None


def _make_connection_error(who: VendorRef, error: Exception) -> ProviderError:
    cause = getattr(error, "os_error", error)
    if isinstance(cause, OutboundRefused):
        return make_forbidden_error(who, cause)
    if isinstance(cause, ProxyFailed):
        return make_proxy_error(who, cause)
    return ProviderUnreachable(
        f"{who.vendor} {_describe_unreachable(error)}", hint=_REACH_HINT.format(kind=who.kind)
    )


def _make_response_error(who: VendorRef, error: aiohttp.ClientResponseError) -> ProviderError:
    """Return the error for a response without a valid answer.

    A refused WebSocket and a redirect have a status; a head that is not HTTP only appears to have one
    (400).
    """
    import aiohttp

    handshake = isinstance(error, aiohttp.WSServerHandshakeError) and error.status >= 300
    if handshake or 300 <= error.status < 400:
        return make_status_error(who, error.status, error.headers)
    if (limit := _find_header_limit(error)) is not None:
        return make_too_large_error(who, "a header", limit, setting=HEADER_SETTING)
    return make_protocol_error(who, "sent an answer that is not in this protocol")


def _find_header_limit(error: BaseException) -> int | None:
    """Return the limit that a line of the head exceeded; aiohttp keeps the reason as a cause."""
    from aiohttp.http_exceptions import LineTooLong

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, LineTooLong):
        cause = cause.__cause__
    if cause is None:
        return None
    _, limit, *_ = cause.args  # (line, limit, actual size)
    return int(limit) if str(limit).isdecimal() else HEADER_BYTES_MAX


_REACH_HINT = "check the URL in the manifest's {kind} section, and that it can be reached from here"


def _describe_unreachable(error: Exception) -> str:
    import aiohttp

    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "cannot be reached: its host name does not resolve"
    if isinstance(error, (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch)):
        return "cannot be reached: there is no trusted TLS connection to it"
    return "cannot be reached"


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Parse seconds from ``Retry-After`` (seconds or a date, RFC 9110 §10.2.3) or ``retry-after-ms``."""
    milliseconds, value = headers.get("retry-after-ms"), headers.get("Retry-After")
    seconds = _parse_number(milliseconds, 1000.0)
    if seconds is None:
        seconds = _parse_number(value, 1.0)
    if seconds is None and value:
        seconds = _parse_date(value)
    return None if seconds is None else min(max(seconds, 0.0), _RETRY_SECONDS_MAX)


def _parse_number(text: str | None, unit: float) -> float | None:
    try:
        number = float(text[:_NUMBER_CHARACTERS_MAX] if text else "") / unit
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _parse_date(date: str) -> float | None:
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(date[:_DATE_CHARACTERS_MAX])
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (aware - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, ArithmeticError, LookupError):  # a year out of range overflows
        return None
