"""The ledger: activity, health and usage of agents, as replicas count them.

Revision: 0013, after 0012.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    zero = sa.text("0")
    op.create_table(
        "ledger_flushes",
        sa.Column("replica", sa.Uuid, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("replica", name="pk_ledger_flushes"),
    )
    op.create_table(
        "agent_activity",
        sa.Column("agent_id", sa.Uuid, nullable=False),
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("turns", sa.Integer, nullable=False),
        sa.Column("failed", sa.Integer, nullable=False),
        sa.Column("failures", JSONB, nullable=False),
        sa.Column("first_token", sa.ARRAY(sa.Integer), nullable=False),
        sa.Column("first_sound", sa.ARRAY(sa.Integer), nullable=False),
        sa.Column("error", JSONB, nullable=True),
        sa.PrimaryKeyConstraint("agent_id", "minute", name="pk_agent_activity"),
    )
    op.create_index("ix_agent_activity_minute", "agent_activity", ["minute"])
    op.create_table(
        "agent_health",
        sa.Column("agent_id", sa.Uuid, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("failing", sa.Boolean, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("code", sa.String(64), nullable=True),
        sa.Column("place", sa.String(64), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("probes", sa.Integer, server_default=zero, nullable=False),
        sa.Column("probe_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("agent_id", "kind", name="pk_agent_health"),
    )
    op.create_index("ix_agent_health_updated_at", "agent_health", ["updated_at"])
    op.create_table(
        "agent_usage",
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("agent_id", sa.Uuid, nullable=False),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("agent", sa.String(200), nullable=False),
        *(
            sa.Column(name, sa.BigInteger, server_default=zero, nullable=False)
            for name in (
                "turns", "requests", "tokens_in", "tokens_out", "tokens_cached", "characters", "tool_calls",
                "unpriced",
            )
        ),
        sa.Column("seconds", sa.Double, server_default=zero, nullable=False),
        sa.Column("cost", sa.Numeric(20, 9), server_default=zero, nullable=False),
        sa.PrimaryKeyConstraint(
            "day", "owner", "agent_id", "token", "kind", "provider", "model", name="pk_agent_usage"
        ),
    )  # fmt: skip


def downgrade() -> None:
    for table in ("agent_usage", "agent_health", "agent_activity", "ledger_flushes"):
        op.drop_table(table)
