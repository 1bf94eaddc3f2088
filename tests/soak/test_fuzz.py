"""The fuzz harness, small: a fixed seed, some inputs of each kind; and whole, as a soak."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import pytest

from tests.soak import shapes
from tests.soak.fuzz import fuzz
from tests.soak.hostile import run
from tests.soak.inputs import INPUTS

SEED = 20261130


def test_inputs_come_from_their_seed_alone() -> None:
    """The same seed, kind and number: the same bytes."""
    for make in (shapes.pdf, shapes.markdown, shapes.text):
        first, second = (make(Random("7:x:1")) for _ in range(2))
        assert first == second
    one, two = (shapes.dumps(shapes.mutated(Random("7:y:2"), {"a": [1, {"b": "c"}]})) for _ in range(2))
    assert one == two


@pytest.mark.timeout(400)
async def test_a_few_hostile_inputs_of_each_kind(tmp_path: Path) -> None:
    """The process lives, the other owner is answered and its edits go live, no key comes out."""
    result = await fuzz(SEED, count=1, seconds=300, keep=tmp_path, answer_seconds=30)
    assert set(result.tried) == set(INPUTS)
    assert not result.findings, "\n".join(result.lines())
    assert (result.ends, result.hurt) == (0, 0)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_ten_minutes_of_hostile_inputs(tmp_path: Path) -> None:
    """A seed of its own each time; the report says it."""
    result = await fuzz(int(time.time()), seconds=600, keep=tmp_path)
    print("\n".join(result.lines()))
    assert not result.findings, "\n".join(result.lines())


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_ten_minutes_of_a_hostile_owner() -> None:
    """The other owner's chat has no failure; how fast it was is printed."""
    quiet, attacked, ends = await run(int(time.time()), 600)
    print(quiet.line("quiet"), attacked.line("under attack"), sep="\n")
    assert (attacked.failures, ends) == ([], 0)
