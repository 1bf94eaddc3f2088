#!/usr/bin/env python3
"""Measure the shape of a Python tree: folders, names, docstrings, lengths.

Usage: scripts/measure_code.py [FOLDER ...]      (default: src/agentsd)

Definitions, so that trees of different projects can be compared:

- *modules in a folder*: ``*.py`` files directly in it, ``__init__.py`` left out;
- *gerund*: a module's name whose last word ends in ``ing`` (``string`` and the like are left out);
- *one-word function*: a function or method, nested ones included and ``__dunder__`` ones left out, whose name
  without underscores at its ends contains no underscore;
- *question docstring*: a docstring (of a module, class or function) that begins with What, Who, Whom, Whose
  or Whether;
- *body*: the lines of a function below its signature and docstring.
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

QUESTION_WORDS = frozenset({"What", "Who", "Whom", "Whose", "Whether"})
NOT_GERUNDS = frozenset({"embedding", "string", "ring", "thing", "bing", "king", "spring"})

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Measures:
    """Counts over one tree."""

    modules: Counter[str] = field(default_factory=Counter)
    gerunds: list[str] = field(default_factory=list)
    functions: int = 0
    one_word: int = 0
    docstrings: int = 0
    questions: int = 0
    bodies: list[int] = field(default_factory=list)
    lines: int = 0


def is_gerund(stem: str) -> bool:
    """Return whether the last word of a module's name is a gerund."""
    last = stem.strip("_").rsplit("_", 1)[-1]
    return last.endswith("ing") and last not in NOT_GERUNDS


def is_one_word(name: str) -> bool:
    """Return whether a function's name consists of one word."""
    return "_" not in name.strip("_")


def measure_tree(folder: Path) -> Measures:
    """Measure all modules below ``folder``."""
    measures = Measures()
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text("utf-8")
        measures.lines += text.count("\n")
        if path.name != "__init__.py":
            measures.modules[path.parent.relative_to(folder.parent).as_posix()] += 1
            measures.gerunds += [path.relative_to(folder).as_posix()] if is_gerund(path.stem) else []
        _measure_module(ast.parse(text), measures)
    return measures


def _measure_module(tree: ast.Module, measures: Measures) -> None:
    for node in ast.walk(tree):
        if isinstance(node, Function | ast.ClassDef | ast.Module):
            _measure_docstring(ast.get_docstring(node), measures)
        if isinstance(node, Function) and not (node.name.startswith("__") and node.name.endswith("__")):
            measures.functions += 1
            measures.one_word += is_one_word(node.name)
            measures.bodies.append(_body_lines(node))


def _measure_docstring(text: str | None, measures: Measures) -> None:
    if text:
        measures.docstrings += 1
        measures.questions += text.split()[0].strip(".,:;") in QUESTION_WORDS


def _body_lines(node: Function) -> int:
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def report_lines(name: str, measures: Measures) -> Iterator[str]:
    """Yield the report on one tree, a line per measure."""
    folder, most = measures.modules.most_common(1)[0] if measures.modules else ("-", 0)
    yield f"{name}: {measures.lines} lines"
    yield f"  modules in the largest folder  {most} ({folder})"
    yield f"  modules named by a gerund      {len(measures.gerunds)}"
    yield f"  functions of one word          {_share(measures.one_word, measures.functions)}"
    yield f"  docstrings that ask            {_share(measures.questions, measures.docstrings)}"
    yield f"  lines of a body, median        {statistics.median(measures.bodies or [0]):.0f}"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%} ({part} of {whole})" if whole else "none"


def main(arguments: Sequence[str]) -> int:
    """Print the measures of each folder."""
    for argument in arguments or ["src/agentsd"]:
        folder = Path(argument).resolve()
        if not folder.is_dir():
            print(f"{argument} is not a folder", file=sys.stderr)
            return 2
        print("\n".join(report_lines(argument, measure_tree(folder))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
