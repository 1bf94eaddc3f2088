"""A tree that is too large, or made large by links, is read in part, and says which folder is over."""

from __future__ import annotations

import os
from pathlib import Path

from agentsd.files.budget import DEFAULT_LIMITS, TreeLimits
from agentsd.files.git.tree_walk import Blob, CommitWalk, Folder, insert_entry
from agentsd.files.tree import Tree, read_tree


def _write(root: Path, *paths: str, text: str = "name: x\n") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def _over(tree: Tree) -> list[str]:
    return [path for path, file in tree.files.items() if file.problem and file.problem.code == "too-much"]


def _sound(tree: Tree) -> list[str]:
    return [path for path, file in tree.files.items() if not file.problem]


def test_links_that_double_at_each_step_end(tmp_path: Path) -> None:
    """44 links are 2^22 paths."""
    for step in range(23):
        _write(tmp_path, f"acme/d{step}/x.yaml")
    for step in range(22):
        for name in ("a", "b"):
            (tmp_path / f"acme/d{step}/{name}").symlink_to(f"../d{step + 1}")
    _write(tmp_path, "zeta/good.yaml")
    tree = read_tree(tmp_path)
    assert "zeta/good.yaml" in _sound(tree)
    assert len(_sound(tree)) < 23 * (1 + DEFAULT_LIMITS.visits) + 2
    assert _over(tree)
    assert all(path.startswith("acme/d") for path in _over(tree))


def test_links_of_a_commit_that_double_at_each_step_end() -> None:
    root = Folder()
    for step in range(23):
        insert_entry(root, b"100644 blob f00d 8\tacme/d%d/x.yaml" % step)
        for name in (b"a", b"b"):
            if step < 22:
                insert_entry(root, b"120000 blob link%d 5\tacme/d%d/%s" % (step + 1, step, name))
    insert_entry(root, b"100644 blob f00d 8\tzeta/good.yaml")
    found = list(CommitWalk(root, {f"link{step}": f"../d{step}" for step in range(23)}).run())
    assert any(path == "zeta/good.yaml" and not problem for path, _, problem in found)
    assert len(found) < 3 * 23 * (1 + DEFAULT_LIMITS.visits)
    assert {problem.code for _, _, problem in found if problem} == {"too-much"}


def test_a_commit_many_folders_deep_is_refused_there_alone() -> None:
    root = Folder()
    insert_entry(root, b"100644 blob f00d 8\t" + b"d/" * 5000 + b"x.yaml")
    insert_entry(root, b"100644 blob f00d 8\tgood.yaml")
    found = list(CommitWalk(root, {}).run())
    assert [(path, problem.code) for path, _, problem in found if problem] == [("d/" * 33, "too-much")]
    assert ("good.yaml", Blob("f00d", 8), None) in found


def test_an_owner_with_too_many_files_leaves_the_others_alone(tmp_path: Path) -> None:
    _write(tmp_path, *(f"acme/{n}.yaml" for n in range(9)), "zeta/good.yaml", "top.yaml")
    tree = read_tree(tmp_path, limits=TreeLimits(owner_files=5))
    assert _over(tree) == ["acme/"]
    assert _sound(tree) == [*(f"acme/{n}.yaml" for n in range(5)), "top.yaml", "zeta/good.yaml"]


def test_an_owner_with_too_many_bytes_leaves_the_others_alone(tmp_path: Path) -> None:
    _write(tmp_path, *(f"acme/{n}.md" for n in range(9)), text="x" * 100)
    _write(tmp_path, "zeta/good.yaml")
    tree = read_tree(tmp_path, limits=TreeLimits(owner_bytes=450))
    assert _over(tree) == ["acme/"]
    assert sorted(tree.attachments) == [f"acme/{n}.md" for n in range(4)]
    assert _sound(tree) == ["zeta/good.yaml"]


def test_too_many_folders_and_entries_are_refused_by_name(tmp_path: Path) -> None:
    _write(tmp_path, *(f"acme/{n}/x.yaml" for n in range(9)), "zeta/good.yaml")
    assert _over(read_tree(tmp_path, limits=TreeLimits(owner_folders=5))) == ["acme/"]
    assert _over(read_tree(tmp_path, limits=TreeLimits(entries=5))) == ["acme/"]
    assert _over(read_tree(tmp_path, limits=TreeLimits(depth=1))) == [f"acme/{n}/" for n in range(9)]


def test_what_never_ends_is_not_read(tmp_path: Path) -> None:
    """A sparse file of 10 GiB, and what is not a file."""
    _write(tmp_path, "good.yaml", "a.yaml", "knowledge.md")
    os.truncate(tmp_path / "a.yaml", 10 << 30)
    os.truncate(tmp_path / "knowledge.md", 10 << 30)
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.yaml")
    tree = read_tree(tmp_path)
    assert len(tree.files["a.yaml"].data) < 2 << 20
    problems = {path: file.problem.code for path, file in tree.files.items() if file.problem}
    assert problems == {"zero.yaml": "not-a-file", "pipe.yaml": "not-a-file"}
    assert tree.attachments["knowledge.md"].problem
