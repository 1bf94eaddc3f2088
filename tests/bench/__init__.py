"""Benches: each prints its figures beside their goals and anchors, measured in the same run.

    python -m tests.bench                 all of them, one table
    python -m tests.bench.opening --json  one of them, as JSON

Nothing here asserts on time: a machine may be slow or busy. Where a figure is a ratio, its two sides
take turns, so that what else the machine does falls on both.
"""
