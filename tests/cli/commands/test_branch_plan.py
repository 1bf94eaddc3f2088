"""``agentsd plan --against git:REF``: what a branch changes, without a database and without a key."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from tests.cli.conftest import Shell
from tests.control.place import echo, groq, uid
from tests.files.git.repositories import git
from tests.runtime.world import Keys, new_keys

SECRETS = ("sk-canary-9", "sk-old-1", "sk-new-2", "sk-fresh-3")
PROMPT = "You are a patient agent.\nAsk one question at a time.\nBe kind.\n"


def commit(shell: Shell, message: str = "x") -> None:
    """Everything, as it is."""
    git(shell.root, "add", "agents.d")
    git(shell.root, "commit", "-qm", message)


@pytest.fixture
def branch(shell: Shell) -> Shell:
    """A branch that has just left ``main``, where six agents are."""
    git(shell.root, "init", "-q", "-b", "main")
    shell.write("acme/sales.yaml", shell.keys.seal(groq(1, key="sk-old-1")))
    shell.write("support.yaml", echo(2) + "system_prompt_file: prompts/support.md\n")
    shell.write("prompts/support.md", PROMPT)
    shell.write("old-name.yaml", echo(3))
    shell.write("gone.yaml", echo(4))
    shell.write("broken.yaml", echo(5))
    shell.write("same.yaml", echo(6))
    commit(shell)
    git(shell.root, "switch", "-qc", "change")
    return shell


def everything(shell: Shell) -> None:
    """One of each: create, update, secret change, rename, delete, quarantine."""
    shell.write("fresh.yaml", shell.keys.seal(groq(7, key="sk-fresh-3", name="Fresh")))
    shell.write("prompts/support.md", PROMPT.replace("one question", "two questions"))
    shell.write("support.yaml", echo(2, reply="bye") + "system_prompt_file: prompts/support.md\n")
    shell.write("acme/sales.yaml", shell.keys.seal(groq(1, key="sk-new-2")))
    (shell.root / "agents.d/old-name.yaml").rename(shell.root / "agents.d/new-name.yaml")
    (shell.root / "agents.d/gone.yaml").unlink()
    shell.write("broken.yaml", echo(5) + "greting: hello\n")


class TestPlanAgainst:
    """``agentsd plan --against git:main``."""

    def test_a_comment(self, branch: Shell) -> None:
        """Every kind of change, the bad file with its line, and no secret, sealed or not; exit status 1."""
        everything(branch)
        done = branch.run("plan", "--against", "git:main", "--format", "markdown", "--detailed-exitcode")
        assert done.code == 1, done.err
        head, *details = done.out.split("\n<details")
        base = git(branch.root, "rev-parse", "main")[:12]
        assert head.splitlines() == [
            "### agentsd plan: 1 to create, 2 to update, 1 to rename, 1 to delete; "
            "1 unchanged, 1 quarantined",
            "",
            f"Against `main` at `{base}`.",
            "",
            "**1 file would be quarantined**, and `agentsd sync` would refuse to apply anything.",
            "",
            "| | agent | what changes | file |",
            "| --- | --- | --- | --- |",
            "| `!` **quarantined** | | `there is an unknown key 'greting'` | `agents.d/broken.yaml:6:1` |",
            "| `~` update | `acme/sales` | `llm.api_key` **secret changed** | `agents.d/acme/sales.yaml` |",
            "| `+` create | `fresh` | `llm: groq.com` | `agents.d/fresh.yaml` |",
            "| `-` delete | `gone` | the agent is deleted | `agents.d/gone.yaml` |",
            "| `→` rename | `old-name → new-name` | the name only | `agents.d/new-name.yaml` |",
            "| `~` update | `support` | `llm.reply`, `attached.prompts/support.md` "
            "| `agents.d/support.yaml` |",
        ]
        text = "".join(details)
        assert "- `agents.d/broken.yaml:6:1` `there is an unknown key 'greting'`<br>→ `did you" in text
        assert "-Ask one question at a time.\n+Ask two questions at a time.\n" in text
        assert "- `llm.api_key`: _secret added_" in text
        assert not [word for word in (*SECRETS, "ENC[", "AGE-") if word in done.out + done.err]

    def test_as_text(self, branch: Shell) -> None:
        """The form of the plan against the database."""
        everything(branch)
        done = branch.run("plan", "--against", "git:main")
        base = git(branch.root, "rev-parse", "main")[:12]
        assert done.out.splitlines() == [
            "  ~ acme/sales  acme/sales.yaml",
            "      llm.api_key  secret changed",
            "  + fresh  fresh.yaml",
            "  - gone  gone.yaml",
            "  → old-name → new-name  new-name.yaml",
            "  ~ support  support.yaml",
            '      llm.reply  "hello" → "bye"',
            "      attached.prompts/support.md  "
            '"You are a patient agent.\\nAsk one question at a time.\\nBe … '
            '→ "You are a patient agent.\\nAsk two questions at a time.\\nBe…',
            "  ! broken.yaml  quarantined: its last good version stays",
            "      6:1 there is an unknown key 'greting'",
            "  1 to create, 2 to update, 1 to rename, 1 to delete; 1 unchanged, 1 quarantined "
            f"(against main, {base})",
        ]
        assert done.code == 1

    def test_exit_statuses(self, branch: Shell) -> None:
        """0 without changes; with them 0, or 2 where it is asked for; 1 where a file breaks a rule."""
        assert branch.run("plan", "--against", "git:main", "--detailed-exitcode").code == 0
        branch.write("fresh.yaml", echo(7))
        assert branch.run("plan", "--against", "git:main").code == 0
        done = branch.run("plan", "--against", "git:main", "--detailed-exitcode", "--format", "json")
        assert done.code == 2
        assert done.json()["against"]["ref"] == "main"
        assert [change["slug"] for change in done.json()["changes"]] == ["fresh"]
        branch.write("fresh.yaml", "llm: [")
        assert branch.run("plan", "--against", "git:main", "--detailed-exitcode").code == 1

    def test_what_main_did_since_is_not_shown(self, branch: Shell) -> None:
        """The other side of the comparison is the commit where the branch left."""
        git(branch.root, "switch", "-q", "main")
        branch.write("later.yaml", echo(8))
        commit(branch)
        git(branch.root, "switch", "-q", "change")
        assert branch.run("plan", "--against", "git:main", "--detailed-exitcode").code == 0

    def test_the_first_manifests(self, branch: Shell) -> None:
        """A branch that brings the folder: everything is new."""
        git(branch.root, "rm", "-rq", "agents.d")
        git(branch.root, "commit", "-qm", "none")
        git(branch.root, "switch", "-qc", "first")
        branch.write("a.yaml", echo(1))
        done = branch.run("plan", "--against", "git:change", "--format", "json").json()
        assert done["summary"]["create"] == 1
        assert done["summary"]["delete"] == 0

    def test_who_can_open_a_file(self, branch: Shell) -> None:
        """A new recipient is shown: it could read every secret from now on."""
        other = new_keys()
        branch.write("acme/sales.yaml", other.seal(groq(1, key="sk-old-1")))
        done = branch.run("plan", "--against", "git:main", "--format", "markdown")
        assert f"\n+{other.recipient}\n" in done.out
        assert f"\n-{branch.keys.recipient}\n" in done.out

    def test_a_plain_secret_of_before(self, branch: Shell) -> None:
        """It was a mistake to commit it, and is not made worse: not shown, neither before nor after."""
        branch.write("leak.yaml", groq(8))
        commit(branch)
        git(branch.root, "switch", "-qc", "mended")
        branch.write("leak.yaml", branch.keys.seal(groq(8)))
        mended = branch.run("plan", "--against", "git:change", "--format", "markdown")
        assert mended.code == 0
        assert "`leak`" in mended.out
        (branch.root / "agents.d/leak.yaml").unlink()
        for form in ("markdown", "text", "json"):
            done = branch.run("plan", "--against", "git:change", "--format", form)
            assert SECRETS[0] not in mended.out + done.out + done.err
        branch.write("leak.yaml", groq(8, name="Again"))
        done = branch.run("plan", "--against", "git:change", "--format", "markdown")
        assert done.code == 1
        assert "a secret in plain text" in done.out
        assert SECRETS[0] not in done.out + done.err

    def test_another_owners_seal(self, branch: Shell) -> None:
        """A copied ciphertext is quarantined, as a sync would."""
        stolen = (branch.root / "agents.d/acme/sales.yaml").read_text().replace(uid(1), uid(9))
        branch.write("evil/mine.yaml", stolen)
        done = branch.run("plan", "--against", "git:main")
        assert done.code == 1
        assert "a sealed value of this file belongs to owner 'acme'" in done.out

    def test_prune_false(self, branch: Shell) -> None:
        """A file goes whose agent stays: that is said."""
        branch.write("same.yaml", echo(6) + "prune: false\n")
        commit(branch)
        git(branch.root, "switch", "-qc", "further")
        (branch.root / "agents.d/same.yaml").unlink()
        done = branch.run("plan", "--against", "git:change", "--format", "markdown")
        assert "| `!` orphaned | `same` | is orphaned: its file is gone" in done.out

    def test_many_deletions(self, branch: Shell) -> None:
        """What a sync would hold for an accident is said, not hidden."""
        for name in ("gone", "same", "support", "old-name", "broken"):
            (branch.root / f"agents.d/{name}.yaml").unlink()
        done = branch.run("plan", "--against", "git:main", "--format", "markdown")
        assert "**A sync would refuse to remove 5 agents at once;" in done.out
        meant = branch.run("plan", "--against", "git:main", "--allow-mass-delete")
        assert "refuse" not in meant.out

    def test_layers_and_an_overlay(self, branch: Shell) -> None:
        """What agents say together is compared; a layer that is broken is told once, with its own line."""
        overlay = branch.root / "envs/prod"
        overlay.mkdir(parents=True)
        (overlay / "same.yaml").write_text("greeting: Hello\n")
        git(branch.root, "add", "envs")
        commit(branch)
        git(branch.root, "switch", "-qc", "layers")
        (overlay / "same.yaml").write_text("greeting: Good day\n")
        branch.write("_defaults.yaml", "language: en\n")
        plain = branch.run("plan", "--against", "git:change", "--format", "json").json()
        assert plain["summary"]["update"] == 6
        done = branch.run("plan", "--against", "git:change", "--env", "prod", "--format", "markdown")
        assert done.code == 0
        assert '- `greeting`: `"Hello"` → `"Good day"`' in done.out
        (overlay / "same.yaml").write_text("greting: Hello\n")
        done = branch.run("plan", "--against", "git:change", "--env", "prod", "--format", "markdown")
        assert done.code == 1
        assert "`envs/prod/same.yaml:1:1`" in done.out

    def test_hostile_names(self, branch: Shell) -> None:
        """A branch cannot say more than its place in the comment allows."""
        name = "a`|<img src=x onerror=1>@all\n## h"
        branch.write(f"{name}.yaml", echo(9, name="`</details>@all|"))
        branch.write("fine.yaml", echo(10, reply='"</details> `x` @all | ![](http://e)"'))
        done = branch.run("plan", "--against", "git:main", "--format", "markdown")
        outside = re.sub(r"`[^`\n]*`|<code>[^<\n]*</code>", "", done.out)
        assert "<img" not in outside
        assert "@all" not in outside
        assert "\n##" not in outside.removeprefix("###")
        assert outside.count("<details") == outside.count("</details>")

    @pytest.mark.parametrize("base", ["main", "git:", "svn:main", "git:nowhere", "git:--help"])
    def test_no_such_tree(self, branch: Shell, base: str) -> None:
        """Told, with what to do; never with the status that says that there are changes."""
        done = branch.run("plan", "--against", base, "--detailed-exitcode")
        assert done.code == 1
        assert "→" in done.err

    def test_no_repository(self, shell: Shell) -> None:
        """Told as well."""
        done = shell.run("plan", "--against", "git:main")
        assert done.code == 2
        assert "git cannot compare agents.d" in done.err

    def test_nothing_but_git_is_needed(self, branch: Shell, keys: Keys) -> None:
        """In a fresh clone, in a process without keys, database or home."""
        everything(branch)
        commit(branch)
        git(branch.root, "clone", "-q", str(branch.root), "clone")
        shutil.rmtree(branch.root / "agents.d")
        done = branch.spawn(
            *("plan", "--against", "git:origin/main", "--format", "json"),
            env={"PATH": "/usr/bin:/bin", "AGENTSD_PATH": "clone/agents.d"},
        )
        out, err = done.communicate()
        assert (done.returncode, err) == (1, "")
        assert json.loads(out)["summary"]["delete"] == 1
        assert (
            subprocess.run(["git", "-C", branch.root / "clone", "diff", "--quiet"], check=False).returncode
            == 0
        )
        assert keys.identity not in out
