"""Background tasks of a replica that fail, for ``agentsd status``.

Revision: 0011, after 0010.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    empty = sa.text("'[]'::jsonb")
    op.add_column("replicas", sa.Column("failing_tasks", JSONB, nullable=False, server_default=empty))


def downgrade() -> None:
    op.drop_column("replicas", "failing_tasks")
