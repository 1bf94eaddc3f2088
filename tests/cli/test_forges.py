"""What CI systems run: the files are valid by their published schemas, and their scripts do what they say."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

import pytest
import yaml
from check_jsonschema import main as check_jsonschema  # type: ignore[import-untyped]
from click.testing import CliRunner

from tests.cli.conftest import Shell
from tests.control.place import echo, groq
from tests.e2e.forks import SERVER
from tests.files.git.repositories import git

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
ACTION = ROOT / "deploy/github-action/action.yml"
WORKFLOW = ROOT / "deploy/github-action/workflow.yml"
GITLAB = ROOT / "deploy/gitlab/agentsd.gitlab-ci.yml"
SCHEMAS = [
    (ACTION, "vendor.github-actions"),
    (WORKFLOW, "vendor.github-workflows"),
    (WORKFLOW, "custom.github-workflows-require-timeout"),
    (GITLAB, "vendor.gitlab-ci"),
]
MARK = "<!-- agentsd plan -->\n"


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize(("file", "schema"), SCHEMAS, ids=lambda value: getattr(value, "name", value))
def test_valid_by_its_schema(file: Path, schema: str) -> None:
    """The schema is the one that check-jsonschema's wheel carries."""
    transform = ["--data-transform", "gitlab-ci"] if "gitlab" in schema else []
    done = CliRunner().invoke(check_jsonschema, ["--builtin-schema", schema, *transform, str(file)])
    assert done.exit_code == 0, done.output


def test_no_expression_in_a_script() -> None:
    """What a branch or a title says reaches scripts as variables only: it is never a part of them."""
    for step in load(ACTION)["runs"]["steps"]:
        assert "${{" not in step.get("run", "")


def test_the_hook_runs_the_command_that_there_is(shell: Shell) -> None:
    """Its options exist; it takes file names, and sees the files that can be manifests."""
    (hook,) = load(ROOT / ".pre-commit-hooks.yaml")
    (sample,) = load(ROOT / "deploy/pre-commit-config.yaml")["repos"]
    assert {one["id"] for one in sample["hooks"]} == {hook["id"]}
    shell.write("good.yaml", echo(1))
    shell.write("bad.yaml", groq(2))
    program, *arguments = hook["entry"].split()
    assert program == "agentsd"
    assert shell.run(*arguments, "agents.d/good.yaml").code == 0
    done = shell.run(*arguments, "agents.d/good.yaml", "agents.d/bad.yaml")
    assert done.code == 1
    assert "agents.d/bad.yaml:5:12 error llm.api_key: a secret in plain text" in done.err
    assert "good.yaml" not in done.err
    assert "sk-canary-9" not in done.err + done.out


@pytest.fixture
def clone(shell: Shell) -> Shell:
    """A clone with a branch that changes an agent and breaks another; a folder for the runner."""
    upstream = shell.root / "upstream"
    git(shell.root, "init", "-q", "-b", "main", str(upstream))
    shell.write("a.yaml", echo(1))
    shell.write("b.yaml", echo(2))
    (shell.root / "agents.d").rename(upstream / "agents.d")
    git(upstream, "add", ".")
    git(upstream, "commit", "-qm", "x")
    git(shell.root, "clone", "-q", str(upstream), "clone")
    git(shell.root / "clone", "switch", "-qc", "change")
    (shell.root / "agents.d").symlink_to("clone/agents.d")
    shell.write("a.yaml", echo(1, reply="bye"))
    git(shell.root / "clone", "commit", "-qam", "y")
    (shell.root / "runner").mkdir()
    return shell


def script(shell: Shell, text: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """As a runner runs it: any failing line fails the step."""
    forked = SERVER.write_command(shell.root / "forked")
    path = f"{shell.root / 'bin'}:{forked}:{BIN}:/usr/bin:/bin"
    given = {"PATH": path, "HOME": str(shell.root), **environ}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text]
    return subprocess.run(
        command, cwd=shell.root / "clone", env=given, capture_output=True, text=True, check=False
    )


