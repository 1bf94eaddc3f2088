"""A screen: every width shows everything, and nothing is wider than it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.text.screen import ScreenEntry, ScreenSection, format_screen

TEXTS = st.text("ab é-/.:\n\x1b", max_size=30)
CELLS = st.lists(st.tuples(st.just(""), TEXTS), max_size=4).map(tuple)
ENTRIES = st.builds(ScreenEntry, st.sampled_from(["ok", "warn", "bad", "none"]), TEXTS, CELLS)
SECTIONS = st.lists(
    st.builds(ScreenSection, TEXTS, st.lists(ENTRIES, max_size=5)),
    max_size=3,
)


def shown(sections: list[ScreenSection], width: int) -> list[str]:
    return ["".join(text for _, text in line) for line in format_screen(sections, width)]


@given(SECTIONS, st.integers(20, 100))
def test_no_line_is_too_wide(sections: list[ScreenSection], width: int) -> None:
    """Nor does any hold what could move a terminal's cursor."""
    lines = shown(sections, width)
    assert all(len(line) <= width for line in lines)
    assert not any("\n" in line or "\x1b" in line for line in lines)


def test_columns_where_there_is_room() -> None:
    """And blocks where there is not: the same words."""
    entries = [
        ScreenEntry("ok", "host-a:1", (("green", "version 12"), ("dim", "2 s ago"))),
        ScreenEntry(
            "bad", "host-bcd:22", (("green", "version 9"), ("dim", "2 s ago"), ("red", "1 not well"))
        ),
    ]
    sections = [ScreenSection("Replicas", entries, more=3)]
    assert shown(sections, 80) == [
        "",
        "Replicas",
        "  ✓ host-a:1     version 12  2 s ago",
        "  ✗ host-bcd:22  version 9   2 s ago  1 not well",
        "    and 3 more",
    ]
    assert shown(sections, 30) == [
        "",
        "Replicas",
        "  ✓ host-a:1",
        "      version 12  2 s ago",
        "  ✗ host-bcd:22",
        "      version 9  2 s ago",
        "      1 not well",
        "    and 3 more",
    ]


def test_a_long_name_loses_its_middle() -> None:
    """Its end tells it from the others."""
    (line,) = shown([ScreenSection("", [ScreenEntry("ok", "runtime-7c9d8f6b5-xk2lp:4711")])], 24)[2:]
    assert line == "  ✓ runtime-7c…k2lp:4711"
