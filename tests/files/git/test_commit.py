"""Commits of edits, made in real repositories and looked at with git itself."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from secrets import token_hex

import pytest

from agentsd.files.git.command import read_head_commit
from agentsd.files.git.commit import GitRefused, check_repository, commit_files, commit_to_branch
from agentsd.files.git.repository import GitFull
from tests.files.git.repositories import ORDER, Place, git, new_place, plant_hooks
from tests.full_disk import full_disk


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A repository with two manifests, committed."""
    return new_place(tmp_path / "repository")


async def test_only_the_named_files_are_committed(place: Place) -> None:
    """New, changed and deleted ones; what else is staged, dirty or new stays exactly as it was."""
    place.write("support.yaml", "name: staged\n")
    place.write("staged.yaml")
    git(place.top, "add", ".")
    place.write("support.yaml", "name: dirty\n")
    place.write("untracked.yaml")
    place.write("acme/sales.yaml", "name: changed\n")
    made = await commit_files(place.folder, [place.write("acme/new.yaml"), "acme/sales.yaml"], ORDER)
    assert made == git(place.top, "rev-parse", "main") == await read_head_commit(place.folder)
    assert place.committed() == ["A agents.d/acme/new.yaml", "M agents.d/acme/sales.yaml"]
    (place.folder / "acme/sales.yaml").unlink()
    await commit_files(place.folder, ["acme/sales.yaml", "acme/never-was.yaml"], ORDER)
    assert place.committed() == ["D agents.d/acme/sales.yaml"]
    assert place.status() == [
        "?? agents.d/untracked.yaml",
        "A  agents.d/staged.yaml",
        "MM agents.d/support.yaml",
    ]


async def test_a_file_that_is_staged_goes_as_it_is_on_disk(place: Place) -> None:
    """The index had another version of it; afterwards nothing of it is left staged."""
    place.write("support.yaml", "name: staged\n")
    git(place.top, "add", ".")
    place.write("support.yaml", "name: on disk\n")
    await commit_files(place.folder, ["support.yaml"], ORDER)
    assert git(place.top, "show", "HEAD:agents.d/support.yaml") == "name: on disk"
    assert place.status() == []


async def test_nothing_to_commit_is_none(place: Place) -> None:
    """No path, an unchanged file, a file that never was: HEAD and index stay."""
    before = place.everything()
    for paths in ([], ["support.yaml"], ["never-was.yaml"]):
        assert await commit_files(place.folder, paths, ORDER) is None
    assert place.everything() == before


async def test_a_repository_without_a_commit_gets_its_first(tmp_path: Path) -> None:
    """Only the named file is in it; and a deletion alone makes no commit."""
    place = new_place(tmp_path, first=False)
    place.write("other.yaml")
    assert await commit_files(place.folder, ["gone.yaml"], ORDER) is None
    assert await commit_files(place.folder, [place.write("sales.yaml")], ORDER)
    assert place.committed() == ["A agents.d/sales.yaml"]
    assert place.status() == ["?? agents.d/other.yaml"]


async def test_longer_names_of_objects_will_do(tmp_path: Path) -> None:
    """A repository with SHA-256: a first commit, a deletion, a branch."""
    git(tmp_path, "init", "--quiet", "--object-format=sha256", "--initial-branch", "main")
    place = Place(tmp_path, tmp_path)
    assert await commit_files(tmp_path, [place.write("a.yaml"), place.write("b.yaml")], ORDER)
    (tmp_path / "a.yaml").unlink()
    made = await commit_files(tmp_path, ["a.yaml"], ORDER)
    assert made == await read_head_commit(tmp_path)
    await commit_to_branch(tmp_path, {"b.yaml": None}, "edit", ORDER)
    assert (place.committed(), place.committed("edit")) == (["D a.yaml"], ["D b.yaml"])


async def test_a_linked_work_tree_has_its_own_branch(place: Place, tmp_path: Path) -> None:
    """The commit lands on the branch of the folder's work tree, with its own index."""
    git(place.top, "worktree", "add", "--quiet", "-b", "other", str(tmp_path / "linked"))
    linked = Place(tmp_path / "linked", tmp_path / "linked" / "agents.d")
    await check_repository(linked.folder)
    made = await commit_files(linked.folder, [linked.write("new.yaml")], ORDER)
    assert git(place.top, "rev-parse", "other") == made != git(place.top, "rev-parse", "main")
    assert place.status() == linked.status() == []


async def test_the_folder_may_be_the_top_or_a_link(tmp_path: Path) -> None:
    """The repository's own top, and a link that leads into it."""
    place = new_place(tmp_path / "repository", folder=".", first=False)
    (tmp_path / "link").symlink_to(place.top)
    assert await commit_files(tmp_path / "link", [place.write("acme/sales.yaml")], ORDER)
    assert place.committed() == ["A acme/sales.yaml"]


