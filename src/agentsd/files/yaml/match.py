"""Matching of the entries of an old mapping or list with those of a new one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

FIRST_PLACE = -1
"""Position before the first element."""

_PAIRS_MAX = 1 << 18  # beyond this many comparisons, lists are paired from the top
_LIKENESS_MAX = 1 << 10  # and so are the parts of them that differ


@dataclass(frozen=True, slots=True)
class EntryMatch:
    """Entries that stay, go and come. Places are indices into the old collection."""

    kept: dict[int, Any] = field(default_factory=dict)  # place → the new value there, in order
    added: dict[int, list[tuple[str | int, Any]]] = field(
        default_factory=dict
    )  # after a kept position, or FIRST


def match_mapping(old: Mapping[str, Any], new: Mapping[str, Any], *, last: str) -> EntryMatch:
    """Match ``old``, in the order of its text, with ``new``.

    Nothing new is put behind the key ``last``.
    """
    places = {name: place for place, name in enumerate(old)}
    plan = EntryMatch({place: new[name] for name, place in places.items() if name in new})
    anchor = FIRST_PLACE
    for name, value in new.items():
        if name not in places:
            plan.added.setdefault(anchor, []).append((name, value))
        elif name != last:
            anchor = places[name]
    return plan


def match_list(old: Sequence[Any], new: Sequence[Any]) -> EntryMatch:
    """Match lists: equal elements stay; of the others, the most similar ones are paired."""
    plan = EntryMatch()
    for was, till, start, stop in _find_pieces(
        [_fingerprint_value(one) for one in old], [_fingerprint_value(one) for one in new]
    ):
        pairs = dict(_find_pairs(old[was:till], new[start:stop]))  # place among the new → place among the old
        for i, value in enumerate(new[start:stop]):
            if i in pairs:
                plan.kept[was + pairs[i]] = value
            else:
                plan.added.setdefault(next(reversed(plan.kept), FIRST_PLACE), []).append((start + i, value))
    return plan


def _find_pieces(old: list[str], new: list[str]) -> list[tuple[int, int, int, int]]:
    if len(old) * len(new) > _PAIRS_MAX:
        return [(0, len(old), 0, len(new))]
    return [code[1:] for code in SequenceMatcher(None, old, new, autojunk=False).get_opcodes()]


def _find_pairs(old: Sequence[Any], new: Sequence[Any]) -> Iterator[tuple[int, int]]:
    """Yield (index in ``new``, index in ``old``), both ascending, as many as the shorter one has."""
    most = min(len(old), len(new))
    if len(old) == len(new) or len(old) * len(new) > _LIKENESS_MAX:
        yield from zip(range(most), range(most), strict=True)
        return
    best = [[0.0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for i in reversed(range(len(old))):
        for j in reversed(range(len(new))):
            paired = best[i + 1][j + 1] + 1 + _compute_likeness(old[i], new[j])
            best[i][j] = max(paired, best[i + 1][j], best[i][j + 1])
    i = j = 0
    while i < len(old) and j < len(new):
        if best[i][j] == best[i + 1][j + 1] + 1 + _compute_likeness(old[i], new[j]):
            yield j, i
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1


def _compute_likeness(one: Any, other: Any) -> float:
    """Return the share of common fields, with equal values, of two mappings, from 0 to 1."""
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return 0
    fields = {_fingerprint_value(pair) for pair in one.items()} & {
        _fingerprint_value(pair) for pair in other.items()
    }
    return len(fields) / max(len(one), len(other), 1)


def _fingerprint_value(value: Any) -> str:
    """Return a text that is equal for equal values only; types count."""
    return json.dumps(value, sort_keys=True)
