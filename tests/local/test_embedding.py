"""MiniLM on this machine."""

from __future__ import annotations

import asyncio

import pytest

from tests.local.conftest import Make

PAIRS = (
    ("How do I reset my password?", "I forgot my login and need a new one."),
    ("The cat sat on the mat.", "A kitten was resting on the rug."),
    ("When does the shop open?", "What are your opening hours?"),
)


def likeness(one: list[float], other: list[float]) -> float:
    """Cosine, of vectors of length one."""
    return sum(a * b for a, b in zip(one, other, strict=True))


async def test_paraphrases_are_nearer_than_strangers(make: Make) -> None:
    """Every text is nearer to its paraphrase than to any other text; vectors are 384 long, of length 1."""
    embedding = make("embedding", "minilm.local")
    texts = [text for pair in PAIRS for text in pair]
    vectors = await embedding.embed(texts)
    assert {len(vector) for vector in vectors} == {384}
    for index, vector in enumerate(vectors):
        assert likeness(vector, vector) == pytest.approx(1, abs=1e-5)
        others = [at for at in range(len(vectors)) if at != index]
        assert max(others, key=lambda at: likeness(vector, vectors[at])) == index ^ 1


async def test_a_vector_does_not_depend_on_company(make: Make) -> None:
    """A text has one vector, alone, among others, and in concurrent calls."""
    embedding = make("embedding", "minilm.local")
    alone = await embedding.embed(["hello"])
    among = await embedding.embed(["a much longer text " * 200, "hello", ""])
    assert among[1] == alone[0]
    many = await asyncio.gather(*(embedding.embed(["hello"] * 40) for _ in range(4)))
    assert all(vector == alone[0] for vectors in many for vector in vectors)
    assert await embedding.embed([]) == []
