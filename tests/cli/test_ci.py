"""The CI that ``init`` writes: its steps run as a runner runs them, in a fork, without key or source."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml

from tests.cli.commands.test_init import GITHUB, GITLAB, INSTALL, git
from tests.cli.conftest import Shell
from tests.control.place import echo
from tests.e2e.forks import SERVER

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
SPY = """
import os
def main():
    print(*sorted(os.environ))
"""
TEMPLATES = [*ROOT.glob("deploy/**/*.y*ml"), *ROOT.glob("src/agentsd/cli/scaffold/*.yml")]


@pytest.fixture
def fork(made: Shell) -> Shell:
    """A clone of the repository in a runner that has no key: a change of the sample on a branch."""
    git(made, "init", "-q", "-b", "main")
    git(made, "add", ".")
    git(made, "commit", "-qm", "Agents as code")
    git(made, "update-ref", "refs/remotes/origin/main", "HEAD")
    git(made, "switch", "-qc", "change")
    file = made.root / "agents.d/assistant.yaml"
    file.write_text(file.read_text().replace("You said:", "Heard:"))
    git(made, "commit", "-qam", "Reword")
    return made


def run(shell: Shell, text: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a step as a runner does: any failing line fails it; nothing of this machine's environment."""
    home = shell.root.parent / "runner"
    home.mkdir(exist_ok=True)
    files = {name: str(home / name) for name in ("GITHUB_PATH", "GITHUB_STEP_SUMMARY")}
    path = f"{SERVER.write_command(shell.root.parent / 'forked')}:{BIN}:/usr/bin:/bin"
    given = {"PATH": path, "HOME": str(home), "RUNNER_TEMP": str(home), **files, **environ}
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text],
        cwd=shell.root,
        env=given,
        capture_output=True,
        text=True,
        check=False,
    )


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def steps(shell: Shell, job: str) -> Iterator[dict[str, Any]]:
    """The steps of a GitHub job that run something."""
    for step in load(shell.root / GITHUB)["jobs"][job]["steps"]:
        if "run" in step:
            yield step


def test_a_fork_is_green_without_a_key(fork: Shell) -> None:
    """Everything that the job ``check`` runs, but the installation; GitLab's ``validate``, too."""
    for step in steps(fork, "check"):
        if step["name"] != "Install":
            environ = {"SOPS_AGE_KEY": "", "BASE": "main", "AGENTSD_PACKAGE": ""}
            done = run(fork, step["run"], **environ)
            assert done.returncode == 0, done.stderr + done.stdout
    done = run(fork, "\n".join(load(fork.root / GITLAB)["validate"]["script"]))
    assert done.returncode == 0, done.stderr
    assert "the seal was not verified" in done.stderr, "said, but no fault"


def test_what_is_wrong_is_still_red(fork: Shell) -> None:
    """Another warning, a plain secret, an overlay that is not valid: each fails the step, in a fork, too."""
    (validate,) = (step for step in steps(fork, "check") if step["name"] == "Validate")
    overlay = fork.root / "envs/prod/assistant.yaml"
    overlay.parent.mkdir(parents=True)
    overlay.write_text("greeting: hello\n")
    assert run(fork, validate["run"]).returncode == 0
    overlay.write_text("greting: hello\n")
    done = run(fork, validate["run"])
    assert (done.returncode, "greting" in done.stdout) == (1, True), done.stdout + done.stderr
    shutil.rmtree(fork.root / "envs")
    bad = fork.write("bad.yaml", "llm: {provider: groq.com, api_key: sk-plain, model: m}\n")
    assert run(fork, validate["run"]).returncode == 1
    bad.write_text(echo(7))
    assert run(fork, validate["run"]).returncode == 0


def test_the_plan_and_the_sync_of_a_fork(fork: Shell) -> None:
    """The plan is in the summary; the sync has nothing to sync to, says so and is green."""
    (plan,) = (step for step in steps(fork, "plan") if step["name"] == "Plan")
    done = run(fork, plan["run"], BASE="main")
    assert done.returncode == 0, done.stderr
    assert "assistant" in (fork.root.parent / "runner/GITHUB_STEP_SUMMARY").read_text()
    (sync,) = (step for step in steps(fork, "sync") if step["name"] == "Sync")
    done = run(fork, sync["run"], AGENTSD_DATABASE_URL="", AGENTSD_ENV="")
    assert (done.returncode, "AGENTSD_DATABASE_URL" in done.stdout) == (0, True), done.stderr


