"""Git repositories: reads, commits, pushes, mirrors."""
