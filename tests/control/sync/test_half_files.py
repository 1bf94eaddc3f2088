"""Files that are written in place, in pieces: half of one never goes live."""

from __future__ import annotations

import asyncio
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from agentsd.files.atomic import lease
from agentsd.store.queries.agents import load_stored
from tests.control.daemon import Daemon, daemon
from tests.control.place import Place, echo

WHOLE = echo(1, reply="bye")
HALF = WHOLE[: WHOLE.index("  reply")]
"""Valid YAML by itself, and less of an agent."""


@contextmanager
def writer(path: Path, text: str, mode: str = "w") -> Iterator[IO[str]]:
    """A process that has written ``text`` and goes on later."""
    with path.open(mode) as file:
        file.write(text)
        file.flush()
        yield file


async def other_edit(running: Daemon, reply: str) -> None:
    """Edits of other files go on meanwhile, and nothing else is applied with them."""
    running.place.write({"acme/b.yaml": echo(2, reply=reply)})
    await running.applied(("update", "acme/b"))
    assert running.quarantined == []


@pytest.mark.parametrize("mode", ["w", "r+", "a"])
async def test_half_of_a_manifest_waits_for_the_rest(running: Daemon, mode: str) -> None:
    path = running.place.root / "a.yaml"
    first, rest = ("greeting: Good\n", "language: en\n") if mode == "a" else (HALF, WHOLE[len(HALF) :])
    with writer(path, first, mode) as file:
        file.truncate()
        await other_edit(running, "one")
        file.write(rest)
        file.flush()
        await other_edit(running, "two")
    await running.applied(("update", "a"))


async def test_half_of_a_new_manifest(running: Daemon) -> None:
    """It is neither an agent nor a refused file before it is whole."""
    with writer(running.place.root / "new.yaml", HALF.replace("0000000", "000000a")) as file:
        await other_edit(running, "one")
        file.write(WHOLE[len(HALF) :])
    await running.applied(("create", "new"))


async def test_half_of_what_a_manifest_names(running: Daemon) -> None:
    """A prompt, a folder's defaults, a user file."""
    root = running.place.root
    running.place.write({"acme/p.md": "Be kind.", "acme/b.yaml": echo(2, extra="system_prompt_file: p.md\n")})
    await running.applied(("update", "acme/b"))
    with writer(root / "acme/p.md", "Be") as prompt, writer(root / "_defaults.yaml", "lang") as defaults:
        running.place.write({"acme/c.yaml": echo(4)})
        await running.applied(("create", "acme/c"))
        prompt.write(" quick.")
        defaults.write("uage: fr\n")
    await running.applied(("update", "acme/b"), ("update", "acme/c"), ("update", "a"))


async def test_half_of_a_user_file(running: Daemon) -> None:
    """Its second token is not revoked while the file is written anew."""
    tokens = "".join(f"  - {{name: {name}, sha256: {name * 64}, role: editor}}\n" for name in ("a", "b"))
    path = running.place.root / "acme/_user.yaml"
    running.place.write({"acme/_user.yaml": f"tokens:\n{tokens}"})
    await running.until(lambda report: report.outcome and report.outcome.head)  # a round of its own
    await other_edit(running, "one")
    with writer(path, f"tokens:\n{tokens.splitlines()[0]}\n") as file:
        await other_edit(running, "two")
        async with running.place.database.transaction(snapshot=True) as connection:
            users = (await load_stored(connection, "main")).users
        assert len(users["acme"].tokens) == 2
        file.write(tokens.splitlines()[1])


async def test_a_removed_file_that_returns_in_pieces(running: Daemon) -> None:
    """As an editor does it that moves the old one away: an update, and no deletion before it."""
    path = running.place.root / "a.yaml"
    path.rename(path.with_name("a.yaml~"))
    with writer(path, HALF) as file:
        await asyncio.sleep(0.3)
        file.write(WHOLE[len(HALF) :])
    await running.applied(("update", "a"))


async def test_a_mapped_file(running: Daemon) -> None:
    """Closed, and still being written by its mapping."""
    path = running.place.root / "a.yaml"
    file = path.open("r+")
    file.truncate(len(WHOLE))
    mapped = mmap.mmap(file.fileno(), 0)
    file.close()
    mapped[: len(HALF)] = HALF.encode()
    await other_edit(running, "one")
    mapped[:] = WHOLE.encode()
    mapped.close()
    await running.applied(("update", "a"))


async def test_what_stays_open_is_reported(running: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """The earlier version serves, and the file is named as refused until its writer is done."""
    monkeypatch.setattr(lease, "STALLED_SECONDS", 0.1)
    with writer(running.place.root / "a.yaml", HALF) as file:
        report = await running.until(lambda _: running.quarantined)
        assert report.outcome is not None
        [refused] = report.outcome.plan.quarantined
        assert (refused.path, refused.violations[0].code) == ("a.yaml", "being-written")
        assert await running.place.slugs() == {"a", "acme/b"}
        file.write(WHOLE[len(HALF) :])
    await running.applied(("update", "a"))


async def test_a_start_while_a_file_is_written(place: Place) -> None:
    """What is stored stays, though the file is not known to this process."""
    place.write({"a.yaml": echo(1)})
    await place.sync()
    with writer(place.root / "a.yaml", HALF) as file:
        async with daemon(place) as one:
            assert await place.slugs() == {"a"}
            file.write(WHOLE[len(HALF) :])
            file.close()
            await one.applied(("update", "a"))


async def test_an_atomic_save_beside_a_writer(running: Daemon) -> None:
    """The name is another file by then: it is taken at once, whatever the old one's writer does."""
    path = running.place.root / "a.yaml"
    with writer(path, HALF):
        path.with_name("a.tmp").write_text(WHOLE)
        path.with_name("a.tmp").replace(path)
        await running.applied(("update", "a"))


async def test_without_leases(running: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """On other systems, and for files of others: a rename counts at once, a file in pieces when it rests."""
    monkeypatch.setattr(lease, "_take_lease", lambda _: None)
    path = running.place.root / "a.yaml"
    with writer(path, HALF) as file:
        path.with_name("b.tmp").write_text(echo(2, reply="one"))
        await asyncio.sleep(0.02)  # the clock of file systems is a coarse one
        path.with_name("b.tmp").replace(running.place.root / "acme/b.yaml")
        await running.applied(("update", "acme/b"))
        file.write(WHOLE[len(HALF) :])
    await running.applied(("update", "a"))
