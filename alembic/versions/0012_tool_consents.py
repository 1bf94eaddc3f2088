"""Consent of users to calls of tools.

Revision: 0012, after 0011.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tool_consents",
        sa.Column("conversation", sa.String(160), nullable=False),
        sa.Column("token", sa.LargeBinary, nullable=False),
        sa.Column("call", sa.LargeBinary, nullable=False),
        sa.Column("granted", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("conversation", "token", "call", name="pk_tool_consents"),
    )
    op.create_index("ix_tool_consents_requested_at", "tool_consents", ["requested_at"])


def downgrade() -> None:
    op.drop_table("tool_consents")
