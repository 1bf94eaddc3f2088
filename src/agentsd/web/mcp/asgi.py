"""Bridge from one aiohttp request to an ASGI application that answers in one piece."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from aiohttp import web

Message = MutableMapping[str, Any]

_PASSED_HEADERS = frozenset({"accept", "content-type", "host", "last-event-id"})
_PASSED_PREFIX = "mcp-"


def make_scope(request: web.Request) -> dict[str, Any]:
    """Return the ASGI scope of a request, without its credentials and cookies.

    Repeated headers stay repeated, since the application refuses some that are.
    """
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": request.path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [
            (name.lower(), value)
            for name, value in request.raw_headers
            if _is_passed(name.lower().decode("latin-1"))
        ],
        "client": None,
        "server": None,
    }


def _is_passed(name: str) -> bool:
    return name in _PASSED_HEADERS or name.startswith(_PASSED_PREFIX)


def make_receive(body: bytes) -> Callable[[], Awaitable[Message]]:
    """Return the ``receive`` of a request with this body.

    A client that leaves cancels the handler, so there is no message of a disconnection.
    """
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        waiting: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        return await waiting

    return receive


class AsgiReply:
    """Collector of what an ASGI application sends."""

    def __init__(self) -> None:
        self._status = 500
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = bytearray()

    async def send(self, message: Message) -> None:
        """Take one message."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = list(message.get("headers", ()))
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")

    def make_response(self) -> web.Response:
        """Return the response, whole."""
        response = web.Response(status=self._status, body=bytes(self._body))
        for name, value in self._headers:
            if name.lower() != b"content-length":
                response.headers[name.decode("latin-1")] = value.decode("latin-1")
        return response
