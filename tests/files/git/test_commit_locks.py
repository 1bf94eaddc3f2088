"""Commits beside other gits: locks, unfinished merges, kills, and what reaches git's environment."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentsd.files.git.commit import GitBusy, GitRefused, check_repository, commit_files, commit_to_branch
from tests.files.git.repositories import ORDER, Place, appears, git, lives, new_place, wrap_git

CALLS = 11
"""The gits that one commit takes."""

COMMIT = """
import asyncio, sys
from pathlib import Path
from agentsd.files.git.commit import commit_files
from tests.files.git.repositories import ORDER
asyncio.run(commit_files(Path(sys.argv[1]), sys.argv[2:], ORDER))
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A repository with two manifests, committed."""
    return new_place(tmp_path / "repository")


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A git that writes its process id to this file and hangs where it should make the commit."""
    pid = tmp_path / "pid"
    hang = f'case "$*" in *commit-tree*) echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 1000;; esac'
    monkeypatch.setenv("PATH", wrap_git(tmp_path / "bin", hang))
    yield pid
    if pid.exists() and lives(int(pid.read_text())):
        os.kill(int(pid.read_text()), signal.SIGKILL)


def _committing(place: Place, *paths: str, path: str | None = None) -> subprocess.Popen[bytes]:
    """Another process that commits ``paths``."""
    environment = {**os.environ, **({"PATH": path} if path else {})}
    return subprocess.Popen([sys.executable, "-c", COMMIT, str(place.folder), *paths], env=environment)


def _sorted(file: Path) -> str:
    return "\n".join(sorted(set(file.read_text().splitlines())))


async def test_a_branch_that_another_git_holds(place: Place) -> None:
    """Nothing is committed, and nothing stays staged: the files are not taken for changed ones ever after."""
    held = place.top / ".git/refs/heads/main.lock"
    held.touch()
    before = (place.top / ".git/index").read_bytes()
    place.write("support.yaml", "name: Changed\n")
    place.write("new.yaml")
    with pytest.raises(GitBusy):
        await commit_files(place.folder, ["support.yaml", "new.yaml"], ORDER, timeout=0.3)
    assert (place.top / ".git/index").read_bytes() == before
    held.unlink()
    assert await commit_files(place.folder, ["support.yaml", "new.yaml"], ORDER)
    assert place.status() == []


async def test_another_gits_lock_is_waited_for(place: Place) -> None:
    """The commit follows as soon as it is gone."""
    lock = place.top / ".git" / "index.lock"
    lock.touch()
    task = asyncio.create_task(commit_files(place.folder, [place.write("new.yaml")], ORDER, timeout=60))
    await asyncio.sleep(0.1)
    assert not task.done()
    lock.unlink()
    assert await task == git(place.top, "rev-parse", "HEAD")
    assert not lock.exists()


@pytest.mark.parametrize("name", ["index.lock", "refs/heads/main.lock"])
async def test_a_lock_that_stays_is_told_and_kept(place: Place, name: str) -> None:
    """The error names the file and what to do; it is not ours to remove. Nothing is committed."""
    lock = place.top / ".git" / name
    lock.touch()
    with pytest.raises(GitBusy, match=name) as caught:
        await commit_files(place.folder, [place.write("new.yaml")], ORDER, timeout=0.1)
    assert caught.value.retryable
    assert "remove that file" in caught.value.hint
    assert lock.exists()
    await check_repository(place.folder)
    assert lock.exists()
    lock.unlink()
    assert await commit_files(place.folder, ["new.yaml"], ORDER)
    assert place.status() == []


async def test_a_branch_needs_no_index_lock(place: Place) -> None:
    """Whoever holds the index does not keep an edit from its branch."""
    (place.top / ".git" / "index.lock").touch()
    assert await commit_to_branch(place.folder, {"new.yaml": b"x"}, "edit", ORDER)


