"""Splitting of text into passages that an answer may quote.

Pure and deterministic: digests depend on the result.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

CHUNK_MAX = 1200
"""Characters of one passage: a few paragraphs, so that several fit into any model's context."""

CHUNKING_VERSION = 1
"""Version of the chunking; incremented when it changes, so that stored passages are rebuilt."""

HEADING_MAX = 300
"""Characters of one heading: each passage below begins with all the headings above it."""

RANK_CONSTANT = 60
"""Constant of reciprocal rank fusion: how fast a rank's weight falls (Cormack et al., 2009)."""

_FENCE = re.compile(r"\s*(```|~~~)")
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Passage of a source."""

    ordinal: int  # from 0, in the order of the text
    heading: str  # the headings above it, joined by " › "; empty where there is none
    text: str


@dataclass(frozen=True, slots=True)
class Passage:
    """Piece of knowledge that an answer may quote."""

    path: str  # of the source, relative to the tree
    ordinal: int  # position in the source, from 0
    heading: str
    text: str
    score: float  # comparable within one search only


@dataclass(frozen=True, slots=True)
class _Paragraph:
    heading: str
    text: str


def split_chunks(text: str, *, markdown: bool, limit: int = CHUNK_MAX) -> tuple[Chunk, ...]:
    """Split text into passages of at most ``limit`` characters.

    Cuts are at headings, paragraphs, sentences, or anywhere.
    """
    pieces = _pack_paragraphs(_split_paragraphs(_normalise_text(text), markdown), limit)
    return tuple(Chunk(ordinal, piece.heading, piece.text) for ordinal, piece in enumerate(pieces))


def _normalise_text(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")


def _split_paragraphs(text: str, markdown: bool) -> Iterator[_Paragraph]:
    """Yield paragraphs with the headings above them; a fenced block is one paragraph."""
    path: list[tuple[int, str]] = []
    lines: list[str] = []
    fence = ""

    def flush() -> Iterator[_Paragraph]:
        body = "\n".join(lines).strip()
        lines.clear()
        if body:
            yield _Paragraph(" › ".join(title for _, title in path), body)

    for line in text.split("\n"):
        mark = _FENCE.match(line) if markdown else None
        if mark:
            fence = "" if fence == mark[1] else fence or mark[1]
        heading = _parse_heading(line) if markdown and not fence else None
        if heading:
            yield from flush()
            path = [*((depth, title) for depth, title in path if depth < heading[0]), heading]
        elif not line.strip() and not fence:
            yield from flush()
        else:
            lines.append(line)
    yield from flush()


def _parse_heading(line: str) -> tuple[int, str] | None:
    """Return level and title of a heading, in linear time.

    A regular expression takes the cube of the number of blanks in a line.
    """
    rest = line.lstrip("#")
    level = len(line) - len(rest)
    if not 1 <= level <= 6 or not rest[:1].isspace():
        return None
    title = rest.strip()
    if not title:  # blanks alone: the last one is the title, if it is not the only one
        return (level, rest[-1]) if len(rest) > 1 else None
    return level, (title.rstrip("#").rstrip() or title[0])[:HEADING_MAX]


def _pack_paragraphs(paragraphs: Iterator[_Paragraph], limit: int) -> Iterator[_Paragraph]:
    """Join neighbours under the same headings into one passage as long as they fit."""
    current: _Paragraph | None = None
    for paragraph in paragraphs:
        for text in _cut_text(paragraph.text, limit):
            fits = (
                current
                and current.heading == paragraph.heading
                and len(current.text) + 2 + len(text) <= limit
            )
            if current and fits:
                current = _Paragraph(current.heading, f"{current.text}\n\n{text}")
            else:
                if current:
                    yield current
                current = _Paragraph(paragraph.heading, text)
    if current:
        yield current


def _cut_text(text: str, limit: int) -> Iterator[str]:
    """Split ``text`` into pieces of at most ``limit``: at the ends of sentences if there are any."""
    parts: list[str] = []
    size = 0  # of the parts, joined
    for sentence in _SENTENCE_END.split(text):
        for part in (sentence[i : i + limit] for i in range(0, max(len(sentence), 1), limit)):
            if parts and size + 1 + len(part) > limit:
                yield " ".join(parts)
                parts, size = [], 0
            if parts or part:
                size += len(part) + bool(parts)
                parts.append(part)
    if parts:
        yield " ".join(parts)
