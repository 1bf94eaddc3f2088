"""Diffs of lines: right for all texts, least for small changes, and given up where they take too long."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.text.line_diff import DIFFERENCES_MAX, diff_lines, diff_parts

LINES = st.lists(st.sampled_from("abcd"), max_size=30)


def _rebuilt(before: Sequence[str], after: Sequence[str]) -> tuple[list[str], list[str]]:
    old, new = list[str](), list[str]()
    for equal, i, j, k, m in diff_parts(before, after):
        assert not equal or before[i:j] == after[k:m]
        assert (len(old), len(new)) == (i, k)
        old += before[i:j]
        new += after[k:m]
    return old, new


@given(LINES, LINES)
def test_the_parts_are_all_of_both_texts(before: list[str], after: list[str]) -> None:
    assert _rebuilt(before, after) == (before, after)


def test_the_least_change_is_found() -> None:
    before = [f"{n}" for n in range(5000)]
    after = [*before[:100], "new", *before[100:3000], *before[3001:]]
    assert sum(line[0] in "+-" for line in diff_lines(before, after)) == 2


def test_what_differs_too_much_is_replaced_as_a_whole() -> None:
    """No order of lines makes it slow: here the time is that of the machine's wall, so it is not measured."""
    before = [f"{n * 7 % 997}" for n in range(20_000)]
    after = [f"{n * 5 % 997}" for n in range(20_000)]
    assert _rebuilt(before, after) == (before, after)
    assert sum(not equal for equal, *_ in diff_parts(before, after)) <= DIFFERENCES_MAX
