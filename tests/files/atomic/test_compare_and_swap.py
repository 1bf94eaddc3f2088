"""Compare and replace against real files, real processes, real kills."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from ast import literal_eval
from pathlib import Path

import pytest

from agentsd.files.atomic.compare_and_swap import (
    DiskFull,
    FileChanged,
    FileRefused,
    compare_and_swap,
    recover_files,
    replace_file,
)
from tests.full_disk import full_disk

COUNT = """
import json, os, sys
from pathlib import Path
from agentsd.files.atomic.compare_and_swap import FileChanged, compare_and_swap
path, me, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
while rounds:
    before = path.read_bytes()
    counts = json.loads(before)
    counts[me] = counts.get(me, 0) + 1
    try:
        compare_and_swap(path, before, json.dumps(counts).encode())
    except FileChanged:
        continue
    rounds -= 1
"""

EDITOR = """
import json, os, sys
from pathlib import Path
path, rounds = Path(sys.argv[1]), int(sys.argv[2])
for number in range(rounds):  # as vim does: a new file, renamed over; it reads nothing and waits for nobody
    new = path.with_name(f"editor~{number}")
    new.write_text(json.dumps({"editor": number}))
    new.replace(path)
"""

KILLED = """
import os, signal, sys
from pathlib import Path
from agentsd.files.atomic import compare_and_swap as module
path = Path(sys.argv[1])
expected, data, foreign = (eval(text) for text in sys.argv[2:5])
def once(steps):
    left = steps
    def step(frame, event, argument):
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.setprofile(step)
    try:
        module.compare_and_swap(path, expected, data)
    except module.FileChanged:
        pass
    sys.setprofile(None)
before, seen = module.read_content, 0
def outsider(name):  # somebody renames another file over, right behind our last comparison
    global seen
    found, seen = before(name), seen + 1
    if foreign is not None and seen == 2:
        new = path.with_name("editor~")
        new.write_bytes(foreign)
        new.replace(path)
    return found
module.read_content = outsider
for steps in range(0, 10_000, 3):
    path.unlink(missing_ok=True)
    if expected is not None:
        path.write_bytes(expected)
    child = os.fork()
    if not child:
        once(steps)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    module.read_content = before
    module.recover_files(path.parent)
    module.read_content = outsider
    held = path.read_bytes() if path.exists() else None
    print(repr((status, held, sorted(os.listdir(path.parent)))))
    if status == 0:
        break
