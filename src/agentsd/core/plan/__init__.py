"""Plans: what has to change so that the store matches the files."""
