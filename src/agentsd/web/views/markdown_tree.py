"""Markdown as a tree of a few harmless elements. Pure.

A model may write anything, so none of it reaches a page as markup: HTML in it is text, links lead
to http, https and mailto only, images become links, and elements outside ``TAGS`` are left out. A
text that is nested too deeply, or yields too many nodes, is returned as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Annotated, NotRequired

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from pydantic import Field
from typing_extensions import TypedDict

from agentsd.web.http.json import to_json

TAGS = frozenset(
    ("p", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre", "code", "em", "strong", "s", "a",
     "hr", "br", "table", "thead", "tbody", "tr", "th", "td")
)  # fmt: skip
"""The only elements that are produced."""

MarkdownAttrs = TypedDict(
    "MarkdownAttrs",
    {
        "href": str,
        "start": int,
        "class": Annotated[str, Field(json_schema_extra={"enum": ["left", "center", "right"]})],
    },
    total=False,
)
"""``href`` of ``a``, ``start`` of ``ol``, ``class`` of ``th`` and ``td``."""


class MarkdownElement(TypedDict):
    """Element."""

    tag: Annotated[str, Field(json_schema_extra={"enum": sorted(TAGS)})]
    children: list[str | MarkdownElement]
    attrs: NotRequired[
        Annotated[
            MarkdownAttrs, Field(description="`href` of `a`, `start` of `ol`, `class` of `th` and `td`.")
        ]
    ]


MarkdownNode = str | MarkdownElement
"""A text, or an element."""

MAX_BYTES = 64 << 10
MAX_NODES = 20_000
_NODES_PER_CELL = 3  # opening, content, closing
MAX_DEPTH = 20
"""Maximum levels of blocks (a list item is two), and as many of inline elements."""
MAX_STEPS = 60_000
"""Steps of the parser, some 10 µs each: up to 35,000 for ordinary 64 KiB; hostile ones grow quadratically."""

_SAFE_LINK = re.compile(r"(?:https?://|mailto:)[^\s\x00-\x20<>\"\\]+", re.IGNORECASE)
_TEXT_TOKENS = {
    "softbreak": "\n",
    "html_inline": None,
    "html_block": None,
    "text": None,
    "text_special": None,
}
_HEADINGS = {"h1": "h3", "h2": "h4", "h3": "h5"}
_LINE_END = re.compile(r"\r\n?|\n")
_HEAD_ENDS = re.compile(r"[ \t|:>-]*\|[ \t|:>-]*")
_ALIGNED = re.compile(r"text-align:(left|center|right)")


def encode_tree(text: str) -> bytes:
    """Return the body of a response."""
    return to_json({"nodes": build_tree(text)})


def encode_plain(text: str) -> bytes:
    """Return the body of a response for a text that exceeds a limit."""
    return to_json({"nodes": _make_plain_nodes(text)})


class _LimitExceeded(Exception):
    """Error for a text that exceeds a limit."""


def build_tree(text: str) -> list[MarkdownNode]:
    """Return the nodes that a page shows for ``text``."""
    try:
        if count_cells(text) * _NODES_PER_CELL > MAX_NODES:
            raise _LimitExceeded
        tokens = _make_parser().parse(text, {_STEPS: 0})
        if sum(1 + len(token.children or ()) for token in tokens) > MAX_NODES:
            raise _LimitExceeded
        builder = _TreeBuilder()
        builder.add(tokens)
    except _LimitExceeded:
        return _make_plain_nodes(text)
    return builder.found


def _make_plain_nodes(text: str) -> list[MarkdownNode]:
    return [{"tag": "pre", "children": [{"tag": "code", "children": [text]}]}]


def count_cells(text: str) -> int:
    """Return an upper bound for the number of cells in the text's tables.

    The parser fills each row up to the width of the head. So a kilobyte makes a hundred thousand of
    them, which has to be detected before parsing.
    """
    width = cells = 0
    for line in _LINE_END.split(text):
        if not line.strip(" \t"):
            width = 0
        elif _HEAD_ENDS.fullmatch(line):
            width = max(width, line.count("|") + 1)
        cells += width
    return cells


@cache
def _make_parser() -> MarkdownIt:
    """Return the parser. It keeps no state of what it parsed, so threads share it."""
    options = {"html": False, "linkify": False, "typographer": False, "maxNesting": MAX_DEPTH}
    parser = MarkdownIt("commonmark", options).enable(["table", "strikethrough"])
    parser.disable("reference")  # [1] is a citation here
    parser.block.ruler.before("table", "steps", _count_step, {"alt": list(_INTERRUPTED)})
    parser.inline.ruler.before("text", "steps", _count_step)
    return parser


_STEPS = "steps"
_INTERRUPTED = ("paragraph", "reference", "blockquote", "list", "table")


def _count_step(state: StateBlock | StateInline, *_: object) -> bool:
    """Count the parser's attempts, in all of its loops: a rule that never applies."""
    state.env[_STEPS] += 1
    if state.env[_STEPS] > MAX_STEPS:
        raise _LimitExceeded
    return False


