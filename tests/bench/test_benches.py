"""Every bench runs, on tiny sizes. ``pytest -m bench``; nothing is asserted on time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.bench import large, voice
from tests.bench.every import BENCHES
from tests.bench.report import Figure, Run, Scale, show

TRIED = (*(one for one in BENCHES if one is not voice), large)  # a call lasts as long as its sounds


@pytest.mark.bench
@pytest.mark.parametrize("run", [module.run for module in TRIED], ids=lambda run: run.__module__)
def test_a_bench_runs(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Its figures are numbers, and the table shows each of them."""
    figures: Sequence[Figure] = run(Scale.tiny())
    assert figures
    assert all(figure.value == figure.value for figure in figures)
    show(figures)
    assert len(capsys.readouterr().out.splitlines()) > len(figures)
