"""Passages: nothing of a text is lost, nothing is too long, and headings say where it stood."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.manifest.chunks import split_chunks


def _words(text: str) -> list[str]:
    return text.split()


@given(st.text(alphabet="ab .!?\n\t", max_size=400), st.integers(min_value=8, max_value=60))
def test_no_word_is_lost_and_no_passage_is_too_long(text: str, limit: int) -> None:
    """Whatever the text, its letters come back in order, in passages within the limit."""
    found = split_chunks(text, markdown=False, limit=limit)
    assert all(len(chunk.text) <= limit for chunk in found)
    assert "".join("".join(_words(chunk.text)) for chunk in found) == "".join(_words(text))
    assert [chunk.ordinal for chunk in found] == list(range(len(found)))


def test_headings_say_where_a_passage_stood() -> None:
    """A passage carries the headings above it, and a heading starts a new passage."""
    text = "# Shipping\nBy sea.\n\n## Prices\nTen.\n\nTwenty.\n\n# Returns\nNo."
    found = [(chunk.heading, chunk.text) for chunk in split_chunks(text, markdown=True)]
    assert found == [("Shipping", "By sea."), ("Shipping › Prices", "Ten.\n\nTwenty."), ("Returns", "No.")]


def test_a_fenced_block_is_not_read_as_markdown() -> None:
    """``# comment`` inside a code block is no heading, and its blank lines do not cut it."""
    text = "# Use\n```\n# not a heading\n\nrun it\n```\n"
    (only,) = split_chunks(text, markdown=True)
    assert only.heading == "Use"
    assert "# not a heading" in only.text


def test_plain_text_has_no_headings() -> None:
    """A ``#`` in a text file is just a character."""
    (only,) = split_chunks("# One\nTwo", markdown=False)
    assert (only.heading, only.text) == ("", "# One\nTwo")


def test_sentences_are_kept_whole_where_they_fit() -> None:
    """A long paragraph is cut between sentences."""
    found = split_chunks("First sentence. Second sentence. Third one.", markdown=False, limit=32)
    assert [chunk.text for chunk in found] == ["First sentence. Second sentence.", "Third one."]