"""


def start(script: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_made_replaced_removed(tmp_path: Path) -> None:
    """Folders are made on the way, the mode stays, nothing is left beside."""
    file = tmp_path / "acme/eu/a.yaml"
    compare_and_swap(file, None, b"one")
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    file.chmod(0o640)
    compare_and_swap(file, b"one", b"two")
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (b"two", 0o640)
    assert names(file.parent) == ["a.yaml"]
    compare_and_swap(file, b"two", None)
    assert names(file.parent) == []


@pytest.mark.parametrize("there", [None, b"", b"theirs"])
@pytest.mark.parametrize("expected", [None, b"", b"mine"])
@pytest.mark.parametrize("data", [None, b"", b"new"])
def test_what_is_not_as_expected_stays(
    tmp_path: Path, there: bytes | None, expected: bytes | None, data: bytes | None
) -> None:
    """Every combination of what is there and what was thought to be."""
    file = tmp_path / "a.yaml"
    if there is not None:
        file.write_bytes(there)
    if there == expected:
        compare_and_swap(file, expected, data)
        assert (file.read_bytes() if file.exists() else None) == data
    else:
        with pytest.raises(FileChanged):
            compare_and_swap(file, expected, data)
        assert (file.read_bytes() if file.exists() else None) == there
    assert set(names(tmp_path)) <= {"a.yaml"}


def test_links(tmp_path: Path) -> None:
    """What a link leads to is edited; removed, both go."""
    (tmp_path / "real").mkdir()
    file, link = tmp_path / "real/a.yaml", tmp_path / "link.yaml"
    file.write_bytes(b"one")
    link.symlink_to("real/a.yaml")
    compare_and_swap(link, b"one", b"two")
    assert (link.is_symlink(), file.read_bytes()) == (True, b"two")
    compare_and_swap(link, b"two", None)
    assert (os.path.lexists(link), file.exists()) == (False, False)
    link.symlink_to("link.yaml")
    with pytest.raises(FileRefused):
        compare_and_swap(link, None, b"x")


@pytest.mark.parametrize("name", ["a" * 250 + ".yaml", "é" * 120 + ".yaml", "a\n b.yaml"])
def test_any_name_that_a_file_may_have(tmp_path: Path, name: str) -> None:
    """Names of up to 255 bytes, although the temporary one is longer."""
    compare_and_swap(tmp_path / name, None, b"one")
    compare_and_swap(tmp_path / name, b"one", b"two")
    assert (tmp_path / name).read_bytes() == b"two"
    assert names(tmp_path) == [name]


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A folder, a pipe (which must not be waited for), a file where a folder should be."""
    (tmp_path / "folder.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "file").write_bytes(b"")
    for name in ("folder.yaml", "pipe.yaml", "file/a.yaml"):
        with pytest.raises(FileRefused) as caught:
            compare_and_swap(tmp_path / name, None, b"x")
        assert caught.value.hint


def test_an_open_writer_is_not_robbed(tmp_path: Path) -> None:
    """A program that writes into the file itself keeps its file: what it writes next is not lost."""
    file = tmp_path / "a.yaml"
    file.write_bytes(b"one")
    with file.open("r+b") as editor:
        with pytest.raises(FileChanged):
            compare_and_swap(file, b"one", b"two")
        editor.write(b"edited")
    assert file.read_bytes() == b"edited"
    assert names(tmp_path) == ["a.yaml"]


def test_no_update_is_lost_among_processes(tmp_path: Path) -> None:
    """Six processes count in one file without any lock: every count arrives."""
    file = tmp_path / "a.yaml"
    file.write_text("{}")
    writers = [start(COUNT, file, name, 40) for name in "abcdef"]
    assert [writer.wait() for writer in writers] == [0] * 6
    assert json.loads(file.read_bytes()) == dict.fromkeys("abcdef", 40)
    assert names(tmp_path) == ["a.yaml"]


def test_an_editor_between_is_not_overwritten(tmp_path: Path) -> None:
    """An editor renames over all the time: what it wrote last stands, with the counts that came after it."""
    file = tmp_path / "a.yaml"
    file.write_text("{}")
    parts = [start(COUNT, file, name, 60) for name in "abc"] + [start(EDITOR, file, 400)]
    assert [part.wait() for part in parts] == [0] * 4
    last = json.loads(file.read_bytes())
    assert last["editor"] == 399
    assert names(tmp_path) == ["a.yaml"]


def test_a_reader_always_finds_a_whole_file(tmp_path: Path) -> None:
    """While others write, and an editor is overruled now and then, the file is there and it is JSON."""
    file = tmp_path / "a.yaml"
    file.write_text("{}")
    parts = [start(COUNT, file, name, 60) for name in "ab"] + [start(EDITOR, file, 300)]
    while any(part.poll() is None for part in parts):
        json.loads(file.read_bytes())
    assert [part.wait() for part in parts] == [0] * 3


FOREIGN = b"somebody else's"


@pytest.mark.parametrize(
    ("expected", "data", "foreign"),
    [
        (b"old", b"new", None),
        (None, b"new", None),
        (b"old", None, None),
        (b"old", b"new", FOREIGN),
        (b"old", None, FOREIGN),
    ],
)
def test_killed_anywhere(
    tmp_path: Path, expected: bytes | None, data: bytes | None, foreign: bytes | None
) -> None:
    """After a kill -9 at every third call and a sweep: the old file or the new one, and nothing beside.

    Where somebody renamed another file over right behind the comparison, that file is what stays.
    """
    file = tmp_path / "a.yaml"
    call = [sys.executable, "-c", KILLED, str(file), repr(expected), repr(data), repr(foreign)]
    out = subprocess.run(call, stdout=subprocess.PIPE, check=True).stdout
    ends = [literal_eval(line) for line in out.decode().splitlines()]
    assert len(ends) > 20
    assert ends[-1][0] == 0
    for _, held, left in ends:
        assert held in ({expected, foreign} if foreign else {expected, data})
        assert set(left) <= {"a.yaml", "editor~"}
    assert ends[-1][1] == (foreign or data)


def test_a_sweep_leaves_the_living_and_strangers_alone(tmp_path: Path) -> None:
    """What a dead process left goes, at any depth; a living one's stays, and so does what is not ours."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    (tmp_path / "acme/.git").mkdir(parents=True)
    ours = [f".a.yaml.{gone.pid}.tmp", f"acme/.b.yaml.{gone.pid}-1.tmp"]
    others = [
        f".a.yaml.{os.getpid()}.tmp",
        f"a.yaml.{gone.pid}.tmp",
        ".x.tmp",
        "acme/c.yaml",
        f"acme/.git/.a.{gone.pid}.tmp",
    ]
    for name in (*ours, *others):
        (tmp_path / name).write_bytes(b"x")
    recover_files(tmp_path)
    assert [name for name in (*ours, *others) if (tmp_path / name).exists()] == others


def test_replaced_whatever_it_held(tmp_path: Path) -> None:
    """No comparison, and nothing left beside."""
    replace_file(tmp_path / "a.yaml", b"one")
    replace_file(tmp_path / "a.yaml", b"two")
    assert ((tmp_path / "a.yaml").read_bytes(), names(tmp_path)) == (b"two", ["a.yaml"])


def test_a_full_disk_leaves_everything_as_it_was(tmp_path: Path) -> None:
    """Made or replaced: an error of its own, that may pass; no temporary file and no folder stays."""
    file = tmp_path / "a.yaml"
    file.write_bytes(b"one")
    with full_disk(100_000):
        for path, expected in ((file, b"one"), (tmp_path / "acme/eu/b.yaml", None)):
            with pytest.raises(DiskFull) as caught:
                compare_and_swap(path, expected, b"x" * 200_000)
            assert caught.value.retryable
            assert (names(tmp_path), file.read_bytes()) == (["a.yaml"], b"one")
