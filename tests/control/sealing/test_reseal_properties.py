"""Any edit of any sealed tree: the real sops reads exactly what was asked for."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agentsd.control.sealing.reseal import reseal_document
from agentsd.core.manifest.document import Document, parse_document
from agentsd.core.manifest.pointers import get_existing, get_value, iter_leaves
from agentsd.core.violations import Pointer
from agentsd.sops.format import is_whole_seal
from tests.control.sealed_edit import Desk
from tests.runtime.world import Keys

KEYS = st.sampled_from(
    ["api_key", "auth_token", "name", "provider", "fallback", "a b", "x:y", "ü", "1", "no"]
)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
SCALARS = TEXTS | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | st.booleans()
SECRET = {"api_key", "auth_token"}


def trees(leaf: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Mappings of mappings and lists; what stands under the name of a secret is a text."""
    node = st.recursive(
        leaf, lambda n: st.lists(n, max_size=3) | st.dictionaries(KEYS, n, max_size=4), max_leaves=8
    )
    return st.dictionaries(KEYS, node, min_size=1, max_size=4).map(_with_texts)


def _with_texts(node: Any, hidden: bool = False) -> Any:
    if isinstance(node, dict):
        return {key: _with_texts(child, hidden or key in SECRET) for key, child in node.items()}
    if isinstance(node, list):
        return [_with_texts(child, hidden) for child in node]
    return str(node) if hidden and not isinstance(node, str) else node


def split(old: Any, wanted: dict[str, Any]) -> tuple[dict[str, Any], dict[Pointer, str]]:
    """What the API makes of ``wanted``: kept seals in place, all other secret texts apart."""
    value: dict[str, Any] = json.loads(json.dumps(wanted))
    secrets: dict[Pointer, str] = {}
    for pointer, leaf in list(iter_leaves(value)):
        if SECRET.isdisjoint(map(str, pointer)):
            continue
        seal = get_value(old, pointer)
        if leaf == "keep" and is_whole_seal(seal):
            get_existing(value, pointer[:-1])[pointer[-1]] = seal
        else:
            secrets[pointer] = leaf
            get_existing(value, pointer[:-1])[pointer[-1]] = seal if is_whole_seal(seal) else ""
    return value, secrets


@settings(max_examples=15, deadline=None)
@given(first=trees(SCALARS), wanted=trees(SCALARS | st.just("keep")), full=st.booleans())
def test_any_edit_of_any_sealed_tree(keys: Keys, first: Any, wanted: Any, full: bool) -> None:
    """Created, then edited; a kept secret is the one of before, and no secret stands in plain."""
    with TemporaryDirectory() as folder:
        desk = Desk(Path(folder), keys)
        desk.rules(mac_only_encrypted=None if full else True)
        asyncio.run(both(desk, first, wanted))


async def both(desk: Desk, first: dict[str, Any], wanted: dict[str, Any]) -> None:
    opener, sops = desk.tools(desk.keys)
    document = Document("x.yaml", b"", {})
    before: Any = {}
    for tree in (first, wanted):
        value, secrets = split(document.value, tree)
        edited = await reseal_document(document, value, secrets, file=desk.file, opener=opener, sops=sops)
        data = edited.data
        document = parse_document("x.yaml", data)
        now = desk.read(data) if "sops" in document.value else document.value
        for pointer, leaf in iter_leaves(tree):
            kept = is_whole_seal(get_value(value, pointer)) and pointer not in secrets
            assert get_existing(now, pointer) == (get_existing(before, pointer) if kept else leaf)
            if not SECRET.isdisjoint(map(str, pointer)):
                assert leaf == "" or is_whole_seal(get_existing(document.value, pointer))
        assert len(list(iter_leaves(now))) == len(list(iter_leaves(tree)))
        before = now
