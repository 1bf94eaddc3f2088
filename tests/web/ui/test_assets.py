"""The pages' modules: what they import is there and used, without cycles; nothing in them parses markup."""

from __future__ import annotations

import re
from graphlib import TopologicalSorter
from pathlib import Path, PurePosixPath

import pytest

from agentsd.web.ui.assets import load_assets

SCRIPTS = {name: one.data.decode() for name, one in load_assets().named.items() if name.startswith("js/")}
IMPORT = re.compile(r'^import (?:\{([^}]*)\} from |\* as \w+ from )?"([^"]+)";', re.MULTILINE)
EXPORT = re.compile(r"^export (?:async )?(?:function\*?|const|let|class) (\w+)", re.MULTILINE)
SINKS = re.compile(
    r"\.(?:inner|outer)HTML\b|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|"
    r"createContextualFragment|setHTML|srcdoc|import\("
)
LONGEST = 300


def imported(name: str) -> dict[str, list[str]]:
    """The modules that a module imports, and what of each."""
    found: dict[str, list[str]] = {}
    for names, path in IMPORT.findall(SCRIPTS[name]):
        parts: list[str] = []
        for part in (PurePosixPath(name).parent / path).parts:
            parts = parts[:-1] if part == ".." else [*parts, part]
        found["/".join(parts)] = [one.split(" as ")[0].strip() for one in names.split(",") if one.strip()]
    return found


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_module_is_short_and_imports_what_there_is(name: str) -> None:
    """Each name is exported where it is imported from."""
    assert SCRIPTS[name].count("\n") <= LONGEST
    for path, names in imported(name).items():
        assert path in SCRIPTS
        assert set(names) <= set(EXPORT.findall(SCRIPTS[path])), path


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_module_parses_markup_or_code(name: str) -> None:
    """The policy would refuse it; this says where."""
    assert SINKS.findall(SCRIPTS[name]) == []


def test_modules_import_downwards_only() -> None:
    """No cycle."""
    TopologicalSorter({name: imported(name) for name in SCRIPTS}).prepare()


def test_nothing_is_exported_for_nobody() -> None:
    """Every export is imported somewhere; two by the tests in the browser alone."""
    used = {(path, one) for name in SCRIPTS for path, names in imported(name).items() for one in names}
    exported = {(name, one) for name, text in SCRIPTS.items() for one in EXPORT.findall(text)}
    assert exported - used == {("js/markdown.js", "elements"), ("js/token.js", "tokenOf")}


def test_every_script_belongs_to_a_page() -> None:
    """Each is a page's own, or reached from one."""
    reached, coming = set(), [name for name in SCRIPTS if name.startswith("js/pages/")]
    while coming:
        name = coming.pop()
        reached.add(name)
        coming += [path for path in imported(name) if path not in reached]
    # The first is a plain script of every page, the other is loaded by Web Audio.
    assert set(SCRIPTS) - reached == {"js/theme.js", "js/audio/worklet.js"}


def test_every_page_has_its_files() -> None:
    """A template names a script and a style for each page."""
    folder = Path(__file__).parents[3] / "src/agentsd/web/ui/templates"
    pages = {one.stem for one in folder.glob("*.html")} - {"base", "missing"}
    assert {f"js/pages/{page}.js" for page in pages} <= set(SCRIPTS)
    assert {f"css/{page}.css" for page in pages} <= set(load_assets().named)
