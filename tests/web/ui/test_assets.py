"""The pages' files: what a script imports is there, and nothing in them parses markup."""

from __future__ import annotations

import re
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
def test_a_module_imports_what_there_is(name: str) -> None:
    """Each name is exported where it is imported from: a browser runs nothing of a page else."""
    for path, names in imported(name).items():
        assert path in SCRIPTS
        assert set(names) <= set(EXPORT.findall(SCRIPTS[path])), path


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_module_parses_markup_or_code(name: str) -> None:
    """The policy would refuse it; this says where."""
    assert SINKS.findall(SCRIPTS[name]) == []


def test_every_page_has_its_files() -> None:
    """A template names a script and a style for each page."""
    folder = Path(__file__).parents[3] / "src/agentsd/web/ui/templates"
    pages = {one.stem for one in folder.glob("*.html")} - {"base", "missing"}
    assert {f"js/pages/{page}.js" for page in pages} <= set(SCRIPTS)
    assert {f"css/{page}.css" for page in pages} <= set(load_assets().named)
