"""What drifted is on record with its run; failures that receivers were told of; old revisions are found fast.

Revision: 0007, after 0006.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    empty = sa.text("'[]'::jsonb")
    op.add_column("sync_runs", sa.Column("drift", JSONB, nullable=False, server_default=empty))
    op.create_table(
        "notices",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False, server_default=""),
        sa.Column("failing", sa.Boolean, nullable=False, server_default=sa.text("true")),
        sa.Column("told", JSONB, nullable=False, server_default=empty),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )
    op.create_index("ix_agent_revisions_document_digest", "agent_revisions", ["document_digest"])


def downgrade() -> None:
    op.drop_index("ix_agent_revisions_document_digest", "agent_revisions")
    op.drop_table("notices")
    op.drop_column("sync_runs", "drift")