async def test_a_link_to_a_file_commits_the_file(place: Place) -> None:
    """An edit through a link changes what it leads to, so that is what is committed."""
    (place.folder / "alias.yaml").symlink_to("support.yaml")
    place.write("alias.yaml", "name: changed\n")
    await commit_files(place.folder, ["alias.yaml"], ORDER)
    assert place.committed() == ["M agents.d/support.yaml"]


@pytest.mark.parametrize("name", ["*.yaml", ":(top)x.yaml", "-n.yaml", "ü 🎈.yaml", 'a"b\\c.yaml', "#x.yaml"])
async def test_any_name_is_only_a_name(place: Place, name: str) -> None:
    """No pattern, no option, no comment."""
    place.write("another.yaml")
    await commit_files(place.folder, [place.write(name)], ORDER)
    assert git(place.top, "ls-tree", "-rz", "--name-only", "HEAD").split("\0").count(f"agents.d/{name}") == 1
    assert place.status() == ["?? agents.d/another.yaml"]


@pytest.mark.parametrize(
    "path",
    ["../../x", "/etc/passwd", "", ".", "a\0b", "a\nb", ".git/config", "../.git/config", "out", "\ud800"],
)
async def test_what_is_outside_is_refused(place: Place, tmp_path: Path, path: str) -> None:
    """Also git's own folder, and a link that leads out; nothing is committed."""
    (tmp_path / "outside").write_text("x")
    (place.folder / "out").symlink_to(tmp_path / "outside")
    for edit in (
        commit_files(place.folder, [path], ORDER),
        commit_to_branch(place.folder, {path: b"x"}, "edit", ORDER),
    ):
        with pytest.raises(GitRefused):
            await edit
    assert git(place.top, "log", "--all", "--format=%s") == "first"


async def test_an_ignored_file_is_refused(place: Place) -> None:
    """With the question to ask git; a tracked file is committed whatever the rules say."""
    (place.top / ".gitignore").write_text("agents.d/\n")
    with pytest.raises(GitRefused, match=r"check-ignore -v agents\.d/new\.yaml"):
        await commit_files(place.folder, [place.write("new.yaml")], ORDER)
    assert await commit_files(place.folder, [place.write("support.yaml", "name: x\n")], ORDER)


async def test_the_mode_and_attributes_are_gits(place: Place) -> None:
    """An executable file stays one, and line ends follow .gitattributes, on both ways into a commit."""
    (place.top / ".gitattributes").write_text("*.yaml text eol=lf\n")
    (place.folder / "support.yaml").chmod(0o755)
    await commit_files(place.folder, [place.write("support.yaml", "a: 1\r\n")], ORDER)
    await commit_to_branch(place.folder, {"support.yaml": b"a: 2\r\n", "empty.yaml": b""}, "edit", ORDER)
    assert git(place.top, "ls-tree", "edit", "agents.d/support.yaml").startswith("100755")
    blobs = [git(place.top, "cat-file", "-s", f"{ref}:agents.d/support.yaml") for ref in ("main", "edit")]
    assert blobs == ["5", "5"]
    assert git(place.top, "cat-file", "-s", "edit:agents.d/empty.yaml") == "0"


async def test_no_hook_runs(place: Place, tmp_path: Path) -> None:
    """Neither on a commit nor on one to a branch, wherever the settings say hooks are."""
    plant_hooks(place, tmp_path / "witness")
    git(place.top, "config", "core.hooksPath", str(place.top / ".git/hooks"))
    git(place.top, "config", "hook.configured.event", "reference-transaction")
    git(place.top, "config", "hook.configured.command", f"echo configured >> '{tmp_path / 'witness'}'")
    with pytest.raises(subprocess.CalledProcessError):
        git(place.top, "commit", "--allow-empty", "-m", "a person's git does run them")
    (tmp_path / "witness").unlink()
    assert await commit_files(place.folder, [place.write("new.yaml")], ORDER)
    assert await commit_to_branch(place.folder, {"other.yaml": b"x"}, "edit", ORDER)
    assert not (tmp_path / "witness").exists()


