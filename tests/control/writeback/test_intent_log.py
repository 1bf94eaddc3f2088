"""Write-backs that are killed at every step there is, and notes that others put there."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml

from agentsd.control.writeback import intent_log as intents
from agentsd.control.writeback.delivery import Delivery, EditPlan, GitOptions
from agentsd.control.writeback.errors import WriteConflict
from agentsd.control.writeback.intent_log import FileEdit, Intent
from agentsd.files.atomic.compare_and_swap import FileRefused
from agentsd.files.git.commit import Author, CommitSpec
from tests.control.place import Place, echo
from tests.files.git.repositories import git

A, B = (echo(number, name=name, extra="# the end\n") for number, name in ((1, "a"), (2, "b")))
ORDER = CommitSpec("agentsd: set-default b", author=Author("acme/ci", "ci@acme.example"))
SOUGHT = ("intent.json", "ctypes.dlsym", "after fsync", "os.remove")


def with_default(text: str) -> str:
    """The manifest as its owner's default."""
    head, name, rest = text.partition("name: ")
    first, _, others = rest.partition("\n")
    return f"{head}{name}{first}\ndefault: true\n{others}"


@dataclass
class Scene:
    """A tree whose default is ``a`` or ``b``, and processes that move it, and are killed."""

    place: Place
    mode: str
    child: asyncio.subprocess.Process

    async def do(self, edit: str, *, kill_at: int, slug: str = "") -> tuple[int, str]:
        """(exit code, where it was killed)."""
        assert self.child.stdin
        assert self.child.stdout
        order = {"do": edit, "slug": slug, "kill_at": kill_at}
        self.child.stdin.write(json.dumps(order).encode() + b"\n")
        told = json.loads(await self.child.stdout.readline())
        return told["code"], told["at"]

    def whole(self) -> None:
        """Each file is as it was or as it is to be."""
        for path, text in (("a.yaml", A), ("b.yaml", B)):
            assert (self.place.root / path).read_text() in (text, with_default(text))

    def default(self) -> str:
        """The one default of the files."""
        files = {path.stem: yaml.safe_load(path.read_text()) for path in self.place.root.glob("*.yaml")}
        assert files.keys() == {"a", "b"}
        (found,) = (slug for slug, value in files.items() if value.get("default") is True)
        return found

    async def agreed(self) -> str:
        """The one default; there is nothing left of what was killed."""
        self.whole()
        found = self.default()
        stored = (await self.place.stored()).agents.values()
        assert [row.slug for row in stored if row.is_default] == [found]
        assert sorted(path.name for path in self.place.root.iterdir()) == ["a.yaml", "b.yaml"]
        if self.mode == "git":
            top = self.place.root.parent
            assert git(top, "status", "--porcelain") == ""
            assert [path.name for path in (top / ".git").iterdir() if "lock" in path.name] == []
            assert [path.name for path in (top / ".git").rglob("*agentsd*")] == []
        return found


@asynccontextmanager
async def scene_of(place: Place, url: str, mode: str) -> AsyncIterator[Scene]:
    await place.sync({"a.yaml": with_default(A), "b.yaml": B})
    if mode == "git":
        git(place.root.parent, "init", "-q", "-b", "main")
        git(place.root.parent, "add", "agents.d")
        git(place.root.parent, "commit", "-q", "-m", "first")
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.control.crasher", str(place.root), mode),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "AGENTSD_DATABASE_URL": url, "HOME": str(place.root.parent)},
    )
    try:
        yield Scene(place, mode, child)
    finally:
        assert child.stdin
        child.stdin.close()
        await child.wait()


