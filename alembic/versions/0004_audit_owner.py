"""The audit knows whose agent an action was done to, and prunes itself.

Revision: 0004, after 0003.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Same values as in store.queries.audit: KEPT_DAYS and KEPT_ENTRIES; a test compares.
# A function of the tables' owner, so that nobody who only writes entries needs the right to delete any.
PRUNE = """
CREATE FUNCTION audit_prune() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    refusals CONSTANT text := 'coalesce(detail->>''outcome'' IN (''refused'', ''failed''), false)';
    kind text;
BEGIN
    EXECUTE format('DELETE FROM %s WHERE at < now() - interval ''400 days''', TG_RELID::regclass);
    FOREACH kind IN ARRAY ARRAY[refusals, 'NOT ' || refusals] LOOP
        EXECUTE format(
            'DELETE FROM %1$s WHERE %2$s AND id <=
             (SELECT id FROM %1$s WHERE %2$s ORDER BY id DESC OFFSET 100000 LIMIT 1)',
            TG_RELID::regclass, kind);
    END LOOP;
    RETURN NULL;
END $$
"""
TRIGGER = """
CREATE TRIGGER audit_prune AFTER INSERT ON audit
FOR EACH ROW WHEN (NEW.id % 1000 = 0) EXECUTE FUNCTION audit_prune()
"""
OWNERS = """
UPDATE audit SET owner = CASE WHEN target = '' THEN '' WHEN position('/' in target) = 0 THEN 'default'
                              ELSE left(split_part(target, '/', 1), 200) END
"""


def upgrade() -> None:
    op.add_column("audit", sa.Column("owner", sa.String(200), nullable=False, server_default=""))
    op.execute(OWNERS)
    op.create_index("ix_audit_owner_id", "audit", ["owner", "id"])
    op.create_index("ix_audit_target_id", "audit", ["target", "id"])
    op.execute(PRUNE)
    # Else whoever may make a table of his own could have it run by a trigger there, as its owner.
    op.execute("REVOKE ALL ON FUNCTION audit_prune() FROM PUBLIC")
    op.execute(TRIGGER)


def downgrade() -> None:
    op.execute("DROP TRIGGER audit_prune ON audit")
    op.execute("DROP FUNCTION audit_prune()")
    op.drop_index("ix_audit_target_id", "audit")
    op.drop_index("ix_audit_owner_id", "audit")
    op.drop_column("audit", "owner")
