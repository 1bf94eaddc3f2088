"""Pure values and functions: no async, no I/O, no clock."""
