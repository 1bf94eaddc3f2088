"""``agentsd validate`` and ``agentsd schema``, and what the command line itself says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from tests.control.place import echo, groq

SCHEMAS = Path(__file__).parents[3] / "schemas"


def test_valid(shell: Shell) -> None:
    """Silence on standard output, one line for a person, 0."""
    shell.write("a.yaml", echo(1))
    done = shell.run("validate")
    assert (done.code, done.out) == (0, "")
    assert done.err == "✓ agents.d: every manifest is valid\n"


def test_all_violations_of_all_files(shell: Shell) -> None:
    """With their places as an editor opens them, and a count; 1."""
    shell.write("a.yaml", "name: 1\nx: 2\n")
    shell.write("acme/b.yaml", "y: [")
    shell.write("c.yaml", groq(3))
    done = shell.run("validate")
    assert (done.code, done.out) == (1, "")
    places = [line.split(" ")[0] for line in done.err.splitlines() if not line.startswith(" ")]
    assert places == [
        "agents.d/a.yaml:1:7",
        "agents.d/a.yaml:2:1",
        "agents.d/acme/b.yaml:2:1",
        "agents.d/c.yaml:5:12",
        "4",
    ]
    assert done.err.endswith("4 errors in 3 files\n")
    assert "sk-canary" not in done.err


def test_json(shell: Shell) -> None:
    """One document on standard output, paths as a person would open them."""
    shell.write("a.yaml", "name: 1\n")
    done = shell.run("validate", "--format", "json")
    (violation,) = done.json()["violations"]
    assert (done.code, violation["path"], violation["line"]) == (1, "agents.d/a.yaml", 1)
    assert violation["code"] == "wrong-type"
    (shell.root / "agents.d/a.yaml").unlink()
    assert shell.run("validate", "--format", "json").json() == {"violations": []}


def test_github_and_sarif(shell: Shell) -> None:
    """Annotations, and a report for code scanning."""
    shell.write("a.yaml", "name: 1\n")
    done = shell.run("validate", "--format", "github")
    assert done.out.startswith("::error file=agents.d/a.yaml,line=1,col=7,title=wrong-type::")
    report = json.loads(shell.run("validate", "--format", "sarif").out)
    assert report["version"] == "2.1.0"
    assert report["runs"][0]["results"][0]["ruleId"] == "wrong-type"


def test_paths_choose_what_is_told(shell: Shell) -> None:
    """A file or a folder of the tree; rules between files still see all of them."""
    shell.write("a.yaml", "name: 1\n")
    shell.write("acme/b.yaml", echo(2, extra="default: true\n"))
    shell.write("acme/c.yaml", echo(3, extra="default: true\n"))
    assert shell.run("validate", "agents.d/acme/b.yaml").code == 0
    done = shell.run("validate", "agents.d/acme/c.yaml")
    assert done.code == 1
    assert "default-duplicate" in done.err
    assert "a.yaml" not in shell.run("validate", "agents.d/acme").err
    assert shell.run("validate", "--path", "agents.d/acme").code == 1


def test_paths_that_cannot_be(shell: Shell) -> None:
    """A missing folder or a file elsewhere is wrong usage: 2, and what to do."""
    (shell.root / "x.yaml").write_text(echo(1))
    for arguments in (["x.yaml"], ["--path", "nowhere"], ["nowhere.yaml"]):
        done = shell.run("validate", *arguments)
        assert done.code == 2
        assert "Error" in done.err or "error" in done.err


def test_strict_and_require_mac(stocked: Shell) -> None:
    """An unverified seal is a warning, also with --strict; --require-mac refuses it, a key settles it."""
    done = stocked.run("validate")
    assert done.code == 0
    assert "no key available" in done.err
    assert stocked.run("validate", "--strict").code == 0
    assert stocked.run("validate", "--require-mac").code == 1
    stocked.env(SOPS_AGE_KEY_FILE="key.txt")
    done = stocked.run("validate", "--strict", "--require-mac")
    assert (done.code, done.err) == (0, "✓ agents.d: every manifest is valid\n")


def test_many_alike_warnings_are_one(stocked: Shell) -> None:
    """A keyless CI job of a thousand manifests is told once."""
    for number in range(3, 9):
        stocked.write(f"x{number}.yaml", echo(number).replace(f"id: {number:08x}", "# "))
    done = stocked.run("validate")
    lines = [line for line in done.err.splitlines() if "no id is pinned" in line]
    assert len(lines) == 6  # each has its own hint
    sealed = stocked.root / "agents.d/acme/b.yaml"
    for number in range(6):
        stocked.write(f"acme/c{number}.yaml", sealed.read_text().replace("00000002-", f"000001{number:02}-"))
    lines = [line for line in stocked.run("validate").err.splitlines() if "not verified" in line]
    assert len(lines) == 1
    assert "7 files" in lines[0]


def test_recipients(stocked: Shell) -> None:
    """A file that is sealed to others than .sops.yaml names is told."""
    text = (stocked.root / ".sops.yaml").read_text()
    (stocked.root / ".sops.yaml").write_text(text.replace("age: age1", "age: age1other,age1"))
    done = stocked.run("validate")
    assert "(1 missing, 0 too many)" in done.err
    (stocked.root / ".sops.yaml").write_text("creation_rules: 7\n")
    assert stocked.run("validate").code == 2


def test_schema(shell: Shell) -> None:
    """--check passes for what is in git, fails for anything else, and --write mends it."""
    assert shell.run("schema", "--check", str(SCHEMAS)).code == 0
    done = shell.run("schema", "--check", "schemas")
    assert done.code == 1
    assert "agentsd schema --write schemas" in done.err
    assert shell.run("schema", "--write", "schemas").code == 0
    assert shell.run("schema", "--check", "schemas").code == 0
    assert shell.run("schema").json()["title"]


@pytest.mark.parametrize("arguments", [[], ["plna"], ["plan", "--nope"], ["new"], ["sync", "--timeout", "x"]])
def test_wrong_usage(shell: Shell, arguments: list[str]) -> None:
    """2, and what would be right."""
    done = shell.run(*arguments)
    assert done.code == 2
    assert "Usage:" in done.err or "Usage:" in done.out


def test_a_command_that_there_is_not(shell: Shell) -> None:
    """The nearest one is named."""
    assert "did you mean 'plan'?" in shell.run("plna").err


def test_settings_that_cannot_be(shell: Shell) -> None:
    """The variable is named, and what it wants; 2."""
    shell.env(AGENTSD_SOURCE="Not Allowed")
    done = shell.run("validate")
    assert done.code == 2
    assert "AGENTSD_SOURCE" in done.err
    shell.env(AGENTSD_SOURCE=None, AGENTSD_TRUSTED_ORIGINS="llm.example.org")
    done = shell.run("validate")
    assert done.code == 2
    assert "AGENTSD_TRUSTED_ORIGINS" in done.err


def test_trusted_origins_are_normalised(shell: Shell) -> None:
    """As people write them."""
    text = shell.keys.seal(groq(1).replace("groq.com", "groq.com\n  api_url: https://llm.example.org"))
    shell.write("a.yaml", text)
    assert shell.run("validate").code == 1
    shell.env(AGENTSD_TRUSTED_ORIGINS="https://other.example, HTTPS://LLM.example.org:443/")
    assert shell.run("validate").code == 0


def test_version_and_help(shell: Shell) -> None:
    """0; each command has examples."""
    assert shell.run("--version").out.startswith("agentsd ")
    text = shell.run("--help").out
    commands = [
        line.split()[0] for line in text.partition("Commands:")[2].splitlines() if line[2:3].isalpha()
    ]
    assert {"up", "plan", "migrate"} <= set(commands)
    for command in commands:
        if command != "First":
            assert "Examples:" in shell.run(command, "--help").out, command


def test_a_path_that_cannot_be_written(shell: Shell) -> None:
    """What the system says of it, in one line; 1."""
    (shell.root / "file").write_text("")
    done = shell.run("schema", "--write", "file/schemas")
    assert done.code == 1
    assert done.err.startswith("error: file")
    assert len(done.err.splitlines()) == 2


def test_a_bug_is_one_line(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown exception is told by its type and place, never by its text, which may quote a secret."""
    import agentsd.cli.commands.validate as module

    def fail(*_: object) -> None:
        raise ZeroDivisionError("sk-canary")

    monkeypatch.setattr(module, "load_settings", lambda **_: fail())
    done = shell.run("validate")
    assert done.code == 1
    assert "ZeroDivisionError" in done.err
    assert "report" in done.err
    assert "canary" not in done.err
    shell.env(AGENTSD_DEBUG="1")
    monkeypatch.setattr(sys, "argv", ["agentsd", "validate"])
    from agentsd.cli.main import main

    with pytest.raises(ZeroDivisionError):
        main()