async def kill_and_recover(place: Place, url: str, mode: str, step: int) -> None:
    """``set-default`` changes two files: both or none, in one commit, wherever its process is killed."""
    places = []
    async with scene_of(place, url, mode) as scene:
        for number in range(1, 1000, step):
            before = await scene.agreed()
            other = "b" if before == "a" else "a"
            code, at = await scene.do("set-default", kill_at=number, slug=other)
            scene.whole()
            if code == 0:
                break
            assert code == -9, at
            places.append(at)
            assert (await scene.do("recover", kill_at=0))[0] == 0
            after = await scene.agreed()
            if mode == "git" and after != before:
                changed = git(place.root.parent, "show", "--format=%an", "--name-only", "HEAD").split()
                assert changed == ["default/local", "agents.d/a.yaml", "agents.d/b.yaml"]
        assert await scene.agreed() == other
    print(f"\n{mode}: killed at {len(places)} places, as before or finished each time", *places, sep="\n  ")
    assert step > 1 or [word for word in SOUGHT if not any(word in at for at in places)] == []


async def kill_recoveries(place: Place, url: str, mode: str, step: int) -> None:
    """Killed between the two files, then at the steps of what finishes it: it is finished all the same."""
    async with scene_of(place, url, mode) as scene:
        between = await find_between(scene)
        for number in range(1, 1000, step):
            before = await scene.agreed()
            assert await between_the_files(scene, before, between)
            code, at = await scene.do("recover", kill_at=number)
            scene.whole()
            if code == 0:
                break
            assert code == -9, at
            assert (await scene.do("recover", kill_at=0))[0] == 0
            assert await scene.agreed() != before
        assert await scene.agreed() != before
    print(f"\n{mode}: a recovery has {number} steps at least")
    assert number > 10


async def find_between(scene: Scene) -> int:
    """The place at which the first file is changed, and the second one not yet."""
    for number in range(1, 1000):
        if await between_the_files(scene, await scene.agreed(), number):
            assert (await scene.do("recover", kill_at=0))[0] == 0
            return number
        assert (await scene.do("recover", kill_at=0))[0] == 0
    raise AssertionError


async def between_the_files(scene: Scene, holder: str, number: int) -> bool:
    """Kill a ``set-default`` at a place. Says whether nobody is the default then."""
    code, _ = await scene.do("set-default", kill_at=number, slug="b" if holder == "a" else "a")
    assert code == -9
    return not any("default: true" in path.read_text() for path in scene.place.root.glob("*.yaml"))


@pytest.mark.parametrize("mode", [pytest.param("files", marks=pytest.mark.soak), "git"])
async def test_killed(place: Place, database_url: str, mode: str) -> None:
    """At every fifth step: as before, or finished."""
    await kill_and_recover(place, database_url, mode, 5)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", ["files", "git"])
async def test_killed_at_every_step(place: Place, database_url: str, mode: str) -> None:
    """As before, or finished."""
    await kill_and_recover(place, database_url, mode, 1)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", ["files", "git"])
async def test_killed_again_at_every_step_of_the_recovery(place: Place, database_url: str, mode: str) -> None:
    """It is finished all the same."""
    await kill_recoveries(place, database_url, mode, 1)


def left(root: Path, *edits: dict[str, Any], order: Any = None) -> Path:
    """A note as a killed process might have left it, or a stranger."""
    note = root / intents.INTENT_NAME
    note.write_text(json.dumps({"edits": edits, "commit": order}))
    return note


def edit(path: str, before: bytes | None, after: bytes) -> dict[str, Any]:
    """One file of a note."""
    digest = None if before is None else sha256(before).hexdigest()
    return {"path": path, "before": digest, "after": base64.b64encode(after).decode()}


@pytest.mark.parametrize(
    "path",
    [
        "../evil.yaml",
        "../envs/prod/x.yaml",
        "/tmp/evil.yaml",
        "a/../../evil.yaml",
        "_user.yaml",
        "run.sh",
        ".x.yaml",
        "",
    ],
)
async def test_a_note_writes_manifests_only(tmp_path: Path, path: str) -> None:
    """Who can get a note into a pull request can change what a pull request can, and nothing else."""
    root = tmp_path / "agents.d"
    root.mkdir()
    left(root, edit(path, None, b"name: evil\n"))
    assert not await Delivery(root, None).finish()
    assert [str(found) for found in tmp_path.rglob("*")] == [str(root)]


