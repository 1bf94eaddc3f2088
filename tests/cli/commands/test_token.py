"""``agentsd token``: made once, kept as a hash, listed, revoked."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from tests.cli.conftest import Shell
from tests.cli.sealed import nowhere
from tests.control.place import echo
from tests.tokens import is_token

COMMENTED = """\
# Who works on Acme's agents.
email: ops@acme.example   # a list

tokens:
  # the pipeline
  - name: ci
    sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    role: editor
  # the old laptop
  - {name: laptop, expires: "2020-01-31", sha256: SHA}
""".replace("SHA", "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752")


def file_of(shell: Shell, path: str = "_user.yaml") -> Path:
    return shell.root / "agents.d" / path


def tokens_of(shell: Shell, path: str = "_user.yaml") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(file_of(shell, path).read_text())["tokens"]
    return found


def create(shell: Shell, *arguments: str) -> str:
    """The token, which is all that stands on standard output."""
    done = shell.run("token", "create", *arguments)
    assert done.code == 0, done.err
    token = done.out.removesuffix("\n")
    assert is_token(token)
    assert token not in done.err
    assert hashlib.sha256(token.encode()).hexdigest() not in done.out + done.err
    return token


def test_a_token_is_printed_once_and_kept_as_a_hash(shell: Shell) -> None:
    """Alone on standard output, in no file; the file that is made is a user file, and valid."""
    token = create(shell, "ci", "--role", "editor", "--expires", "2999-01-31")
    (entry,) = tokens_of(shell)
    digest = hashlib.sha256(token.encode()).hexdigest()
    assert entry == {"name": "ci", "sha256": digest, "role": "editor", "expires": "2999-01-31"}
    nowhere(shell, token)
    assert shell.run("validate").code == 0
    assert create(shell, "two") != create(shell, "three")
    assert [one["name"] for one in tokens_of(shell)] == ["ci", "two", "three"]
    assert "agentsd_" not in file_of(shell).read_text()


def test_a_new_file_tells_editors_its_schema(shell: Shell) -> None:
    """Where the schema is at hand, at the depth of the file."""
    (shell.root / "schemas").mkdir()
    (shell.root / "schemas/user.schema.json").touch()
    create(shell, "a")
    create(shell, "b", "--owner", "acme")
    for path, up in (("_user.yaml", "../"), ("acme/_user.yaml", "../../")):
        first = file_of(shell, path).read_text().splitlines()[0]
        assert first == f"# yaml-language-server: $schema={up}schemas/user.schema.json"


def test_comments_and_order_stay(shell: Shell) -> None:
    """Adding touches no line that is there; revoking takes what belongs to the token, and nothing else."""
    shell.write("acme/_user.yaml", COMMENTED)
    create(shell, "tv", "--owner", "acme")
    text = file_of(shell, "acme/_user.yaml").read_text()
    assert text.startswith(COMMENTED)
    assert shell.run("token", "revoke", "tv", "--owner", "acme").code == 0
    assert file_of(shell, "acme/_user.yaml").read_text() == COMMENTED
    done = shell.run("token", "revoke", "laptop", "--owner", "acme")
    assert (done.code, done.out) == (0, "")
    text = file_of(shell, "acme/_user.yaml").read_text()
    assert text.splitlines()[:8] == COMMENTED.splitlines()[:8]
    assert "name: laptop" not in text


def test_what_happens_next_is_told(shell: Shell) -> None:
    """The first token closes the server, a new owner might be a slip, the last one opens it again."""
    first = shell.run("token", "create", "a", "--owner", "acme").err
    assert "it is the first" in first
    assert "this owner is new" in first
    assert "agentsd sync" in first
    second = shell.run("token", "create", "b", "--owner", "acme").err
    assert "first" not in second
    assert "this owner is new" not in second
    assert "it was the last" not in shell.run("token", "revoke", "b", "--owner", "acme").err
    assert "it was the last" in shell.run("token", "revoke", "a", "--owner", "acme").err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ci", "--owner", "acme"), "agentsd token revoke ci"),
        (("root", "--owner", "acme", "--role", "admin"), "omit --owner"),
        (("x", "--expires", "2020-01-01"), "is in the past"),
        (("x", "--expires", "soon"), "90d"),
        (("x", "--owner", "../outside"), "a single folder"),
        (("x", "--owner", "current"), "reserved"),
        (("x\ny",), "not a valid token name"),
        (("x", "--role", "owner"), "Invalid value"),
    ],
)
def test_a_mistake_writes_nothing(shell: Shell, arguments: tuple[str, ...], said: str) -> None:
    """2, what to do, no token, and every file as it was."""
    shell.write("acme/_user.yaml", COMMENTED)
    done = shell.run("token", "create", *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert {path.name for path in shell.root.rglob("_user.yaml")} == {"_user.yaml"}
    assert [path.parent.name for path in shell.root.rglob("_user.yaml")] == ["acme"]
    assert file_of(shell, "acme/_user.yaml").read_text() == COMMENTED


@pytest.mark.parametrize(
    "text",
    [
        "tokens: [",
        "tokens: 1\n",
        "tokens:\n  - name: 1\n",
        "emial: a@example.org\n",
        "tokens:\n- x\n",
        "a: b\xff\n",
    ],
)
def test_a_file_that_breaks_a_rule_is_left_alone(shell: Shell, text: str) -> None:
    """Told with its place; nothing is replaced by what would not be valid either."""
    before = text.encode("latin-1")
    shell.write("_user.yaml", before)
    done = shell.run("token", "create", "ci")
    assert done.code in (1, 2)
    assert done.out == ""
    assert "agents.d/_user.yaml" in done.err or "agentsd validate" in done.err
    assert file_of(shell).read_bytes() == before
    assert list((shell.root / "agents.d").rglob(".*")) == []


def test_the_list(shell: Shell) -> None:
    """Every owner's, the expired ones marked, and of a hash eight digits."""
    shell.write("acme/_user.yaml", COMMENTED)
    create(shell, "root", "--role", "admin")
    done = shell.run("token", "list")
    assert done.code == 0
    head, *rows = [re.split(" {2,}", line) for line in done.out.splitlines()]
    assert head == ["owner", "name", "role", "expires", "sha256"]
    assert [row[:4] for row in rows] == [
        ["default", "root", "admin", "never"],
        ["acme", "ci", "editor", "never"],
        ["acme", "laptop", "viewer", "2020-01-31 (expired)"],
    ]
    assert [len(row[4]) for row in rows] == [8, 8, 8]
    body = shell.run("token", "list", "--owner", "acme", "--format", "json").json()
    assert body["tokens"][1] == {
        "owner": "acme",
        "name": "laptop",
        "role": "viewer",
        "expires": "2020-01-31",
        "expired": True,
        "hash": "60303ae2",
    }
    assert len(body["tokens"]) == 2


