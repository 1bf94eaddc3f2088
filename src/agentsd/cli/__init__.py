"""The commands: one file per group, the composition roots."""
