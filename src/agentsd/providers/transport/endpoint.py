"""Address of one vendor: where a client posts to, with its headers, its limits and its errors."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

import orjson

from agentsd.providers.base import ProviderRejected
from agentsd.providers.errors import (
    Who,
    forbidden,
    garbled,
    refuse_error,
    refused,
    reported,
    timed_out,
    too_large,
    translated,
)
from agentsd.providers.limits import CHAT, FRAMES, SLICE_BYTES, AnswerLimits
from agentsd.providers.network import Timeouts
from agentsd.providers.outbound import OutboundRefused
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.providers.transport.sse import ErrorEvent, EventParser, EventTooLong

if TYPE_CHECKING:
    import asyncio

    import aiohttp

MAX_ERROR_BODY = 64 << 10
"""Bytes of an error's body that are looked at for its machine code."""
LINGER_SECONDS = 0.25
"""How long a finished stream may take to end, so that its connection can be used again."""


class Endpoint:
    """Claim on an origin's session, with the headers and limits of one vendor there."""

    __slots__ = ("_claim", "headers", "limits", "timeouts", "url", "who")

    def __init__(
        self,
        sessions: HttpSessions,
        url: str,
        who: Who,
        headers: Mapping[str, str],
        timeouts: Timeouts,
        limits: AnswerLimits = CHAT,
    ) -> None:
        _check_headers(who, headers)
        try:
            self._claim = sessions.acquire(url)
        except ValueError:
            hint = f"correct it in the manifest's {who.kind} section"
            raise ProviderRejected(f"{who.vendor}: the URL cannot be used", hint=hint) from None
        except OutboundRefused as error:
            raise forbidden(who, error) from None
        self.url = url
        self.who = who
        self.headers = headers
        self.timeouts = timeouts
        self.limits = limits

    @property
    def session(self) -> aiohttp.ClientSession:
        """Return the origin's pooled session."""
        return self._claim.session

    async def aclose(self) -> None:
        """Give the claim up."""
        await self._claim.release()

    @asynccontextmanager
    async def post(
        self, body: bytes | aiohttp.FormData, accept: str = "application/json"
    ) -> AsyncIterator[Reply]:
        """Send ``body`` and yield the answer once its head has come. Raises ``ProviderError``.

        An answer that was not read to its end when the context ends closes the connection.
        """
        headers = {**self.headers, "Accept": accept}
        if isinstance(body, bytes):
            headers["Content-Type"] = "application/json"
        with translated(self.who):
            response = await self._send(body, headers)
            try:
                if response.status >= 300:
                    code = await _code_of(response)
                    raise refused(self.who, response.status, response.headers, code)
                yield Reply(response, self)
            finally:
                if response.content.at_eof():
                    response.release()
                else:
                    response.close()

    async def _send(self, body: Any, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        import aiohttp

        limits = aiohttp.ClientTimeout(total=None, sock_connect=self.timeouts.connect)
        async with within(self.timeouts.first):
            return await self.session.post(self.url, data=body, headers=headers, timeout=limits)


class Reply:
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
        async with within(self._endpoint.timeouts.first):
            data = await self._read_all()
        value = _loads(who, data, self._endpoint.limits.values)
        if not isinstance(value, dict):
            raise garbled(who, "answered something that is not a JSON object")
        refuse_error(who, value)
        return value

    async def read(self, *, first: bool = False) -> bytes:
        """Return the next bytes of the body as they come; empty at its end.

        ``first`` allows the longer wait.
        """
        timeouts, limits = self._endpoint.timeouts, self._endpoint.limits
        async with within(timeouts.first if first else timeouts.idle):
            data = await self._response.content.readany()
        self._size += len(data)
        if self._size > limits.stream:
            raise too_large(self._endpoint.who, "an answer", limits.stream)
        if monotonic() - self._began > timeouts.whole:
            raise timed_out(self._endpoint.who)
        return data

    async def events(self) -> AsyncGenerator[bytes, None]:
        """Yield the ``data`` of server-sent events as they come.

        Comments keep a stream alive, but not for ever: an event must come within ``timeouts.silence``.
        """
        who, limits, silence = self._endpoint.who, self._endpoint.limits, self._endpoint.timeouts.silence
        parser, latest = EventParser(limits.event), monotonic()
        try:
            data = await self.read(first=True)
            while data:
                for part in sliced(data):
                    events = parser.feed(part)
                    for event in events:
                        yield _checked(who, event)
                    if events:
                        latest = monotonic()
                    if len(data) > SLICE_BYTES:
                        await yield_to_others()
                if parser.lines > limits.lines:
                    raise too_large(who, "a stream", limits.lines, "lines")
                if monotonic() - latest > silence:
                    raise timed_out(who)
                data = await self.read()
        except EventTooLong:
            raise too_large(who, "an event", limits.event) from None
        for event in parser.close():
            yield _checked(who, event)

    async def linger(self) -> None:
        """Read the small rest of a finished stream, so that its connection can be used again."""
        content = self._response.content
        try:
            async with within(LINGER_SECONDS):
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
                raise too_large(self._endpoint.who, "an answer", most)
        return b"".join(parts)


def sliced(data: bytes) -> Sequence[bytes]:
    """Return ``data`` in slices that are each parsed without blocking the event loop."""
    if len(data) <= SLICE_BYTES:
        return (data,)
    return [data[at : at + SLICE_BYTES] for at in range(0, len(data), SLICE_BYTES)]


async def yield_to_others() -> None:
    """Let the loop's other tasks run."""
    import asyncio

    await asyncio.sleep(0)


def _checked(who: Who, event: bytes) -> bytes:
    """Return ``event``, unless it reports an error, which is raised."""
    if isinstance(event, ErrorEvent):
        value = _parsed(event)
        if isinstance(value, dict):
            refuse_error(who, value)
        raise reported(who, value)
    return event


def within(seconds: float | None) -> asyncio.Timeout:
    """Return ``asyncio.timeout``, imported where it is first used: see ``providers.transport.sessions``."""
    import asyncio

    return asyncio.timeout(seconds)


def encode(who: Who, body: Mapping[str, Any]) -> bytes:
    """Return ``body`` as JSON. Raises ``ProviderRejected`` for values that JSON cannot represent."""
    try:
        return orjson.dumps(body)
    except TypeError:
        hint = "send text without lone surrogates, and numbers within 64 bits"
        raise ProviderRejected(f"{who.vendor}: the request cannot be written as JSON", hint=hint) from None


def decode(who: Who, data: bytes | str, limits: AnswerLimits = FRAMES) -> dict[str, Any]:
    """Return one frame as a JSON object; raise an error object.

    Numbers and other texts are not the protocol.
    """
    value = _loads(who, data, limits.values)
    if not isinstance(value, dict):
        raise garbled(who, "sent a frame that is not a JSON object")
    refuse_error(who, value)
    return value


def _check_headers(who: Who, headers: Mapping[str, str]) -> None:
    """Refuse a key that was sealed with its line break: it would fail at every request, and unclearly."""
    if not all(value.isascii() and value.isprintable() for value in headers.values()):
        hint = f"seal {who.kind}.api_key again, without a line break or other characters around it"
        raise ProviderRejected(f"{who.vendor}: the key cannot be sent in a header", hint=hint)


def _loads(who: Who, data: bytes | str, values: int) -> Any:
    """Return ``data`` parsed; None if it is not JSON.

    Refuses data with too many values before parsing.
    """
    if len(data) > values and _commas(data) > values:
        raise too_large(who, "an answer", values, "values")
    return _parsed(data)


def _commas(data: bytes | str) -> int:
    return data.count(b",") if isinstance(data, bytes) else data.count(",")


def _parsed(data: bytes | str) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None


async def _code_of(response: aiohttp.ClientResponse) -> object:
    """Return the machine code of an error's body, if it is short, comes at once and has one."""
    try:
        async with within(1.0):
            data = await response.content.read(MAX_ERROR_BODY)
    except Exception:  # the status is the news; a body that cannot be read adds nothing
        return None
    value = _parsed(data)
    error = value.get("error") if isinstance(value, dict) else None
    return (error.get("code") or error.get("type")) if isinstance(error, dict) else None
