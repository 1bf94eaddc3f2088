"""Knowledge in the store: passages, vectors, and what a question finds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from agentsd.core.manifest.chunks import Chunk
from agentsd.store.database import Database
from agentsd.store.queries import knowledge

FAQ, OTHER = b"f" * 32, b"o" * 32
NAMES = {FAQ: "acme/faq.md", OTHER: "acme/other.md"}
PASSAGES = [
    Chunk(0, "Shipping", "Anvils go by sea and take six weeks."),
    Chunk(1, "Returns", "An anvil may be returned within thirty days."),
    Chunk(2, "Care", "Keep it dry; rust is the enemy of iron."),
]


async def _stored(database: Database) -> None:
    async with database.transaction() as conn:
        await knowledge.store_sources(
            conn, {FAQ: (NAMES[FAQ], PASSAGES), OTHER: (NAMES[OTHER], [Chunk(0, "", "Anvils are heavy.")])}
        )


async def _search(database: Database, query: str, **how: object) -> list[str]:
    async with database.transaction(snapshot=True) as conn:
        found = await knowledge.search_passages(conn, query, {FAQ: NAMES[FAQ]}, limit=2, **how)  # type: ignore[arg-type]
    assert all(passage.path == NAMES[FAQ] for passage in found), "another source was searched"
    return [passage.heading for passage in found]


async def test_a_question_finds_the_passage_with_its_words(database: Database) -> None:
    """Some of the words are enough; the best match is first; other sources are not looked at."""
    await _stored(database)
    assert (await _search(database, "How many days do I have for returns of an anvil?"))[0] == "Returns"
    assert await _search(database, "rust?") == ["Care"]


@pytest.mark.parametrize(
    "query", ["", "   ", "!!!", "' | & ! :* \\", "völlig anders", "a" * 5000, "\u0000x"[1:]]
)
async def test_no_question_is_an_error(database: Database, query: str) -> None:
    """Whatever people type, the search answers, if only with nothing."""
    await _stored(database)
    assert await _search(database, query) in ([], ["Care"])


async def test_sources_are_stored_once_and_forgotten_when_unused(database: Database) -> None:
    """What is stored is not missing any more; what no agent names goes."""
    await _stored(database)
    async with database.transaction() as conn:
        assert await knowledge.find_missing_sources(conn, [FAQ, b"n" * 32]) == {b"n" * 32}
        assert await knowledge.drop_unused_sources(conn) == 2
        assert await knowledge.find_missing_sources(conn, [FAQ]) == {FAQ}


async def _by_letters(texts: Sequence[str]) -> list[list[float]]:
    """A toy space: how often a text has some letters."""
    return [[float(text.lower().count(letter)) + 0.01 for letter in "srdw"] for text in texts]


async def test_meaning_and_words_are_fused(database: Database) -> None:
    """With vectors, a passage that shares no word is found too; each passage is embedded once."""
    await _stored(database)
    async with database.transaction() as conn:
        if not await knowledge.has_vectors(conn):
            pytest.skip("this Postgres has no pgvector")
        assert await knowledge.embed_missing_passages(conn, [FAQ], "toy", _by_letters) == 3
        assert await knowledge.embed_missing_passages(conn, [FAQ], "toy", _by_letters) == 0
    (vector,) = await _by_letters(["dry rust"])
    assert "Care" in await _search(database, "zzz", space="toy", vector=vector)
    assert await _search(database, "zzz", space="another", vector=vector) == []


async def test_replicas_share_the_embedding(database: Database) -> None:
    """While one replica embeds passages, another one takes none of them; but other owners' do not wait."""
    await _stored(database)
    async with database.transaction() as first, database.transaction() as second:
        if not await knowledge.has_vectors(first):
            pytest.skip("this Postgres has no pgvector")
        assert await knowledge.embed_missing_passages(first, [FAQ], "toy", _by_letters) == 3
        assert await knowledge.embed_missing_passages(second, [FAQ], "toy", _by_letters) == 0
        assert await knowledge.embed_missing_passages(second, [FAQ], "another owner's", _by_letters) == 3
