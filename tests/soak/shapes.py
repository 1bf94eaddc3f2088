"""Hostile shapes: values, texts and bytes that outsiders send, each made by a seeded generator."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

DATES = ("Mon, 01 Jan 99999 00:00:00 GMT", "99999-01-01", "0000-00-00", "-1", "1e999", "١٢", "12" * 40)
TEXTS = (
    "", "\0", "\x1b[2J", "\ud800", "\udfff\ud800", "a\u202eb", "\ufeff", "🧨" * 64, "%s%n{0}{self}",
    "../" * 40 + "etc", "x" * 70_000, "\r\n\r\nHTTP/1.1 200",
    "null", "{{7*7}}", "ENC[AES256_GCM,data:,iv:,tag:,type:str]",
    "(a+)+$" + "a" * 40, "<" * 5000, "[" * 5000, "`" * 5000, "> " * 3000, "*_" * 5000, "|-" * 5000,
)  # fmt: skip
NUMBERS = (0, -1, 1 << 31, 1 << 63, -(1 << 63), 1 << 70, 10**400, 1e308, -0.0, 5e-324)
CONSTANTS = (float("nan"), float("inf"), float("-inf"), None, True, [], {})


def text(random: Random) -> str:
    """A text that somebody did not expect."""
    chosen = random.choice((*TEXTS, *DATES))
    return chosen if random.random() < 0.8 else chosen * random.randint(2, 40)


def value(random: Random, depth: int = 0) -> Any:
    """A JSON value of any kind; NaN and numbers beyond 64 bits included."""
    size = random.choice((0, 1, 3, 30)) if depth < 4 else 0
    makers: Sequence[Callable[[], Any]] = (
        lambda: text(random),
        lambda: random.choice(NUMBERS),
        lambda: random.choice(CONSTANTS),
        lambda: [value(random, depth + 1) for _ in range(size)],
        lambda: {text(random)[:99]: value(random, depth + 1) for _ in range(size)},
        lambda: nested(random.choice((50, 900, 3000)), random.choice("[{")),
        lambda: random.choice(("", "a", "llm", 1, [1], {"a": 1})),
    )
    return random.choice(makers)()


class Raw(str):
    """JSON that stands as it is: deeper than ``json.dumps`` goes, or with a key twice."""


def nested(depth: int, opening: str) -> Raw:
    """A value of so many levels."""
    if opening == "[":
        return Raw("[" * depth + "]" * depth)
    return Raw('{"a":' * depth + "1" + "}" * depth)


def dumps(found: Any) -> bytes:
    """JSON with whatever there is in it; keys may come twice."""
    if isinstance(found, Raw):
        return found.encode()
    if isinstance(found, dict):
        items = [json.dumps(str(key)).encode() + b":" + dumps(one) for key, one in found.items()]
        return b"{" + b",".join(items) + b"}"
    if isinstance(found, list):
        return b"[" + b",".join(dumps(one) for one in found) + b"]"
    return json.dumps(found).encode()


def mutated(random: Random, found: Any) -> Any:
    """A faithful value with one place changed: replaced, removed, twice, renamed, grown."""
    if isinstance(found, dict) and found and random.random() < 0.85:
        key = random.choice(list(found))
        rest = {name: one for name, one in found.items() if name != key}
        return random.choice(
            (
                lambda: found | {key: mutated(random, found[key])},
                lambda: found | {key: value(random)},
                lambda: rest,
                lambda: rest | {text(random)[:99]: found[key]},
                lambda: Raw((dumps(found)[:-1] + b"," + dumps({key: value(random)})[1:]).decode()),
            )
        )()
    if isinstance(found, list) and found and random.random() < 0.85:
        at = random.randrange(len(found))
        changed = mutated(random, found[at])
        return random.choice(
            (
                lambda: [*found[:at], changed, *found[at + 1 :]],
                lambda: [*found[:at], *found[at + 1 :]],
                lambda: found * random.choice((2, 50)),
            )
        )()
    return value(random)


def damaged(random: Random, data: bytes) -> bytes:
    """Bytes cut, flipped, repeated, or with others put in."""
    at, until = sorted((random.randrange(len(data) + 1), random.randrange(len(data) + 1)))
    inserted = random.choice(
        (b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"\r\n", b"- ", b": ", b"&a [*a]", b"9" * 5000, b"{" * 3000)
    )
    return random.choice(
        (
            lambda: data[:at],
            lambda: data[:at] + data[until:],
            lambda: data[:at] + inserted + data[at:],
            lambda: data[:until] + data[at:until] * random.choice((1, 30)) + data[until:],
            lambda: (
                data[:at]
                + bytes(byte ^ (1 << random.randrange(8)) for byte in data[at : at + 3])
                + data[at + 3 :]
            ),
        )
    )()


def pdf(random: Random) -> bytes:
    """A small PDF, whole or hostile: a shared stream, a bomb, a loop of pages, a bad cross-reference."""
    operators = b"BT /F1 12 Tf 10 10 Td (Opening hours are nine to five.) Tj ET\n" * random.choice((1, 200))
    stream = zlib.compress(operators if random.random() < 0.8 else b" " * (8 << 20))
    shared = random.choice((1, 1, 20, 2000))
    kids = " ".join(["3 0 R"] * random.choice((1, 1, 3, 500)))
    contents = "[" + " ".join(["4 0 R"] * shared) + "]"
    parent = random.choice(("2 0 R", "3 0 R", "null", "9 0 R"))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {random.choice((1, 3, 10**9, -1))} >>".encode(),
        f"<< /Type /Page /Parent {parent} /Contents {contents} /Resources << /Font << /F1 5 0 R >> >> "
        "/MediaBox [0 0 300 300] >>".encode(),
        b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out = io.BytesIO()
    out.write(b"%PDF-1.7\n")
    places = []
    for number, body in enumerate(objects, 1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.writelines(b"%010d 00000 n \n" % place for place in places)
    out.write(b"trailer\n<< /Root 1 0 R /Size %d >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, start))
    whole = out.getvalue()
    return whole if random.random() < 0.5 else damaged(random, whole)


def markdown(random: Random) -> str:
    """Text that a parser of Markdown walks for long: nesting, delimiters, links that never end."""
    size = random.choice((10, 300, 4000))
    pieces: Sequence[Callable[[], str]] = (
        lambda: "> " * size + "a", lambda: "*a " * size, lambda: "[" * size + "a" + "](b)" * size,
        lambda: "![[" * size, lambda: "`" * size + "a" + "`" * (size - 1), lambda: "- " * size,
        lambda: "|a" * size + "\n" + "|-" * size + "\n" + "|b" * size, lambda: "<a " * size,
        lambda: "&#x" + "9" * size,
        lambda: "\n".join(f"[{n}]: <x" for n in range(size)), lambda: "__a" * size + "*" * size,
        lambda: text(random),
    )  # fmt: skip
    return "\n\n".join(random.choice(pieces)() for _ in range(random.randint(1, 4)))
