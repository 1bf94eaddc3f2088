"""``agentsd init``: a repository of manifests that works at once."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Shell
from tests.cli.sealed import opened

FILES = {
    ".gitattributes",
    ".gitignore",
    ".pre-commit-config.yaml",
    ".sops.yaml",
    ".vscode/extensions.json",
    ".vscode/settings.json",
    "README.md",
    "agents.d/assistant.yaml",
    "agents.d/support.yaml",
    "schemas/agent.schema.json",
    "schemas/layer.schema.json",
    "schemas/user.schema.json",
}
GITHUB, GITLAB, INSTALL = ".github/workflows/agents.yml", ".gitlab-ci.yml", ".ci/install-agentsd.sh"


def files(root: Path) -> set[str]:
    """Every file below ``root``."""
    return {file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file()}


def identity(shell: Shell) -> str:
    """The key that was made."""
    keys = shell.root.parent / "home/.config/sops/age/keys.txt"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    found = re.findall(r"^AGE-SECRET-KEY-1\S+$", keys.read_text(), flags=re.MULTILINE)
    return str(found[-1])


def test_what_is_made(made: Shell) -> None:
    """Valid, sealed with the fresh key by its own rules, the private half nowhere in it."""
    assert files(made.root) == FILES | {GITHUB, GITLAB, INSTALL}
    done = made.run("validate", "--strict", "--require-mac")
    assert done.code == 0, done.err
    assert made.run("schema", "--check", "schemas").code == 0
    key = identity(made)
    assert not [name for name in files(made.root) if key in (made.root / name).read_text()]
    rule = yaml.safe_load((made.root / ".sops.yaml").read_text())["creation_rules"][0]
    assert (rule["mac_only_encrypted"], rule["encrypted_regex"]) == (True, "^(api_key|auth_token)$")
    seal = yaml.safe_load((made.root / "agents.d/support.yaml").read_text())["sops"]
    assert seal["mac_only_encrypted"] is True
    assert seal["age"][0]["recipient"] == rule["age"]
    with_key = Shell(made.root, type(made.keys)(key, rule["age"]), made.monkeypatch, made.capsys)
    assert opened(with_key, "support.yaml")["llm"]["api_key"] == "replace-me"  # type: ignore[index]


def test_the_repository_is_ready_for_more(made: Shell) -> None:
    """``new`` and ``edit`` seal by its rules, the manifests are those of editors' schema, test passes."""
    assert made.run("new", "acme/sales", "--llm", "groq.com", stdin="sk-new-1\n").code == 0
    assert "sk-new-1" not in (made.root / "agents.d/acme/sales.yaml").read_text()
    assert made.run("test", "assistant").code == 0
    assert made.run("validate", "--strict").code == 0
    settings = json.loads((made.root / ".vscode/settings.json").read_text())["yaml.schemas"]
    for schema, patterns in settings.items():
        assert (made.root / schema).is_file()
        assert patterns
    for name in ("assistant", "support"):
        first = (made.root / f"agents.d/{name}.yaml").read_text().splitlines()[0]
        assert (made.root / "agents.d" / first.partition("$schema=")[2]).is_file()


def test_two_repositories_have_ids_and_keys_of_their_own(made: Shell) -> None:
    """The second key is appended to the first, which stays."""
    first = identity(made)
    assert made.run("init", "../y", "--ci", "none").code == 0
    assert files(made.root.parent / "y") == FILES
    keys = (made.root.parent / "home/.config/sops/age/keys.txt").read_text()
    assert (keys.count("AGE-SECRET-KEY-1"), first in keys, identity(made) != first) == (2, True, True)
    for path in ("agents.d/assistant.yaml", "agents.d/support.yaml", ".sops.yaml"):
        assert (made.root / path).read_text() != (made.root.parent / "y" / path).read_text()


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_only_the_ci_that_is_asked_for(shell: Shell, ci: str) -> None:
    """And a key where one says."""
    done = shell.run("init", "x", "--ci", ci, "--key", "mine/key.txt")
    assert (done.code, "SOPS_AGE_KEY_FILE=" in done.err) == (0, True), done.err
    assert files(shell.root / "x") == FILES | {GITHUB if ci == "github" else GITLAB, INSTALL}
    assert not (shell.root / "home/.config").exists()
    shell.monkeypatch.chdir(shell.root / "x")
    shell.env(SOPS_AGE_KEY_FILE="../mine/key.txt")
    assert shell.run("validate", "--strict", "--require-mac").code == 0


def test_nothing_that_exists_is_touched(shell: Shell) -> None:
    """One file in the way, a link too, and nothing is made: no file and no key."""
    for path in ("README.md", "schemas/user.schema.json"):
        (shell.root / "x/schemas").mkdir(parents=True, exist_ok=True)
        (shell.root / "x" / path).symlink_to("/nonexistent")
        before = sorted(shell.root.rglob("*"))
        done = shell.run("init", "x")
        assert (done.code, f"x/{path}" in done.err) == (2, True), done.err
        assert sorted(shell.root.rglob("*")) == before
        (shell.root / "x" / path).unlink()
    assert shell.run("init", "x").code == 0, "other content of the folder is no hindrance"


