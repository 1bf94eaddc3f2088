"""The snapshot file: the same comes back, or nothing at all."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.runtime.snapshot_cache import file as snapshotfile
from agentsd.runtime.snapshot_cache.format import (
    FORMAT_VERSION,
    BadSnapshot,
    CachedSnapshot,
    SnapshotOrigin,
    pack_snapshot,
    unpack_snapshot,
)
from agentsd.store.queries.users import OwnerTokens
from tests.runtime.snapshots import ORIGIN, kept_of, row_of

TOKENS = (OwnerTokens("acme", "acme/_user.yaml", ({"name": "ci", "sha256": "ab" * 32},), "a@example.org"),)


@given(st.integers(0, 200), st.sets(st.integers(0, 199)), st.integers(14, 90))
def test_what_was_kept_comes_back(count: int, older: set[int], size: int) -> None:
    """Byte for byte, shared layers once, and the documents that serve for broken ones with it."""
    olds = tuple(row_of(number, 0, size + 1) for number in sorted(older) if number < count)
    kept = replace(kept_of(3, count, size, TOKENS), older=olds)
    data = b"".join(pack_snapshot(kept, ORIGIN))
    back = unpack_snapshot(data + _sum(data))
    assert (back.head, back.rows, back.older, back.tokens) == (kept.head, kept.rows, olds, TOKENS)
    assert data.count(b"name: all\n") == (count > 1)


def test_a_file_of_the_format_before() -> None:
    """Its rows have no locks; all else comes back."""
    kept = kept_of(3, 5, tokens=TOKENS)
    head, *lines = b"".join(pack_snapshot(kept, ORIGIN)).split(b"\n", 4)
    assert head == b"agentsd snapshot"
    chunk = orjson.loads(lines[2])
    rows = [row[:-1] for row in chunk["rows"]]
    lines = [
        lines[0].replace(b'"format":2', b'"format":1'),
        lines[1],
        orjson.dumps({**chunk, "rows": rows}),
        lines[3],
    ]
    data = b"\n".join((head, *lines))
    assert unpack_snapshot(data + _sum(data)).rows == tuple(replace(row, locks=()) for row in kept.rows)


@given(st.integers(0, 5000), st.binary(min_size=1, max_size=3))
def test_no_change_goes_unnoticed(at: int, other: bytes) -> None:
    """Bytes changed, cut off or added."""
    data = b"".join(pack_snapshot(kept_of(1, 5, tokens=TOKENS), ORIGIN))
    data += _sum(data)
    at %= len(data)
    for broken in (data[:at] + other + data[at + len(other) :], data[:at], data + other):
        if broken != data:
            with pytest.raises(BadSnapshot):
                unpack_snapshot(broken)


def _sum(data: bytes) -> bytes:
    from hashlib import sha256

    return sha256(data).hexdigest().encode()


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


BROKEN: dict[str, Callable[[Path], object]] = {
    "damaged": _flip,
    "not a snapshot": lambda path: path.write_bytes(b"hello"),
    "other accounts can write it": lambda path: path.chmod(0o666),
    "regular file": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("why", BROKEN)
def test_a_file_that_cannot_be_trusted(tmp_path: Path, why: str) -> None:
    """Says what is wrong, and gives nothing."""
    path = tmp_path / "snapshot"
    snapshotfile.write_snapshot(path, kept_of(1, 3), ORIGIN, time.time())
    BROKEN[why](path)
    with pytest.raises(BadSnapshot, match=f"{why}|cannot be read"):
        snapshotfile.read_snapshot(path, ORIGIN)


@pytest.mark.parametrize(
    ("writer", "why"),
    [
        (replace(ORIGIN, database="other:5432/agentsd"), "another database"),
        (replace(ORIGIN, source="other"), "another database or source"),
        (replace(ORIGIN, schema="9999"), "newer schema"),
    ],
)
def test_a_file_of_somebody_else(tmp_path: Path, writer: SnapshotOrigin, why: str) -> None:
    """Another database's, another source's, or a newer program's; an older schema's is fine."""
    path = tmp_path / "snapshot"
    snapshotfile.write_snapshot(path, kept_of(1, 3), writer, time.time())
    with pytest.raises(BadSnapshot, match=why):
        snapshotfile.read_snapshot(path, ORIGIN)
    snapshotfile.write_snapshot(path, kept_of(1, 3), replace(ORIGIN, schema="0001"), time.time() + 1)
    assert snapshotfile.read_snapshot(path, ORIGIN)


def test_a_newer_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is not guessed at."""
    path = tmp_path / "snapshot"
    monkeypatch.setattr("agentsd.runtime.snapshot_cache.format.FORMAT_VERSION", FORMAT_VERSION + 1)
    snapshotfile.write_snapshot(path, kept_of(1, 3), ORIGIN, time.time())
    monkeypatch.undo()
    with pytest.raises(BadSnapshot, match="newer agentsd"):
        snapshotfile.read_snapshot(path, ORIGIN)


