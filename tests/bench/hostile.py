"""Files and requests that outsiders make expensive: small to send, and long to work on."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

MANIFEST = "id: {id}\nname: Hostile\nllm:\n  provider: echo.local\n"
_PROSE = b"## About hours\n\n" + b"We open at nine, and close when the last guest has gone.\n" * 9 + b"\n"
_MEBIBYTE = (1 << 20) - 1


def manifest(more: str = "", name: str = "hostile") -> bytes:
    """A sound manifest, and what follows it."""
    return (MANIFEST.format(id=uuid5(NAMESPACE_URL, name)) + more).encode()


def pdf(stream: bytes, contents: int = 1, pages: int = 1) -> bytes:
    """A PDF whose pages show one content stream, again and again."""
    kids = b" ".join(b"%d 0 R" % (5 + page) for page in range(pages))
    shown = b"[ " + b"4 0 R " * contents + b"]"
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> "
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, pages),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        *([page + b"/Contents " + shown + b" >>"] * pages),
    ]
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, start)
    return bytes(out)


TEXT = b"BT /F1 12 Tf 72 720 Td " + b"(Hello, this is a line of text.) Tj\n" * 40 + b"ET\n"
WORK = b"(a) Tj\n" * 20_000
"""A second of pypdf's time for each time that it is shown."""


def _repeated(head: str, piece: str, tail: str = "", size: int = _MEBIBYTE) -> bytes:
    start = manifest(head)
    return start + piece.encode() * ((size - len(start) - len(tail)) // len(piece)) + tail.encode()


def _sources(name: str, data: bytes) -> dict[str, bytes]:
    return {f"hostile/{name}": data, "hostile/a.yaml": manifest(f"rag:\n  sources: [{name}]\n")}


def _numbered(count: int, line: str) -> str:
    return "".join(line.format(number) for number in range(count))


def files() -> dict[str, Callable[[], dict[str, bytes]]]:
    """Title → the files of one owner, by path."""
    return {
        "a PDF's page shows one stream 20,000 times": lambda: _sources("a.pdf", pdf(TEXT, 20_000)),
        "a PDF of 2,000 pages on one stream": lambda: _sources("a.pdf", pdf(TEXT, pages=2000)),
        "a PDF of 100 pages with much to draw": lambda: _sources("a.pdf", pdf(WORK, pages=100)),
        "a heading of 3,000 blanks": lambda: _sources("a.md", b"# a" + b" " * 3000 + b"b\n"),
        "16 MiB of Markdown": lambda: _sources("a.md", (_PROSE * 40_000)[: 16 << 20]),
        "1 MiB of unknown keys": lambda: {
            "hostile/a.yaml": manifest(_numbered(9000, "k{0}: " + "x" * 100 + "\n"))
        },
        "1 MiB of numbers": lambda: {"hostile/a.yaml": _repeated("x: [", "1,", "]\n")},
        "1 MiB of brackets": lambda: {"hostile/a.yaml": _repeated("x: [", "[],", "]\n")},
        "9,000 sources that are missing": lambda: {
            "hostile/a.yaml": manifest("rag:\n  sources:\n" + _numbered(9000, "  - source-{0}.md\n"))
        },
        "200 large regular expressions": lambda: {
            "hostile/a.yaml": manifest("checks:\n" + _numbered(200, "- {{say: hi, regex: '\\w{{60}}{0}'}}\n"))
        },
        "2,000 broken manifests": lambda: {f"hostile/{n}.yaml": b"name: [" for n in range(2000)},
    }


def double_links(root: Path, steps: int = 22) -> None:
    """Two links at each step: 2^22 paths."""
    for step in range(steps + 1):
        (root / f"d{step}").mkdir(parents=True)
        (root / f"d{step}/x.yaml").write_bytes(manifest(name=f"{step}"))
    for step in range(steps):
        for name in ("a", "b"):
            (root / f"d{step}/{name}").symlink_to(f"../d{step + 1}")


def sparse(root: Path, names: Sequence[str] = ("a.yaml", "knowledge.md")) -> None:
    """Files of 10 GiB that take no space."""
    root.mkdir(parents=True)
    for name in names:
        (root / name).write_bytes(b"")
        os.truncate(root / name, 10 << 30)
    (root / "zero.yaml").symlink_to("/dev/zero")


def markdown() -> str:
    """64 KiB that a parser of Markdown reads long."""
    return "".join("> " * (n % 9) + "*a _b [c](d" + "`" * (n % 7) + "\n" for n in range(4000))[: 64 << 10]
