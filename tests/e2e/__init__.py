"""The whole program, through real processes: ``agentsd`` itself, Postgres, sealed files, HTTP."""