def step(name: str) -> str:
    """The script of a step of the action."""
    found: str = next(one["run"] for one in load(ACTION)["runs"]["steps"] if one.get("name") == name)
    return found


class TestGitHub:
    """The steps of ``deploy/github-action/action.yml``."""

    def environ(self, shell: Shell) -> dict[str, str]:
        """What the runner gives to the steps."""
        files = {name: str(shell.root / "runner" / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        own = {"RUNNER_TEMP": str(shell.root / "runner"), "AGENTSD_PATH": "agents.d", "BASE": "main"}
        return {**files, **own, "REPOSITORY": "o/r", "NUMBER": "7", "GH_TOKEN": "x"}

    def test_a_plan(self, clone: Shell) -> None:
        """It is in the summary, and says that there are changes; the step is green."""
        done = script(clone, step("Plan"), **self.environ(clone))
        assert done.returncode == 0, done.stderr
        summary = (clone.root / "runner/GITHUB_STEP_SUMMARY").read_text()
        assert summary.startswith(f"{MARK}### agentsd plan: 1 to update; 1 unchanged\n")
        assert (clone.root / "runner/GITHUB_OUTPUT").read_text() == "changes=true\n"

    @pytest.mark.soak
    def test_no_changes(self, clone: Shell) -> None:
        """Said as well."""
        git(clone.root / "clone", "reset", "-q", "--hard", "origin/main")
        assert script(clone, step("Plan"), **self.environ(clone)).returncode == 0
        assert (clone.root / "runner/GITHUB_OUTPUT").read_text() == "changes=false\n"

    def test_a_broken_manifest(self, clone: Shell) -> None:
        """The plan is there to be commented; the step after it fails, with the line."""
        clone.write("b.yaml", echo(2) + "nme: x\n")
        assert script(clone, step("Plan"), **self.environ(clone)).returncode == 0
        assert "quarantined" in (clone.root / "runner/GITHUB_STEP_SUMMARY").read_text()
        done = script(clone, step("Validate"), AGENTSD_PATH="agents.d")
        assert done.returncode == 1
        assert done.stdout.startswith("::error file=agents.d/b.yaml,line=6,col=1,title=unknown-key::")

    @pytest.mark.soak
    def test_no_plan_at_all(self, clone: Shell) -> None:
        """A failure is none to comment."""
        environ = {**self.environ(clone), "AGENTSD_PATH": "nowhere"}
        assert script(clone, step("Plan"), **environ).returncode == 1

    @pytest.mark.parametrize(("known", "target"), [("", "issues/7/comments"), ("12", "issues/comments/12")])
    def test_a_comment(self, clone: Shell, known: str, target: str) -> None:
        """A new one, or the one of the push before is changed."""
        said = clone.root / "said"
        self.gh(clone, f'case "$*" in *--jq*) printf %s "{known}" ;; *) echo "$@" > {said} ;; esac')
        assert script(clone, step("Comment"), **self.environ(clone)).returncode == 0
        assert f"repos/o/r/{target} -F body=@{clone.root}/runner/agentsd-plan.md" in said.read_text()

    def test_a_token_that_may_not_write(self, clone: Shell) -> None:
        """A pull request from a fork is green all the same."""
        self.gh(clone, "exit 1")
        done = script(clone, step("Comment"), **self.environ(clone))
        assert (done.returncode, "could not be commented" in done.stdout) == (0, True)

    def gh(self, shell: Shell, text: str) -> None:
        """A stand-in for GitHub's program, which is not on this machine."""
        (shell.root / "bin").mkdir()
        (shell.root / "bin/gh").write_text(f"#!/bin/sh\n{text}\n")
        (shell.root / "bin/gh").chmod(0o755)


class _Notes(BaseHTTPRequestHandler):
    """GitLab's notes of a merge request."""

    notes: list[dict[str, Any]]

    def do_GET(self) -> None:
        self._say(200, self.notes)

    def do_POST(self) -> None:
        self.notes.append({"id": len(self.notes) + 1, "body": self._body()})
        self._say(201, {})

    def do_PUT(self) -> None:
        number = int(self.path.rpartition("/")[2])
        self.notes[number - 1]["body"] = self._body()
        self._say(200, {})

    def _body(self) -> str:
        data = self.rfile.read(int(self.headers["Content-Length"])).decode()
        return parse_qs(data)["body"][0]

    def _say(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status if self.headers["PRIVATE-TOKEN"] == "t0ken" else 401)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def gitlab() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A GitLab with somebody's note; its address and its notes."""
    notes = [{"id": 1, "body": "Looks good."}]
    handler = type("Notes", (_Notes,), {"notes": notes})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/api/v4", notes
    finally:
        server.shutdown()
        server.server_close()


class TestGitLab:
    """The script of ``agentsd-plan`` in ``deploy/gitlab/agentsd.gitlab-ci.yml``."""

    def plan(self, shell: Shell, url: str = "", token: str = "") -> subprocess.CompletedProcess[str]:
        environ = {"AGENTSD_PATH": "agents.d", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main"}
        environ |= {"CI_API_V4_URL": url, "CI_PROJECT_ID": "3", "CI_MERGE_REQUEST_IID": "4"}
        lines = load(GITLAB)["agentsd-plan"]["script"]
        return script(shell, "\n".join(lines), AGENTSD_GITLAB_TOKEN=token, **environ)

    def test_a_comment(self, clone: Shell) -> None:
        """One note, which the next push changes; the others are left alone."""
        with gitlab() as (url, notes):
            done = self.plan(clone, url, "t0ken")
            assert done.returncode == 0, done.stderr
            assert notes[1]["body"].startswith(f"{MARK}### agentsd plan: 1 to update")
            clone.write("c.yaml", echo(3))
            assert self.plan(clone, url, "t0ken").returncode == 0
        assert [note["body"].partition(":")[2][:12] for note in notes] == ["", " 1 to create"]
        assert notes[0]["body"] == "Looks good."

    @pytest.mark.parametrize("template", ["deploy", "scaffold"])
    def test_the_target_of_a_fork(self, clone: Shell, tmp_path: Path, template: str) -> None:
        """Its branch is that of the target project, not the fork's namesake."""
        work = clone.root / "clone"
        for project in ("group/target", "me/fork"):
            path = tmp_path / f"host/{project}.git"
            subprocess.run(["git", "clone", "-q", "--bare", str(work), str(path)], check=True)
        subprocess.run(["git", "-C", str(work), "remote", "set-url", "origin", str(path)], check=True)
        subprocess.run(["git", "-C", str(path), "update-ref", "-d", "refs/heads/main"], check=True)
        names = {"CI_PROJECT_PATH": "me/fork", "CI_MERGE_REQUEST_PROJECT_PATH": "group/target"}
        scaffold = load(ROOT / "src/agentsd/cli/scaffold/gitlab.yml")["plan"]["script"][0]
        lines = load(GITLAB)["agentsd-plan"]["script"][0] if template == "deploy" else scaffold
        environ = {"CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main", "AGENTSD_PATH": "agents.d", **names}
        done = script(clone, f"{lines}\ngit rev-parse refs/remotes/target/main", **environ)
        assert done.returncode == 0, done.stderr

    @pytest.mark.soak
    def test_without_a_token(self, clone: Shell) -> None:
        """The job's log has it; a broken manifest fails the job."""
        clone.write("b.yaml", echo(2) + "nme: x\n")
        done = self.plan(clone)
        assert done.returncode == 1
        assert "there is an unknown key 'nme'" in done.stdout
        assert (clone.root / "clone/plan.md").exists()
