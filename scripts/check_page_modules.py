#!/usr/bin/env python3
"""Check how the pages' scripts hang together: no cycle, no export that nothing imports, no module of no page.

A browser would not notice any of these. That imports lead somewhere is tested in tests/web/ui/test_assets.py.
Usage: scripts/check_page_modules.py [FOLDER]
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath

FOLDER = Path(__file__).resolve().parents[1] / "src/agentsd/web/ui/static/js"
IMPORT = re.compile(r'^import (?:\{([^}]*)\} from |\* as \w+ from )?"([^"]+)";', re.MULTILINE)
EXPORT = re.compile(r"^export (?:async )?(?:function\*?|const|let|class) (\w+)", re.MULTILINE)
ROOTS = ("theme.js", "audio/worklet.js", "events/worker.js")
"""A plain script of every page, one that Web Audio loads, and the worker that pages share."""
TESTED_EXPORTS = {("markdown.js", "elements"), ("token.js", "tokenOf")}
"""Imported by the tests in the browser alone."""


def find_imports(name: str, text: str) -> dict[str, list[str]]:
    """Return the modules that a module imports, and the names that it imports of each."""
    found: dict[str, list[str]] = {}
    for names, path in IMPORT.findall(text):
        parts: list[str] = []
        for part in (PurePosixPath(name).parent / path).parts:
            parts = parts[:-1] if part == ".." else [*parts, part]
        found["/".join(parts)] = [one.split(" as ")[0].strip() for one in names.split(",") if one.strip()]
    return found


def find_exports(text: str) -> set[str]:
    """Return the names that a module exports."""
    return set(EXPORT.findall(text))


def find_faults(scripts: Mapping[str, str]) -> Iterator[str]:
    """Return what is wrong with scripts, which are texts by their path below the folder."""
    imports = {name: find_imports(name, text) for name, text in scripts.items()}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        yield f"{' → '.join(error.args[1])}: modules import each other in a cycle"
    used = {(path, name) for found in imports.values() for path, names in found.items() for name in names}
    exported = {(path, name) for path, text in scripts.items() for name in find_exports(text)}
    for path, name in sorted(exported - used - TESTED_EXPORTS):
        yield f"{path}: nothing imports {name}: remove the export"
    reached, coming = set(ROOTS), [path for path in scripts if path.startswith("pages/")]
    while coming:
        path = coming.pop()
        if path not in reached:
            reached.add(path)
            coming += imports.get(path, {})
    for path in sorted(set(scripts) - reached):
        yield f"{path}: no page imports it: remove the module"


def main() -> int:
    """Print each fault; 1 if there is one."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    scripts = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*.js")}
    if not scripts:
        print(f"{folder}: there are no scripts")
        return 1
    faults = list(find_faults(scripts))
    print("\n".join(faults) or f"{len(scripts)} modules of the pages hang together")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
