"""Variables, placeholders and hand-offs of manifests: every fault at its line and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentsd.control.validation.checker import Checker
from agentsd.control.validation.validate import validate_tree
from agentsd.core.violations import Violation
from agentsd.files.tree import read_tree
from agentsd.providers.catalog import default_catalog
from agentsd.sops.identities import Identities
from agentsd.sops.opener import Opener
from tests.control.place import uid

CHECKER = Checker(default_catalog(), Opener(Identities(), None))
HEAD = f"id: {uid(1)}\nname: A\nllm: {{provider: echo.local}}\n"  # three lines
VARIABLES = "variables:\n  customer_name: {type: string, max_length: 80, default: there}\n"  # two more


async def found_in(root: Path, files: dict[str, str]) -> list[Violation]:
    """What is wrong with a tree, without warnings."""
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())
    found = await validate_tree(read_tree(root), CHECKER)
    return [one for one in found if one.severity == "error"]


async def places_of(root: Path, files: dict[str, str]) -> list[tuple[str, str]]:
    """Code and place of each."""
    return [(one.code, one.where) for one in await found_in(root, files)]


TEXTS = {
    "plain": ("greeting: Hello {{custmer_name}}!\n", (6, 17)),
    "quoted": ('greeting: "Hello {{custmer_name}}!"\n', (6, 18)),
    "block": ("system_prompt: |\n  You are kind.\n  Call them {{customer_name}}, not {{nme}}.\n", (8, 36)),
    "folded": ("system_prompt: >\n  You are\n\n  kind to {{ nme }}.\n", (9, 11)),
    "malformed": ("greeting: Hello {{customer name}}!\n", (6, 17)),
    "idle": ("turn:\n  idle: {say: 'Still there, {{nme}}?'}\n", (7, 29)),
    "on_error": ("on_error:\n  say: Sorry {{nme}}.\n", (7, 14)),
    "second": ("greeting: '{{customer_name}} {{a}} {{b}}'\n", (6, 30)),
    "no letters": ("greeting: 'ü🙂 {{a}}'\n", (6, 15)),
}


@pytest.mark.parametrize("case", TEXTS)
async def test_an_unknown_placeholder(tmp_path: Path, case: str) -> None:
    """It is where the file has it, whatever YAML's style; each one, and with a hint."""
    text, (line, column) = TEXTS[case]
    found = await found_in(tmp_path, {"a.yaml": HEAD + VARIABLES + text})
    assert found[0].code == "placeholder"
    assert found[0].where == f"a.yaml:{line}:{column}"
    assert len(found) == (2 if case == "second" else 1)
    assert "customer_name" in found[0].hint or case == "malformed"


async def test_a_prompt_of_a_file(tmp_path: Path) -> None:
    """The violation is in that file, at its line and column."""
    found = await places_of(
        tmp_path,
        {
            "acme/a.yaml": HEAD + VARIABLES + "system_prompt_file: prompts/a.md\n",
            "acme/prompts/a.md": "Hello {{customer_name}},\r\n\r\nor ü {{nme}}.\r\n",
        },
    )
    assert found == [("placeholder", "acme/prompts/a.md:3:6")]


async def test_without_variables_braces_are_text(tmp_path: Path) -> None:
    """In prompts, greetings and files, as before; and knowledge is never looked at."""
    prompt = "system_prompt: 'A template: {{name}} {{'\ngreeting: '{{x}}'\n"
    assert await places_of(tmp_path, {"a.yaml": HEAD + prompt}) == []
    knowing = HEAD + VARIABLES + "rag: {sources: [k.md]}\ngreeting: 'Hi {{customer_name}} \\{{x}}'\n"
    assert await places_of(tmp_path, {"a.yaml": knowing, "k.md": "{{nobody}}"}) == []


