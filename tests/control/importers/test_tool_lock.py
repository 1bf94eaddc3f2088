"""Locks of tools: whatever a server says comes back as it was, or is refused with the reason."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsd.control.importers.tool_lock import NamedServer, draft_locks, format_lock
from agentsd.core.errors import InvalidManifests, ToolsUnknown
from agentsd.core.manifest.tool_lock import PinnedTool, ServerTool, choose_alias, is_fitting_name, parse_lock
from agentsd.core.manifest.tools import McpTools
from agentsd.files.tree import Tree

URL = "https://mcp.example.com/mcp"
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=80)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def object_of(properties: dict[str, Any]) -> dict[str, Any]:
    """A schema with these properties, each of which has a default."""
    return {"type": "object", "properties": {name: {"default": one} for name, one in properties.items()}}


@settings(max_examples=40)
@given(
    TEXTS, st.dictionaries(TEXTS, VALUES, max_size=3), st.dictionaries(TEXTS, VALUES, max_size=2) | st.none()
)
def test_what_a_server_says_comes_back(
    description: str, properties: dict[str, Any], output: dict[str, Any] | None
) -> None:
    """Every text, and every value of JSON, with the same digest; keys such as ``on`` and ``null``, too."""
    schema = object_of({**properties, "on": None, "null": 1.0, "y": 1 << 70})
    tool = ServerTool("a.b", description, schema, None if output is None else object_of(output))
    text = format_lock({URL: {"a.b": PinnedTool(tool, "a_b")}})
    ((name, back),) = parse_lock("_tools.lock.yaml", text.encode())[URL].items()
    assert (name, back.alias, back.digest) == ("a.b", "a_b", tool.digest)
    assert back.tool == tool


@given(st.lists(st.text(min_size=1, max_size=80), max_size=12, unique=True))
def test_names_that_models_can_call(names: list[str]) -> None:
    """A name of its own for each tool, whatever the server's."""
    taken: set[str] = set()
    for name in names:
        shown = choose_alias(name, taken) or name
        assert is_fitting_name(shown)
        assert shown not in taken
        taken.add(shown)


@pytest.mark.parametrize(
    "tool",
    [
        ServerTool("a", "x" * 8_001),
        ServerTool("a", "\0"),
        ServerTool("a", "x", {"type": "object", "properties": {"p": {"type": 7}}}),
        ServerTool("a", "x", {"$ref": "https://evil.example/schema.json"}),
        ServerTool("a", "x", {"properties": {"p": {"pattern": "(a+)+$" * 40_000}}}),
        ServerTool("a", "x", {"properties": {str(n): {} for n in range(3_000)}}),
    ],
    ids=["long", "nul", "no-schema", "remote-schema", "long-pattern", "many"],
)
def test_what_cannot_be_locked(tool: ServerTool) -> None:
    """Refused when the lock is made, not when somebody validates it later."""
    server = NamedServer("acme/sales.yaml", McpTools.model_validate({"mcp": {"url": URL, "allow": ["a"]}}))
    with pytest.raises(ToolsUnknown, match="cannot be locked"):
        draft_locks(Tree(Path(), {}), [server], {0: {"a": tool}})


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_garbage_is_a_violation(data: bytes) -> None:
    """Nothing else is raised, whatever the file contains."""
    for text in (
        data,
        b"lock: 1\nservers:\n" + data,
        b"lock: 1\nservers: [{url: x, tools: [" + data + b"]}]",
    ):
        with suppress(InvalidManifests):
            parse_lock("_tools.lock.yaml", text)
