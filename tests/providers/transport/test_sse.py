"""Server-sent events: whatever way the bytes are cut, the events are the same."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.providers.limits import CHAT_LIMITS
from agentsd.providers.transport.sse import ErrorEvent, EventParser, EventTooLong

PAYLOAD = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1)


def parse(*chunks: bytes) -> list[bytes]:
    parser = EventParser()
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    return events + parser.close()


@given(
    st.lists(PAYLOAD, max_size=8),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(st.integers(0, 400), max_size=6),
)
def test_chunk_boundaries_do_not_matter(payloads: list[str], end: str, cuts: list[int]) -> None:
    """Cut anywhere, with any line ending, the payloads come out whole and in order."""
    data = "".join(f": note{end}event: x{end}data: {payload}{end}{end}" for payload in payloads).encode()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[a:b] for a, b in pairwise(edges)]
    assert parse(*pieces) == [payload.encode() for payload in payloads]


@given(st.binary(max_size=300), st.integers(0, 300))
def test_any_bytes_parse_the_same_when_cut(data: bytes, cut: int) -> None:
    """Even nonsense gives the same events in one piece and in two."""
    assert parse(data) == parse(data[:cut], data[cut:])


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data\n\ndata: a\n\n", [b"a"]),
        (b": comment\n\n", []),
        (b"data: a", [b"a"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"id: 1\nretry: 2\nevent: e\ndata: a\n\n\n\n", [b"a"]),
        (b"", []),
    ],
)
def test_fields(data: bytes, events: list[bytes]) -> None:
    """Data lines are joined, one space after the colon is dropped, other fields are passed over."""
    assert parse(data) == events


def test_an_event_is_held_back_until_its_blank_line() -> None:
    """Nothing is delivered early, and nothing is delivered late."""
    parser = EventParser()
    assert parser.feed(b"data: a\n") == []
    assert parser.feed(b"\r") == [b"a"]
    assert parser.feed(b"\ndata: b\r\n\r") == [b"b"]
    assert parser.feed(b"\n") == []


@pytest.mark.parametrize("piece", [b"x" * 65_536, b"data: " + b"x" * 65_530 + b"\n"])
def test_an_endless_event_is_refused(piece: bytes) -> None:
    """A line or an event that grows without end does not fill the memory."""
    with pytest.raises(EventTooLong):
        parse(*[piece] * (CHAT_LIMITS.event // len(piece) + 2))


@pytest.mark.parametrize(
    ("data", "event"),
    [
        (b"event: error\ndata: {}\n\n", b"{}"),
        (b"event: error\n\n", b""),
        (b'error: {"code":400}\n\n', b'{"code":400}'),
        (b"data: {}\nevent:error\n\n", b"{}"),
    ],
)
def test_an_error_is_told_from_data(data: bytes, event: bytes) -> None:
    """By the event's name, or by llama.cpp's own field; what comes after it is data again."""
    failed, after = parse(data + b"data: a\n\n")
    assert (type(failed), failed) == (ErrorEvent, event)
    assert (type(after), after) == (bytes, b"a")


def test_an_event_may_be_large() -> None:
    """An image arrives as one event, in thousands of pieces."""
    data = b"data: " + b"x" * (4 << 20) + b"\n\n"
    assert parse(*(data[at : at + 4096] for at in range(0, len(data), 4096))) == [b"x" * (4 << 20)]


def test_empty_lines_of_an_event_count() -> None:
    """A million data lines without a text would fill the memory as well."""
    with pytest.raises(EventTooLong):
        parse(*[b"data:\n" * 10_000] * 40)