def test_a_list_of_nothing(shell: Shell) -> None:
    """Says how to make one; JSON is an empty list."""
    done = shell.run("token", "list")
    assert (done.code, done.out) == (0, "")
    assert "agentsd token create" in done.err
    assert shell.run("token", "list", "--format", "json").json() == {"tokens": []}
    done = shell.run("token", "list", "--owner", "acme")
    assert done.code == 2


def test_a_list_with_a_bad_file(shell: Shell) -> None:
    """The others are listed all the same, and the exit status says that something is wrong."""
    shell.write("acme/_user.yaml", COMMENTED)
    shell.write("beta/_user.yaml", "tokens: 1\n")
    done = shell.run("token", "list")
    assert done.code == 1
    assert "laptop" in done.out
    assert "agents.d/beta/_user.yaml" in done.err


def test_revoking_what_is_not_there(shell: Shell) -> None:
    """2, and what might have been meant."""
    shell.write("acme/_user.yaml", COMMENTED)
    done = shell.run("token", "revoke", "labtop", "--owner", "acme")
    assert done.code == 2
    assert "laptop" in done.err
    done = shell.run("token", "revoke", "ci", "--owner", "acne")
    assert done.code == 2
    assert "acme" in done.err


def test_a_token_is_on_record(shell: Shell, database_url: str) -> None:
    """Where a database answers: who, what, which; no token and no hash."""
    shell.env(AGENTSD_DATABASE_URL=database_url)
    create(shell, "ci", "--owner", "acme")
    assert shell.run("token", "revoke", "ci", "--owner", "acme").code == 0
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT actor, action, target, owner, detail FROM audit ORDER BY id"
        ).fetchall()
    assert [row[1:] for row in rows] == [
        (action, "token:acme/ci", "acme", {"outcome": "done", "path": "acme/_user.yaml"})
        for action in ("token-create", "token-revoke")
    ]
    assert rows[0][0].startswith("cli")
    shell.write("a.yaml", echo(1))
    items = shell.run("history", "--format", "json").json()["items"]
    assert [item["action"] for item in items] == ["token-revoke", "token-create"]


def test_no_database_is_needed(shell: Shell) -> None:
    """One that is down, or not ours, is no reason to keep a token from being revoked."""
    create(shell, "a")
    shell.env(AGENTSD_DATABASE_URL="postgresql://agentsd:hunter2@127.0.0.1:1/agentsd")
    done = shell.run("token", "revoke", "a")
    assert done.code == 0
    assert "hunter2" not in done.err
    shell.env(AGENTSD_DATABASE_URL="hunter2")
    create(shell, "b")
    assert not (shell.root / "postgres").exists()


def test_two_at_once(shell: Shell) -> None:
    """Neither loses the other's token."""
    running = [shell.spawn("token", "create", f"t{number}") for number in range(4)]
    ended = [(one.communicate(), one.returncode) for one in running]
    for (out, err), code in ended:
        assert (code, is_token(out.strip())) == (0, True), err
    assert sorted(token["name"] for token in tokens_of(shell)) == ["t0", "t1", "t2", "t3"]
    assert list((shell.root / "agents.d").rglob(".*")) == []


def test_a_folder_that_is_not_there(shell: Shell) -> None:
    """It is not made: a token there would be nobody's."""
    for command in (("create", "x"), ("list",), ("revoke", "x")):
        done = shell.run("token", *command, "--path", "nowhere")
        assert done.code == 2
        assert "nowhere" in done.err
    assert not (shell.root / "nowhere").exists()


def test_help(shell: Shell) -> None:
    """Each command shows how it is used."""
    for command in ((), ("create",), ("list",), ("revoke",)):
        done = shell.run("token", *command, "--help")
        assert done.code == 0
        assert "Examples:" in done.out
