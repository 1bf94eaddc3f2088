#!/usr/bin/env python3
"""Check names and docstrings of ``src/agentsd`` as far as a machine can.

Usage: scripts/check_names.py [--write]

Three rules, from CONTRIBUTING.md:

- ``gerund``: a module is a noun, not a gerund;
- ``one-word``: a public function of a module is a verb and its object, not a single word;
- ``docstring``: a function's docstring begins with a verb in the imperative, so neither with a question word,
  an article or a pronoun nor with a verb in the third person; no docstring begins with a question word.

``scripts/names_allowed.txt`` lists the exceptions. It only shrinks: an entry that is not needed any more is a
failure, and ``--write`` removes it; nothing adds one.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from measure_code import QUESTION_WORDS, Function, is_gerund, is_one_word

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src/agentsd"
ALLOWED = ROOT / "scripts/names_allowed.txt"

NOT_VERBS = QUESTION_WORDS | {
    *(
        "A",
        "All",
        "An",
        "Another",
        "Any",
        "As",
        "At",
        "Both",
        "By",
        "Each",
        "Every",
        "Everything",
        "For",
        "From",
    ),
    *(
        "He",
        "How",
        "If",
        "In",
        "It",
        "Its",
        "No",
        "Nobody",
        "Nothing",
        "Of",
        "On",
        "One",
        "Only",
        "Our",
        "Some",
    ),
    *(
        "That",
        "The",
        "Their",
        "There",
        "These",
        "They",
        "This",
        "Those",
        "To",
        "Until",
        "When",
        "Where",
        "Which",
    ),
    *("Why", "With", "Without", "Yes", "Not", "Same", "Two", "Three"),
}
"""First words that begin no sentence in the imperative."""

_THIRD_PERSON = re.compile(r"[A-Z][a-z]*[^s\W]s")
_IMPERATIVE_IN_S = frozenset({"Alias", "Canvas"})
_COMMAND = "_command"  # what click runs: its docstring is the help text, its name the command's


def find_faults(source: Path) -> Iterator[str]:
    """Yield a line for each fault: the rule and the place."""
    for path in sorted(source.rglob("*.py")):
        place = path.relative_to(source).as_posix()
        if is_gerund(path.stem):
            yield f"gerund {place}"
        tree = ast.parse(path.read_text("utf-8"))
        yield from (f"docstring {place}" for word in _first_words(tree) if word in QUESTION_WORDS)
        yield from _find_in(tree, place, "")


def _find_in(node: ast.AST, place: str, outer: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            yield from _check_function(
                child, f"{place}::{outer}{child.name}", top=isinstance(node, ast.Module)
            )
            yield from _find_in(child, place, f"{outer}{child.name}.")
        elif isinstance(child, ast.ClassDef):
            name = f"{place}::{outer}{child.name}"
            yield from (f"docstring {name}" for word in _first_words(child) if word in QUESTION_WORDS)
            yield from _find_in(child, place, f"{outer}{child.name}.")
        else:
            yield from _find_in(child, place, outer)


def _check_function(node: Function, name: str, *, top: bool) -> Iterator[str]:
    if top and not node.name.startswith("_") and is_one_word(node.name):
        yield f"one-word {name}"
    if not node.name.endswith(_COMMAND) and any(map(_is_not_imperative, _first_words(node))):
        yield f"docstring {name}"


def _first_words(node: Function | ast.ClassDef | ast.Module) -> list[str]:
    text = ast.get_docstring(node)
    return [text.split()[0].strip(".,:;")] if text else []


def _is_not_imperative(word: str) -> bool:
    third = _THIRD_PERSON.fullmatch(word) is not None and word not in _IMPERATIVE_IN_S
    return word in NOT_VERBS or third or not word[:1].isupper()


def main(arguments: Sequence[str]) -> int:
    """Print faults that are not allowed and exceptions that are not needed; 1 if there are any."""
    faults = sorted(set(find_faults(SOURCE)))
    allowed = ALLOWED.read_text("utf-8").splitlines() if ALLOWED.exists() else []
    new = [fault for fault in faults if fault not in set(allowed)]
    stale = [line for line in allowed if line not in set(faults)]
    if "--write" in arguments:
        ALLOWED.write_text("".join(f"{line}\n" for line in allowed if line not in set(stale)), "utf-8")
        stale = []
    for fault in new:
        print(f"{fault}: see CONTRIBUTING.md, How code is written")
    for line in stale:
        print(f"{line}: not needed any more; scripts/check_names.py --write removes it")
    print(
        f"{len(faults)} exceptions left" if not (new or stale) else f"{len(new)} new, {len(stale)} not needed"
    )
    return 1 if new or stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
