"""What README and docs say is what the code does."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import click
import pytest

from agentsd.cli.main import cli
from agentsd.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
RULES = (ROOT / "docs/rules.md").read_text()


def test_ci_runs_the_test_command_of_the_readme() -> None:
    """The README's test command is, to the letter, what CI runs."""
    command = (ROOT / ".ci/run").read_text().strip().splitlines()[-1]
    assert command in (ROOT / "README.md").read_text()


RULE_SOURCES = (
    "core/manifest/document",
    "core/plan/conflicts",
    "core/manifest/schema_validation",
    "control/validation/checker",
    "control/validation/layers",
    "control/validation/semantics",
    "control/validation/recipients",
    "files/tree",
)
_RULE = re.compile(r"[a-z]+(-[a-z]+)+|encoding|recipients")


def _rules_of(module: str) -> set[str]:
    """Every string constant of a module that is written like a rule's name."""
    tree = ast.parse((ROOT / f"src/agentsd/{module}.py").read_text())
    texts = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {text for text in texts if _RULE.fullmatch(text)}


@pytest.mark.parametrize("module", RULE_SOURCES)
def test_every_rule_is_documented(module: str) -> None:
    """A name in brackets that a user may see stands in docs/rules.md."""
    found = _rules_of(module)
    assert found, "the search no longer finds rules"
    assert sorted(rule for rule in found if f"`{rule}`" not in RULES) == []


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    """No relative link of the docs is dead."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_documented_commands_and_options_exist(path: Path) -> None:
    """Every ``agentsd COMMAND --option`` in the docs is one that the program has."""
    context = click.Context(cli)
    for command, rest in re.findall(r"(?<![\w.-])agentsd ([a-z-]+)((?: [^\s`|&#]+)*)", path.read_text()):
        found = cli.get_command(context, command)
        if isinstance(found, click.Group):
            name = rest.split()[0] if rest else ""
            found = found.get_command(context, name)
            assert found is not None or not re.fullmatch("[a-z]+", name), f"agentsd {command} {name}"
        if found is None:
            assert command not in {"up", "serve", "sync"}, command
            continue
        known = {
            option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)
        }
        used = set(re.findall(r"--[a-z-]+", rest))
        assert used <= known | {"--help"}, f"{path.name}: agentsd {command} {used - known}"


def test_every_setting_is_documented() -> None:
    """docs/configuration.md names every environment variable that is read, and no other."""
    text = (ROOT / "docs/configuration.md").read_text()
    documented = set(re.findall(r"^\| `(AGENTSD_[A-Z_]+)`", text, flags=re.MULTILINE))
    assert documented == {f"AGENTSD_{name.upper()}" for name in Settings.model_fields}
