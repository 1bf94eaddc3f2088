"""Where each value of a merged manifest stands: pure."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.manifest.document import parse_document
from agentsd.core.manifest.layers import merge_layers
from agentsd.core.manifest.pointers import get_value
from agentsd.core.manifest.value_origins import iter_origins, iter_values
from agentsd.core.trust.rules import Destinations

_KEYS = st.sampled_from(["name", "llm", "turn", "a-b", "x"])
_LEAVES = st.one_of(
    st.integers(0, 9), st.booleans(), st.sampled_from(["one", "two words", "ä", "", "l1\nl2\n"])
)
_VALUES = st.recursive(
    _LEAVES,
    lambda child: st.one_of(st.lists(child, max_size=3), st.dictionaries(_KEYS, child, max_size=3)),
    max_leaves=8,
)
_MANIFESTS = st.dictionaries(_KEYS, _VALUES, max_size=4)


def nowhere(kind: str, provider: str) -> Destinations | None:
    """No vendor is known."""
    return None


@given(st.lists(_MANIFESTS, min_size=1, max_size=4), st.booleans())
def test_every_value_stands_where_it_is_said_to(manifests: list[dict[str, Any]], flow: bool) -> None:
    """The file holds it at that pointer; the line and column are its key's, or a list's item's own."""
    texts = [yaml.safe_dump(one, default_flow_style=flow, allow_unicode=True) for one in manifests]
    layers = [parse_document(f"{number}.yaml", text.encode()) for number, text in enumerate(texts)]
    document = merge_layers(layers[-1], layers[:-1], nowhere)
    found = list(iter_origins(document, document.value))
    assert [(one.pointer, one.value) for one in found] == list(iter_values(document.value))
    for one in found:
        layer = next(layer for layer in layers if layer.path == one.path)
        assert get_value(layer.value, one.pointer) == one.value
        here = "".join(layer.data.decode().splitlines(keepends=True)[one.line - 1 :])[one.column - 1 :]
        if one.pointer and isinstance(one.pointer[-1], str):
            assert here.startswith(f"{one.pointer[-1]}:")
        elif one.pointer:
            assert here[0] not in "-,"
