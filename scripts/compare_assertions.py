#!/usr/bin/env python3
"""Compare the tests of two commits: which assertions are gone or new, and which tests changed beyond imports.

Usage: scripts/compare_assertions.py BASE [HEAD] [--all]

Tests are found by their names wherever they moved to, and compared as syntax: neither formatting, docstrings
nor imports count. Prints each test that is gone or whose assertions changed, and the totals; with --all also
the tests whose assertions are the same and whose other lines changed.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Test:
    """A test function: where it is, its statements, and its assertions."""

    file: str
    body: str
    assertions: Counter[str]


def run_git(*arguments: str) -> str:
    """Return what git prints."""
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout


def read_tests(commit: str) -> dict[str, list[Test]]:
    """Return the tests of a commit by their names."""
    found: defaultdict[str, list[Test]] = defaultdict(list)
    names = run_git("ls-tree", "-r", "--name-only", commit, "tests").splitlines()
    for name in names:
        if name.endswith(".py"):
            for test, function in find_functions(ast.parse(run_git("show", f"{commit}:{name}"))):
                found[test].append(Test(name, describe_body(function), Counter(find_assertions(function))))
    return found


def find_functions(
    tree: ast.AST, prefix: str = ""
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Return each test function with its name, its class included."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from find_functions(node, f"{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield prefix + node.name, node


def describe_body(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Return the statements of a test without docstrings and imports."""
    return "\n".join(
        ast.unparse(node)
        for node in function.body
        if not isinstance(node, ast.Import | ast.ImportFrom)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    )


def find_assertions(function: ast.AST) -> Iterator[str]:
    """Return each ``assert`` and each ``with pytest.raises`` as text."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            yield ast.unparse(node.test)
        elif isinstance(node, ast.With | ast.AsyncWith):
            yield from (text for item in node.items if "raises(" in (text := ast.unparse(item.context_expr)))


def pair_tests(before: list[Test], after: list[Test]) -> Iterator[tuple[Test, Test | None]]:
    """Return each earlier test with the later one of its name that shares most assertions."""
    left = list(after)
    for test in before:
        best = max(left, key=lambda one: (one.assertions & test.assertions).total(), default=None)
        if best is not None:
            left.remove(best)
        yield test, best


def compare(before: dict[str, list[Test]], after: dict[str, list[Test]]) -> Iterator[tuple[str, str, str]]:
    """Return kind (gone, assertions, body), name and detail of each test that changed."""
    for name in sorted(before):
        for old, new in pair_tests(before[name], after.get(name, [])):
            if new is None:
                yield "gone", name, f"{old.file}: {old.assertions.total()} assertions"
            elif old.assertions != new.assertions:
                gone, come = old.assertions - new.assertions, new.assertions - old.assertions
                lines = [f"  - {text}" for text in gone.elements()] + [
                    f"  + {text}" for text in come.elements()
                ]
                yield "assertions", name, "\n".join([new.file, *lines])
            elif old.body != new.body:
                yield "body", name, new.file


def main(arguments: Sequence[str]) -> int:
    """Print the comparison."""
    commits = [one for one in arguments if not one.startswith("--")]
    if len(commits) not in (1, 2):
        print(__doc__, file=sys.stderr)
        return 2
    base, head = commits[0], commits[1] if len(commits) == 2 else "HEAD"
    before, after = read_tests(base), read_tests(head)
    kinds: Counter[str] = Counter()
    for kind, name, detail in compare(before, after):
        kinds[kind] += 1
        if kind != "body" or "--all" in arguments:
            print(f"{kind}: {name}  {detail}")
    for title, tests in ((base, before), (head, after)):
        every = [test for found in tests.values() for test in found]
        total = sum(test.assertions.total() for test in every)
        print(f"{title}: {len(every)} tests, {total} assertions")
    print(f"gone {kinds['gone']}, other assertions {kinds['assertions']}, other lines only {kinds['body']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
