"""The tree of a commit, read from git's objects, is the tree that a checkout of it would be."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agentsd.core.errors import ConfigError
from agentsd.core.manifest.document import MAX_BYTES
from agentsd.files.git.command import run
from agentsd.files.git.sparse import mark_absent
from agentsd.files.git.tree_reader import CommitReader
from agentsd.files.tree import ATTACHMENT_MAX, Tree, read_tree
from tests.files.git.remote import Origin, new_origin
from tests.files.git.repositories import git

NAMES = (
    "a.yaml",
    "b.yml",
    "_user.yaml",
    "faq.md",
    "acme",
    "x",
    ".hidden",
    ".git.yaml",
    "notes.bin",
    "d.yaml",
)
TARGETS = (
    "a.yaml",
    "../a.yaml",
    "acme",
    "..",
    "x/faq.md",
    "../x/faq.md",
    "../acme",
    "../..",
    "/etc/passwd",
    "gone",
    "../../out.yaml",
    ".",
)
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
TREES = st.dictionaries(PATHS, st.one_of(st.integers(0, 3), st.sampled_from(TARGETS)), max_size=12)


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Origin]:
    """With one commit."""
    return new_origin(tmp_path)


def told(tree: Tree) -> tuple[list[object], list[object]]:
    """Everything of a tree that counts, in its order.

    Of a link that leaves the folder a commit does not tell what is there, or whether anything is.
    """
    return (
        [
            (path, file.data, file.digest, bool(file.problem))
            for path, file in tree.files.items()
            if path[-1] != "/"
        ],
        [(path, file.data, file.digest) for path, file in tree.attachments.items() if not file.problem],
    )


def plant(root: Path, files: dict[str, int | str]) -> None:
    """A folder of these files (numbers) and links (texts)."""
    for path, content in files.items():
        full = root / path
        try:
            full.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, int):
                full.write_text(f"name: N{content}\n")
            else:
                full.symlink_to(content)
        except (FileExistsError, NotADirectoryError, IsADirectoryError, FileNotFoundError, OSError):
            continue


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=TREES)
@example(files={"x": "x/faq.md"})
async def test_a_commit_reads_as_its_checkout(tmp_path: Path, files: dict[str, int | str]) -> None:
    """Names, hidden files, links within and out of the tree, and their faults, in the same order."""
    top = Path(mkdtemp(dir=tmp_path))
    try:
        plant(top / "agents.d", files)
        (top / "agents.d").mkdir(exist_ok=True)
        (top / "agents.d/zz.yaml").write_text("name: Z\n")
        (top / "out.yaml").write_text("name: Outside\n")
        git(top, "init", "--quiet")
        git(top, "add", "--all", "--force", ".")
        git(top, "commit", "--quiet", "--message", "x")

        async def ask(*arguments: str, stdin: bytes = b"") -> object:
            from agentsd.files.git.command import run

            return await run(top, *arguments, stdin=stdin)

        read = await CommitReader(ask).read("HEAD", "agents.d")  # type: ignore[arg-type]
        assert told(read) == told(read_tree(top / "agents.d"))
    finally:
        shutil.rmtree(top)


async def test_what_did_not_change_is_not_read_again(origin: Origin) -> None:
    """The very same value for the same blob at the same path, and one git less where nothing is new."""
    mirror = origin.mirror()
    reader = CommitReader(mirror.git)
    first = await reader.read(await mirror.fetch(), "agents.d")
    commit = origin.commit({"support.yaml": "name: Changed\n"})
    await mirror.fetch()
    second = await reader.read(commit, "agents.d/")
    assert second.files["acme/sales.yaml"] is first.files["acme/sales.yaml"]
    assert second.files["support.yaml"].data == b"name: Changed\n"
    gone = origin.commit({"support.yaml": None})
    await mirror.fetch()
    assert list((await reader.read(gone, "agents.d")).files) == ["acme/sales.yaml"]


async def test_edits_read_as_everything_does(origin: Origin) -> None:
    """Commit by commit, one reader finds what a fresh one finds: edits, moves, modes, links, large files."""
    mirror = origin.mirror()
    reader = CommitReader(mirror.git)
    steps: list[dict[str, str | None]] = [
        {"faq.md": "one", "name with blank.yaml": "name: B\n", ".hidden.yaml": "name: H\n"},
        {"faq.md": "two", "support.yaml": "name: Two\n", ".hidden.yaml": "name: I\n"},
        {"name with blank.yaml": "name: C\n", "acme/sales.yaml": "#" * (MAX_BYTES + 1)},
        {"acme/sales.yaml": "name: Small again\n"},
        {"faq.md": None, "new.yaml": "name: New\n"},
        {"new.yaml": "name: Newer\n"},
    ]
    for step in steps:
        origin.commit(step)
        commit = await mirror.fetch()
        read = await reader.read(commit, "agents.d")
        assert told(read) == told(await CommitReader(mirror.git).read(commit, "agents.d"))
    assert told(read) == told(read_tree(origin.place.folder))
    (origin.place.folder / "support.yaml").chmod(0o755)
    origin.commit({})
    (origin.place.folder / "new.yaml").unlink()
    (origin.place.folder / "new.yaml").symlink_to("support.yaml")
    for step in ({}, {"support.yaml": "name: Linked\n"}):
        commit = origin.commit(step)
        await mirror.fetch()
        assert told(await reader.read(commit, "agents.d")) == told(read_tree(origin.place.folder))


async def test_the_folder_may_be_anywhere(origin: Origin) -> None:
    """The top of the repository is a folder, too; one that is missing is an error that says so."""
    mirror = origin.mirror()
    commit = await mirror.fetch()
    reader = CommitReader(mirror.git)
    assert list((await reader.read(commit, ".")).files) == [
        "agents.d/acme/sales.yaml",
        "agents.d/support.yaml",
    ]
    with pytest.raises(ConfigError, match="has no folder nowhere"):
        await reader.read(commit, "nowhere")
    with pytest.raises(ConfigError, match="has no folder"):
        await reader.read(commit, "agents.d/support.yaml")


async def test_what_cannot_be_a_manifest(origin: Origin) -> None:
    """Too large, or a pointer to where Git LFS keeps it: told by name, and the others are read."""
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
    origin.commit(
        {"big.yaml": "#" * (MAX_BYTES + 1), "faq.md": pointer, "large.md": "x" * (ATTACHMENT_MAX + 1)}
    )
    mirror = origin.mirror()
    tree = await CommitReader(mirror.git).read(await mirror.fetch(), "agents.d")
    problems = {path: file.problem for path, file in {**tree.files, **tree.attachments}.items()}
    assert {path: one.code for path, one in problems.items() if one} == {
        "big.yaml": "too-large",
        "large.md": "too-large",
        "faq.md": "unreadable",
    }


async def test_no_filter_of_the_repository_runs(origin: Origin, tmp_path: Path) -> None:
    """Neither line ends nor ``filter=`` attributes touch what is read: it is what was committed."""
    origin.commit({".gitattributes": "*.yaml filter=evil text eol=crlf\n", "a.yaml": "name: A\n"})
    mirror = origin.mirror()
    tree = await CommitReader(mirror.git).read(await mirror.fetch(), "agents.d")
    assert tree.files["a.yaml"].data == b"name: A\n"


async def test_what_leads_out_is_named(tmp_path: Path) -> None:
    """A linked folder outside and a submodule: a violation of that owner, who then loses nothing."""
    top, other = tmp_path / "top", tmp_path / "other"
    for place in (top, other):
        (place / "agents.d").mkdir(parents=True)
        (place / "agents.d/a.yaml").write_text("name: A\n")
        git(place, "init", "--quiet")
        git(place, "add", "--all")
        git(place, "commit", "--quiet", "--message", "x")
    (top / "agents.d/acme").symlink_to("../../shared/acme")
    (top / "agents.d/LICENSE").symlink_to("../LICENSE")
    git(top, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "agents.d/beta")
    git(top, "add", "--all")
    git(top, "commit", "--quiet", "--message", "y")

    async def ask(*arguments: str, stdin: bytes = b"") -> object:
        return await run(top, *arguments, stdin=stdin)

    tree = await CommitReader(ask).read("HEAD", "agents.d")  # type: ignore[arg-type]
    found = {path: file.problem and file.problem.code for path, file in tree.files.items()}
    assert found == {"a.yaml": None, "acme/": "symlink-outside", "beta/": "submodule"}


async def test_what_is_not_checked_out_is_named(tmp_path: Path) -> None:
    """A sparse checkout, and a submodule that was not fetched."""
    (tmp_path / "agents.d/acme").mkdir(parents=True)
    for name in ("agents.d/a.yaml", "agents.d/acme/b.yaml", "agents.d/acme/.hidden.yaml"):
        (tmp_path / name).write_text("name: A\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "x")
    tree = read_tree(tmp_path / "agents.d")
    assert await mark_absent(tree) is tree
    git(tmp_path, "update-index", "--add", "--cacheinfo", f"160000,{'ab' * 20},agents.d/beta")
    (tmp_path / ".gitmodules").touch()
    git(tmp_path, "sparse-checkout", "set", "--no-cone", "/agents.d/a.yaml", "/.gitmodules")
    found = await mark_absent(read_tree(tmp_path / "agents.d"))
    codes = {path: file.problem and file.problem.code for path, file in found.files.items()}
    assert codes == {"a.yaml": None, "acme/b.yaml": "not-checked-out", "beta/": "not-checked-out"}
