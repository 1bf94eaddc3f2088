"""Positions in a YAML text, from the events of one parse."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from agentsd.files.yaml.edit import parse_editable
from agentsd.files.yaml.layout import YamlText

TEXTS = {
    "plain": "a:\n  - x\n  - y\nb: 1\n",
    "without an indent": "a:\n- x\n- y\nb:\n- z\n",
    "lists in lists": "a:\n- - x\n  - y\n- - z\n  -   - u\n      - v\n",
    "nothing": "a:\n  -\n  - # a comment\n  -\nb:\n-\n",
    "comments that look like elements": "a:\n  - # - x\n  # - y\n #- z\n    x\n  # - u\n  - y # - v\n",
    "texts that look like elements": (
        "a:\n  - |\n    - x\n    - y\n  - 'x\n\n    - y'\n  - >-\n\n    - z\n  - x\n    - y\n"
    ),
    "mappings": "a:\n  - b: 1\n    c:\n      - d: 2\n      - e\n  -\n    f: 3\n",
    "lists in brackets": "a: [x, -1, [y,\n  -2]]\nb:\n  - [x,\n    y]\n  - {c: -1}\n",
    "other breaks": "a:\r\n  - x\r\n  - y\r\n",
    "letters beyond ASCII": "ä: 🙂\nb:\n  - 🙂\n  - ä\n",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_nodes_and_dashes_are_those_of_libyaml(text: str) -> None:
    """The nodes that libyaml composes, and the dashes that it scans."""
    sheet = YamlText(text, parse_editable("a.yaml", text.encode()).events)
    assert _outline(sheet.root) == _outline(yaml.compose(text, Loader=yaml.CSafeLoader))
    scanned = yaml.scan(text, Loader=yaml.CSafeLoader)
    dashes = [one.start_mark.index for one in scanned if isinstance(one, yaml.BlockEntryToken)]
    assert sorted(_list_dashes(sheet, sheet.root)) == dashes


def _outline(node: Any) -> Any:
    span = (type(node), node.start_mark.index, node.start_mark.column, node.end_mark.index)
    if isinstance(node, yaml.ScalarNode):
        return span, node.value, node.style
    if isinstance(node, yaml.MappingNode):
        return span, node.flow_style, [(_outline(key), _outline(value)) for key, value in node.value]
    return span, node.flow_style, [_outline(one) for one in node.value]


def _list_dashes(sheet: YamlText, node: Any) -> list[int]:
    if isinstance(node, yaml.ScalarNode):
        return []
    entries = sheet.entries(node)
    below = [dash for entry in entries for dash in _list_dashes(sheet, entry.node)]
    own = isinstance(node, yaml.SequenceNode) and not node.flow_style
    return [*(entry.start for entry in entries if own), *below]
