"""The tree on disk, git, and minimal edits of a text."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from agentsd.core.errors import ConfigError
from agentsd.files.atomic.compare_and_swap import replace_file
from agentsd.files.git.command import is_older, locate_index_lock
from agentsd.files.tree import read_tree, reread_files
from agentsd.files.yaml.blocks import CannotEdit, append_block, extract_top_level_block
from tests.control.place import echo


def write(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(echo(1))


def test_what_is_read(tmp_path: Path) -> None:
    """Manifests at any depth; nothing hidden, and nothing of another name."""
    write(tmp_path, "b.yaml", "a.yml", "acme/eu/x.yaml", "_user.yaml")
    write(
        tmp_path, ".hidden.yaml", ".git/x.yaml", "..data/x.yaml", "README", "x.yaml~", "x.yaml.bak", "x.json"
    )
    tree = read_tree(tmp_path)
    assert set(tree.files) == {"b.yaml", "a.yml", "acme/eu/x.yaml", "_user.yaml"}
    assert tree.files["b.yaml"].data == echo(1).encode()


def test_what_did_not_change_is_not_read_again(tmp_path: Path) -> None:
    """The very same value; a changed file is read, a file that is gone is gone."""
    write(tmp_path, "a.yaml", "b.yaml", "c.yaml")
    before = read_tree(tmp_path)
    (tmp_path / "b.yaml").write_text(echo(2))
    (tmp_path / "c.yaml").unlink()
    after = read_tree(tmp_path, before)
    assert after.files["a.yaml"] is before.files["a.yaml"]
    assert after.files["b.yaml"].data == echo(2).encode()
    assert "c.yaml" not in after.files


def test_just_these_files(tmp_path: Path) -> None:
    """What an event names is read, the rest is not looked at."""
    write(tmp_path, "a.yaml", "b.yaml")
    before = read_tree(tmp_path)
    write(tmp_path, "new.yaml")
    (tmp_path / "a.yaml").unlink()
    (tmp_path / "b.yaml").write_text("x: 1")
    after = reread_files(before, ["a.yaml", "new.yaml", "gone.yaml"])
    assert after.files.keys() == {"b.yaml", "new.yaml"}
    assert after.files["b.yaml"] is before.files["b.yaml"]


def test_a_problem_is_looked_at_again(tmp_path: Path) -> None:
    """A link that led nowhere may lead somewhere by now."""
    (tmp_path / "a.yaml").symlink_to("target")
    before = read_tree(tmp_path)
    assert before.files["a.yaml"].problem
    (tmp_path / "target").write_text(echo(1))
    assert read_tree(tmp_path, before).files["a.yaml"].problem is None


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_root_that_is_no_folder(tmp_path: Path, kind: str) -> None:
    """Never an empty tree."""
    if kind == "file":
        (tmp_path / "root").write_text("")
    with pytest.raises(ConfigError, match="is not a folder"):
        read_tree(tmp_path / "root")


def test_links_that_stay_inside(tmp_path: Path) -> None:
    """To a file, to a folder, through a link to the root itself; each by the name that it has there."""
    write(tmp_path, "root/.store/acme/a.yaml", "root/.store/b.yaml")
    root = tmp_path / "root"
    (root / "acme").symlink_to(".store/acme")
    (root / "c.yaml").symlink_to(".store/b.yaml")
    (tmp_path / "link").symlink_to("root")
    for place in (root, tmp_path / "link"):
        tree = read_tree(place)
        assert set(tree.files) == {"acme/a.yaml", "c.yaml"}
        assert all(file.problem is None for file in tree.files.values())


LINKS_TO_ANOTHER_OWNER = [
    ("beta/k.md", "../acme/k.md"),  # a text
    ("beta/docs", "../acme"),  # a folder of texts
    ("beta/x.yaml", "../acme/a.yaml"),  # a manifest
    ("beta/_defaults.yaml", "../acme/_defaults.yaml"),
    ("beta/up", ".."),  # everybody's folder
    ("beta/k.md", "../top.md"),  # of the owner default
    ("gamma", "acme"),  # a whole owner under another name
    ("gamma", "..data/acme"),  # as a volume has it
    ("beta/k.md", "../..data/acme/k.md"),
    ("beta/k.md", "../acme/../acme/sub/../k.md"),
    ("top2.yaml", "acme/a.yaml"),  # from the top into an owner's folder
]


@pytest.mark.parametrize(("link", "target"), LINKS_TO_ANOTHER_OWNER)
def test_a_link_stays_in_its_owners_folder(tmp_path: Path, link: str, target: str) -> None:
    """Whatever is linked, at whatever depth: nothing of another owner is read, and the rule is named."""
    write(
        tmp_path, "acme/a.yaml", "acme/_defaults.yaml", "acme/sub/s.yaml", "..v1/acme/a.yaml", "beta/b.yaml"
    )
    for text in ("acme/k.md", "..v1/acme/k.md", "top.md"):
        (tmp_path / text).write_text("the secret of acme")
    (tmp_path / "..data").symlink_to("..v1")
    (tmp_path / link).symlink_to(target)
    tree = read_tree(tmp_path)
    read = {**tree.files, **tree.attachments}
    below = [path for path in read if path.rstrip("/") == link or path.startswith(f"{link}/")]
    problems = [read[path].problem for path in below]
    assert problems
    assert all(problem and problem.code in ("symlink-owner", "unreadable") for problem in problems)
    assert not any(read[path].data for path in below)
    again = reread_files(tree, below)
    assert not any({**again.files, **again.attachments}[path].data for path in below if path[-1] != "/")


def test_a_folder_that_became_a_link_is_not_followed(tmp_path: Path) -> None:
    """Where only the file below it was named as changed."""
    write(tmp_path, "acme/docs/a.yaml", "beta/docs/a.yaml")
    tree = read_tree(tmp_path)
    (tmp_path / "beta/docs").rename(tmp_path / "beta/old")
    (tmp_path / "beta/docs").symlink_to("../acme/docs")
    file = reread_files(tree, ["beta/docs/a.yaml"]).files["beta/docs/a.yaml"]
    assert file.problem
    assert (file.problem.code, file.data) == ("symlink-owner", b"")


def test_links_in_a_ring(tmp_path: Path) -> None:
    """Two folders that lead to each other end with a word, not with the stack."""
    (tmp_path / "x/a").mkdir(parents=True)
    (tmp_path / "x/b").mkdir()
    (tmp_path / "x/a/to_b").symlink_to("../b")
    (tmp_path / "x/b/to_a").symlink_to("../a")
    tree = read_tree(tmp_path)
    problems = {path: file.problem for path, file in tree.files.items()}
    assert problems.keys() == {"x/a/to_b/to_a/to_b/", "x/b/to_a/to_b/to_a/"}
    assert all(problem and "points to a parent" in problem.message for problem in problems.values())


def test_replacing_a_file(tmp_path: Path) -> None:
    """All or nothing, the mode kept, nothing left beside it; a link stays a link."""
    file = tmp_path / "a.yaml"
    replace_file(file, b"one")
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    file.chmod(0o600)
    replace_file(file, b"two")
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (b"two", 0o600)
    (tmp_path / "link.yaml").symlink_to("a.yaml")
    replace_file(tmp_path / "link.yaml", b"three")
    assert (file.read_bytes(), (tmp_path / "link.yaml").is_symlink()) == (b"three", True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.yaml", "link.yaml"]
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "nowhere/a.yaml", b"x")


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


async def test_which_commit_is_older(tmp_path: Path) -> None:
    """A strict ancestor; not the same one, not another branch's, not one that this clone lacks."""
    git(tmp_path, "init", "-q")
    commits = []
    for n in range(3):
        (tmp_path / "x").write_text(str(n))
        git(tmp_path, "add", "x")
        git(tmp_path, "commit", "-qm", str(n))
        commits.append(git(tmp_path, "rev-parse", "HEAD"))
    first, second, third = commits
    assert await is_older(tmp_path, first, third)
    assert not await is_older(tmp_path, third, first)
    assert not await is_older(tmp_path, second, second)
    assert not await is_older(tmp_path, first, "0" * 40)
    assert not await is_older(tmp_path / "nowhere", first, third)