@pytest.mark.parametrize("operation", ["merge", "rebase", "cherry-pick"])
async def test_an_unfinished_merge_is_left_alone(place: Place, operation: str) -> None:
    """Committed into, it would become somebody's mistake: the hint says how to end it."""
    git(place.top, "switch", "--quiet", "-c", "other")
    place.write("support.yaml", "name: theirs\n")
    git(place.top, "commit", "--quiet", "-am", "theirs")
    git(place.top, "switch", "--quiet", "main")
    place.write("support.yaml", "name: ours\n")
    git(place.top, "commit", "--quiet", "-am", "ours")
    with pytest.raises(subprocess.CalledProcessError):
        git(place.top, operation, "other")
    before = place.everything()
    for edit in (
        commit_files(place.folder, ["acme/sales.yaml"], ORDER),
        commit_to_branch(place.folder, {"new.yaml": b"x"}, "edit", ORDER),
    ):
        with pytest.raises(GitRefused, match=f"git {operation} --abort"):
            await edit
    assert place.everything() == before


async def test_no_branch_no_commit(place: Place) -> None:
    """On a detached HEAD a commit would be lost; a branch of its own is not."""
    git(place.top, "checkout", "--quiet", "--detach")
    with pytest.raises(GitRefused, match="git switch"):
        await commit_files(place.folder, [place.write("new.yaml")], ORDER)
    assert await commit_to_branch(place.folder, {"new.yaml": b"x"}, "edit", ORDER)


async def test_many_writers_and_a_person_at_once(place: Place) -> None:
    """Tasks, another process and somebody's own git: every commit lands, one after another."""

    def person(number: int) -> None:
        path = place.folder / place.write(f"person-{number}.yaml")
        while True:
            try:
                git(place.top, "add", str(path))
                git(place.top, "commit", "--quiet", "--only", "-m", "mine", "--", str(path))
            except subprocess.CalledProcessError:  # our lock: a person tries again
                continue
            return

    other = _committing(place, place.write("process.yaml"))
    paths = [place.write(f"task-{number}.yaml") for number in range(6)]
    await asyncio.gather(
        *(commit_files(place.folder, [path], ORDER, timeout=60) for path in paths),
        *(asyncio.to_thread(person, number) for number in range(3)),
        commit_to_branch(place.folder, {"new.yaml": b"x"}, "edit", ORDER, timeout=60),
    )
    assert await asyncio.to_thread(other.wait) == 0
    assert place.status() == []
    assert git(place.top, "rev-list", "--count", "--no-merges", "main") == "11"
    git(place.top, "fsck", "--strict")


