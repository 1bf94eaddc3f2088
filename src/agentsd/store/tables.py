"""Tables, in SQLAlchemy Core: the source for Alembic's autogenerate.

The daemon and the commands never import this module: at run time the store uses SQL through
psycopg, because importing SQLAlchemy costs a fifth of what a whole no-op sync may take.
"""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR

from agentsd.core.manifest.agent import DESCRIPTION_MAX, NAME_MAX
from agentsd.core.names import SLUG_MAX

EMAIL_MAX = 320  # RFC 5321: 64 octets before the @, 255 after it

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _make_time_column(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def _make_json_column(name: str, default: str) -> Column[object]:
    return Column(name, JSONB, nullable=False, server_default=text(f"'{default}'::jsonb"))


versions = Table(
    "versions",
    metadata,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("stamp", Uuid, nullable=False),  # distinguishes histories with equal numbers
    Column("source", Text),
    Column("commit", Text),
    Column("run_id", Uuid),
    _make_time_column("created_at"),
    Index("ix_versions_source_version", "source", "version"),
)

documents = Table(
    "documents",
    metadata,
    Column("digest", LargeBinary, primary_key=True),  # SHA-256 of ``data``
    Column("path", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("username", String(SLUG_MAX), nullable=False),
    Column("email", String(EMAIL_MAX)),
    _make_json_column("tokens", "[]"),
    Column("document_digest", LargeBinary, ForeignKey("documents.digest")),
    Column("source", Text, nullable=False),
    Column("path", Text),
    Column("version", BigInteger, nullable=False),
    Column("deleted_at", DateTime(timezone=True)),
    _make_time_column("created_at"),
    _make_time_column("updated_at"),
    UniqueConstraint("username"),
    Index("uq_users_email", "email", unique=True, postgresql_where=text("deleted_at IS NULL")),
    Index("ix_users_version", "version"),
)

tool_consents = Table(
    "tool_consents",
    metadata,
    Column("conversation", String(160), primary_key=True),  # a conversation's id, or a request's
    Column("token", LargeBinary, primary_key=True),  # digest of the user's token
    Column("call", LargeBinary, primary_key=True),  # SHA-256 of agent, tool and arguments
    Column("granted", Boolean, nullable=False, server_default=false()),
    _make_time_column("requested_at"),
    Index("ix_tool_consents_requested_at", "requested_at"),
)

agents = Table(
    "agents",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("slug", String(SLUG_MAX), nullable=False),
    Column("name", String(NAME_MAX), nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("system_prompt", Text, nullable=False, server_default=""),
    Column("is_default", Boolean, nullable=False, server_default=false()),
    Column("is_active", Boolean, nullable=False, server_default=text("true")),
    _make_json_column("llm_provider_config", "{}"),
    _make_json_column("tts_provider_config", "{}"),
    _make_json_column("stt_provider_config", "{}"),
    _make_json_column("rag_config", "{}"),
    Column("digest", LargeBinary, nullable=False),  # SHA-256 over the layers' bytes
    Column("document_digest", LargeBinary, ForeignKey("documents.digest"), nullable=False),
    Column("layer_digests", ARRAY(LargeBinary), nullable=False),  # in order, the manifest itself last
    # The prompt, the sources and the layers, each with path and digest (in hex): see
    # ``store.queries.agent_rows``.
    _make_json_column("attachments", "{}"),
    Column("source", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("commit", Text),
    Column("verified", Boolean, nullable=False, server_default=false()),
    Column("checked", LargeBinary, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("applied_hash", LargeBinary),
    Column("deleted_at", DateTime(timezone=True)),
    _make_time_column("created_at"),
    _make_time_column("updated_at"),
    # A sealed description is longer than its plaintext.
    CheckConstraint(
        f"char_length(description) <= {DESCRIPTION_MAX} OR description LIKE 'ENC[%'", name="description"
    ),
    Index("uq_agents_slug", "slug", unique=True, postgresql_where=text("deleted_at IS NULL")),
    Index(
        "uq_agents_default",
        "user_id",
        unique=True,
        postgresql_where=text("is_default AND deleted_at IS NULL"),
    ),
    Index("ix_agents_user_id", "user_id", postgresql_where=text("deleted_at IS NULL")),
    Index("ix_agents_active", "user_id", "slug", postgresql_where=text("is_active AND deleted_at IS NULL")),
    Index("ix_agents_version", "version"),
)

agent_revisions = Table(
    "agent_revisions",
    metadata,
    Column("agent_id", Uuid, ForeignKey("agents.id"), primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("operation", String(16), nullable=False),
    Column("slug", String(SLUG_MAX), nullable=False),
    Column("owner", String(SLUG_MAX), nullable=False),
    Column("source", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("document_digest", LargeBinary, nullable=False),
    Column("commit", Text),
    Column("run_id", Uuid),
    _make_time_column("created_at"),
    _make_json_column("attachments", "{}"),  # as in ``agents``
    Index("ix_agent_revisions_document_digest", "document_digest"),
)

knowledge_sources = Table(
    "knowledge_sources",
    metadata,
    Column("digest", LargeBinary, primary_key=True),  # SHA-256 of the file
    Column("path", Text, nullable=False),  # where it was first seen
    Column("chunker", Integer, nullable=False),  # core.chunking.VERSION that cut it
    _make_time_column("created_at"),
)

knowledge_chunks = Table(
    "knowledge_chunks",
    metadata,
    Column(
        "source_digest",
        LargeBinary,
        ForeignKey("knowledge_sources.digest", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("heading", Text, nullable=False, server_default=""),
    Column("text", Text, nullable=False),
    Column(
        "words",
        TSVECTOR,
        Computed("to_tsvector('simple', heading || ' ' || text)", persisted=True),
        nullable=False,
    ),
    Index("ix_knowledge_chunks_words", "words", postgresql_using="gin"),
)

VECTORS = "knowledge_vectors"
"""Exists only where pgvector does, so not in ``metadata``: (source_digest, ordinal, space, embedding)."""


def is_own_object(name: str | None, kind: str, _: object) -> bool:
    """Return whether autogenerate compares this object: Alembic's ``include_name``."""
    return kind != "table" or name != VECTORS


seals = Table(
    "seals",
    metadata,
    Column("fingerprint", LargeBinary, primary_key=True),
    Column("owner", String(SLUG_MAX), nullable=False),
)

token_hashes = Table(
    "token_hashes",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("owner", String(SLUG_MAX), nullable=False),
    Column("version", BigInteger, nullable=False),
)

sync_runs = Table(
    "sync_runs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("source", Text, nullable=False),
    Column("trigger", String(32), nullable=False),
    Column("commit", Text),
    Column("outcome", String(32), nullable=False),
    Column("version", BigInteger),
    _make_json_column("counts", "{}"),
    _make_json_column("errors", "[]"),
    _make_json_column("drift", "[]"),  # what had been edited by hand
    Column("duration_ms", Integer, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    _make_time_column("recorded_at"),
    Index("ix_sync_runs_source_recorded_at", "source", "recorded_at"),
)

conditions = Table(
    "conditions",
    metadata,
    Column("source", Text, primary_key=True),
    Column("path", Text, primary_key=True),
    Column("slug", Text, nullable=False),
    Column("type", String(16), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("message", Text, nullable=False, server_default=""),
    _make_time_column("since"),
)

replicas = Table(
    "replicas",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", BigInteger, nullable=False),
    _make_json_column("degraded", "[]"),
    Column("unopened", Integer, nullable=False, server_default=text("0")),
    _make_json_column("failing_tasks", "[]"),
    _make_time_column("started_at"),
    _make_time_column("seen_at"),
)

leaders = Table(
    "leaders",
    metadata,
    Column("source", Text, primary_key=True),
    Column("epoch", BigInteger, nullable=False),  # grows by one with every change of leader
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("backend", Integer, nullable=False),  # Postgres' process that holds the lock, if it still does
    _make_time_column("since"),
)

notices = Table(
    "notices",
    metadata,
    Column("source", Text, primary_key=True),
    Column("key", Text, primary_key=True),  # what fails: run, manifest:PATH, agent:SLUG
    Column("reason", Text, nullable=False),
    Column("message", Text, nullable=False, server_default=""),
    Column("failing", Boolean, nullable=False, server_default=text("true")),
    _make_json_column("told", "[]"),  # fingerprints of the receivers notified of the failure
    _make_time_column("since"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    _make_time_column("at"),
    Column("actor", Text, nullable=False),
    Column("action", String(64), nullable=False),
    Column("target", Text, nullable=False, server_default=""),
    _make_json_column("detail", "{}"),
    Column("owner", String(SLUG_MAX), nullable=False, server_default=""),  # whose users may read it
    Index("ix_audit_at", "at"),
    Index("ix_audit_owner_id", "owner", "id"),
    Index("ix_audit_target_id", "target", "id"),
)

pulls = Table(
    "pulls",
    metadata,
    Column("source", Text, primary_key=True),
    Column("url", Text, nullable=False),  # without user and password
    Column("ref", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("attempted", Text),  # the commit that the ref was at when it was last asked
    Column("attempted_at", DateTime(timezone=True)),
    Column("applied", Text),  # the last commit that was applied from this url and ref
    Column("applied_at", DateTime(timezone=True)),
    Column("signer", Text),
    Column("reason", String(64)),  # why ``attempted`` is not ``applied``; NULL: it is
    Column("message", Text, nullable=False, server_default=""),
    _make_time_column("since"),
)

ledger_flushes = Table(
    "ledger_flushes",
    metadata,
    Column("replica", Uuid, primary_key=True),
    Column("number", BigInteger, nullable=False),  # of its newest flush, so that none is added twice
    _make_time_column("at"),
)

agent_activity = Table(
    "agent_activity",
    metadata,
    Column("agent_id", Uuid, primary_key=True),  # not a foreign key: built-in agents have no row
    Column("minute", DateTime(timezone=True), primary_key=True),
    Column("turns", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("failures", JSONB, nullable=False),  # class of the error → turns
    Column("first_token", ARRAY(Integer), nullable=False),  # histograms: core.ledger.histogram
    Column("first_sound", ARRAY(Integer), nullable=False),
    Column("error", JSONB),  # the latest of the minute
    Index("ix_agent_activity_minute", "minute"),
)

agent_health = Table(
    "agent_health",
    metadata,
    Column("agent_id", Uuid, primary_key=True),
    Column("kind", String(16), primary_key=True),  # a section, or "test"
    Column("version", BigInteger, nullable=False),  # the agent's, that answered or failed
    Column("failing", Boolean, nullable=False),
    Column("provider", Text, nullable=False),
    Column("reason", String(32), nullable=False),
    Column("code", String(64)),
    Column("place", String(64), nullable=False),  # llm.fallback[0]
    Column("since", DateTime(timezone=True), nullable=False),
    _make_time_column("updated_at"),
    Column("probes", Integer, nullable=False, server_default=text("0")),
    Column("probe_at", DateTime(timezone=True)),  # when a replica may ask the vendor again, free of charge
    Index("ix_agent_health_updated_at", "updated_at"),
)


def _make_count_column(name: str) -> Column[object]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


agent_usage = Table(
    "agent_usage",
    metadata,
    Column("day", Date, primary_key=True),  # UTC
    Column("owner", String(SLUG_MAX), primary_key=True),
    Column("agent_id", Uuid, primary_key=True),
    Column("token", Text, primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("agent", String(SLUG_MAX), nullable=False),  # its slug at last
    _make_count_column("turns"),  # counted once, in the row of the provider that answered
    _make_count_column("requests"),
    _make_count_column("tokens_in"),
    _make_count_column("tokens_out"),
    _make_count_column("tokens_cached"),
    _make_count_column("characters"),
    _make_count_column("tool_calls"),
    _make_count_column("unpriced"),  # requests whose price is unknown
    Column("seconds", Double, nullable=False, server_default=text("0")),
    Column("cost", Numeric(20, 9), nullable=False, server_default=text("0")),  # USD
)
