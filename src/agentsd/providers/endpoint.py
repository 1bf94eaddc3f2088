"""One vendor's address: where a client posts to, with its headers, its limits and its errors."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import orjson

from agentsd.providers.base import ProviderRejected
from agentsd.providers.faults import Who, forbidden, garbled, refused, reported, translated
from agentsd.providers.http import HttpSessions
from agentsd.providers.network import Timeouts
from agentsd.providers.outbound import OutboundRefused
from agentsd.providers.sse import EventParser, EventTooLong

if TYPE_CHECKING:
    import asyncio

    import aiohttp

MAX_BODY = 64 << 20
"""Bytes of an answer that is read as a whole."""
MAX_ERROR_BODY = 64 << 10
"""Bytes of an error's body that are looked at for its machine code."""
LINGER_SECONDS = 0.25
"""How long a finished stream may take to end, so that its connection can be used again."""


class Endpoint:
    """A claim on an origin's session, and how to talk to one vendor there."""

    __slots__ = ("_claim", "headers", "timeouts", "url", "who")

    def __init__(
        self, sessions: HttpSessions, url: str, who: Who, headers: Mapping[str, str], timeouts: Timeouts
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

    @property
    def session(self) -> aiohttp.ClientSession:
        """The origin's pooled session."""
        return self._claim.session

    async def aclose(self) -> None:
        """Give the claim up."""
        await self._claim.release()

    @asynccontextmanager
    async def post(
        self, body: bytes | aiohttp.FormData, accept: str = "application/json"
    ) -> AsyncIterator[Reply]:
        """Sends ``body`` and yields the answer once its head is here. Raises ``ProviderError``.

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
    """A vendor's answer, read under the endpoint's limits."""

    __slots__ = ("_endpoint", "_response")

    def __init__(self, response: aiohttp.ClientResponse, endpoint: Endpoint) -> None:
        self._response = response
        self._endpoint = endpoint

    @property
    def content_type(self) -> str:
        """The media type without parameters."""
        return self._response.content_type

    async def json(self) -> dict[str, Any]:
        """The whole answer as one JSON object."""
        who = self._endpoint.who
        async with within(self._endpoint.timeouts.first):
            data = await self._read_all()
        value = _loads(data)
        if not isinstance(value, dict):
            raise garbled(who, "answered something that is not a JSON object")
        if value.get("error"):
            raise reported(who, value["error"])
        return value

    async def read(self, *, first: bool = False) -> bytes:
        """The next bytes of the body as they come; empty at its end. ``first`` allows the longer wait."""
        timeouts = self._endpoint.timeouts
        async with within(timeouts.first if first else timeouts.idle):
            return await self._response.content.readany()

    async def events(self) -> AsyncGenerator[bytes, None]:
        """The ``data`` of server-sent events as they come."""
        parser = EventParser()
        try:
            data = await self.read(first=True)
            while data:
                for event in parser.feed(data):
                    yield event
                data = await self.read()
        except EventTooLong:
            raise garbled(self._endpoint.who, "sent an event that is too long") from None
        for event in parser.close():
            yield event

    async def linger(self) -> None:
        """Reads what little is left of a finished stream, so that its connection can be used again."""
        content = self._response.content
        try:
            async with within(LINGER_SECONDS):
                while not content.at_eof():
                    await content.readany()
        except TimeoutError:
            return

    async def _read_all(self) -> bytes:
        parts, size = [], 0
        async for chunk in self._response.content.iter_any():
            parts.append(chunk)
            size += len(chunk)
            if size > MAX_BODY:
                raise garbled(self._endpoint.who, "sent an answer that is too long")
        return b"".join(parts)


def within(seconds: float | None) -> asyncio.Timeout:
    """``asyncio.timeout``, imported where it is first used: see ``providers.http``."""
    import asyncio

    return asyncio.timeout(seconds)


def encode(who: Who, body: Mapping[str, Any]) -> bytes:
    """``body`` as JSON. Raises ``ProviderRejected`` for what JSON cannot hold."""
    try:
        return orjson.dumps(body)
    except TypeError:
        hint = "send text without lone surrogates, and numbers within 64 bits"
        raise ProviderRejected(f"{who.vendor}: the request cannot be written as JSON", hint=hint) from None


def decode(who: Who, data: bytes | str) -> dict[str, Any]:
    """One frame as a JSON object; an error object is raised. A number or other text is not the protocol."""
    value = _loads(data)
    if not isinstance(value, dict):
        raise garbled(who, "sent a frame that is not a JSON object")
    if value.get("error"):
        raise reported(who, value["error"])
    if value.get("type") in ("error", "Error"):
        raise reported(who, {**value, "type": None})
    return value


def _check_headers(who: Who, headers: Mapping[str, str]) -> None:
    """A key that was sealed with its line break would fail at every request, and unclearly."""
    if not all(value.isascii() and value.isprintable() for value in headers.values()):
        hint = f"seal {who.kind}.api_key again, without a line break or other characters around it"
        raise ProviderRejected(f"{who.vendor}: the key cannot be sent in a header", hint=hint)


def _loads(data: bytes | str) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None


async def _code_of(response: aiohttp.ClientResponse) -> object:
    """The machine code of an error's body, if it is short, comes at once and has one."""
    try:
        async with within(1.0):
            data = await response.content.read(MAX_ERROR_BODY)
    except Exception:  # the status is the news; a body that cannot be read adds nothing
        return None
    value = _loads(data)
    error = value.get("error") if isinstance(value, dict) else None
    return (error.get("code") or error.get("type")) if isinstance(error, dict) else None
