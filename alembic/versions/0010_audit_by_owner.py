"""The audit prunes itself by owner: who does much pushes out their own entries first.

Revision: 0010, after 0009.
"""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_HEAD = """
CREATE OR REPLACE FUNCTION audit_prune() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    refusals CONSTANT text := 'coalesce(detail->>''outcome'' IN (''refused'', ''failed''), false)';
    kind text;
BEGIN
    EXECUTE format('DELETE FROM %s WHERE at < now() - interval ''400 days''', TG_RELID::regclass);
    FOREACH kind IN ARRAY ARRAY[refusals, 'NOT ' || refusals] LOOP
        EXECUTE format(
"""
_TAIL = """
            TG_RELID::regclass, kind);
    END LOOP;
    RETURN NULL;
END $$
"""
_OLDEST = """
            'DELETE FROM %1$s WHERE %2$s AND id <=
             (SELECT id FROM %1$s WHERE %2$s ORDER BY id DESC OFFSET 100000 LIMIT 1)',
"""
# Of what is too old to be among the newest 100,000, each owner keeps an even share of as many.
_BY_OWNER = """
            'DELETE FROM %1$s a USING (
                 SELECT id, owner, row_number() OVER (PARTITION BY owner ORDER BY id DESC) AS number
                 FROM %1$s WHERE %2$s
                     AND EXISTS (SELECT FROM %1$s WHERE %2$s ORDER BY id DESC OFFSET 100000 LIMIT 1)
             ) ranked
             WHERE ranked.id = a.id
               AND a.id <= (SELECT id FROM %1$s WHERE %2$s ORDER BY id DESC OFFSET 100000 LIMIT 1)
               AND ranked.number > (SELECT 100000 / count(DISTINCT owner) FROM %1$s WHERE %2$s)',
"""


def upgrade() -> None:
    op.execute(_HEAD + _BY_OWNER + _TAIL)


def downgrade() -> None:
    op.execute(_HEAD + _OLDEST + _TAIL)
