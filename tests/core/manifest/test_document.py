"""A manifest's bytes: read as sops reads them, or refused with a place and a remedy."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.errors import InvalidManifests
from agentsd.core.manifest.document import MAX_BYTES, MAX_DEPTH, parse_document
from agentsd.core.manifest.positions import locate_pointer
from agentsd.core.manifest.scalars import format_float
from agentsd.core.violations import Violation

SAMPLE = b"""\
# a comment
name: Support
llm:
  provider: echo.local
  tags: [a, {b: c}]
rag:
  sources:
    - x.md
    -   y.md
"""


def violations(data: bytes) -> tuple[Violation, ...]:
    """Every violation of ``data``; each says where, what and what to do."""
    with pytest.raises(InvalidManifests) as caught:
        parse_document("a/x.yaml", data)
    for violation in caught.value.violations:
        assert violation.path == "a/x.yaml"
        assert violation.message
        assert violation.hint
        assert violation.line >= 1
        assert violation.column >= 1
    return caught.value.violations


def read(text: str) -> Any:
    return parse_document("x.yaml", f"k: {text}\n".encode()).value["k"]


@pytest.mark.parametrize(
    ("data", "code", "line", "column"),
    [
        (b"", "yaml-root", 1, 1),
        (b"# only a comment\n", "yaml-root", 1, 1),
        (b"---\n", "yaml-root", 1, 1),
        (b"null\n", "yaml-root", 1, 1),
        (b"- a\n- b\n", "yaml-root", 1, 1),
        (b"just text\n", "yaml-root", 1, 1),
        (b"a: 1\n---\nb: 2\n", "yaml-documents", 2, 1),
        (b"a: 1\n---\n", "yaml-documents", 2, 1),
        (b"a: 1\nb: 2\na: 3\n", "yaml-duplicate-key", 3, 1),
        (b"x:\n  a: 1\n  'a': 2\n", "yaml-duplicate-key", 3, 3),
        (b"x: {a: 1, a: 2}\n", "yaml-duplicate-key", 1, 11),
        (b"a: 1\n2: b\n", "yaml-key", 2, 1),
        (b"true: b\n", "yaml-key", 1, 1),
        (b"~: b\n", "yaml-key", 1, 1),
        (b"2024-01-02: b\n", "yaml-key", 1, 1),
        (b".nan: b\n", "yaml-key", 1, 1),
        (b"a: 1\n[x]: b\n", "yaml-key", 2, 1),
        (b"? {x: 1}\n: b\n", "yaml-key", 1, 3),
        (b"<<: {a: 1}\n", "yaml-key", 1, 1),
        (b"a: &x 1\n", "yaml-alias", 1, 4),
        (b"a: *x\n", "yaml-alias", 1, 4),
        (b"*x : 1\n", "yaml-alias", 1, 1),
        (b"a: [b, *c]\n", "yaml-alias", 1, 8),
        (b"a: !!str 1\n", "yaml-scalar", 1, 4),
        (b"a: !custom {}\n", "yaml-scalar", 1, 4),
        (b"!t a: 1\n", "yaml-scalar", 1, 1),
        (b"a: .nan\n", "yaml-scalar", 1, 4),
        (b"a: [1, -.inf]\n", "yaml-scalar", 1, 8),
        (b"a: 2024-01-02\n", "yaml-scalar", 1, 4),
        (b"a: 2024-1-2T3:04:05.5Z\n", "yaml-scalar", 1, 4),
        (b"a: 2024-01-02 03:04:05\n", "yaml-scalar", 1, 4),
        (b"a: 18446744073709551615\n", "yaml-scalar", 1, 4),
        (b"a: [1, 2\nb: 3\n", "yaml-syntax", 2, 2),
        (b"a:\n\tb: 1\n", "yaml-syntax", 2, 1),
        (b"a: b: c\n", "yaml-syntax", 1, 5),
        (b"a: @b\n", "yaml-syntax", 1, 4),
        (b'a: "open\n', "yaml-syntax", 2, 1),
        (b"a: 1\n  b: 2\n", "yaml-syntax", 2, 4),
        (b"a: \x00\n", "control-character", 1, 4),
        (b"a: 1\nb: x\x07y\n", "control-character", 2, 5),
        (b'a: 1\nb: "x\\0y"\n', "control-character", 2, 4),
        ("a: é\r\nb: é\x7f\n".encode(), "control-character", 2, 5),
        ("a: \ufeff1\n".encode(), "control-character", 1, 4),
        (b"a: 1\nb: \xff\n", "encoding", 2, 4),
        ("a: 1\nb: é\xa0".encode() + b"\xe2\x28", "encoding", 2, 6),
        ("\ufeffa: 1".encode("utf-16-le"), "encoding", 1, 1),
        ("\ufeffa: 1".encode("utf-16-be"), "encoding", 1, 1),
        (b"a: " + b"x" * MAX_BYTES, "too-large", 1, 1),
    ],
)
def test_each_fault_has_its_name_and_place(data: bytes, code: str, line: int, column: int) -> None:
    """Code, 1-based line and 1-based column in characters."""
    first = violations(data)[0]
    assert (first.code, first.line, first.column) == (code, line, column)


def test_all_faults_of_a_file_are_told() -> None:
    """One run shows every violation that the file's structure lets us see."""
    found = violations(b"a: 1\na: .nan\n3: x\nb: *y\nc: 2024-01-01\n")
    assert [(one.code, one.line) for one in found] == [
        ("yaml-duplicate-key", 2),
        ("yaml-scalar", 2),
        ("yaml-key", 3),
        ("yaml-alias", 4),
        ("yaml-scalar", 5),
    ]