def test_who_heard_last_has_its_way(tmp_path: Path) -> None:
    """A replica that was frozen in the middle does not bring back what another one has replaced."""
    path, now = tmp_path / "deep" / "snapshot", time.time()
    assert snapshotfile.read_snapshot(path, ORIGIN) is None
    assert snapshotfile.write_snapshot(path, kept_of(2, 1), ORIGIN, now)
    assert not snapshotfile.write_snapshot(path, kept_of(1, 1), ORIGIN, now - 5)
    snapshotfile.clear_snapshot(path, now - 5)
    assert _version(path) == 2
    assert snapshotfile.confirm_snapshot(path, kept_of(2, 1).edition, now + 3)
    assert not snapshotfile.confirm_snapshot(path, kept_of(1, 1).edition, now + 9)
    found = snapshotfile.read_snapshot(path, ORIGIN)
    assert found
    assert abs(found[1] - now - 3) < 0.01
    snapshotfile.clear_snapshot(path, now + 4)
    assert snapshotfile.read_snapshot(path, ORIGIN) is None
    assert not snapshotfile.write_snapshot(path, kept_of(1, 1), ORIGIN, now)
    assert snapshotfile.write_snapshot(path, kept_of(3, 1), ORIGIN, now + 5)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["snapshot"]
    assert snapshotfile.write_snapshot(path, kept_of(4, 1), ORIGIN, now + 7200)  # by a wrong clock
    assert snapshotfile.write_snapshot(path, kept_of(5, 1), ORIGIN, now + 6)
    assert _version(path) == 5


def test_a_snapshot_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is not written, and leaves nothing behind; what was there stays."""
    path, now = tmp_path / "snapshot", time.time()
    snapshotfile.write_snapshot(path, kept_of(1, 1), ORIGIN, now)
    monkeypatch.setattr("agentsd.runtime.snapshot_cache.file.SNAPSHOT_MAX_BYTES", 5000)
    with pytest.raises(BadSnapshot, match="larger"):
        snapshotfile.write_snapshot(path, kept_of(2, 100), ORIGIN, now + 1)
    assert [one.name for one in tmp_path.iterdir()] == ["snapshot"]
    assert _version(path) == 1


def test_killed_in_the_middle_of_writing(tmp_path: Path) -> None:
    """Whenever the writer dies, one whole snapshot is there; what it left is swept away."""
    path, chance = tmp_path / "snapshot", random.Random(5)
    left = 0
    for _ in range(4):
        command = [sys.executable, "-m", "tests.runtime.snapshots", str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout
            assert writer.stdout.readline() == "written\n"
            size = chance.randrange(1 << 21)
            while _unfinished(tmp_path) <= size:
                pass
            writer.kill()
        left += len(list(tmp_path.iterdir())) - 1
        assert _version(path) in (1, 2)
        snapshotfile.remove_temp_files(path)
        assert list(tmp_path.iterdir()) == [path]
    assert left, "no kill came in the middle"


def _unfinished(folder: Path) -> int:
    """How much of the next snapshot is there."""
    for one in folder.glob(".snapshot.*"):
        with suppress(FileNotFoundError):
            return one.stat().st_size
    return 0


def _version(path: Path) -> int:
    found = snapshotfile.read_snapshot(path, ORIGIN)
    assert found
    kept: CachedSnapshot = found[0]
    assert len(list(kept.rows)) in (1, 2000)
    return kept.head.version
