"""Plans: the changes that make the store match the files."""