class _TreeBuilder:
    """Builder from a flat list of tokens to nodes; ``found`` is the result."""

    def __init__(self) -> None:
        self.found: list[MarkdownNode] = []
        self._open: list[list[MarkdownNode]] = [self.found]
        self._links = 0

    def add(self, tokens: Iterable[Token]) -> None:
        """Add the next tokens."""
        for token in tokens:
            if token.hidden:  # the paragraph of an item in a tight list
                continue
            if token.level >= MAX_DEPTH - 1 or len(self._open) > 2 * MAX_DEPTH:
                raise _LimitExceeded  # the parser drops deeper levels
            if token.nesting == 1:
                self._begin(token)
            elif token.nesting == -1:
                self._end(token)
            else:
                self._put(token)

    def _begin(self, token: Token) -> None:
        children: list[MarkdownNode] = []
        tag = _HEADINGS.get(token.tag, "h6" if token.type == "heading_open" else token.tag)
        attrs = _ATTRS.get(tag, _make_no_attrs)(token.attrs)
        self._links += tag == "a"
        if tag in TAGS and (tag != "a" or attrs):
            self._node(tag, children, attrs)
        else:  # a link without a target is its text
            children = self._open[-1]
        self._open.append(children)

    def _end(self, token: Token) -> None:
        self._open.pop()
        self._links -= token.tag == "a"

    def _put(self, token: Token) -> None:
        if token.type == "inline":
            self.add(token.children or ())
        elif token.type in _TEXT_TOKENS:
            self._text(_TEXT_TOKENS[token.type] or token.content)
        elif token.type in ("fence", "code_block"):
            self._node("pre", [{"tag": "code", "children": _make_text_nodes(token.content)}])
        elif token.type == "code_inline":
            self._node("code", _make_text_nodes(token.content))
        elif token.type == "image":
            self._image(token)
        elif token.tag in ("hr", "br"):
            self._node(token.tag, [])

    def _image(self, token: Token) -> None:
        """Replace an image by a link: a page loads nothing from elsewhere."""
        href = _make_link_attrs({"href": token.attrs.get("src", "")})
        alt = token.content or href.get("href", "")
        if href and not self._links:
            self._node("a", _make_text_nodes(alt), href)
        else:
            self._text(alt)

    def _node(self, tag: str, children: list[MarkdownNode], attrs: MarkdownAttrs | None = None) -> None:
        node: MarkdownElement = {"tag": tag, "children": children}
        if attrs:
            node["attrs"] = attrs
        self._open[-1].append(node)

    def _text(self, text: str) -> None:
        siblings = self._open[-1]
        if siblings and isinstance(siblings[-1], str):
            siblings[-1] += text
        elif text:
            siblings.append(text)


def _make_text_nodes(text: str) -> list[MarkdownNode]:
    return [text] if text else []


Attrs = Mapping[str, str | int | float]


def _make_no_attrs(attrs: Attrs) -> MarkdownAttrs:
    return {}


def _make_link_attrs(attrs: Attrs) -> MarkdownAttrs:
    href = str(attrs.get("href", ""))
    return {"href": href} if _SAFE_LINK.fullmatch(href) else {}


def _make_list_attrs(attrs: Attrs) -> MarkdownAttrs:
    return {"start": int(attrs["start"])} if "start" in attrs else {}


def _make_cell_attrs(attrs: Attrs) -> MarkdownAttrs:
    found = _ALIGNED.fullmatch(str(attrs.get("style", "")))
    return {"class": found[1]} if found else {}


_ATTRS: Mapping[str, Callable[[Attrs], MarkdownAttrs]] = {
    "a": _make_link_attrs,
    "ol": _make_list_attrs,
    "th": _make_cell_attrs,
    "td": _make_cell_attrs,
}
"""Attributes that an element keeps."""
