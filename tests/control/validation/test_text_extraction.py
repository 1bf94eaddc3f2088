"""Files of knowledge: hostile ones are refused by name, and end nothing else."""

from __future__ import annotations

import random
import re
import zlib

import pytest

from agentsd.control.validation import text_extraction as extraction
from agentsd.control.validation.text_extraction import extract_passages
from agentsd.core.errors import ConfigError
from agentsd.core.manifest.chunks import split_chunks
from agentsd.sandbox.limits import CallLimits
from tests.bench.hostile import TEXT, pdf

GOOD = pdf(TEXT)


def _outcome(data: bytes) -> str:
    """Why a file is refused, or that it is read: nothing else comes of it."""
    try:
        return f"acme/a.pdf has {len(extract_passages('acme/a.pdf', data))} passages"
    except ConfigError as error:
        return error.message


def test_a_pdf_is_read() -> None:
    assert "line of text" in extract_passages("a.pdf", GOOD)[0].text
    assert extract_passages("b.pdf", GOOD) == extract_passages("a.pdf", GOOD)


@pytest.mark.parametrize("seed", range(8))
def test_a_broken_pdf_is_refused_by_name_or_read(seed: int) -> None:
    """Whatever its reader raises: 8 of 8 kinds of broken PDFs ended every sync."""
    rng, data = random.Random(seed), bytearray(GOOD)
    for place in rng.sample(range(len(data)), 40):
        data[place] = rng.randrange(256)
    assert _outcome(bytes(data)).startswith("acme/a.pdf ")


@pytest.mark.parametrize(
    "data",
    [
        pdf(b"q " * 200_000),
        GOOD.replace(b"/Kids [5 0 R]", b"/Kids [2 0 R]"),  # a page tree that holds itself
        GOOD.replace(b"/Count 1", b"/Count -9"),
        GOOD.replace(b"/Length", b"/Filter /Crypt /Length"),
        GOOD.replace(b"/MediaBox [0 0 612 792]", b"/MediaBox 7"),
        GOOD.replace(b"/Type /Catalog", b"/Pages 1 0 R /Typ1"),
        GOOD[:-60],
        b"%PDF-1.7\n" + b"[" * 100_000,
        b"",
    ],
    ids=["operators", "ring", "count", "filter", "box", "catalog", "cut", "brackets", "empty"],
)
def test_a_hostile_pdf_is_refused_by_name_or_read(data: bytes) -> None:
    assert _outcome(data).startswith("acme/a.pdf ")


def test_a_pdf_that_takes_too_long_is_refused_and_stays_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """121 kB took 28 s of the event loop."""
    monkeypatch.setattr(extraction, "WORKER_LIMITS", CallLimits(memory=1 << 30, cpu_seconds=0.5))
    data = pdf(b"(a) Tj\n" * 20_000, pages=60)
    with pytest.raises(ConfigError, match=r"acme/a\.pdf cannot be read: this takes more than 0\.5 s of CPU"):
        extract_passages("acme/a.pdf", data)
    monkeypatch.setattr(extraction, "WORKER_LIMITS", CallLimits(memory=1))  # it would be another refusal
    with pytest.raises(ConfigError, match=r"beta/b\.pdf cannot be read: this takes more than 0\.5 s of CPU"):
        extract_passages("beta/b.pdf", data)


def test_an_owner_of_files_that_take_too_long_waits_and_others_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each would hold up the round of all owners."""
    monkeypatch.setattr(extraction, "WORKER_LIMITS", CallLimits(memory=1 << 30, wall_seconds=0.05))
    for number in range(extraction.STRIKES_MAX):
        with pytest.raises(ConfigError, match="takes more than"):
            extract_passages("slow/a.pdf", pdf(b"(a) Tj\n" * (19_000 + number), pages=60))
    monkeypatch.setattr(extraction, "WORKER_LIMITS", CallLimits(memory=1 << 30))
    other = pdf(TEXT, pages=3)
    with pytest.raises(ConfigError, match="is not read: 3 other files of slow"):
        extract_passages("slow/b.pdf", other)
    assert extract_passages("quick/b.pdf", other)
    assert extract_passages("slow/b.pdf", other)  # what is known costs nothing


def test_a_pdf_that_takes_too_much_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "WORKER_LIMITS", CallLimits(memory=100 << 20))
    bomb = zlib.compress(bytes(120 << 20), 1)
    data = pdf(bomb).replace(b"<< /Length", b"<< /Filter /FlateDecode /Length")
    with pytest.raises(ConfigError, match=r"a\.pdf cannot be read"):
        extract_passages("a.pdf", data)


def test_a_text_that_makes_too_many_passages_is_refused() -> None:
    text = "".join(f"# {number}\nx\n" for number in range(21_000)).encode()
    with pytest.raises(ConfigError, match="21,000 passages"):
        extract_passages("a.md", text)


def test_a_long_text_is_cut_as_a_short_one_is() -> None:
    """Whether a worker does it or not."""
    text = "# Hours\n\n" + "We open at nine. " * 4000
    assert len(text) > extraction.INLINE_BYTES
    assert extract_passages("a.md", text.encode()) == split_chunks(text, markdown=True)


def test_blanks_in_a_heading_take_linear_time() -> None:
    """A regular expression took the cube of their number: 3,000 were a minute."""
    assert extract_passages("a.md", b"# a" + b" " * 30_000 + b"b\nx")[0].heading.startswith("a ")


HEADING = re.compile(r"(#{1,6})\s+(.+?)\s*#*\s*$")


def test_headings_are_what_they_were() -> None:
    """As the regular expression had it that digests of stored passages hang on."""
    rng = random.Random(1)
    for _ in range(3000):
        line = "".join(
            rng.choice(["#", "#", " ", "a", "\t", "\u2003", "b "]) for _ in range(rng.randrange(12))
        )
        found = HEADING.match(line)
        cut = split_chunks(f"{line}\n\nx", markdown=True)
        assert cut[-1].heading == (found[2] if found else ""), repr(line)
