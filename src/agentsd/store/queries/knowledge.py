"""Knowledge: the passages of sources, found by their words and, where pgvector is, by their meaning.

A source is identified by the digest of its bytes, so two agents, or two commits, that name the same
text share its passages. ``space`` names a vector space (owner, provider, server and model): vectors
of different spaces are never compared.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from psycopg import AsyncConnection

from agentsd.core.manifest.chunks import CHUNKING_VERSION, RANK_CONSTANT, Chunk, Passage

EmbedFunction = Callable[[Sequence[str]], Awaitable[list[list[float]]]]

EMBED_BATCH = 32
"""Passages embedded by one call."""

_INSERT_BATCH = 500
"""Passages of one statement: to write it takes a millisecond or so of the event loop."""
_LOCK_SEED = 0x6B6E6F77
"""Separates the locks of vector spaces from other advisory locks."""


async def find_missing_sources(connection: AsyncConnection, digests: Collection[bytes]) -> set[bytes]:
    """Return those of ``digests`` whose passages are not stored, or were split by another version."""
    if not digests:
        return set()
    cursor = await connection.execute(
        "SELECT digest FROM knowledge_sources WHERE digest = ANY(%s) AND chunker = %s",
        (list(digests), CHUNKING_VERSION),
    )
    return set(digests) - {row[0] for row in await cursor.fetchall()}


async def store_sources(
    connection: AsyncConnection, sources: Mapping[bytes, tuple[str, Sequence[Chunk]]]
) -> None:
    """Store ``{digest: (path, passages)}``.

    Vectors of passages that were split again are removed with the old passages.
    """
    for digest, (path, chunks) in sources.items():
        await connection.execute("DELETE FROM knowledge_sources WHERE digest = %s", (digest,))
        await connection.execute(
            "INSERT INTO knowledge_sources (digest, path, chunker) VALUES (%s, %s, %s)",
            (digest, path, CHUNKING_VERSION),
        )
        for start in range(0, len(chunks), _INSERT_BATCH):
            await _insert_chunks(connection, digest, chunks[start : start + _INSERT_BATCH])


async def _insert_chunks(connection: AsyncConnection, digest: bytes, chunks: Sequence[Chunk]) -> None:
    await connection.execute(
        """INSERT INTO knowledge_chunks (source_digest, ordinal, heading, text)
           SELECT %s, * FROM unnest(%s::int[], %s::text[], %s::text[])""",
        (digest, [c.ordinal for c in chunks], [c.heading for c in chunks], [c.text for c in chunks]),
    )


async def drop_unused_sources(connection: AsyncConnection) -> int:
    """Remove sources that no agent names any more. Return how many."""
    cursor = await connection.execute(
        """DELETE FROM knowledge_sources s WHERE NOT EXISTS (
               SELECT FROM agents a, jsonb_array_elements(a.attachments->'sources') AS named
               WHERE a.deleted_at IS NULL AND named->>'digest' = encode(s.digest, 'hex'))"""
    )
    return cursor.rowcount


@dataclass(frozen=True, slots=True)
class KnowledgeStats:
    """Size of the index."""

    sources: int = 0  # distinct documents that live agents name
    missing: int = 0  # of them, not split into passages yet
    passages: int = 0
    spaces: Mapping[str, int] = field(default_factory=dict)  # embedded passages of each vector space


async def load_knowledge_stats(connection: AsyncConnection) -> KnowledgeStats:
    """Return the size of the index."""
    cursor = await connection.execute(_STOCK)
    row = await cursor.fetchone()
    counts = row or (0, 0, 0)
    if not await has_vectors(connection):
        return KnowledgeStats(*counts)
    cursor = await connection.execute("SELECT space, count(*) FROM knowledge_vectors GROUP BY 1 ORDER BY 1")
    return replace(KnowledgeStats(*counts), spaces=dict(await cursor.fetchall()))


async def has_vectors(connection: AsyncConnection) -> bool:
    """Return whether this database has pgvector."""
    cursor = await connection.execute("SELECT to_regclass('knowledge_vectors') IS NOT NULL")
    row = await cursor.fetchone()
    return bool(row and row[0])


async def embed_missing_passages(
    connection: AsyncConnection, digests: Collection[bytes], space: str, embed: EmbedFunction
) -> int:
    """Embed some passages of ``digests`` without a vector in ``space``. Return how many; 0: none is left.

    Replicas share the work: while one embeds in a space, another finds nothing to do there. The lock is
    the space's, not the passages': owners with the same text share those, and must not wait for each
    other.
    """
    cursor = await connection.execute(
        "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, %s))", (space, _LOCK_SEED)
    )
    locked = await cursor.fetchone()
    if not locked or not locked[0]:
        return 0
    cursor = await connection.execute(
        """SELECT c.source_digest, c.ordinal, c.heading, c.text FROM knowledge_chunks c
           WHERE c.source_digest = ANY(%s) AND NOT EXISTS (
               SELECT FROM knowledge_vectors v
               WHERE v.source_digest = c.source_digest AND v.ordinal = c.ordinal AND v.space = %s)
           ORDER BY c.source_digest, c.ordinal LIMIT %s""",
        (list(digests), space, EMBED_BATCH),
    )
    rows = await cursor.fetchall()
    if not rows:
        return 0
    vectors = await embed([f"{heading}\n{text}" if heading else text for _, _, heading, text in rows])
    await connection.execute(
        """INSERT INTO knowledge_vectors (source_digest, ordinal, space, embedding)
           SELECT d, o, %s, v::vector FROM unnest(%s::bytea[], %s::int[], %s::text[]) AS new (d, o, v)
           ON CONFLICT DO NOTHING""",
        (
            space,
            [row[0] for row in rows],
            [row[1] for row in rows],
            [_format_vector(vector) for vector in vectors],
        ),
    )
    return len(rows)


async def search_passages(
    connection: AsyncConnection,
    query: str,
    sources: Mapping[bytes, str],
    *,
    limit: int,
    space: str | None = None,
    vector: Sequence[float] | None = None,
) -> list[Passage]:
    """Return the passages of ``sources`` (digest → path) nearest to ``query``, best first.

    By words alone; with ``vector`` (of ``query``, in ``space``) both rankings are fused by reciprocal
    rank.
    """
    parameters = {
        "query": query,
        "digests": list(sources),
        "limit": limit,
        "depth": max(limit * 4, 20),
        "k": RANK_CONSTANT,
    }
    if vector is None or space is None:
        cursor = await connection.execute(_BY_WORDS, parameters)
    else:
        cursor = await connection.execute(
            _BY_BOTH,
            {**parameters, "space": space, "vector": _format_vector(vector), "dimensions": len(vector)},
        )
    return [
        Passage(path=sources[digest], ordinal=ordinal, heading=heading, text=text, score=float(score))
        for digest, ordinal, heading, text, score in await cursor.fetchall()
    ]


def _format_vector(vector: Sequence[float]) -> str:
    return f"[{','.join(map(repr, vector))}]"


# Any of the words may match (OR): a question rarely has all of its words in one passage.
_WORDS = """
SELECT c.source_digest, c.ordinal,
       row_number() OVER (ORDER BY ts_rank_cd(c.words, q, 1) DESC, c.ordinal) AS rank
