"""Address of one vendor: where a client posts to, with its headers, its limits and its errors."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from functools import cache
from time import monotonic
from typing import TYPE_CHECKING, Any

import orjson

from agentsd.core.errors import ProviderError
from agentsd.core.trust.proxies import Proxy
from agentsd.providers.base import ProviderRejected
from agentsd.providers.error_codes import TEXT_CHARACTERS_MAX, unwrap_error
from agentsd.providers.errors import (
    ANSWER_SETTING,
    VendorRef,
    make_forbidden_error,
    make_protocol_error,
    make_proxy_error,
    make_reported_error,
    make_status_error,
    make_timeout_error,
    make_too_large_error,
    refuse_error,
    translate_errors,
)
from agentsd.providers.limits import CHAT_LIMITS, FRAME_LIMITS, SLICE_BYTES, AnswerLimits
from agentsd.providers.network import Timeouts
from agentsd.providers.outbound import OutboundRefused, ProxyFailed
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.providers.transport.sse import ErrorEvent, EventParser, EventTooLong

if TYPE_CHECKING:
    import asyncio
    from types import TracebackType

    import aiohttp

ERROR_BODY_BYTES_MAX = 64 << 10
"""Bytes of an error's body that are searched for its machine code."""
PROXY_AUTHENTICATION = 407
"""Status that comes from a proxy, not from a vendor (RFC 9110 §15.5.8)."""
LENIENT_BYTES_MAX = 1 << 20
"""Bytes of a JSON text that the standard library parses, where orjson refuses it: ten times as slow."""
LINGER_SECONDS = 0.25
"""Timeout for the end of a finished stream, so that its connection can be reused."""


