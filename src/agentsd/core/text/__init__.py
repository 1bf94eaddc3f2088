"""Text for people and machines: plans, tables, diffs, passages."""
