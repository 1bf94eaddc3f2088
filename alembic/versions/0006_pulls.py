"""What was pulled of which remote, per source.

Revision: 0006, after 0005.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "pulls",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("ref", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("attempted", sa.Text),
        sa.Column("attempted_at", moment),
        sa.Column("applied", sa.Text),
        sa.Column("applied_at", moment),
        sa.Column("signer", sa.Text),
        sa.Column("reason", sa.String(64)),
        sa.Column("message", sa.Text, nullable=False, server_default=""),
        sa.Column("since", moment, nullable=False, server_default=sa.func.now()),
    )


def downgrade() -> None:
    op.drop_table("pulls")
