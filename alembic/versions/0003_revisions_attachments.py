"""Revisions know what was attached, so that an older document serves with its own prompt and sources.

Revision: 0003, after 0002.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "agent_revisions",
        sa.Column("attachments", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    )
    op.execute(
        """UPDATE agent_revisions r SET attachments = a.attachments FROM agents a
           WHERE a.id = r.agent_id AND a.digest = r.digest"""
    )


def downgrade() -> None:
    op.drop_column("agent_revisions", "attachments")
