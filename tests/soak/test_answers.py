"""Malformed answers of vendors, small: a fixed seed; and ten million bytes, as a soak."""

from __future__ import annotations

import time

import pytest

from tests.soak.answers import soak

SEED = 20261201


async def test_a_few_malformed_answers() -> None:
    """None is silent, none hangs, no text of the vendor gets out, the fallback is asked."""
    tally = await soak(SEED, 100_000)
    assert not tally.findings, "\n".join(tally.lines())
    assert len({kind for kind, _ in tally.outcomes}) == 10


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_ten_million_bytes_of_malformed_answers() -> None:
    """A seed of its own each time; the report says it."""
    tally = await soak(int(time.time()), 10_000_000)
    print("\n".join(tally.lines()))
    assert not tally.findings, "\n".join(tally.lines())
