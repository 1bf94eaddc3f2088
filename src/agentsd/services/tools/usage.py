"""Sums of the usage of several rounds. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def add_usage(before: Mapping[str, Any] | None, more: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the sum of two ``usage`` objects, member by member; what is not a number comes from ``more``."""
    if not before or not more:
        return more or before
    total = dict(before)
    for name, value in more.items():
        old = total.get(name)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            total[name] = add_usage(old, value)
        elif _is_number(value) and _is_number(old):
            total[name] = old + value
        else:
            total[name] = value
    return total


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
