"""README and docs agree with the code."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import tomllib
from importlib import import_module
from pathlib import Path

import click
import pytest

from agentsd.cli.main import cli
from agentsd.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
RULES = (ROOT / "docs/rules.md").read_text()


def test_ci_runs_the_test_command_of_the_readme(tmp_path: Path) -> None:
    """Where programs only note how they are called, .ci/run calls what the README's test section does."""
    (command,) = re.findall(r"## Test it\n+```bash\n(.*)\n```", (ROOT / "README.md").read_text())
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci/run")
    calls = {}
    for name, line in (("readme", command), ("ci", ".ci/run")):
        calls[name] = run_with_fake_python(line, tmp_path)
    assert calls["ci"] == calls["readme"]
    assert calls["ci"][-1] == "python -m tests"
    (block,) = re.findall(r"```bash\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.DOTALL)
    assert run_with_fake_python(block, tmp_path) == [*calls["ci"][:-1], "python -m tests --quick"]


@pytest.mark.parametrize(
    "file", ["README.md", "docs/howto/start.md", "docs/howto/offline.md", "deploy/Dockerfile"]
)
def test_what_is_installed_speaks_mp3(file: str) -> None:
    """OpenAI's default format needs the extra ``audio``, which each way to install a server has."""
    found = re.findall(r"(?:'\.|CHECKOUT)\[([a-z,]+)\]", (ROOT / file).read_text())
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert found
    for names in found:
        assert "audio" in names.split(",") or any("audio" in each for each in extras.get(names, ()))


def run_with_fake_python(line: str, folder: Path) -> list[str]:
    """Return the commands of a line of a shell, as programs that only note their arguments see them."""
    note = '#!/bin/sh\necho "${0##*/} $*" >> "$NOTES"\n'
    programs = folder / "programs"
    for path in (programs / "python3", folder / ".venv/bin/pip", folder / ".venv/bin/python"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(note)
        path.chmod(0o755)
    notes = folder / "notes"
    notes.write_text("")
    env = {"PATH": f"{programs}:/usr/bin:/bin", "NOTES": str(notes)}
    subprocess.run(["bash", "-c", line], cwd=folder, env=env, check=True)
    return notes.read_text().splitlines()


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
    """docs/rules.md contains each rule that a user may see in brackets."""
    found = _rules_of(module)
    assert found, "the search no longer finds rules"
    assert sorted(rule for rule in found if f"`{rule}`" not in RULES) == []


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    """No relative link of the docs is dead."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []


def _make_anchors(path: Path) -> set[str]:
    """Return the anchors that forges make of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), flags=re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_anchors_of_links_exist(path: Path) -> None:
    """Each link to a section of a page of the docs names a heading of that page."""
    links = re.findall(r"\]\(([^)#:]*)#([^)]+)\)", path.read_text())
    pages = [(path.parent / page if page else path, anchor) for page, anchor in links]
    assert [anchor for page, anchor in pages if anchor not in _make_anchors(page)] == []


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
            continue  # prose; commands in code are checked below
        known = {
            option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)
        }
        used = set(re.findall(r"--[a-z-]+", rest))
        assert used <= known | {"--help"}, f"{path.name}: agentsd {command} {used - known}"


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_commands_in_code_exist(path: Path) -> None:
    """Each span or line of code that begins with ``agentsd WORD`` names a command."""
    text = path.read_text()
    code = [line for block in re.findall(r"(?ms)^```.*?^```", text) for line in block.splitlines()]
    code += re.findall(r"`([^`\n]+)`", text)
    starts = [re.match(r"\s*(?:\$ )?(?:[A-Z_]+=\S* )*(?:\S*/)?agentsd ([a-z][a-z-]*)", line) for line in code]
    used = {found[1] for found in starts if found}
    assert sorted(used - set(cli.list_commands(click.Context(cli)))) == []
    assert used or path.name != "README.md", "the search no longer finds commands"


def test_every_setting_is_documented() -> None:
    """docs/configuration.md names every environment variable that is read, and no other."""
    text = (ROOT / "docs/configuration.md").read_text()
    documented = set(re.findall(r"^\| `(AGENTSD_[A-Z_]+)`", text, flags=re.MULTILINE))
    assert documented == {f"AGENTSD_{name.upper()}" for name in Settings.model_fields}


ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
PACKAGE = ROOT / "src/agentsd"
ROOMS = {path.stem for path in PACKAGE.iterdir() if path.suffix in {"", ".py"} and path.stem.isidentifier()}
_SPANS = re.findall(r"`([^`\n]+)`", re.sub(r"(?ms)^```.*?^```$", "", ARCHITECTURE))


def _exists_as_name(dotted: str) -> bool:
    """Return whether ``room.module.name`` can be imported or looked up below ``agentsd``."""
    found: object = import_module("agentsd")
    place = "agentsd"
    for part in dotted.split("."):
        place = f"{place}.{part}"
        if not hasattr(found, part):
            try:
                import_module(place)
            except ModuleNotFoundError:
                return False
        found = getattr(found, part)
    return True


def test_paths_of_the_architecture_exist() -> None:
    """Each ``path/module.py`` and ``folder/`` in backticks is in the package or the repository."""
    paths = [span for span in _SPANS if re.fullmatch(r"\w[\w./-]*(/|\.(py|js|toml))", span)]
    assert len(paths) > 60, "the search no longer finds paths"
    assert [path for path in paths if not (PACKAGE / path).exists() and not (ROOT / path).exists()] == []


def test_names_of_the_architecture_exist() -> None:
    """Each dotted ``room.module.name`` in backticks exists."""
    names = [
        span for span in _SPANS if re.fullmatch(r"\w+(\.\w+)+", span) and span.partition(".")[0] in ROOMS
    ]
    names = [name for name in names if not name.endswith((".py", ".js", ".toml"))]
    assert len(names) > 30, "the search no longer finds names"
    assert [name for name in names if not _exists_as_name(name)] == []


def test_the_map_shows_every_room() -> None:
    """Each floor's packages, and the packages directly below those, are drawn on the map."""
    drawn = set(re.findall(r"\w+", ARCHITECTURE.split("## The map")[1].split("```")[1]))
    packages = [path.parent.relative_to(PACKAGE) for path in PACKAGE.rglob("__init__.py")]
    rooms = {path.name for path in packages if 1 <= len(path.parts) <= 2}
    assert sorted(rooms - drawn) == []


def test_every_dependency_has_a_reason() -> None:
    """Each dependency and extra of pyproject.toml is in the tables of the architecture."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {re.split(r"[\[<>=!~ ;]", name)[0] for group in wanted for name in group} - {"agentsd"}
    tables = ARCHITECTURE.split("## Dependencies")[1].split("**SQL at run time.**")[0]
    listed = {
        re.sub(r" .*", "", name.strip()).lower()
        for line in tables.splitlines()
        for cell in line.split("|")[1:3]
        for name in cell.split(",")
    }
    assert sorted(name for name in names if name.lower() not in listed) == []
