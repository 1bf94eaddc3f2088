"""Server-sent events, as far as streamed completions use them. Pure: bytes in, payloads out.

Follows https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream:
lines end with LF, CRLF or CR, a line that starts with ``:`` is a comment, several ``data``
lines of one event are joined by a line feed. One leniency: an event that the end of the stream
cut short of its blank line still counts, because some servers never send that line.

An event named ``error``, and a line ``error: …`` (llama.cpp's server), are ``ErrorEvent``. A line that is a
JSON object, without ``data:``, is an event: servers that fail in a stream write a bare one.
"""

from __future__ import annotations

from agentsd.providers.limits import CHAT_LIMITS

LINE_OVERHEAD_BYTES = 32
"""Overhead of a line beside its text: a million empty ones use memory, too."""


_IGNORED = (b":", b"id", b"retry", b"data", b"event")
"""Beginnings of lines that a stream may contain and that mean nothing here."""


class EventTooLong(ValueError):
    """Event that is longer than allowed."""


class ErrorEvent(bytes):
    """Data of an event that reports an error."""


class EventParser:
    """Parser of chunks of bytes, cut anywhere, into the ``data`` of events of at most ``limit`` bytes."""

    __slots__ = ("_after_cr", "_data", "_failed", "_limit", "_rest", "_size", "foreign", "lines")

    def __init__(self, limit: int = CHAT_LIMITS.event) -> None:
        self.lines = 0  # that came, comments included
        self.foreign = False  # a line came that is not of such a stream: HTML, a text
        self._limit = limit
        self._rest = bytearray()  # an unfinished line
        self._data: list[bytes] = []  # data lines of the unfinished event
        self._size = 0
        self._failed = False  # the unfinished event reports an error
        self._after_cr = False  # the last chunk ended with CR: a LF that follows belongs to it

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the events that ``chunk`` completes. Raises ``EventTooLong``."""
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk.startswith(b"\n"):
                chunk = chunk[1:]
        lines = chunk.splitlines(keepends=True)
        self.lines += len(lines)
        events: list[bytes] = []
        for line in lines:
            if not line.endswith((b"\n", b"\r")):
                self._rest += line
            elif self._rest:
                self._rest += line
                whole = bytes(self._rest)
                self._rest.clear()
                self._line(whole.rstrip(b"\r\n"), events)
            else:
                self._line(line.rstrip(b"\r\n"), events)
        self._after_cr = bool(lines) and lines[-1].endswith(b"\r")
        if self._size + len(self._rest) > self._limit:
            raise EventTooLong
        return events

    def close(self) -> list[bytes]:
        """Return the event that the end of the stream completes, if any."""
        events: list[bytes] = []
        if self._rest:
            self._line(bytes(self._rest), events)
        self._line(b"", events)
        self._rest.clear()
        return events

    def _line(self, line: bytes, events: list[bytes]) -> None:
        if not line:
            self._end(events)
        elif line.startswith(b"data:"):
            self._add(line[6:] if line.startswith(b"data: ") else line[5:])
        elif line.startswith(b"event:"):
            self._failed = line[6:].strip() == b"error"
        elif line.startswith(b"error:"):
            self._failed = True
            self._add(line[6:].strip())
        elif line.startswith(b"\xef\xbb\xbfdata:"):  # a byte order mark before the first line
            self._line(line[3:], events)
        elif not line.startswith(_IGNORED):
            self.foreign = True
            if line.startswith(b"{") and not self._data:
                events.append(line)

    def _add(self, value: bytes) -> None:
        self._data.append(value)
        self._size += len(value) + LINE_OVERHEAD_BYTES

    def _end(self, events: list[bytes]) -> None:
        if self._data or self._failed:
            data = b"\n".join(self._data)
            events.append(ErrorEvent(data) if self._failed else data)
            self._data.clear()
            self._size = 0
            self._failed = False
