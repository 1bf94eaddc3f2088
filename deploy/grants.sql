-- Least privileges for agentsd's two roles. `agentsd migrate --grants` runs it, as the owner of the tables; so can
--   psql "$OWNER_URL" -f deploy/grants.sql
-- then give each process a login that is a member of one role:
--   CREATE ROLE watch LOGIN PASSWORD '…' IN ROLE agentsd_sync;
--   CREATE ROLE serve LOGIN PASSWORD '…' IN ROLE agentsd_runtime;
-- A role that may write `agents` or `users` can change agents and tokens, so runtimes may not.

DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'agentsd_sync') THEN CREATE ROLE agentsd_sync; END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'agentsd_runtime') THEN CREATE ROLE agentsd_runtime; END IF;
END $$;

-- sync and watch: everything but the schema itself
GRANT USAGE ON SCHEMA public TO agentsd_sync, agentsd_runtime;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO agentsd_sync;
REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM agentsd_sync;
REVOKE UPDATE, DELETE ON audit FROM agentsd_sync;  -- audit entries are added, never changed; the table prunes itself

-- serve: read everything, write heartbeats, audit entries, the ledger and vectors
GRANT SELECT ON ALL TABLES IN SCHEMA public TO agentsd_runtime;
GRANT INSERT, UPDATE, DELETE ON replicas TO agentsd_runtime;
GRANT INSERT, UPDATE, DELETE ON ledger_flushes, agent_activity, agent_health, agent_usage TO agentsd_runtime;
GRANT INSERT, UPDATE, DELETE ON tool_consents TO agentsd_runtime;
GRANT INSERT ON audit TO agentsd_runtime;  -- refused writes are recorded, too
GRANT UPDATE (ordinal) ON knowledge_chunks TO agentsd_runtime;  -- FOR UPDATE SKIP LOCKED needs it
DO $$ BEGIN
  IF to_regclass('knowledge_vectors') IS NOT NULL THEN
    GRANT INSERT ON knowledge_vectors TO agentsd_runtime;
  END IF;
END $$;