async def test_a_branch_that_moves_meanwhile_keeps_both_commits(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody's update-ref needs no index lock: the commit is made again, on top of theirs."""
    theirs = git(place.top, "commit-tree", "-p", "HEAD", "-m", "theirs", "HEAD^{tree}")
    moved = tmp_path / "moved"
    move = f'case "$*" in *commit-tree*) [ -e {moved} ] || $REAL -C {place.top} update-ref HEAD {theirs};'
    monkeypatch.setenv("PATH", wrap_git(tmp_path / "bin", f"{move} touch {moved};; esac"))
    await commit_files(place.folder, [place.write("new.yaml")], ORDER)
    assert git(place.top, "log", "--format=%s").splitlines() == ["Change acme/sales", "theirs", "first"]
    assert place.status() == []


@pytest.mark.parametrize("call", range(1, CALLS + 1))
async def test_killed_after_any_step_it_blocks_nobody(place: Place, tmp_path: Path, call: int) -> None:
    """The next commit finds no lock, nothing half done, and nothing of somebody else's work in it."""
    place.write("support.yaml", "name: staged\n")
    git(place.top, "add", ".")
    path = wrap_git(tmp_path / "bin", "", f"[ $N = {call} ] && kill -9 $PPID")
    killed = _committing(place, place.write("acme/sales.yaml", "name: changed\n"), path=path)
    assert await asyncio.to_thread(killed.wait) == -signal.SIGKILL
    await check_repository(place.folder, timeout=60)
    git(place.top, "add", "agents.d/support.yaml")  # a person's git is not locked out
    await commit_files(place.folder, ["acme/sales.yaml"], ORDER)
    assert place.committed() == ["M agents.d/acme/sales.yaml"]
    assert place.status() == ["M  agents.d/support.yaml"]
    assert git(place.top, "rev-list", "--count", "HEAD") == "2"
    assert not list((place.top / ".git").rglob("*.lock"))
    assert not list((place.top / ".git").glob("agentsd*"))


async def test_a_git_that_outlives_its_agentsd_is_waited_for(
    place: Place, tmp_path: Path, hanging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it ends the repository is busy; then its index lock is known to be dead, and taken over."""
    killed = _committing(place, place.write("new.yaml"))
    await appears(hanging)
    killed.kill()
    await asyncio.to_thread(killed.wait)
    monkeypatch.setenv("PATH", os.environ["PATH"].partition(":")[2])
    await check_repository(place.folder, timeout=0.1)
    assert (place.top / ".git" / "index.lock").exists()
    with pytest.raises(GitBusy, match="another agentsd"):
        await commit_files(place.folder, ["new.yaml"], ORDER, timeout=0.1)
    os.kill(int(hanging.read_text()), signal.SIGKILL)
    assert await commit_files(place.folder, ["new.yaml"], ORDER, timeout=60)
    assert not (place.top / ".git" / "index.lock").exists()


async def test_a_cancelled_commit_leaves_nothing(
    place: Place, hanging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No lock, no process; nothing is committed, and the next one works."""
    task = asyncio.create_task(commit_files(place.folder, [place.write("new.yaml")], ORDER))
    await appears(hanging)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not lives(int(hanging.read_text()))
    assert place.status() == ["?? agents.d/new.yaml"]
    assert not (place.top / ".git" / "index.lock").exists()
    monkeypatch.setenv("PATH", os.environ["PATH"].partition(":")[2])
    assert await commit_files(place.folder, ["new.yaml"], ORDER)


async def test_a_git_that_hangs_is_ended(
    place: Place, hanging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told what to look at, and what git left is gone."""
    monkeypatch.setattr("agentsd.files.git.repository.GIT_TIMEOUT_SECONDS", 0.1)
    with pytest.raises(GitRefused, match="passphrase"):
        await commit_files(place.folder, [place.write("new.yaml")], ORDER)
    assert not (place.top / ".git" / "index.lock").exists()


async def test_no_secret_of_ours_reaches_git(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither git's environment nor that of a filter it runs holds a variable of agentsd or sops."""
    for name in ("AGENTSD_TOKEN", "AGENTSD_DATABASE_URL", "SOPS_AGE_KEY", "SOPS_AGE_KEY_FILE", "AWS_SECRET"):
        monkeypatch.setenv(name, "canary-1234")
    seen = tmp_path / "seen"
    git(place.top, "config", "hook.spy.command", "env")
    git(place.top, "config", "filter.spy.clean", f"env >> {seen}.filter; cat")
    (place.top / ".gitattributes").write_text("*.yaml filter=spy\n")
    dump = f'env >> {seen}; echo "$@" >> {seen}'
    monkeypatch.setenv("PATH", wrap_git(tmp_path / "bin", dump))
    await check_repository(place.folder)
    await commit_files(place.folder, [place.write("new.yaml")], ORDER)
    await commit_to_branch(place.folder, {"new.yaml": b"x"}, "edit", ORDER)
    assert "GIT_CONFIG_KEY_0=hook.spy.enabled\nGIT_CONFIG_VALUE_0=false" in _sorted(seen)
    for file in (seen, Path(f"{seen}.filter")):
        text = file.read_text()
        assert "GIT_TERMINAL_PROMPT=0" in text
        assert "canary" not in text
        assert "\nAGENTSD_" not in text
        assert "\nSOPS_" not in text