async def test_a_branch_takes_the_edit_and_nothing_here_moves(place: Place) -> None:
    """New, changed and deleted files on a branch from HEAD; work tree, index and HEAD keep their bytes."""
    place.write("support.yaml", "name: staged\n")
    git(place.top, "add", ".")
    place.write("support.yaml", "name: dirty\n")
    place.write("untracked.yaml")
    before = place.everything()
    files = {"acme/new.yaml": b"name: New\n", "support.yaml": b"name: Edited\n", "acme/sales.yaml": None}
    made = await commit_to_branch(place.folder, files, "agentsd/edit-1", ORDER)
    assert place.everything() == before
    assert git(place.top, "rev-parse", "agentsd/edit-1") == made
    assert git(place.top, "rev-parse", "agentsd/edit-1^") == git(place.top, "rev-parse", "main")
    changes = ["A agents.d/acme/new.yaml", "D agents.d/acme/sales.yaml", "M agents.d/support.yaml"]
    assert place.committed("agentsd/edit-1") == changes
    assert git(place.top, "show", "agentsd/edit-1:agents.d/support.yaml") == "name: Edited"


async def test_a_branch_that_exists_or_would_hold_nothing_is_refused(place: Place, tmp_path: Path) -> None:
    """Its commit stays; so does a repository without any commit."""
    await commit_to_branch(place.folder, {"new.yaml": b"1"}, "edit", ORDER)
    before = git(place.top, "rev-parse", "edit")
    with pytest.raises(GitRefused, match="exists already"):
        await commit_to_branch(place.folder, {"new.yaml": b"2"}, "edit", ORDER)
    with pytest.raises(GitRefused, match="cannot create the branch"):
        await commit_to_branch(place.folder, {"new.yaml": b"2"}, "edit/1", ORDER)
    with pytest.raises(GitRefused, match="nothing to commit"):
        await commit_to_branch(place.folder, {"support.yaml": b"name: Sales\n"}, "same", ORDER)
    assert git(place.top, "for-each-ref", "--format=%(objectname)", "refs/heads/edit*") == before
    empty = new_place(tmp_path / "empty", first=False)
    with pytest.raises(GitRefused, match="no commit yet"):
        await commit_to_branch(empty.folder, {"new.yaml": b"1"}, "edit", ORDER)


@pytest.mark.parametrize(
    "branch",
    [
        "",
        "-d",
        "--orphan",
        "a b",
        "a..b",
        "@{-1}",
        "@",
        "a.lock",
        "a/",
        "/a",
        "x\n",
        "x\0",
        "\ud800",
        "a:b",
        "HEAD",
    ],
)
async def test_a_branch_name_cannot_be_anything_else(place: Place, branch: str) -> None:
    """No option, no expression, no reference of another kind, nothing that is short for HEAD."""
    before = git(place.top, "for-each-ref")
    with pytest.raises(GitRefused):
        await commit_to_branch(place.folder, {"new.yaml": b"1"}, branch, ORDER)
    assert git(place.top, "for-each-ref") == before


async def test_the_committer_is_agentsd_only_where_none_is_configured(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git would guess one from the host's name, or refuse."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    for settings, shown in (
        ((), "agentsd <agentsd@localhost>"),
        (("user.name", "Ops"), "Ops <agentsd@localhost>"),
        (("committer.email", "ops@example.org"), "Ops <ops@example.org>"),
    ):
        if settings:
            git(place.top, "config", *settings)
        await commit_files(place.folder, [place.write("new.yaml", shown)], ORDER)
        assert git(place.top, "log", "-1", "--format=%cn <%ce>|%an") == f"{shown}|Ada"


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="signs with ssh-keygen")
async def test_commits_are_signed_as_configured(place: Place, tmp_path: Path) -> None:
    """By the repository's own settings; a key that is not there refuses, and commits nothing."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    for name, value in (("gpg.format", "ssh"), ("user.signingKey", str(key)), ("commit.gpgSign", "true")):
        git(place.top, "config", name, value)
    await commit_files(place.folder, [place.write("new.yaml")], ORDER)
    assert "gpgsig -----BEGIN SSH SIGNATURE" in git(place.top, "cat-file", "commit", "HEAD")
    git(place.top, "config", "user.signingKey", str(tmp_path / "missing"))
    before = place.everything()
    with pytest.raises(GitRefused, match=r"commit\.gpgSign false"):
        await commit_files(place.folder, ["support.yaml", place.write("new.yaml", "2")], ORDER)
    assert place.everything().items() >= {k: v for k, v in before.items() if ".git" in k}.items()


async def test_a_full_disk_is_an_error_of_its_own(place: Place) -> None:
    """Nothing is committed, staged or locked, and the next commit works."""
    path = place.write("acme/sales.yaml", token_hex(300_000))
    before = place.everything()
    with full_disk(150_000):
        with pytest.raises(GitFull) as caught:
            await commit_files(place.folder, [path], ORDER)
        assert caught.value.retryable
        with pytest.raises(GitFull):
            await commit_to_branch(place.folder, {path: token_hex(300_000).encode()}, "edit", ORDER)
    assert place.everything() == before
    assert await commit_files(place.folder, [path], ORDER) == git(place.top, "rev-parse", "HEAD")
