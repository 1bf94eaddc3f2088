"""Which owner each token was first listed under; and vectors of knowledge by owner.

Revision: 0009, after 0008.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "token_hashes",
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_token_hashes"),
    )
    # Of a token that several owners list: the top-level file's, else that of the oldest row.
    op.execute(
        """INSERT INTO token_hashes (sha256, owner, version)
           SELECT DISTINCT ON (t.token->>'sha256') t.token->>'sha256', u.username, u.version
           FROM users u, jsonb_array_elements(
               CASE WHEN jsonb_typeof(u.tokens) = 'array' THEN u.tokens ELSE '[]' END) AS t (token)
           WHERE u.deleted_at IS NULL AND t.token->>'sha256' ~ '^[0-9a-f]{64}$'
           ORDER BY t.token->>'sha256', u.path IS DISTINCT FROM '_user.yaml', u.version, u.username"""
    )
    # Vectors are an owner's from here on, and name the server that made them: the old ones are made anew.
    op.execute(
        """DO $$ BEGIN
             IF to_regclass('knowledge_vectors') IS NOT NULL THEN DELETE FROM knowledge_vectors; END IF;
           END $$"""
    )


def downgrade() -> None:
    op.drop_table("token_hashes")
