"""Manual edits: documents that do not match their digest, and columns of rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from agentsd.core.plan.drift import summarise_attachments
from agentsd.store.queries.agent_rows import parse_attachments


async def find_altered_documents(connection: AsyncConnection) -> frozenset[bytes]:
    """Return digests of documents of live agents whose bytes are missing or edited.

    It takes about 0.1 s for 30 MB.
    """
    cursor = await connection.execute(
        """WITH needed AS (
               SELECT DISTINCT unnest(layer_digests) AS digest FROM agents WHERE deleted_at IS NULL
               UNION SELECT decode(attachments->'prompt'->>'digest', 'hex') FROM agents
                     WHERE deleted_at IS NULL AND attachments ? 'prompt'
               UNION SELECT decode(one->>'digest', 'hex')
                     FROM agents, jsonb_path_query(attachments, 'lax $.locks[*]') AS one
                     WHERE deleted_at IS NULL AND attachments ? 'locks' AND one->>'digest' ~ '^[0-9a-f]{64}$'
           )
           SELECT n.digest FROM needed n LEFT JOIN documents d USING (digest)
           WHERE d.data IS NULL OR sha256(d.data) <> n.digest""",
        binary=True,
    )
    return frozenset(row[0] for row in await cursor.fetchall())


async def load_current_columns(
    connection: AsyncConnection, ids: Collection[UUID]
) -> dict[UUID, Mapping[str, Any]]:
    """Return the rows' present values, by id, in a manifest's terms: as ``core.plan.drift`` compares it."""
    cursor = await connection.execute(
        """SELECT a.id, a.slug, u.username, a.path, a.name, a.description, a.system_prompt, a.is_default,
                  a.is_active, a.llm_provider_config, a.tts_provider_config, a.stt_provider_config,
                  a.rag_config, a.digest, a.document_digest, a.attachments
           FROM agents a JOIN users u ON u.id = a.user_id WHERE a.id = ANY(%b)""",
        (list(ids),),
        binary=True,
    )
    return {row[0]: _make_columns(row[1:]) for row in await cursor.fetchall()}


_COLUMN_NAMES = (
    *("slug", "owner", "path", "name", "description", "system_prompt", "default", "active"),
    *("llm", "tts", "stt", "rag", "digest", "document"),
)


def _make_columns(row: tuple[Any, ...]) -> dict[str, Any]:
    plain = [value.hex()[:8] if isinstance(value, bytes) else value for value in row[:-1]]
    return {
        **dict(zip(_COLUMN_NAMES, plain, strict=True)),
        "attached": summarise_attachments(parse_attachments(row[-1])),
    }