def test_violations_quote_no_value() -> None:
    """A broken line may hold a secret."""
    for data in (b"k: canary: x\n", b'k: "canary\n', b"k: *canary\n", b"canary\n", b"k: !canary 1\n"):
        assert all("canary" not in f"{one.message}{one.hint}" for one in violations(data))


def test_billion_laughs_do_not_expand() -> None:
    """Aliases are refused where they stand; the list of violations is bounded too."""
    lines = ["l0: &l0 [lol, lol]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 30)]
    found = violations("\n".join(lines).encode())
    assert {one.code for one in found} == {"yaml-alias"}
    assert len(found) <= 50


@pytest.mark.parametrize("opening", [b"[", b"{a: ", b"- ", b"[{a: ", b"? "])
def test_deep_nesting_is_refused(opening: bytes) -> None:
    """A megabyte of brackets is a violation, not a crash; a hundred levels are not."""
    assert violations(opening * (MAX_BYTES // len(opening)))
    assert violations(b"a:\n" + b"".join(b" " * n + b"a:\n" for n in range(1, MAX_DEPTH + 10)))
    assert parse_document("x", b"a: " + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1))


def test_a_byte_order_mark_is_passed_over() -> None:
    """A UTF-8 byte order mark at the start is no part of the first key, as in sops."""
    data = "\ufeffname: é\nb: 1\n".encode()
    assert parse_document("x.yaml", data).value == {"name": "é", "b": 1}
    assert locate_pointer(data, ("b",)) == (2, 4)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"), ("No", "No"), ("on", "on"), ("y", "y"), ("1:30", "1:30"), ("1e3", 1000.0), ("09",
        9.0),
        ("-.5", -0.5), ("017", 15), ("1_000", 1000), ("0x1F", 31), ("0b101", 5), ("0o17", 15), ("0b-101", -5),
        ("+12", 12), ("", None), ("~", None), ("Null", None), ("nULL", "nULL"), ("TRUE", True), ("tRUE",
        "tRUE"),
        ("1.", 1.0), ("'1'", "1"), ('"true"', "true"), ("1e400", "1e400"), ("9223372036854775808x",
        "9223372036854775808x"),
        ("-9223372036854775809", -9223372036854775809.0), ("1" * 5000, "1" * 5000), ("0x", "0x"), (".", "."),
        ("2024-01", "2024-01"), ("'2024-01-02'", "2024-01-02"), ("=", "="), ("<<", "<<"), ("0.0.1", "0.0.1"),
    ],
)  # fmt: skip
def test_plain_scalars_resolve_as_go_resolves_them(text: str, value: Any) -> None:
    """The traps where Go's yaml.v3 and PyYAML differ."""
    assert read(text) == value
    assert type(read(text)) is type(value)


yamlish = st.text(st.sampled_from(" \n\r\t-:?[]{}#&*!|>'\"%@`,~abé\u2028\x85\ufeff01."), max_size=60)


@given(st.binary(max_size=200) | st.text(max_size=80).map(str.encode) | yamlish.map(str.encode))
def test_no_bytes_crash_it(data: bytes) -> None:
    """Any bytes are a document or violations with a place inside the file."""
    try:
        document = parse_document("x.yaml", data)
    except InvalidManifests as error:
        found = error.violations
        assert found
        assert all(1 <= one.line <= len(data) + 1 for one in found)
    else:
        assert isinstance(document.value, dict)
    assert locate_pointer(data, ("a", 0, "b")) >= (1, 1)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_are_formatted_without_an_exponent(value: float) -> None:
    """Shortest digits that read back, as Go's FormatFloat 'f' with precision -1."""
    text = format_float(value)
    assert "e" not in text
    assert not text.endswith((".", ".0"))
    assert float(text) == value


def test_nodes_are_located() -> None:
    """The value's place, the key's place, and the nearest ancestor of what does not exist."""
    places = {
        (): (2, 1),
        ("name",): (2, 7),
        ("llm",): (4, 3),
        ("llm", "provider"): (4, 13),
        ("llm", "tags", 0): (5, 10),
        ("llm", "tags", 1, "b"): (5, 17),
        ("rag", "sources", 1): (9, 9),
        ("llm", "model"): (4, 3),
        ("llm", "tags", 7): (5, 9),
        ("nothing", "here"): (2, 1),
    }
    assert {pointer: locate_pointer(SAMPLE, pointer) for pointer in places} == places
    keys = {("name",): (2, 1), ("llm",): (3, 1), ("llm", "tags"): (5, 3), ("rag", "sources"): (7, 3)}
    assert {pointer: locate_pointer(SAMPLE, pointer, key=True) for pointer in keys} == keys
    assert locate_pointer(SAMPLE, ("llm", "model"), key=True) == (3, 1)
    assert locate_pointer(b"a: [", ("a",)) == (1, 4)
    assert locate_pointer(b"\xff", ("a",)) == (1, 1)


def test_values_keep_the_order_of_the_file() -> None:
    """The MAC of a seal runs in document order."""
    value = parse_document("x.yaml", b"z: 1\na: {y: 1, b: 2}\nm: []\n").value
    assert list(value) == ["z", "a", "m"]
    assert all(first > second for first, second in pairwise(value["a"]))


@pytest.mark.parametrize("piece", ["1,", "[],", "{},", ".1,", "a,"])
def test_a_file_with_too_many_nodes_is_refused_where_they_exceed_the_limit(piece: str) -> None:
    """A megabyte of them takes seconds of whoever reads it; here it ends at ``MAX_NODES``."""
    with pytest.raises(InvalidManifests) as caught:
        parse_document("a.yaml", f"x: [{piece * 20_000}]".encode())
    assert [one.code for one in caught.value.violations] == ["too-large"]
    assert caught.value.violations[0].column > 9_000