async def test_a_placeholder_of_a_layer(tmp_path: Path) -> None:
    """It is reported in the file that has it, though the variables are another's."""
    found = await places_of(
        tmp_path, {"_defaults.yaml": "greeting: Hello {{nme}}!\n", "a.yaml": HEAD + VARIABLES}
    )
    assert found == [("placeholder", "_defaults.yaml:1:17")]


DECLARATIONS = {
    "a secret's name": ("variables:\n  api_key: {type: string}\n", "variable", 5),
    "another type's bound": ("variables:\n  n:\n    type: integer\n    max_length: 5\n", "variable", 7),
    "a default that does not fit": (
        "variables:\n  n: {type: string, enum: [a], default: b}\n",
        "variable",
        5,
    ),
    "a name that is none": ("variables:\n  a-b: {type: string}\n", "variable", 5),
    "an unknown type": ("variables:\n  n: {type: text}\n", "unknown-value", 5),
    "no type": ("variables:\n  n: {default: a}\n", "missing-key", 5),
    "an unknown key": ("variables:\n  n: {type: string, size: 5}\n", "unknown-key", 5),
    "a null default": ("variables:\n  n: {type: string, default: null}\n", "null-value", 5),
    "an empty section": ("variables: {}\n", "invalid-value", 4),
    "an unknown override": ("overrides: [colour]\n", "unknown-value", 4),
    "itself": ("handoff:\n- {to: a, when: x}\n", "handoff-self", 5),
    "itself by id": (f"handoff:\n- {{to: {uid(1)}, when: x}}\n", "handoff-self", 5),
    "nobody": ("handoff:\n- when: x\n  to: b\n", "handoff-target", 6),
    "nobody after a failure": ("on_error: {say: x, then: handoff}\n", "handoff-none", 4),
    "a check's wrong value": (
        "variables: {n: {type: integer, default: 1}}\nchecks:\n- say: Hi\n  variables: {n: x}\n",
        "check-variables",
        7,
    ),
    "a check's unknown value": ("checks:\n- say: Hi\n  variables: {n: x}\n", "check-variables", 6),
    "a check without a needed value": (
        "variables: {n: {type: integer}}\nchecks:\n- say: Hi\n",
        "check-variables",
        6,
    ),
    "an unknown carry": ("handoff:\n- {to: b, when: x, carry: all}\n", "unknown-value", 5),
}


@pytest.mark.parametrize("case", DECLARATIONS)
async def test_what_is_wrong_in_itself(tmp_path: Path, case: str) -> None:
    """One violation, at its line."""
    text, code, line = DECLARATIONS[case]
    found = await found_in(tmp_path, {"a.yaml": HEAD + text})
    assert [(one.code, one.line) for one in found] == [(code, line)]


async def test_a_hand_off_across_files(tmp_path: Path) -> None:
    """To an agent of the same owner; twice the same is said."""
    other = HEAD.replace(uid(1), uid(2))
    one = HEAD + "handoff:\n- {to: acme/b, when: x}\n"
    assert await places_of(tmp_path, {"acme/a.yaml": one, "acme/b.yaml": other}) == []
    found = await places_of(tmp_path, {"acme/a.yaml": one + "- {to: acme/b, when: y}\n"})
    assert found == [("handoff-twice", "acme/a.yaml:6:8")]
    await _suspend(tmp_path)
    assert await places_of(tmp_path, {"acme/a.yaml": one}) == [("handoff-target", "acme/a.yaml:5:8")]


async def _suspend(root: Path) -> None:
    file = root / "acme/b.yaml"
    file.write_text(file.read_text() + "active: false\n")


async def test_a_hand_off_of_a_layer_is_reported_there(tmp_path: Path) -> None:
    """Defaults of a folder may name a target for all its agents."""
    files = {"acme/_defaults.yaml": "handoff:\n- to: acme/none\n  when: x\n", "acme/a.yaml": HEAD}
    assert await places_of(tmp_path, files) == [("handoff-target", "acme/_defaults.yaml:2:7")]