def test_a_merge_is_synced_without_a_key(fork: Shell, database_url: str) -> None:
    """The sample with its sealed placeholder included: the job ``sync`` needs the database alone."""
    (sync,) = (step for step in steps(fork, "sync") if step["name"] == "Sync")
    text = sync["run"].replace("--wait --timeout 120", "")
    done = run(fork, text, AGENTSD_DATABASE_URL=database_url, AGENTSD_ENV="")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "source",
    [
        "",
        "agentsd",
        "agentsd==1.0",
        "git+https://example.org/agentsd",
        "git+https://example.org/agentsd@main",
        "git+https://example.org/agentsd@v0.1.0",
        "git+https://example.org/agentsd@deadbeef",
        "https://example.org/agentsd-1.0-py3-none-any.whl",
        "--index-url=https://example.org https://example.org/a.whl#sha256=" + "0" * 64,
        "http://example.org/a.whl#sha256=" + "0" * 64,
    ],
)
def test_nothing_is_installed_from_what_can_change(made: Shell, source: str) -> None:
    """Without a source, or with one that names no content, the job stops with a line that says why."""
    for text in (
        next(step["run"] for step in steps(made, "check") if step["name"] == "Install"),
        load(made.root / GITLAB)["default"]["before_script"][0],
        load(ROOT / "deploy/gitlab/agentsd.gitlab-ci.yml")[".agentsd"]["before_script"][0],
    ):
        done = run(made, text, AGENTSD_PACKAGE=source)
        assert done.returncode == 1
        assert "agentsd is not installed" in done.stderr
        assert not list((made.root.parent / "runner").glob("agentsd*"))


def python_with_pip(folder: Path) -> Path:
    """Return a folder whose ``python3 -m venv`` lends the real pip, since unpacking one takes ten seconds."""
    folder.mkdir()
    program = folder / "python3"
    program.write_text(
        f"""#!/bin/sh
{sys.executable} "$1" "$2" --without-pip "$3"
printf '#!/bin/sh\\nexec {sys.executable} -m pip --python "%s/bin/python" "$@"\\n' "$3" > "$3/bin/pip"
chmod +x "$3/bin/pip"
"""
    )
    program.chmod(0o755)
    return folder


def test_a_wheel_is_installed_by_its_hash(made: Shell) -> None:
    """The very content and no other; the source stands in the file, or in the variable."""
    wheel = made.root.parent / "agentsd-9.9-py3-none-any.whl"
    with ZipFile(wheel, "w") as archive:
        info = "agentsd-9.9.dist-info"
        archive.writestr("spy.py", SPY)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: agentsd\nVersion: 9.9\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/entry_points.txt", "[console_scripts]\nagentsd = spy:main\n")
        archive.writestr(f"{info}/RECORD", "")
    digest = sha256(wheel.read_bytes()).hexdigest()
    good = f"file://{wheel}#sha256={digest}"
    script = f'sh {INSTALL} "$RUNNER_TEMP/venv"'
    environ = {"PIP_NO_INDEX": "1", "PATH": f"{python_with_pip(made.root.parent / 'bin')}:/usr/bin:/bin"}
    done = run(made, script, AGENTSD_PACKAGE=good.replace(digest, "0" * 64), **environ)
    assert done.returncode != 0
    assert "hash" in done.stderr.lower()
    file = made.root / INSTALL
    file.write_text(re.sub("(?m)^pinned=''$", f"pinned='{good}'", file.read_text()))
    done = run(made, script, **environ)
    assert done.returncode == 0, done.stderr
    assert (made.root.parent / "runner/venv/bin/agentsd").exists()


def test_the_installation_runs_without_secrets(made: Shell) -> None:
    """What pip sees of the environment, by a pip that prints it."""
    fake = made.root.parent / "fake"
    fake.mkdir()
    (fake / "python3").write_text(
        '#!/bin/sh\nmkdir -p "$3/bin"\nprintf "#!/bin/sh\\nenv\\n" > "$3/bin/pip"\nchmod +x "$3/bin/pip"\n'
    )
    (fake / "python3").chmod(0o755)
    names = "SOPS_AGE_KEY AGENTSD_DATABASE_URL AGENTSD_GITLAB_TOKEN VAULT_TOKEN GH_TOKEN CI_JOB_TOKEN"
    secrets = dict.fromkeys([*names.split(), "AWS_SECRET_ACCESS_KEY", "MY_PASSWORD"], "canary")
    done = run(
        made,
        f'sh {INSTALL} "$RUNNER_TEMP/venv"',
        AGENTSD_PACKAGE=f"git+https://example.org/a@{'a' * 40}",
        PATH=f"{fake}:/usr/bin:/bin",
        PIP_INDEX_URL="https://pip.example.org",
        **secrets,
    )
    assert done.returncode == 0, done.stderr
    assert "canary" not in done.stdout
    assert "PIP_INDEX_URL" in done.stdout


