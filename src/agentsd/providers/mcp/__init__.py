"""Client of MCP servers: the official SDK over HTTP of our own. ``mcp`` is imported by ``session`` only."""
