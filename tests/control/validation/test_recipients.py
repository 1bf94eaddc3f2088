"""Whether files are sealed to those whom .sops.yaml names."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentsd.control.validation.recipients import find_recipients
from agentsd.control.validation.validate import check_recipients
from agentsd.core.errors import ConfigError
from agentsd.core.manifest.document import Document
from agentsd.files.tree import read_tree

RULES = """creation_rules:
  - path_regex: agents\\.d/acme/.*
    age: age1acme, age1ops
  - path_regex: agents\\.d/.*
    key_groups:
      - age: [age1ops]
      - age: [age1backup]
"""


def sealed(path: str, *recipients: str) -> Document:
    block = {"age": [{"recipient": name, "enc": "x"} for name in recipients], "mac": "x"}
    return Document(path, b"sops:\n  age: []\n", {"sops": block})


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (sealed("acme/a.yaml", "age1acme", "age1ops"), None),
        (sealed("acme/a.yaml", "age1acme"), "1 missing, 0 too many"),
        (sealed("acme/a.yaml", "age1acme", "age1ops", "age1evil"), "0 missing, 1 too many"),
        (sealed("a.yaml", "age1ops", "age1backup"), None),
        (sealed("a.yaml", "age1acme"), "2 missing, 1 too many"),
        (Document("a.yaml", b"", {"name": "plain"}), None),
    ],
)
def test_recipients(tmp_path: Path, document: Document, words: str | None) -> None:
    """The first rule that fits a path says who; too few and too many are both told, and how to mend it."""
    (tmp_path / ".sops.yaml").write_text(RULES)
    root = tmp_path / "agents.d"
    root.mkdir()
    recipients = find_recipients(root)
    assert recipients is not None
    found = list(recipients.check(root, document))
    assert [words in violation.message for violation in found if words] == ([True] if words else [])
    assert len(found) == (words is not None)
    assert all(violation.severity == "warning" and "sops updatekeys" in violation.hint for violation in found)


def test_the_nearest_rules_count(tmp_path: Path) -> None:
    """As sops looks for them: upwards."""
    root = tmp_path / "a/agents.d"
    root.mkdir(parents=True)
    (tmp_path / ".sops.yaml").write_text("creation_rules: []\n")
    found = find_recipients(root)
    assert found is not None
    assert found.folder == tmp_path
    (tmp_path / "a/.sops.yaml").write_text(RULES)
    found = find_recipients(root)
    assert found is not None
    assert len(found.rules) == 2


@pytest.mark.parametrize("text", ["x: [", "- a", "creation_rules: 7", "creation_rules: [{path_regex: '['}]"])
def test_rules_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    """A setting that cannot work, by its path."""
    (tmp_path / ".sops.yaml").write_text(text)
    with pytest.raises(ConfigError, match="cannot be read as sops creation rules"):
        find_recipients(tmp_path)


async def test_every_sealed_file_by_its_nearest_rules(tmp_path: Path) -> None:
    """A team's own rules, defaults and all kinds of keys; the hint re-keys by these rules from any folder."""
    root = tmp_path / "agents.d"
    (root / "acme").mkdir(parents=True)
    rules = "creation_rules:\n  - age: {}\n    pgp: {}\n"
    (tmp_path / ".sops.yaml").write_text(rules.format("age1ops", "aa bb"))
    (root / "acme/.sops.yaml").write_text(rules.format("age1acme", "CCDD"))
    seal = "name: x\nsops:\n  age:\n  - recipient: {}\n    enc: x\n  pgp:\n  - fp: {}\n    enc: x\n  mac: x\n"
    for name in ("a.yaml", "_defaults.yaml"):
        (root / name).write_text(seal.format("age1ops", "AABB"))
        (root / "acme" / name).write_text(seal.format("age1acme", "CCDD"))
    (root / "acme/left.yaml").write_text(seal.format("age1acme", "EEFF"))
    (root / "acme/_defaults.yaml").write_text(seal.format("age1ops", "CCDD"))
    recipients = find_recipients(root)
    assert recipients is not None
    found = {one.path: one for one in check_recipients(read_tree(root), recipients)}
    assert set(found) == {"acme/left.yaml", "acme/_defaults.yaml"}
    assert found["acme/left.yaml"].hint == f"cd {root}/acme && sops updatekeys left.yaml"