def test_secrets_are_in_the_steps_that_need_them(made: Shell) -> None:
    """None for a whole job or workflow, none beside an installation; no event that gives secrets to forks."""
    flow = load(made.root / GITHUB)
    assert flow["permissions"] == {"contents": "read"}
    assert set(flow[True]) == {"pull_request", "push"}, "YAML 1.1 reads `on` as true"
    places = [flow.get("env", {}), *(job.get("env", {}) for job in flow["jobs"].values())]
    places += [step for name in flow["jobs"] for step in steps(made, name) if step["name"] == "Install"]
    assert "secrets." not in str(places)
    assert "github.token" not in str(places)


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_actions_are_pinned_by_commit(file: Path) -> None:
    """A tag can be moved to other code; and nobody's code runs with the rights of the target branch."""
    text = file.read_text()
    for used in re.findall(r"(?m)^\s*-?\s*uses:\s*(\S+)", text):
        assert re.search(r"@[0-9a-f]{40}$", used), used
    assert "pull_request_target" not in text


def test_an_overlay_is_looked_at(made: Shell) -> None:
    """A change below ``envs`` runs the hook and the workflow that is copied."""
    (hook,) = load(ROOT / ".pre-commit-hooks.yaml")
    assert re.search(hook["files"], "envs/prod/acme/a.yaml")
    flow = load(ROOT / "deploy/github-action/workflow.yml")[True]
    assert "envs/**" in flow["pull_request"]["paths"]
    assert "envs/**" in flow["push"]["paths"]


NAMES = re.compile(
    r"(?:pip3?|uv|pipx|poetry|pdm)\s+(?:tool\s+)?(?:install|run|add)\b[^\n|&;`]*?(?<![\w./+-])'?\"?agentsd(?![\w/.-])"
    r"|(?:uvx|pipx)\s+(?!--from \"\$)[^\n`]*?(?<![\w./])agentsd(?![\w/.-])|agentsd\[\w"
)
TEXTS = {".md", ".py", ".yml", ".yaml", ".toml", ".txt", ".sh", ".js", ".html", ".json", "", ".cfg"}
ELSEWHERE = {"pyproject.toml", "tests/cli/test_ci.py"}
"""The project's own extras, and this file."""


def test_nobody_is_advised_to_install_it_from_an_index() -> None:
    """No index has agentsd: whoever registers the name would run code where such a line is followed."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    found = []
    for name in listed.stdout.split("\0"):
        file = ROOT / name
        if name and name not in ELSEWHERE and file.suffix in TEXTS and file.is_file():
            lines = file.read_text("utf-8", "replace").splitlines()
            found += [
                f"{name}:{number}: {line}" for number, line in enumerate(lines, 1) if NAMES.search(line)
            ]
    assert not found


@pytest.mark.parametrize(
    ("line", "bad"),
    [
        ("pip install agentsd", True),
        ("pip install --quiet 'agentsd[redis]'", True),
        ("uvx agentsd up", True),
        ("uvx --from agentsd agentsd up", True),
        ('uvx --from "$AGENTSD_CHECKOUT" agentsd up', False),
        ("pipx run agentsd", True),
        ("uv tool install agentsd==1", True),
        ("pip install '.[local]'", False),
        ("pip install git+https://example.org/agentsd@0", False),
        ("/opt/agentsd/bin/pip install -c deploy/constraints.txt '.[fast]'", False),
    ],
)
def test_what_counts_as_such_advice(line: str, bad: bool) -> None:
    """The pattern above, tried."""
    assert bool(NAMES.search(line)) is bad


def test_init_writes_down_where_it_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that an installer noted; a folder or a plain URL of this machine is none."""
    from agentsd.cli.commands.init import find_source

    assert "file:" not in find_source()
    assert os.linesep not in find_source()