def test_a_key_is_never_in_the_repository_nor_readable_by_others(shell: Shell) -> None:
    """Both are refused, and nothing is made."""
    done = shell.run("init", "x", "--key", "x/key.txt")
    assert (done.code, "inside the repository" in done.err) == (2, True)
    (shell.root / "open.txt").write_text("# mine\n")
    (shell.root / "open.txt").chmod(0o644)
    done = shell.run("init", "x", "--key", "open.txt")
    assert (done.code, "chmod 600" in done.err) == (2, True)
    assert not (shell.root / "x").exists()
    assert (shell.root / "open.txt").read_text() == "# mine\n"


@pytest.mark.parametrize(
    ("path", "options"),
    [
        (GITHUB, ["--builtin-schema", "vendor.github-workflows"]),
        (GITHUB, ["--builtin-schema", "custom.github-workflows-require-timeout"]),
        (GITLAB, ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"]),
    ],
)
def test_ci_files_are_valid_by_their_published_schemas(made: Shell, path: str, options: list[str]) -> None:
    """As ``check-jsonschema`` carries them."""
    program = str(Path(sys.executable).with_name("check-jsonschema"))
    done = subprocess.run(
        [program, *options, path], cwd=made.root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def commands(text: str) -> list[list[str]]:
    """Every ``agentsd`` command line of a text."""
    return [line.split() for line in re.findall(r"(?m)(?:^|run: |- |entry: )\s*(agentsd [a-z].*?)$", text)]


@pytest.mark.parametrize("path", [GITHUB, GITLAB, ".pre-commit-config.yaml"])
def test_what_ci_and_hooks_run_exists(made: Shell, path: str) -> None:
    """Every command and option of theirs is one that the program has."""
    import click

    from agentsd.cli.main import cli

    found = commands((made.root / path).read_text())
    assert found
    context = click.Context(cli)
    for _, name, *rest in found:
        command = cli.get_command(context, name)
        assert command is not None, name
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= known, (name, rest)


def test_the_hook_refuses_a_plain_secret(made: Shell) -> None:
    """What pre-commit runs fails on one, and passes without; its files are those of manifests."""
    (repo,) = yaml.safe_load((made.root / ".pre-commit-config.yaml").read_text())["repos"]
    (hook,) = repo["hooks"]
    assert (repo["repo"], hook["language"], hook["pass_filenames"]) == ("local", "system", False)
    assert re.search(hook["files"], "agents.d/acme/a.yaml")
    assert not re.search(hook["files"], "README.md")
    program, *arguments = hook["entry"].split()
    assert program == "agentsd"
    assert made.run(*arguments).code == 0
    (made.root / "agents.d/bad.yaml").write_text("llm: {provider: groq.com, api_key: sk-plain, model: m}\n")
    done = made.run(*arguments)
    assert (done.code, "plaintext-secret" in done.err, "sk-plain" in done.err) == (1, True, False)


def git(shell: Shell, *arguments: str) -> None:
    """In the repository, as somebody."""
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    subprocess.run(["git", *who, *arguments], cwd=shell.root, check=True, capture_output=True)


def test_a_pull_request_s_jobs_do_their_work(made: Shell) -> None:
    """Plan and tests of what a branch changed, without a database; the plan without a key, too."""
    git(made, "init", "-q", "-b", "main")
    git(made, "add", ".")
    git(made, "commit", "-qm", "Agents as code")
    git(made, "update-ref", "refs/remotes/origin/main", "HEAD")
    git(made, "switch", "-qc", "change")
    file = made.root / "agents.d/assistant.yaml"
    file.write_text(file.read_text().replace("You said:", "Heard:"))
    git(made, "commit", "-qam", "Say it otherwise")
    done = made.run("test", "--changed", "origin/main")
    assert (done.code, "assistant" in done.out + done.err) == (0, True), done.err
    made.env(HOME=str(made.root / "nobody"))
    done = made.run("plan", "--against", "git:origin/main", "--format", "markdown")
    assert done.code == 0, done.err
    assert "assistant" in done.out
    assert "Heard:" in done.out
    assert "support" not in done.out


def test_secrets_are_ignored_by_git(made: Shell) -> None:
    """Keys and old .env files are not added by accident; what was made is."""
    git(made, "init", "-q")
    for name in (".env", "keys.txt", "me.agekey"):
        (made.root / name).write_text("x")
    git(made, "add", ".")
    listed = subprocess.run(["git", "ls-files"], cwd=made.root, capture_output=True, text=True, check=True)
    assert set(listed.stdout.split()) == FILES | {GITHUB, GITLAB, INSTALL}
    done = made.run("merge-driver", "--install")
    assert (done.code, ".gitattributes already lists the manifests" in done.err) == (0, True), done.err
