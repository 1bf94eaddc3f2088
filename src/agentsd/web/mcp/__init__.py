"""/mcp: this server's agents as tools of the Model Context Protocol, for assistants in editors."""