async def test_a_note_of_a_user_file_holds_no_text(tmp_path: Path) -> None:
    """So nobody becomes an admin by one: what was written is committed, and what was not is given up."""
    root = tmp_path / "agents.d"
    root.mkdir()
    git(tmp_path, "init", "-q", "-b", "main")
    for path in ("_user.yaml", "acme/_user.yaml"):
        intents.record_intent(root, Intent((FileEdit(path, None, b"email: a@b.example\n"),), ORDER))
        assert b"email" not in (root / intents.INTENT_NAME).read_bytes()
        assert await Delivery(root, GitOptions()).finish()
        assert [one.name for one in root.iterdir()] == []
    intents.record_intent(root, Intent((FileEdit("_user.yaml", None, b"email: a@b.example\n"),), ORDER))
    (root / "_user.yaml").write_text("email: a@b.example\n")
    assert await Delivery(root, GitOptions()).finish()
    assert git(tmp_path, "show", "--format=%an", "--name-only").split() == ["acme/ci", "agents.d/_user.yaml"]


@pytest.mark.parametrize("keyed_print", [None, "", "0" * 64, 7, "\udcff", "a copy"])
@pytest.mark.parametrize("repository", [True, False])
async def test_a_forged_note_makes_no_commit(tmp_path: Path, keyed_print: object, repository: bool) -> None:
    """Neither with a made-up print, nor with one of another note or of another tree."""
    root, other = tmp_path / "agents.d", tmp_path / "other"
    root.mkdir()
    other.mkdir()
    (root / "a.yaml").write_text(A)
    if repository:
        git(tmp_path, "init", "-q", "-b", "main")
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-q", "-m", "first")
    intents.record_intent(other, Intent((FileEdit("a.yaml", A.encode(), B.encode()),), ORDER))
    note = json.loads((other / intents.INTENT_NAME).read_text())
    if keyed_print != "a copy":
        note["print"] = keyed_print
    (other / intents.INTENT_NAME).unlink()
    (root / intents.INTENT_NAME).write_text(json.dumps(note))
    assert not await Delivery(root, GitOptions() if repository else None).finish()
    assert (root / "a.yaml").read_text() == A
    assert not (root / intents.INTENT_NAME).exists()
    if repository:
        assert git(tmp_path, "log", "--format=%s").split() == ["first"]
        assert stat.S_IMODE((tmp_path / ".git/write-back.key").stat().st_mode) == 0o600


@pytest.mark.parametrize("change", ["author", "path", "after"])
async def test_a_note_of_ours_that_was_changed_is_not_ours(tmp_path: Path, change: str) -> None:
    """Whatever is changed in it."""
    (tmp_path / "a.yaml").write_text(A)
    intents.record_intent(tmp_path, Intent((FileEdit("a.yaml", A.encode(), B.encode()),), ORDER))
    note = json.loads((tmp_path / intents.INTENT_NAME).read_text())
    if change == "author":
        note["commit"]["author"] = ["default/admin", "admin@example.org"]
    else:
        note["edits"][0][change] = {"path": "b.yaml", "after": None}[change]
    (tmp_path / intents.INTENT_NAME).write_text(json.dumps(note))
    assert not await Delivery(tmp_path, None).finish()
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("a.yaml", A)]


