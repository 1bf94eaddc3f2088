"""The first tables: agents and their owners, documents, history, runs.

Revision: 0001, the first.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

LIVE = sa.text("deleted_at IS NULL")

# Everything that a sync writes, in an order that never changes. bytea goes in as hex, so that the text
# depends on no session setting. It finds hand edits; it is no proof against whoever may write the hash as
# well, so the 64-bit hash that partitioning uses will do: it is ten times as fast as SHA-256 here.
HASH_OF = """
CREATE FUNCTION agent_hash_of(
    id uuid, user_id uuid, slug text, name text, description text, system_prompt text,
    is_default boolean, is_active boolean,
    llm jsonb, tts jsonb, stt jsonb, rag jsonb,
    digest bytea, document_digest bytea, source text, path text, verified boolean, checked bytea
) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT int8send(hashtextextended(ROW(
        id, user_id, slug, name, description, system_prompt, is_default, is_active, llm, tts, stt, rag,
        encode(digest, 'hex'), encode(document_digest, 'hex'), source, path, verified, encode(checked, 'hex')
    )::text, 0))
$$
"""
HASH = """
CREATE FUNCTION agent_hash(a agents) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT agent_hash_of(
        a.id, a.user_id, a.slug, a.name, a.description, a.system_prompt, a.is_default, a.is_active,
        a.llm_provider_config, a.tts_provider_config, a.stt_provider_config, a.rag_config,
        a.digest, a.document_digest, a.source, a.path, a.verified, a.checked)
$$
"""


def _now(name: str) -> sa.Column:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


def _json(name: str, default: str) -> sa.Column:
    return sa.Column(name, JSONB, nullable=False, server_default=sa.text(f"'{default}'::jsonb"))


def upgrade() -> None:
    _create_versions()
    _create_documents_and_seals()
    _create_users()
    _create_agents()
    _create_revisions()
    _create_runs()
    _create_replicas_and_audit()


def downgrade() -> None:
    op.execute("DROP FUNCTION agent_hash(agents)")
    op.execute("DROP FUNCTION agent_hash_of")
    for table in (
        "audit",
        "replicas",
        "conditions",
        "sync_runs",
        "agent_revisions",
        "agents",
        "users",
        "seals",
        "documents",
        "versions",
    ):
        op.drop_table(table)


def _create_versions() -> None:
    op.create_table(
        "versions",
        sa.Column("version", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("stamp", sa.Uuid, nullable=False),
        sa.Column("source", sa.Text),
        sa.Column("commit", sa.Text),
        sa.Column("run_id", sa.Uuid),
        _now("created_at"),
        sa.PrimaryKeyConstraint("version", name="pk_versions"),
    )
    op.create_index("ix_versions_source_version", "versions", ["source", "version"])
    # Where this history begins: two databases that are both empty are told apart by it.
    op.execute("INSERT INTO versions (version, stamp) VALUES (0, gen_random_uuid())")


def _create_documents_and_seals() -> None:
    op.create_table(
        "documents",
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_documents"),
    )
    op.create_table(
        "seals",
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name="pk_seals"),
    )


def _create_users() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("username", sa.String(200), nullable=False),
        sa.Column("email", sa.String(320)),
        _json("tokens", "[]"),
        sa.Column("document_digest", sa.LargeBinary),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("path", sa.Text),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        _now("created_at"),
        _now("updated_at"),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("username", name="uq_users_username"),
        sa.ForeignKeyConstraint(
            ["document_digest"], ["documents.digest"], name="fk_users_document_digest_documents"
        ),
    )
    op.create_index("uq_users_email", "users", ["email"], unique=True, postgresql_where=LIVE)
    op.create_index("ix_users_version", "users", ["version"])


def _create_agents() -> None:
    op.create_table(
        "agents",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("slug", sa.String(200), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("description", sa.Text, nullable=False, server_default=""),
        sa.Column("system_prompt", sa.Text, nullable=False, server_default=""),
        sa.Column("is_default", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("is_active", sa.Boolean, nullable=False, server_default=sa.text("true")),
        _json("llm_provider_config", "{}"),
        _json("tts_provider_config", "{}"),
        _json("stt_provider_config", "{}"),
        _json("rag_config", "{}"),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("document_digest", sa.LargeBinary, nullable=False),
        sa.Column("layer_digests", sa.ARRAY(sa.LargeBinary), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("commit", sa.Text),
        sa.Column("verified", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("checked", sa.LargeBinary, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("applied_hash", sa.LargeBinary),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        _now("created_at"),
        _now("updated_at"),
        sa.PrimaryKeyConstraint("id", name="pk_agents"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_agents_user_id_users"),
        sa.ForeignKeyConstraint(
            ["document_digest"], ["documents.digest"], name="fk_agents_document_digest_documents"
        ),
        sa.CheckConstraint(
            "char_length(description) <= 2000 OR description LIKE 'ENC[%'", name="ck_agents_description"
        ),
    )
    op.create_index("uq_agents_slug", "agents", ["slug"], unique=True, postgresql_where=LIVE)
    op.create_index(
        "uq_agents_default",
        "agents",
        ["user_id"],
        unique=True,
        postgresql_where=sa.text("is_default AND deleted_at IS NULL"),
    )
    op.create_index("ix_agents_user_id", "agents", ["user_id"], postgresql_where=LIVE)
    op.create_index(
        "ix_agents_active",
        "agents",
        ["user_id", "slug"],
        postgresql_where=sa.text("is_active AND deleted_at IS NULL"),
    )
    op.create_index("ix_agents_version", "agents", ["version"])
    op.execute(HASH_OF)
    op.execute(HASH)


def _create_revisions() -> None:
    op.create_table(
        "agent_revisions",
        sa.Column("agent_id", sa.Uuid, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("operation", sa.String(16), nullable=False),
        sa.Column("slug", sa.String(200), nullable=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("document_digest", sa.LargeBinary, nullable=False),
        sa.Column("commit", sa.Text),
        sa.Column("run_id", sa.Uuid),
        _now("created_at"),
        sa.PrimaryKeyConstraint("agent_id", "version", name="pk_agent_revisions"),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name="fk_agent_revisions_agent_id_agents"),
    )


def _create_runs() -> None:
    op.create_table(
        "sync_runs",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("trigger", sa.String(32), nullable=False),
        sa.Column("commit", sa.Text),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.Column("version", sa.BigInteger),
        _json("counts", "{}"),
        _json("errors", "[]"),
        sa.Column("duration_ms", sa.Integer, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        _now("recorded_at"),
        sa.PrimaryKeyConstraint("id", name="pk_sync_runs"),
    )
    op.create_index("ix_sync_runs_source_recorded_at", "sync_runs", ["source", "recorded_at"])
    op.create_table(
        "conditions",
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("slug", sa.Text, nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("message", sa.Text, nullable=False, server_default=""),
        _now("since"),
        sa.PrimaryKeyConstraint("source", "path", name="pk_conditions"),
    )


def _create_replicas_and_audit() -> None:
    op.create_table(
        "replicas",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        _json("degraded", "[]"),
        _now("started_at"),
        _now("seen_at"),
        sa.PrimaryKeyConstraint("id", name="pk_replicas"),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        _now("at"),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("target", sa.Text, nullable=False, server_default=""),
        _json("detail", "{}"),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_at", "audit", ["at"])
