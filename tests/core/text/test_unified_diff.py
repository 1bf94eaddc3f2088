"""Unified diffs: git can apply them, and they are as short as they are quick."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from agentsd.core.text.unified_diff import format_unified_diff

TEXTS = st.lists(st.sampled_from(["a\n", "b\n", "\n", "a\r\n", "\u2028\n", "- x\n"]), max_size=30).map(
    "".join
)
ENDED = st.tuples(TEXTS, st.sampled_from(["", "end"])).map("".join)


def applied(old: str, diff: str) -> str:
    """What a patch makes of ``old``; a context or a number that does not fit fails."""
    before = re.findall(r"[^\n]*\n|[^\n]+\Z", old)
    lines = re.findall(r"[^\n]*\n", diff)[2:]
    new: list[str] = []
    place = 0
    for number, line in enumerate(lines):
        ended = not (number + 1 < len(lines) and lines[number + 1].startswith("\\"))
        text = line[1:] if ended else line[1:-1]
        if line.startswith("@@"):
            start, count = (int(n or 1) for n in re.match(r"@@ -(\d+)(?:,(\d+))?", line).groups())  # type: ignore[union-attr]
            start -= 1 if count else 0
            new += before[place:start]
            place = start
        elif line[0] in " -":
            assert before[place] == text
            place += 1
        if line[0] in " +":
            new.append(text)
    return "".join(new + before[place:])


@given(ENDED, ENDED)
@example("a\nb\n", "a\nb")
def test_a_diff_leads_from_one_text_to_the_other(old: str, new: str) -> None:
    """Byte for byte, whatever the lines and their ends are; equal texts have none."""
    diff = format_unified_diff(old, new, "x")
    assert (diff == "") is (old == new)
    assert applied(old, diff) == new


def test_it_looks_as_git_prints_it() -> None:
    """Three lines around what differs, counted from one; what is near to each other in one hunk."""
    old = "".join(f"{n}\n" for n in range(1, 31))
    new = old.replace("5\n", "five\n", 1).replace("11\n", "").replace("29\n", "29\nx\n")
    assert format_unified_diff(old, new, "d/x.yaml").splitlines() == [
        *("--- a/d/x.yaml", "+++ b/d/x.yaml", "@@ -2,13 +2,12 @@", " 2", " 3", " 4", "-5", "+five"),
        *(" 6", " 7", " 8", " 9", " 10", "-11", " 12", " 13", " 14"),
        *("@@ -27,4 +26,5 @@", " 27", " 28", " 29", "+x", " 30"),
    ]


def test_files_that_come_and_go() -> None:
    """Have nothing on the other side."""
    assert format_unified_diff(None, "a\n", "x") == "--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+a\n"
    assert (
        format_unified_diff("a", None, "x")
        == "--- a/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n\\ No newline at end of file\n"
    )


def test_long_texts_are_not_compared_line_by_line() -> None:
    """Tens of thousands of lines on both sides are shown as a whole, and what both begin with is not."""
    old, new = ("same\n" + "".join(f"{side}{n}\n" for n in range(30_000)) for side in "ab")
    lines = format_unified_diff(old, new, "x").splitlines()
    assert lines[2:5] == ["@@ -1,30001 +1,30001 @@", " same", "-a0"]
    assert len(lines) == 60_004
