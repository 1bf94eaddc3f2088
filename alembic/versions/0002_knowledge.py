"""Knowledge: what manifests attach (prompts, sources), the passages of sources, and their vectors.

Revision: 0002, after 0001.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_OLD = (
    "id uuid, user_id uuid, slug text, name text, description text, system_prompt text, "
    "is_default boolean, is_active boolean, llm jsonb, tts jsonb, stt jsonb, rag jsonb, "
    "digest bytea, document_digest bytea, source text, path text, verified boolean, checked bytea"
)
_OLD_ROW = (
    "id, user_id, slug, name, description, system_prompt, is_default, is_active, llm, tts, stt, rag, "
    "encode(digest, 'hex'), encode(document_digest, 'hex'), source, path, verified, encode(checked, 'hex')"
)
_OLD_AGENT = (
    "a.id, a.user_id, a.slug, a.name, a.description, a.system_prompt, a.is_default, a.is_active, "
    "a.llm_provider_config, a.tts_provider_config, a.stt_provider_config, a.rag_config, "
    "a.digest, a.document_digest, a.source, a.path, a.verified, a.checked"
)


def _functions(parameters: str, row: str, agent: str) -> None:
    """The hash that finds hand edits: see 0001."""
    op.execute(
        f"""CREATE FUNCTION agent_hash_of({parameters}) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE AS $$
            SELECT int8send(hashtextextended(ROW({row})::text, 0)) $$"""
    )
    op.execute(
        f"""CREATE FUNCTION agent_hash(a agents) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE AS $$
            SELECT agent_hash_of({agent}) $$"""
    )


def _drop_functions() -> None:
    op.execute("DROP FUNCTION agent_hash(agents)")
    op.execute("DROP FUNCTION agent_hash_of")


def upgrade() -> None:
    _drop_functions()
    op.add_column(
        "agents", sa.Column("attachments", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb"))
    )
    _functions(f"{_OLD}, attachments jsonb", f"{_OLD_ROW}, attachments", f"{_OLD_AGENT}, a.attachments")
    op.execute("UPDATE agents a SET applied_hash = agent_hash(a)")
    op.create_table(
        "knowledge_sources",
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("chunker", sa.Integer, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )
    op.create_table(
        "knowledge_chunks",
        sa.Column(
            "source_digest",
            sa.LargeBinary,
            sa.ForeignKey("knowledge_sources.digest", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("heading", sa.Text, nullable=False, server_default=""),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column(
            "words",
            TSVECTOR,
            sa.Computed("to_tsvector('simple', heading || ' ' || text)", persisted=True),
            nullable=False,
        ),
    )
    op.create_index("ix_knowledge_chunks_words", "knowledge_chunks", ["words"], postgresql_using="gin")
    _create_vectors()


def _create_vectors() -> None:
    """Only where pgvector can be had: without it, passages are found by their words alone."""
    op.execute(
        """DO $$ BEGIN
             CREATE EXTENSION IF NOT EXISTS vector;
             CREATE TABLE knowledge_vectors (
               source_digest bytea NOT NULL, ordinal integer NOT NULL,
               space text NOT NULL, embedding vector NOT NULL,
               PRIMARY KEY (source_digest, ordinal, space),
               FOREIGN KEY (source_digest, ordinal)
                 REFERENCES knowledge_chunks (source_digest, ordinal) ON DELETE CASCADE);
           EXCEPTION
             WHEN undefined_file OR feature_not_supported OR insufficient_privilege OR undefined_object THEN
             RAISE NOTICE 'pgvector is not available: knowledge is searched by words only';
           END $$"""
    )


def downgrade() -> None:
    op.execute("DROP TABLE IF EXISTS knowledge_vectors")
    op.drop_table("knowledge_chunks")
    op.drop_table("knowledge_sources")
    _drop_functions()
    op.drop_column("agents", "attachments")
    _functions(_OLD, _OLD_ROW, _OLD_AGENT)
    op.execute("UPDATE agents a SET applied_hash = agent_hash(a)")
