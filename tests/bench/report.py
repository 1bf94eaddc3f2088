"""Figures, their goals and anchors; how a bench is called and what it prints."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from statistics import median

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    agents: int = 10_000
    rounds: int = 5  # of whole processes and of paired measurements
    samples: int = 200  # of single operations
    seconds: float = 3.0  # of one round of load

    @classmethod
    def tiny(cls) -> Scale:
        """Enough to see that a bench runs."""
        return cls(agents=60, rounds=1, samples=5, seconds=0.2)


@dataclass(frozen=True)
class Figure:
    """One measured number. ``goal`` is an upper bound, or with ``at_least`` a lower one."""

    what: str
    value: float
    unit: str
    goal: float | None = None
    at_least: bool = False
    anchor: float | None = None  # in the same unit, from the same run unless ``against`` says "quoted"
    against: str = ""  # what the anchor is

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None where there is none."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.at_least else self.value <= self.goal

    @property
    def ratio(self) -> float | None:
        """How many times better than the anchor."""
        if not self.anchor or not self.value:
            return None
        more_is_better = self.at_least or self.unit.endswith("/s")
        return self.value / self.anchor if more_is_better else self.anchor / self.value


Run = Callable[[Scale], Sequence[Figure]]


def p50(values: Sequence[float]) -> float:
    """The median."""
    return median(values)


def p99(values: Sequence[float]) -> float:
    """The value that 99 in 100 do not exceed (nearest rank)."""
    return sorted(values)[ceil(len(values) * 0.99) - 1]


def main(*runs: Run, extra: Run | None = None) -> None:
    """Run benches as the command line says, and print one table or one JSON document.

    ``extra`` runs only with ``--large``.
    """
    parser = argparse.ArgumentParser(description=(runs[0].__doc__ if len(runs) == 1 else "Every bench."))
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes: only to see that it runs")
    parser.add_argument("--large", action="store_true", help="also 100,000 agents (minutes)")
    options = parser.parse_args()
    scale = Scale.tiny() if options.tiny else Scale()
    figures = []
    for run in (*runs, *([extra] if extra and options.large else [])):
        print(f"{(run.__doc__ or '').rstrip('.')} …", file=sys.stderr, flush=True)
        figures += run(scale)
    if options.json:
        print(json.dumps([{**asdict(f), "met": f.met, "ratio": f.ratio} for f in figures], indent=2))
    else:
        show(figures)


def show(figures: Sequence[Figure]) -> None:
    """One table."""
    table = Table(box=None, pad_edge=False)
    table.add_column("what", ratio=1)
    for name in ("figure", "goal", "", "anchor", "ratio"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("anchored on", overflow="fold")
    for figure in figures:
        goal = "" if figure.goal is None else f"{'≥' if figure.at_least else '≤'} {_number(figure.goal)}"
        mark = {True: "✓", False: "✗", None: ""}[figure.met]
        anchor = "" if figure.anchor is None else f"{_number(figure.anchor)} {figure.unit}"
        ratio = "" if figure.ratio is None else f"{_number(figure.ratio)} ×"
        value = f"{_number(figure.value)} {figure.unit}"
        table.add_row(figure.what, value, goal, mark, anchor, ratio, figure.against)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
