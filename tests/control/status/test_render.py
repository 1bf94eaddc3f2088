"""``agentsd render``: what all layers say, where each value stands, and no secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from agentsd.cli.commands.render import render_command
from agentsd.control.status.render import RenderedManifest, render_agent
from agentsd.core.errors import AgentNotFound
from agentsd.core.manifest.document import Document, parse_document
from agentsd.files.tree import read_tree
from agentsd.providers.catalog import default_catalog
from tests.control.place import uid
from tests.runtime.world import Keys

_TEXTS = st.one_of(
    st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=20),
    st.lists(st.text("ab :#-|'\"", max_size=6), max_size=4).map("\n".join),
    st.sampled_from(
        ["", " ", "- x", "a: b", "x # y", "null", "12e5", "yes", "|", "  two", "t\n", "a\n\n", "\n"]
    ),
)
_LEAVES = st.one_of(
    _TEXTS, st.integers(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False, width=32)
)
_VALUES = st.recursive(
    _LEAVES,
    lambda child: st.one_of(
        st.lists(child, max_size=3),
        st.dictionaries(st.sampled_from(["a", "b c", "llm", "x-y"]), child, max_size=3),
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["one", "two", "three"]), _VALUES, min_size=1, max_size=3))
def test_what_is_printed_says_what_is_meant(value: dict[str, Any]) -> None:
    """With a comment on every line that begins a value, it is YAML of the very same value."""
    rendered = RenderedManifest("x", Document("x.yaml", b"", {}), value)
    text = "".join(f"{line}{'  # f.yaml:1' if at else ''}\n" for line, at in rendered.lines())
    assert parse_document("x.yaml", text.encode()).value == value


def _write(root: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


@pytest.fixture
def root(tmp_path: Path, keys: Keys) -> Path:
    """Two layers with a seal each, an overlay, and a plaintext secret that somebody forgot to seal."""
    root = tmp_path / "agents.d"
    _write(
        root,
        {
            "acme/_defaults.yaml": keys.seal(
                "language: en\nllm:\n    provider: groq.com\n    api_key: sk-canary-1\n    model: small\n"
                "    fallback:\n        - provider: groq.com\n          api_key: sk-canary-2\n"
                "          model: spare\n"
            ),
            "acme/sales.yaml": f"id: {uid(1)}\nsystem_prompt: |\n  You sell.\n  Politely.\n"
            "llm:\n  model: large\ntts:\n  provider: elevenlabs.io\n  api_key: sk-canary-3\n",
            "../envs/prod/acme/sales.yaml": "llm:\n  temperature: 0.5\n",
        },
    )
    return root


def test_every_value_is_shown_with_its_place(root: Path) -> None:
    """The file and the line, of lists too; overlays with ``--env``."""
    done = CliRunner().invoke(render_command, ["acme/sales", "--path", str(root), "--env", "prod"])
    assert done.exit_code == 0, done.output
    lines = done.output.replace(f"{root}/", "").replace(f"{root.parent}/", "").splitlines()
    assert lines == [
        f"id: {uid(1)}  # acme/sales.yaml:1",
        "system_prompt: |  # acme/sales.yaml:2",
        "  You sell.",
        "  Politely.",
        "language: en  # acme/_defaults.yaml:1",
        "llm:",
        "  provider: groq.com  # acme/_defaults.yaml:3",
        '  api_key: "**********"  # acme/_defaults.yaml:4',
        "  model: large  # acme/sales.yaml:6",
        "  fallback:",
        "    - provider: groq.com  # acme/_defaults.yaml:7",
        '      api_key: "**********"  # acme/_defaults.yaml:8',
        "      model: spare  # acme/_defaults.yaml:9",
        "  temperature: 0.5  # envs/prod/acme/sales.yaml:2",
        "tts:",
        "  provider: elevenlabs.io  # acme/sales.yaml:8",
        '  api_key: "**********"  # acme/sales.yaml:9',
    ]
    assert "canary" not in done.output
    assert "ENC[" not in done.output


def test_programs_get_the_same(root: Path) -> None:
    """The value, the layers in order, and the origin of each value."""
    done = CliRunner().invoke(render_command, ["acme~sales", "--path", str(root), "--format", "json"])
    told = json.loads(done.output)
    assert told["agent"] == "acme/sales"
    assert told["layers"] == [f"{root}/acme/_defaults.yaml", f"{root}/acme/sales.yaml"]
    assert told["value"]["llm"]["api_key"] == "**********"
    assert told["origins"]["llm.fallback[0].model"] == f"{root}/acme/_defaults.yaml:9"
    assert "temperature" not in told["value"]["llm"]


def test_an_agent_that_is_not_there(root: Path) -> None:
    """Neither is a layer; the nearest name is told."""
    for name in ("acme/sale", "acme/_defaults"):
        with pytest.raises(AgentNotFound):
            render_agent(read_tree(root), name, default_catalog())


def test_a_file_that_cannot_be_read(root: Path) -> None:
    """Is told with its place, and the status is 1."""
    (root / "acme/_defaults.yaml").write_text("a: [\n")
    done = CliRunner().invoke(render_command, ["acme/sales", "--path", str(root)])
    assert done.exit_code == 1
    assert "acme/_defaults.yaml:2:1" in done.stderr
