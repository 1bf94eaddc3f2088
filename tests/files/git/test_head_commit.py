"""The commit of a work tree, as git itself tells it, in every form that git keeps it in."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agentsd.files.git.command import read_head_commit


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit on a branch, and a folder in it."""
    root = tmp_path / "repository"
    (root / "agents.d").mkdir(parents=True)
    _git(root, "init", "--quiet", "--initial-branch", "main")
    _git(root, "commit", "--quiet", "--allow-empty", "--message", "first")
    return root


def _git(root: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", "-C", str(root), *identity, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    "change",
    [
        (),
        ("checkout", "--quiet", "--detach"),
        ("pack-refs", "--all", "--prune"),
        ("symbolic-ref", "refs/heads/alias", "refs/heads/main"),
    ],
)
async def test_the_commit_is_what_git_says(repository: Path, change: tuple[str, ...]) -> None:
    """A branch, a detached head, a packed branch, an alias of a branch."""
    if change:
        _git(repository, *change)
    if "alias" in str(change):
        _git(repository, "symbolic-ref", "HEAD", "refs/heads/alias")
    assert await read_head_commit(repository / "agents.d") == _git(repository, "rev-parse", "HEAD")


async def test_a_linked_work_tree_has_a_commit_of_its_own(repository: Path, tmp_path: Path) -> None:
    """Its ``.git`` is a file, and its branches live in the main repository."""
    linked = tmp_path / "linked"
    _git(repository, "worktree", "add", "--quiet", "-b", "other", str(linked))
    _git(linked, "commit", "--quiet", "--allow-empty", "--message", "second")
    assert await read_head_commit(linked) == _git(linked, "rev-parse", "HEAD")
    assert await read_head_commit(linked) != await read_head_commit(repository)


async def test_a_link_into_a_repository_leads_there(repository: Path, tmp_path: Path) -> None:
    """A folder that is a symbolic link belongs to the repository that it leads to."""
    link = tmp_path / "link"
    link.symlink_to(repository / "agents.d")
    assert await read_head_commit(link) == _git(repository, "rev-parse", "HEAD")


async def test_without_a_commit_there_is_none(tmp_path: Path) -> None:
    """Neither outside a repository nor in a new one."""
    assert await read_head_commit(tmp_path) is None
    _git(tmp_path, "init", "--quiet")
    assert await read_head_commit(tmp_path) is None
