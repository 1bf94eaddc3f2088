"""Pure values and functions, without async, I/O or a clock."""
