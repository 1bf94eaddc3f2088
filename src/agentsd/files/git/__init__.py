"""Git repositories: reading, committing, pushing, mirroring."""
