"""Answers with a text of a vendor everywhere but in the content, and a net for what gets out."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from agentsd.cli.logs import make_formatter
from tests.vendors.raw_server import frame, reply, sse, streamed

STATUSES = (300, 400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 529)
HEADERS = (
    "Retry-After", "Content-Encoding", "Location", "Set-Cookie", "x-request-id", "WWW-Authenticate",
    "Transfer-Encoding", "Connection", "Server", "Warning", "Content-Range", "Sec-WebSocket-Protocol",
)  # fmt: skip


def heads(key: str, body: bytes) -> Iterator[bytes]:
    """Every part of a head, and bodies of refusals."""
    for name in HEADERS:
        yield reply(body, headers=[f"{name}: {key}"])
        yield reply(body, headers=[f"{key}: {name}"])
    yield reply(body, f"application/{key}")
    yield reply(body, f"text/html; charset={key}")
    yield reply(body, status=f"200 {key}")
    yield reply(body, status=f"302 {key}", headers=[f"Location: http://{key}/{key}"])
    yield b"HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n" % key.encode() + body
    yield b"HTTP/1.1 103 %s\r\n%s: %s\r\n\r\n" % ((key.encode(),) * 3) + reply(body, status="500 x")
    yield b"HTTP/1.1 %s\r\n\r\n" % key.encode()
    yield key.encode() * 3 + b"\r\n\r\n"
    yield b"HTTP/1.1 200 OK\r\n%s\r\n\r\n" % key.encode()
    yield b"HTTP/1.1 200 OK\r\nX: %s\r\n\r\n" % (key.encode() * 3000)
    yield reply(key.encode())
    yield reply(key.encode(), "text/plain")
    yield reply(b"<html>" + key.encode(), "text/html")
    yield reply(key.encode(), headers=["Content-Encoding: gzip"])
    for status in STATUSES:
        yield reply(orjson.dumps(errors(key)[0]), status=f"{status} {key}", headers=[f"x-error: {key}"])
        yield reply(key.encode(), "text/plain", status=f"{status} {key}")
    for error in errors(key):
        yield reply(orjson.dumps(error))
        yield reply(orjson.dumps(error), status="400 Bad Request")


def errors(key: str) -> list[Any]:
    """Errors as vendors shape them."""
    return [
        {"error": {"message": f"bad key {key}", "type": key, "code": key, "param": key}},
        {"error": key},
        {"error": {key: key}},
        {"error": [key]},
        {"error": {"code": {key: key}, "type": [key]}},
        {"type": "error", "error": {"type": key, "message": key}},
        {"type": "error", "message": key, "code": key},
        {"object": "error", "message": key, "type": key, "code": 400},
        {"detail": key},
        {"detail": [{"loc": [key], "msg": key}]},
        {"message": key, "status": key, "err_code": key},
        [{"error": {"message": key}}],
    ]


def streams(key: str, good: Any) -> Iterator[bytes]:
    """Every part of a stream but its data."""
    events, raw = sse(good), key.encode()
    yield streamed([b": " + raw + b"\n", *events])
    yield streamed([b"event: " + raw + b"\nid: " + raw + b"\nretry: " + raw + b"\n" + raw + b"\n", *events])
    yield streamed(events, extension=b";" + raw + b"=" + raw)
    yield streamed([*events[:-1], raw + b"\n\n"])
    yield streamed([*events[:-1], b"data: " + raw + b"\n\n"])
    yield streamed([b"data: " + raw + b"\n\n"])
    yield streamed([*events[:-1], b"data: [" + raw + b"]\n\n"])
    yield streamed(events)[:-5] + raw + b"\r\n\r\n"
    yield streamed(events)[:-2] + b"x: " + raw + b"\r\n\r\n"
    for error in errors(key):
        data = orjson.dumps(error)
        yield streamed([b"data: " + data + b"\n\n"])
        yield streamed([*events[:-1], b"data: " + data + b"\n\n"])
        yield streamed([b"event: error\ndata: " + data + b"\n\n"])
        yield streamed([*events[:-1], b"error: " + data + b"\n\n", events[-1]])


def sockets(key: str, good: list[bytes]) -> Iterator[bytes]:
    """Frames that are not the protocol, errors, and closes with a reason."""
    raw = key.encode()
    for before in ([], good):
        head = b"".join(before)
        for code in (1000, 1001, 1002, 1008, 1011, 1013, 3000, 4001):
            yield head + frame(code.to_bytes(2, "big") + raw, 8)
        for error in errors(key):
            yield head + frame(orjson.dumps(error))
        yield head + frame(raw)
        yield head + frame(b'"' + raw + b'"')
        yield head + frame(raw, 9)
        yield head + frame(raw, 3)
        yield head + b"\xff" + raw
        yield head + frame(b"\xff" + raw)


class Net:
    """What was logged and raised."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def add(self, error: BaseException) -> None:
        """An error as a client and as a crash would show it."""
        self.texts += [str(error), repr(error), *traceback.format_exception(error)]
        self.texts += [str(value) for value in vars(error).values()]


class _Catch(logging.Handler):
    def __init__(self, net: Net) -> None:
        super().__init__(logging.DEBUG)
        self._net = net
        self._forms = [make_formatter("text"), make_formatter("json")]

    def emit(self, record: logging.LogRecord) -> None:
        self._net.texts += [form.format(record) for form in self._forms]


@contextmanager
def net() -> Iterator[Net]:
    """Catches every logger at debug level, as the server writes it."""
    caught, root = Net(), logging.getLogger()
    handler, level = _Catch(caught), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield caught
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