FROM knowledge_chunks c,
     CAST(replace(plainto_tsquery('simple', %(query)s)::text, ' & ', ' | ') AS tsquery) AS q
WHERE c.source_digest = ANY(%(digests)s) AND c.words @@ q
ORDER BY rank LIMIT %(depth)s
"""

_MEANING = """
SELECT v.source_digest, v.ordinal, row_number() OVER (ORDER BY v.embedding <=> %(vector)s::vector) AS rank
FROM knowledge_vectors v
WHERE v.source_digest = ANY(%(digests)s) AND v.space = %(space)s AND vector_dims(v.embedding) = %(dimensions)s
ORDER BY rank LIMIT %(depth)s
"""

_FUSED = """
SELECT c.source_digest, c.ordinal, c.heading, c.text, sum(1.0 / (%(k)s + found.rank)) AS score
FROM found JOIN knowledge_chunks c USING (source_digest, ordinal)
GROUP BY c.source_digest, c.ordinal ORDER BY score DESC, c.source_digest, c.ordinal LIMIT %(limit)s
"""

_BY_WORDS = f"WITH found AS ({_WORDS}) {_FUSED}"
_BY_BOTH = f"WITH found AS (({_WORDS}) UNION ALL ({_MEANING})) {_FUSED}"

_STOCK = """
SELECT count(*), count(*) FILTER (WHERE s.digest IS NULL), (SELECT count(*) FROM knowledge_chunks)
FROM (SELECT DISTINCT decode(named->>'digest', 'hex') AS digest
      FROM agents a, jsonb_array_elements(a.attachments->'sources') AS named
      WHERE a.deleted_at IS NULL) n
LEFT JOIN knowledge_sources s ON s.digest = n.digest
"""