async def test_the_lock_of_a_repository(tmp_path: Path) -> None:
    """Of the repository around the folder, of a linked work tree its own; None outside."""
    assert locate_index_lock(tmp_path) is None or not str(locate_index_lock(tmp_path)).startswith(
        str(tmp_path)
    )
    main, linked = tmp_path / "main", tmp_path / "linked"
    main.mkdir()
    git(main, "init", "-q")
    git(main, "commit", "-q", "--allow-empty", "-m", "x")
    git(main, "worktree", "add", "-q", str(linked))
    (main / "agents.d").mkdir()
    assert locate_index_lock(main / "agents.d") == main / ".git/index.lock"
    lock = locate_index_lock(linked)
    assert lock is not None
    assert lock.parent.resolve() == (main / ".git/worktrees/linked").resolve()


def test_blocks() -> None:
    """A top-level key with all of its lines; appended, it starts on a line of its own."""
    text = "a: 1\nsops:\n  mac: x\n\n  list:\n    - y\nb: 2\n"
    block = extract_top_level_block(text, "sops")
    assert block == "sops:\n  mac: x\n\n  list:\n    - y\n"
    assert append_block("a: 1", block) == f"a: 1\n{block}"
    with pytest.raises(CannotEdit):
        extract_top_level_block(text, "none")


@pytest.fixture
def ordinary() -> Iterator[Path]:
    """A folder that anybody may enter; root is an ordinary user meanwhile."""
    folder = Path(mkdtemp())
    folder.chmod(0o755)
    root = os.geteuid() == 0
    yield folder
    if root:
        os.seteuid(0)
    shutil.rmtree(folder)


def test_what_may_not_be_read(ordinary: Path) -> None:
    """A folder without permission is told as one: its manifests are not taken for deleted."""
    write(ordinary, "acme/a.yaml", "b.yaml", "c.yaml")
    (ordinary / "acme").chmod(0)
    (ordinary / "b.yaml").chmod(0)
    if os.geteuid() == 0:
        os.seteuid(65534)
    tree = read_tree(ordinary)
    codes = {path: file.problem and file.problem.code for path, file in tree.files.items()}
    assert codes == {"acme/": "unreadable", "b.yaml": "unreadable", "c.yaml": None}
