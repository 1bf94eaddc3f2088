"""Which entries of an old mapping or list stay in a new one, which go, and where new ones belong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

FIRST = -1
"""The place of what has nothing before it."""

_PAIRS_MAX = 1 << 18  # beyond this many comparisons, lists are paired from the top


@dataclass(frozen=True, slots=True)
class Plan:
    """Places are indices into the old collection."""

    kept: dict[int, Any] = field(default_factory=dict)  # place → the new value there, in order
    added: dict[int, list[tuple[str | int, Any]]] = field(
        default_factory=dict
    )  # behind a kept place, or FIRST


def plan_mapping(old: Mapping[str, Any], new: Mapping[str, Any], *, last: str) -> Plan:
    """``old`` is in the order of its text. Nothing new is put behind the key ``last``."""
    places = {name: place for place, name in enumerate(old)}
    plan = Plan({place: new[name] for name, place in places.items() if name in new})
    anchor = FIRST
    for name, value in new.items():
        if name not in places:
            plan.added.setdefault(anchor, []).append((name, value))
        elif name != last:
            anchor = places[name]
    return plan


def plan_list(old: Sequence[Any], new: Sequence[Any]) -> Plan:
    """Equal elements stay, others are paired where they stand."""
    plan = Plan()
    for was, till, start, stop in _pieces([_print(one) for one in old], [_print(one) for one in new]):
        paired = min(till - was, stop - start)
        plan.kept.update({was + i: new[start + i] for i in range(paired)})
        if start + paired < stop:
            anchor = next(reversed(plan.kept), FIRST)
            plan.added.setdefault(anchor, []).extend((i, new[i]) for i in range(start + paired, stop))
    return plan


def _pieces(old: list[str], new: list[str]) -> list[tuple[int, int, int, int]]:
    if len(old) * len(new) > _PAIRS_MAX:
        return [(0, len(old), 0, len(new))]
    return [code[1:] for code in SequenceMatcher(None, old, new, autojunk=False).get_opcodes()]


def _print(value: Any) -> str:
    """A text that is equal for equal values only; types count."""
    return json.dumps(value, sort_keys=True)
