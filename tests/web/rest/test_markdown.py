"""POST /api/markdown: whatever a model writes, only harmless elements come of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.web.json_body import measure_depth
from agentsd.web.views.markdown_tree import MAX_BYTES, MAX_DEPTH, TAGS, MarkdownNode, build_tree, count_cells
from tests.web.conftest import Stack

PIECES = (
    "a", " ", "\n", "\n\n", "*", "_", "**", "~~", "`", "```\n", "[", "]", "(", ")", "![", "](", "<", ">",
    "> ", "- ", "1. ", "7) ", "# ", "####### ", "|", "|-|\n", ":-:", "\\", "&lt;", "&#0;", "\t", "    ", "\0",
    '"', "'", "javascript:alert(1)", "JaVaScRiPt&colon;x", "data:text/html,x", "//x.y", "http://a.b",
    "https://a.b?c=d&e", "mailto:a@b.c", "<script>", "</script>", "<img src=x onerror=y>", "<a href='http://x'>",
    "\u202e", "\U0001f600",
)  # fmt: skip
texts = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=40).map("".join))


def elements(nodes: Sequence[MarkdownNode]) -> Iterator[dict[str, Any]]:
    """Every element of a tree."""
    for node in nodes:
        if isinstance(node, dict):
            yield node
            yield from elements(node["children"])


def text_of(nodes: Sequence[MarkdownNode]) -> str:
    """What one reads."""
    return "".join(node if isinstance(node, str) else text_of(node["children"]) for node in nodes)


@given(texts)
def test_any_text_is_harmless(text: str) -> None:
    """Known elements and attributes, addresses that run nothing, no link in a link, no deep nesting."""
    nodes = build_tree(text)
    for one in elements(nodes):
        attrs = one.get("attrs", {})
        assert one["tag"] in TAGS
        assert set(one) - {"attrs"} == {"tag", "children"}
        assert set(attrs) <= {"a": {"href"}, "ol": {"start"}, "th": {"class"}, "td": {"class"}}.get(
            one["tag"], set()
        )
        assert one["tag"] != "a" or re.match(r"(?i)(https?://|mailto:)[^\s<>\"]+\Z", attrs["href"])
        assert one["tag"] != "a" or not any(inner["tag"] == "a" for inner in elements(one["children"]))
        assert attrs.get("class") in (None, "left", "center", "right")
    assert measure_depth(nodes) < 4 * MAX_DEPTH


@given(st.lists(st.sampled_from([piece for piece in PIECES if piece != "\0"]), max_size=30))
def test_no_word_is_lost(pieces: list[str]) -> None:
    """Where nothing stands for an address, the words of a text are the words of its tree."""
    words = [f"w{number}w" for number in range(len(pieces))]
    text = "".join(f"{piece}{word}" for piece, word in zip(pieces, words, strict=True))
    if not re.search(r"[(<\[`~|:]", text):
        shown = text_of(build_tree(text))
        assert [word for word in words if word not in shown] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# A\n\n## B\n\n##### C", [("h3", "A"), ("h4", "B"), ("h6", "C")]),
        ("**a** *b* ~~c~~ `d`", [("p", "a b c d"), ("strong", "a"), ("em", "b"), ("s", "c"), ("code", "d")]),
        ("<b>x</b><script>y</script>", [("p", "<b>x</b><script>y</script>")]),
        ("[x](javascript:alert(1)) [y](/ui/users)", [("p", "[x](javascript:alert(1)) y")]),
        ("![a cat](http://a.b/c.png)", [("p", "a cat"), ("a", "a cat")]),
        ("[![a cat](http://a.b/c.png)](http://d.e)", [("p", "a cat"), ("a", "a cat")]),
        ("- a\n- b", [("ul", "ab"), ("li", "a"), ("li", "b")]),
        ("```js\n<b>\n```", [("pre", "<b>\n"), ("code", "<b>\n")]),
        ("a  \nb", [("p", "ab"), ("br", "")]),
    ],
)
def test_what_becomes_of_it(text: str, expected: list[tuple[str, str]]) -> None:
    """Headings below the page's own; tight lists; HTML and bad links as text; images as links."""
    assert [(one["tag"], text_of(one["children"])) for one in elements(build_tree(text))] == expected