async def test_a_link_into_another_owners_folder_is_not_written_through(tmp_path: Path) -> None:
    """Neither by an edit nor by what finishes one."""
    (tmp_path / "acme").mkdir()
    (tmp_path / "beta").mkdir()
    (tmp_path / "acme/a.yaml").write_text(A)
    (tmp_path / "beta/sub").symlink_to("../acme")
    edits = (FileEdit("beta/sub/a.yaml", A.encode(), B.encode()),)
    with pytest.raises(WriteConflict, match="its owner's folder"):
        await Delivery(tmp_path, None).carry_out(EditPlan("update", UUID(int=1), "b", "b", edits), None)
    intents.record_intent(tmp_path, Intent(edits, None))
    await Delivery(tmp_path, None).finish()
    assert (tmp_path / "acme/a.yaml").read_text() == A


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"edits": [1], "commit": null}', '{"edits": [], "commit": {}}', "\0", "9"]
)
async def test_a_note_without_sense_is_dropped(tmp_path: Path, text: str) -> None:
    """Nothing is changed, and no start or write fails because of it."""
    (tmp_path / intents.INTENT_NAME).write_text(text)
    assert not await Delivery(tmp_path, None).finish()
    assert list(tmp_path.iterdir()) == []


async def test_what_somebody_changed_since_is_theirs(tmp_path: Path) -> None:
    """Left as it is, and out of the commit that is still to be made."""
    root = tmp_path / "agents.d"
    root.mkdir()
    (root / "a.yaml").write_text(with_default(A))
    (root / "b.yaml").write_text(B)
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    edits = (
        FileEdit("a.yaml", with_default(A).encode(), A.encode()),
        FileEdit("b.yaml", B.encode(), with_default(B).encode()),
    )
    intents.record_intent(root, Intent(edits, ORDER))
    (root / "b.yaml").write_text("name: mine\n")
    assert await Delivery(root, GitOptions()).finish()
    assert (root / "a.yaml").read_text() == A
    assert (root / "b.yaml").read_text() == "name: mine\n"
    assert git(tmp_path, "show", "--format=%an", "--name-only", "HEAD").split() == [
        "acme/ci",
        "agents.d/a.yaml",
    ]
    assert git(tmp_path, "status", "--porcelain") == "M agents.d/b.yaml"


async def test_an_error_takes_back_what_was_done(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The first file is as it was when the second one cannot be written; no note stays, and no warning."""
    (tmp_path / "a.yaml").write_text(A)
    (tmp_path / "b").write_text("a file where a folder should be")
    edits = (FileEdit("a.yaml", A.encode(), B.encode()), FileEdit("b/c.yaml", None, B.encode()))
    decided = EditPlan("update", UUID(int=1), "a", "a.yaml", edits)
    with pytest.raises(FileRefused):
        await Delivery(tmp_path, None).carry_out(decided, None)
    assert (tmp_path / "a.yaml").read_text() == A
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.yaml", "b"]
    assert caplog.records == []


def put_note(root: Path, kind: str) -> None:
    """Something at the place of a note that no writer has left."""
    note = root / intents.INTENT_NAME
    match kind:
        case "folder":
            (note / "inner").mkdir(parents=True)
        case "link":
            note.symlink_to("/etc/passwd")
        case "nowhere":
            note.symlink_to("/nonexistent")
        case "loop":
            note.symlink_to(note.name)
        case "fifo":
            os.mkfifo(note)
        case "deep":
            note.write_text("[" * 100_000)
        case "bytes":
            note.write_bytes(b"\xff\xfe")
        case "huge":
            with note.open("wb") as file:
                file.truncate(4 << 30)
        case "number":
            note.write_text('{"commit": null, "edits": ' + "9" * 5000 + "}")


@pytest.mark.parametrize(
    "kind", ["folder", "link", "nowhere", "loop", "fifo", "deep", "bytes", "huge", "number"]
)
def test_what_is_not_a_note_is_put_aside(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever stands there: it is said once, nothing waits for it, and the next note can be written."""
    put_note(tmp_path, kind)
    assert intents.finish_intent(tmp_path) is None
    assert "is invalid and is dropped" in caplog.text
    caplog.clear()
    assert intents.finish_intent(tmp_path) is None
    assert not caplog.text
    intents.record_intent(tmp_path, Intent((FileEdit("a.yaml", None, b"name: x\n"),)))
    assert intents.finish_intent(tmp_path) == (("a.yaml",), None)
