"""Cutting text between words and between sentences."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.providers.transport.text_chunks import SENTENCE_CHARACTERS_MAX, split_sentences, split_words


async def of(pieces: Iterable[str]) -> AsyncIterator[str]:
    for piece in pieces:
        yield piece


@given(st.lists(st.text(st.sampled_from("ab .!\n"), max_size=9), max_size=12))
async def test_words_lose_nothing_and_cut_no_word(pieces: list[str]) -> None:
    """Joined, the pieces are the text; each ends with a space and says something."""
    out = [piece async for piece in split_words(of(pieces))]
    assert "".join(out).rstrip() == "".join(pieces).rstrip()
    assert all(piece[-1].isspace() and piece.strip() for piece in out)


@given(st.lists(st.text(st.sampled_from("ab .!?\n\"'。"), max_size=9), max_size=12))
async def test_sentences_lose_nothing_but_spaces(pieces: list[str]) -> None:
    """Joined without spaces, the sentences are the text; none is empty."""
    out = [piece async for piece in split_sentences(of(pieces))]
    assert "".join("".join(out).split()) == "".join("".join(pieces).split())
    assert all(piece and piece == piece.strip() for piece in out)


@pytest.mark.parametrize(
    ("pieces", "out"),
    [
        (["Hel", "lo. How ", "are you? 3", ".5 m"], ["Hello.", "How are you?", "3.5 m"]),
        (['He said "no!" Then left.'], ['He said "no!"', "Then left."]),
        (["one\ntwo\n\n"], ["one", "two"]),
        (["你好。再见"], ["你好。", "再见"]),
        (["... ", "  "], ["..."]),
        ([], []),
        (["x" * (SENTENCE_CHARACTERS_MAX + 1)], ["x" * SENTENCE_CHARACTERS_MAX, "x"]),
    ],
)
async def test_where_sentences_end(pieces: list[str], out: list[str]) -> None:
    """At a full stop and a space, at a line's end, at a CJK stop; a number is not an end; none is endless."""
    assert [piece async for piece in split_sentences(of(pieces))] == out


async def test_a_sentence_is_spoken_before_the_next_is_written() -> None:
    """The first sentence comes out as soon as it is surely over."""
    seen: list[str] = []

    async def writing() -> AsyncIterator[str]:
        yield "One. T"
        assert seen == ["One."]
        yield "wo."

    async for sentence in split_sentences(writing()):
        seen.append(sentence)
    assert seen == ["One.", "Two."]
