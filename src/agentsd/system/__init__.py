"""Operating system, as every floor uses it: locks of files, living processes, turns by owner."""
