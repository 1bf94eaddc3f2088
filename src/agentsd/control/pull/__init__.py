"""Pull mode: commits of a remote repository as the source of a sync."""
