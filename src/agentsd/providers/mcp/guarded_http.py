"""HTTP below the SDK: our sessions as a transport of httpx2, so that no socket of its own is ever opened.

The outbound rules, the pinned resolution, proxies and TLS are those of every vendor. Beside that:
only the server's own URL; no redirect; no GET, hence no stream that the server could fill when it
likes; every wait and every body bounded. A failure becomes a response that the SDK takes as an error of
one request, since an exception would end its whole session.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import aiohttp
import httpx2
import orjson

from agentsd.providers.mcp.exchange import EXCHANGE, Exchange
from agentsd.providers.outbound import OutboundRefused, ProxyFailed
from agentsd.providers.transport.sessions import SessionClaim

REPLY_BYTES_MAX = 4 << 20
"""Bytes of one reply, a stream of events included."""
EVENT_LINES_MAX = 2_000
"""Lines of one stream of events: each event costs the SDK a millisecond."""
NOTICE_SECONDS = 5.0
"""Wait for the answer to what is not a request of ours: the end of a session, a cancellation."""

_STATUS_LOST, _STATUS_NO_STREAM, _STATUS_FAILED = 404, 405, 502
_SESSION_HEADER = "mcp-session-id"
_EVENTS = "text/event-stream"
_DROPPED_HEADERS = frozenset({"host", "connection", "content-length", "accept-encoding", "user-agent"})
_KEPT_HEADERS = frozenset({"content-type", _SESSION_HEADER, "mcp-protocol-version"})


@dataclass(frozen=True, slots=True)
class HttpTimeouts:
    """Limits in seconds: to connect, and of one reply from its request to its end."""

    connect: float = 5.0
    whole: float = 60.0


class ReplyTooLarge(httpx2.StreamError):
    """End of a reply that is longer than what is read. The SDK takes it as an error of one request."""

    def __init__(self) -> None:
        super().__init__("the reply is too large")


class ReplyBroken(httpx2.StreamError):
    """End of a reply that did not arrive whole."""

    def __init__(self) -> None:
        super().__init__("the reply ended early")


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Transport for one MCP server at ``url``, over the session of ``claim``."""

    def __init__(
        self, claim: SessionClaim, url: str, headers: Mapping[str, str], timeouts: HttpTimeouts
    ) -> None:
        self._claim = claim
        self._url = httpx2.URL(url)
        self._headers = headers
        self._timeouts = timeouts

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request of the SDK. Never raises, but for cancellation."""
        exchange = EXCHANGE.get() or Exchange()
        if request.method not in ("POST", "DELETE") or request.url != self._url:
            return httpx2.Response(_STATUS_NO_STREAM)
        if exchange.hopeless:
            return httpx2.Response(_STATUS_FAILED)
        try:
            return await self._send(request, exchange)
        except TimeoutError:
            exchange.note("timeout", hopeless=True)
        except OutboundRefused as error:
            exchange.note("forbidden", str(error), hopeless=True)
        except ProxyFailed as error:
            exchange.note("unreachable", f"{error.proxy.shown} does not connect to it", hopeless=True)
        except ReplyTooLarge:
            exchange.note("too_large")
        except (aiohttp.ClientError, OSError, ReplyBroken) as error:
            _note_connection_error(exchange, error)
        except ValueError:  # a header or an address that cannot be sent
            exchange.note("failed", "the request cannot be sent")
        return httpx2.Response(_STATUS_FAILED)

    async def _send(self, request: httpx2.Request, exchange: Exchange) -> httpx2.Response:
        body = await request.aread()
        seconds = self._timeouts.whole if _is_request(body) else NOTICE_SECONDS
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        async with asyncio.timeout_at(deadline):
            reply = await self._claim.session.request(
                request.method,
                str(self._url),
                data=body,
                headers=self._make_headers(request),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeouts.connect),
                allow_redirects=False,
                middlewares=(),
            )
        try:
            return await self._take(reply, exchange, deadline)
        except BaseException:
            reply.close()
            raise

    def _make_headers(self, request: httpx2.Request) -> dict[str, str]:
        given = {name: value for name, value in request.headers.items() if name not in _DROPPED_HEADERS}
        return {**given, **self._headers}

    async def _take(
        self, reply: aiohttp.ClientResponse, exchange: Exchange, deadline: float
    ) -> httpx2.Response:
        """Return the reply: whole, or as a stream of events under the same bounds."""
        status = reply.status
        if 300 <= status < 400:
            reply.close()
            exchange.note("redirect", hopeless=True)
            return httpx2.Response(_STATUS_FAILED)
        if status in (401, 403, 407):
            exchange.note("unauthorized", hopeless=True)
        elif status == _STATUS_LOST and _SESSION_HEADER in reply.request_info.headers:
            exchange.note("session_lost", hopeless=True)
        elif status >= 400:
            exchange.note("failed", f"it answered {status}")
        headers = [(name, value) for name, value in reply.headers.items() if name.lower() in _KEPT_HEADERS]
        pieces = _ReplyStream(reply, exchange, deadline)
        if reply.content_type == _EVENTS and status < 300:
            return httpx2.Response(status, headers=headers, stream=pieces)
        content = b"".join([piece async for piece in pieces])
        return httpx2.Response(status, headers=headers, content=content)


def _is_request(body: bytes) -> bool:
    """Return whether a message of the SDK expects a result: a notice is sent before the next message is."""
    try:
        message = orjson.loads(body) if body else {}
    except orjson.JSONDecodeError:  # a number that only the standard library writes
        return True
    return "id" in message and "method" in message


class _ReplyStream(httpx2.AsyncByteStream):
    """Body of a reply, which ends with an error beyond its bounds."""

    def __init__(self, reply: aiohttp.ClientResponse, exchange: Exchange, deadline: float) -> None:
        self._reply = reply
        self._exchange = exchange
        self._deadline = deadline
        self._is_stream = reply.content_type == _EVENTS

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = lines = 0
        try:
            while True:
                async with asyncio.timeout_at(self._deadline):
                    data = await self._reply.content.readany()
                if not data:
                    return
                size += len(data)
                lines += data.count(b"\n") if self._is_stream else 0
                if size > REPLY_BYTES_MAX or lines > EVENT_LINES_MAX:
                    self._exchange.note("too_large")
                    raise ReplyTooLarge
                yield data
        except TimeoutError:
            self._exchange.note("timeout", hopeless=True)
            raise ReplyBroken from None
        except (aiohttp.ClientError, OSError) as error:
            _note_connection_error(self._exchange, error)
            raise ReplyBroken from None
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Give the connection back after a whole reply; close it after a part of one."""
        if self._reply.content.at_eof():
            self._reply.release()
        else:
            self._reply.close()


def _note_connection_error(exchange: Exchange, error: BaseException) -> None:
    """Note a failed connection; a refusal by the outbound rules may be within aiohttp's own error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OutboundRefused):
            exchange.note("forbidden", str(cause), hopeless=True)
            return
        cause = getattr(cause, "os_error", None) or cause.__cause__
    exchange.note("unreachable", hopeless=True)
