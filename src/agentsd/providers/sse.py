"""Server-sent events, as far as streamed completions use them. Pure: bytes in, payloads out.

Follows https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream:
lines end with LF, CRLF or CR, a line that starts with ``:`` is a comment, several ``data``
lines of one event are joined by a line feed. One leniency: an event that the end of the stream
cut short of its blank line still counts, because some servers never send that line.
"""

from __future__ import annotations

MAX_EVENT = 1 << 20
"""Bytes that one event may have; a longer one is an attack or not an event stream."""


class EventTooLong(ValueError):
    """An event is longer than ``MAX_EVENT``."""


class EventParser:
    """Turns chunks of bytes, cut anywhere, into the ``data`` of events."""

    __slots__ = ("_after_cr", "_data", "_rest", "_size")

    def __init__(self) -> None:
        self._rest = b""  # an unfinished line
        self._data: list[bytes] = []  # data lines of the unfinished event
        self._size = 0
        self._after_cr = False  # the last chunk ended with CR: a LF that follows belongs to it

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events that ``chunk`` completes. Raises ``EventTooLong``."""
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk.startswith(b"\n"):
                chunk = chunk[1:]
        lines = (self._rest + chunk if self._rest else chunk).splitlines(keepends=True)
        self._rest = b""
        events: list[bytes] = []
        for line in lines:
            if line.endswith((b"\n", b"\r")):
                self._line(line.rstrip(b"\r\n"), events)
            else:
                self._rest = line
        self._after_cr = bool(lines) and lines[-1].endswith(b"\r")
        if self._size + len(self._rest) > MAX_EVENT:
            raise EventTooLong
        return events

    def close(self) -> list[bytes]:
        """The event that the end of the stream completes, if any."""
        events: list[bytes] = []
        if self._rest:
            self._line(self._rest, events)
        self._line(b"", events)
        self._rest = b""
        return events

    def _line(self, line: bytes, events: list[bytes]) -> None:
        if not line:
            if self._data:
                events.append(b"\n".join(self._data))
                self._data.clear()
                self._size = 0
        elif line.startswith(b"data:"):
            value = line[6:] if line.startswith(b"data: ") else line[5:]
            self._data.append(value)
            self._size += len(value)
        elif line.startswith(b"\xef\xbb\xbfdata:"):  # a byte order mark before the first line
            self._line(line[3:], events)