class Endpoint:
    """Claim on an origin's session, with the headers and limits of one vendor there."""

    __slots__ = ("_claim", "headers", "limits", "timeouts", "url", "who")

    def __init__(
        self,
        sessions: HttpSessions,
        url: str,
        who: VendorRef,
        headers: Mapping[str, str],
        timeouts: Timeouts,
        limits: AnswerLimits = CHAT_LIMITS,
        *,
        proxy: str | None = None,
    ) -> None:
        _check_headers(who, headers)
        try:
            self._claim = sessions.acquire(url, proxy)
        except ValueError:
            hint = f"correct it in the manifest's {who.kind} section"
            raise ProviderRejected(f"{who.vendor}: the URL cannot be used", hint=hint) from None
        except OutboundRefused as error:
            raise make_forbidden_error(who, error) from None
        self.url = url
        self.who = who
        self.headers = headers
        self.timeouts = timeouts
        self.limits = sessions.limits.scale(limits)

    @property
    def session(self) -> aiohttp.ClientSession:
        """Return the origin's pooled session."""
        return self._claim.session

    @property
    def forwarder(self) -> Proxy | None:
        """Return the proxy whose own answers may come in place of the vendor's."""
        return self._claim.forwarder

    async def aclose(self) -> None:
        """Give the claim up."""
        await self._claim.release()

    def post(
        self, body: bytes | aiohttp.FormData, accept: str = "application/json"
    ) -> AbstractAsyncContextManager[VendorReply]:
        """Send ``body`` and yield the answer once its head has come. Raises ``ProviderError``.

        An answer that was not read to its end when the context ends closes the connection.
        """
        headers = {**self.headers, "Accept": accept}
        if isinstance(body, bytes):
            headers["Content-Type"] = "application/json"
        return _Exchange(self, body, headers)

    def get(self, url: str) -> AbstractAsyncContextManager[VendorReply]:
        """Read ``url``, which is of this endpoint's origin. Raises ``ProviderError``."""
        return _Exchange(self, None, {**self.headers, "Accept": "application/json"}, url)

    async def read(self, url: str, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        """Return the response to a GET once its head has come. Raises what aiohttp raises."""
        async with limit_time(self.timeouts.first):
            return await self.session.get(
                url,
                headers=headers,
                timeout=_limit_connect(self.timeouts.connect),
                allow_redirects=False,
                middlewares=(),
            )

    async def send(self, body: Any, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        """Return the response once its head has come. Raises what aiohttp raises.

        A redirect is an answer here, as in the session's middleware, which costs a call on its own.
        """
        async with limit_time(self.timeouts.first):
            return await self.session.post(
                self.url,
                data=body,
                headers=headers,
                timeout=_limit_connect(self.timeouts.connect),
                allow_redirects=False,
                middlewares=(),
            )


class _Exchange(AbstractAsyncContextManager["VendorReply"]):
    """One request and its answer: a class, since a generator's context costs as much as the checks."""

    __slots__ = ("_body", "_endpoint", "_headers", "_response", "_url")

    def __init__(
        self, endpoint: Endpoint, body: Any, headers: Mapping[str, str], url: str | None = None
    ) -> None:
        self._endpoint = endpoint
        self._body = body
        self._headers = headers
        self._url = url  # to be read, in place of a post
        self._response: aiohttp.ClientResponse | None = None

    async def __aenter__(self) -> VendorReply:
        endpoint = self._endpoint
        with translate_errors(endpoint.who):
            if self._url is None:
                response = await endpoint.send(self._body, self._headers)
            else:
                response = await endpoint.read(self._url, self._headers)
            if response.status < 300:
                self._response = response
                return VendorReply(response, endpoint)
            try:
                _refuse_forwarder(endpoint, response.status)
                error = await _read_error(response) if response.status >= 400 else None
                raise make_status_error(endpoint.who, response.status, response.headers, error)
            finally:
                _leave(response)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        response, self._response = self._response, None
        if response is not None:
            _leave(response)
        if isinstance(error, Exception) and not isinstance(error, ProviderError):
            try:
                with translate_errors(self._endpoint.who):
                    raise error
            finally:
                del error  # it refers to this frame


def _refuse_forwarder(endpoint: Endpoint, status: int) -> None:
    """Raise the error for an answer that a proxy gave in place of the vendor."""
    if status == PROXY_AUTHENTICATION and endpoint.forwarder is not None:
        raise make_proxy_error(endpoint.who, ProxyFailed(endpoint.forwarder, "status", status))


def _leave(response: aiohttp.ClientResponse) -> None:
    """Give the connection back after a whole answer; close it after a part of one."""
    if response.content.at_eof():
        response.release()
    else:
        response.close()


@cache
def _limit_connect(seconds: float | None) -> aiohttp.ClientTimeout:
    import aiohttp

    return aiohttp.ClientTimeout(total=None, sock_connect=seconds)


class VendorReply:
    """Answer of a vendor, read under the endpoint's limits."""

    __slots__ = ("_began", "_endpoint", "_response", "_size")

    def __init__(self, response: aiohttp.ClientResponse, endpoint: Endpoint) -> None:
        self._response = response
        self._endpoint = endpoint
        self._size = 0  # bytes that were read
        self._began = monotonic()

    @property
    def content_type(self) -> str:
        """Return the media type without parameters."""
        return self._response.content_type

    async def json(self) -> dict[str, Any]:
        """Return the whole answer as one JSON object."""
        who = self._endpoint.who
        if self._response.content.is_eof():  # a short answer comes with its head: nothing to wait for
            data = await self._read_all()
        else:
            async with limit_time(self._endpoint.timeouts.first):
                data = await self._read_all()
        value = _parse_bounded(who, data, self._endpoint.limits.values)
        if not isinstance(value, dict):
            raise make_protocol_error(who, "sent an answer that is not a JSON object")
        refuse_error(who, value)
        return value

    async def read(self, *, first: bool = False) -> bytes:
        """Return the next bytes of the body as they come; empty at its end.

        ``first`` allows the longer wait.
        """
        timeouts, limits = self._endpoint.timeouts, self._endpoint.limits
        content = self._response.content
        data = content.read_nowait()  # a timer for each piece would cost more than the piece
        if not data and not content.at_eof():
            async with limit_time(timeouts.first if first else timeouts.idle):
                data = await content.readany()
        self._size += len(data)
        if self._size > limits.stream:
            raise make_too_large_error(self._endpoint.who, "an answer", limits.stream)
        if monotonic() - self._began > timeouts.whole:
            raise make_timeout_error(self._endpoint.who)
        return data

    async def events(self) -> AsyncGenerator[bytes, None]:
        """Yield the ``data`` of server-sent events as they come.

        Comments keep a stream alive, but not for ever: an event must come within ``timeouts.silence``.
        """
        who, parser, found = self._endpoint.who, EventParser(self._endpoint.limits.event), False
        try:
            async with aclosing(self._parse_events(parser)) as batches:
                async for events in batches:
                    for event in events:
                        found = True
                        yield _check_event(who, event)
        except EventTooLong:
            limit = self._endpoint.limits.event
            raise make_too_large_error(who, "an event", limit, setting=ANSWER_SETTING) from None
        if parser.foreign and not found:
            raise make_protocol_error(who, "answered with a text that is not a stream of events")

    async def _parse_events(self, parser: EventParser) -> AsyncGenerator[Sequence[bytes], None]:
        """Yield the events of each slice as it comes, at last those that the end completes."""
        who, limits, silence = self._endpoint.who, self._endpoint.limits, self._endpoint.timeouts.silence
        latest, data = monotonic(), await self.read(first=True)
        while data:
            for part in slice_data(data):
                if events := parser.feed(part):
                    yield events
                    latest = monotonic()
                if len(data) > SLICE_BYTES:
                    await yield_to_others()
            if parser.lines > limits.lines:
                raise make_too_large_error(who, "a stream", limits.lines, "lines")
            if monotonic() - latest > silence:
                raise make_timeout_error(who)
            data = await self.read()
        yield parser.close()

    async def linger(self) -> None:
        """Read the small rest of a finished stream, so that its connection can be used again."""
        content = self._response.content
        try:
            async with limit_time(LINGER_SECONDS):
                while not content.at_eof():
                    await content.readany()
        except TimeoutError:
            return

    async def _read_all(self) -> bytes:
        parts, size, most = [], 0, self._endpoint.limits.body
        async for chunk in self._response.content.iter_any():
            parts.append(chunk)
            size += len(chunk)
            if size > most:
                raise make_too_large_error(self._endpoint.who, "an answer", most, setting=ANSWER_SETTING)
        return b"".join(parts)


def slice_data(data: bytes) -> Sequence[bytes]:
    """Return ``data`` in slices that are each parsed without blocking the event loop."""
    if len(data) <= SLICE_BYTES:
        return (data,)
    return [data[at : at + SLICE_BYTES] for at in range(0, len(data), SLICE_BYTES)]


async def yield_to_others() -> None:
    """Let the loop's other tasks run."""
    import asyncio

    await asyncio.sleep(0)


def _check_event(who: VendorRef, event: bytes) -> bytes:
    """Return ``event``, unless it reports an error, which is raised."""
    if isinstance(event, ErrorEvent):
        value = _parse_json(event)
        if isinstance(value, dict):
            refuse_error(who, value)
        raise make_reported_error(who, value)
    return event


def limit_time(seconds: float | None) -> asyncio.Timeout:
    """Return ``asyncio.timeout``, imported where it is first used: see ``providers.transport.sessions``."""
    import asyncio

    return asyncio.timeout(seconds)


def encode_json(who: VendorRef, body: Mapping[str, Any]) -> bytes:
    """Return ``body`` as JSON. Raises ``ProviderRejected`` for values that JSON cannot represent."""
    try:
        return orjson.dumps(body)
    except TypeError:
        hint = "send text without lone surrogates, and numbers within 64 bits"
        raise ProviderRejected(f"{who.vendor}: the request cannot be written as JSON", hint=hint) from None


def decode_json(who: VendorRef, data: bytes | str, limits: AnswerLimits = FRAME_LIMITS) -> dict[str, Any]:
    """Return one frame as a JSON object; raise an error object.

    Numbers and other texts are not the protocol.
    """
    value = _parse_bounded(who, data, limits.values)
    if not isinstance(value, dict):
        raise make_protocol_error(who, "sent a frame that is not a JSON object")
    refuse_error(who, value)
    return value


def _check_headers(who: VendorRef, headers: Mapping[str, str]) -> None:
    """Refuse a key that was sealed with its line break: it would fail at every request, and unclearly."""
    if not all(value.isascii() and value.isprintable() for value in headers.values()):
        hint = f"seal {who.kind}.api_key again, without a line break or other characters around it"
        raise ProviderRejected(f"{who.vendor}: the key cannot be sent in a header", hint=hint)


def _parse_bounded(who: VendorRef, data: bytes | str, values: int) -> Any:
    """Return ``data`` parsed; None if it is not JSON.

    Refuses data with too many values before parsing.
    """
    if len(data) > values and _count_commas(data) > values:
        raise make_too_large_error(who, "an answer", values, "values")
    return _parse_json(data)


def _count_commas(data: bytes | str) -> int:
    return data.count(b",") if isinstance(data, bytes) else data.count(",")


def _parse_json(data: bytes | str) -> Any:
    """Return ``data`` parsed, as Python and JavaScript write JSON, too; None if it is not JSON."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return _parse_leniently(data) if len(data) <= LENIENT_BYTES_MAX else None


def _parse_leniently(data: bytes | str) -> Any:
    """Return JSON with NaN (as null), half a surrogate pair or half a character at the end of a text."""
    text = data.decode("utf-8", "surrogateescape") if isinstance(data, bytes) else data
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None


async def _read_error(response: aiohttp.ClientResponse) -> object:
    """Return the error object of a refusal's body, if it is short, comes at once and has one."""
    data = b""
    try:
        async with limit_time(1.0):
            while len(data) < ERROR_BODY_BYTES_MAX and (more := await response.content.readany()):
                data += more
    except Exception:  # the status suffices; what came until now may add to it
        data = data[:ERROR_BODY_BYTES_MAX]
    found = unwrap_error(_parse_json(data[:ERROR_BODY_BYTES_MAX]))
    return found or {"message": data[:TEXT_CHARACTERS_MAX].decode("utf-8", "replace")}