def test_tables_and_numbers_keep_what_matters() -> None:
    """How a column is aligned, and where a list begins."""
    cells = [
        one.get("attrs") for one in elements(build_tree("|a|b|c|\n|-|:-:|-:|\n|1|2|3|")) if one["tag"] == "td"
    ]
    assert cells == [None, {"class": "center"}, {"class": "right"}]
    (ordered,) = build_tree("3. a\n4. b")
    assert isinstance(ordered, dict)
    assert ordered["attrs"] == {"start": 3}


@pytest.mark.parametrize(
    "text", ["> " * 30 + "a", "- " * 30 + "a", "*" * 99 + "a" + "*" * 99, "#\n" * 30_000, "> ```\na\n" * 2000]
)
def test_what_is_too_much_comes_back_as_it_is(text: str) -> None:
    """Too deep, too many elements, too much work: shown as the text that it is, and nothing is lost."""
    assert build_tree(text) == [{"tag": "pre", "children": [{"tag": "code", "children": [text]}]}]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize("before", ["", "> ", "a\v", "a\u2028"])
def test_a_table_is_counted_before_it_is_parsed(end: str, before: str) -> None:
    """A row of one letter gets as many cells as the head is wide: of 4 KiB it makes a second's work."""
    rows = end.join(f"{before}a" for _ in range(1000))
    text = f"{before}{'|a' * 400}|{end}{'>' if '>' in before else ''}{'|-' * 400}|{end}{rows}"
    assert count_cells(text) >= 400_000
    assert build_tree(text) == [{"tag": "pre", "children": [{"tag": "code", "children": [text]}]}]


@given(
    st.lists(
        st.sampled_from(["|a", "|", "a", "|-", "|:-:", "\n", "\n\n", "\r", "> ", "- ", "\v", "\t"]),
        max_size=40,
    )
)
def test_no_cell_is_missed(pieces: list[str]) -> None:
    """The count is never below what the parser makes."""
    text = "|a|b\n|-|-\n" + "".join(pieces)
    made = sum(one["tag"] in ("td", "th") for one in elements(build_tree(text)))
    assert (
        made <= count_cells(text) + 2 * text.count("|") + 2
    )  # the head stands above the line that is looked for


async def test_a_page_asks(stack: Stack) -> None:
    """Short and long texts; a text of any other kind or size is refused."""
    path = "/api/markdown"
    expected = {"nodes": [{"tag": "p", "children": [{"tag": "em", "children": ["hello"]}]}]}
    assert await stack.ask("POST", path, json={"text": "*hello*"}) == (200, expected)
    long = "word " * 2000
    status, reply = await stack.ask("POST", path, json={"text": long})
    assert (status, reply["nodes"][0]["children"]) == (200, [long.strip()])
    assert (await stack.ask("POST", path, json={"text": "\u00e9" * MAX_BYTES}))[0] == 413
    assert (await stack.ask("POST", path, json={"text": "\u00e9" * (MAX_BYTES // 2)}))[0] == 200
    for wrong in ({}, {"text": 1}, {"text": None}):
        assert (await stack.ask("POST", path, json=wrong))[0] == 400


@pytest.mark.soak
@pytest.mark.parametrize(
    "piece",
    ["[", "*", "![", "[](", "> ", "- ", "- a\n", "_*~`[(", "a|b\n-|-\n", "[x][", "`", "<", "|", "> ~~~\na\n"],
)
def test_hostile_texts_end(piece: str) -> None:
    """64 KiB of what makes parsers slow; the suite's own limit is the bound."""
    build_tree((piece * MAX_BYTES)[:MAX_BYTES])
