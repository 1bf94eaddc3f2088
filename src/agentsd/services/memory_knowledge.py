"""Knowledge in memory: the passages of a few files, found by their words, where there is no Postgres.

BM25 (https://en.wikipedia.org/wiki/Okapi_BM25): a word counts by how often a passage contains it,
and by how few passages do. Words are compared by their first letters, which handles inflections
about as well as a stemmer would.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from agentsd.core.manifest.chunks import Passage
from agentsd.providers.base import LiveAgent

_WORD = re.compile(r"\w+")
_STEM_LETTERS = 6
_K, _B = 1.2, 0.75


class MemoryKnowledge:
    """Knowledge in memory; see ``providers.base.Knowledge``."""

    def __init__(self, passages: Iterable[Passage]) -> None:
        self._passages = [
            (passage, _count_words(f"{passage.heading} {passage.text}")) for passage in passages
        ]
        self._having = Counter(word for _, words in self._passages for word in words)
        total = sum(words.total() for _, words in self._passages)
        self._mean = total / len(self._passages) if self._passages else 1.0

    async def search(self, agent: LiveAgent, query: str) -> Sequence[Passage]:
        """Return the best ``rag.top_k`` passages that share a word with ``query``."""
        if agent.spec.rag is None:
            return ()
        wanted = _count_words(query)
        scored = (replace(passage, score=self._score(words, wanted)) for passage, words in self._passages)
        found = sorted((one for one in scored if one.score > 0), key=lambda one: -one.score)
        return found[: agent.spec.rag.top_k]

    def _score(self, words: Counter[str], wanted: Counter[str]) -> float:
        length = _K * (1 - _B + _B * words.total() / self._mean)
        return sum(self._rarity(w) * words[w] * (_K + 1) / (words[w] + length) for w in wanted if w in words)

    def _rarity(self, word: str) -> float:
        having = self._having[word]
        return math.log(1 + (len(self._passages) - having + 0.5) / (having + 0.5))


def _count_words(text: str) -> Counter[str]:
    return Counter(word[:_STEM_LETTERS] for word in _WORD.findall(text.casefold()))
