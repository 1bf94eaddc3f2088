"""Checks on all cores: what workers accept is what one process accepts, whatever happens to a worker."""

from __future__ import annotations

import os
import pickle
import signal
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import pytest

from agentsd.control.validation import parallel_checks
from agentsd.control.validation.checker import Checker, CheckResult
from agentsd.control.validation.parallel_checks import FILES_MIN, ResultUnpickler, check_in_workers
from agentsd.files.tree import SourceFile, Tree, read_tree
from tests.control.place import Place, echo, groq, make_checker
from tests.runtime.world import Keys

SEALED = 4


@pytest.fixture
def tree(tmp_path: Path, keys: Keys) -> Tree:
    """Sealed and plain manifests on a layer, one that names a text, and three that are not good."""
    files = {f"acme/s{n}.yaml": keys.seal(groq(n)) for n in range(1, SEALED + 1)}
    files |= {f"beta/e{n}.yaml": echo(100 + n) for n in range(1, 9)}
    files |= {"_defaults.yaml": "description: From the layer\n", "notes.md": "# Hours\n\nNine to five.\n"}
    files["broken.yaml"] = "id: [\n"
    files["forged.yaml"] = keys.seal(groq(200)).replace("ENC[AES256_GCM,data:", "ENC[AES256_GCM,data:AAAA", 1)
    files["textual.yaml"] = echo(201, extra="knowledge:\n  sources: [nowhere.md]\n")
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    return read_tree(tmp_path)


def check_here(checker: Checker, tree: Tree) -> dict[str, CheckResult]:
    """What one process finds."""
    return {path: checker.check(file, tree.beside) for path, file in tree.files.items()}


def list_workers() -> list[int]:
    """The worker processes of this process."""
    found = []
    for path in Path("/proc/self/task").glob("*/children"):
        for pid in map(int, path.read_text().split()):
            with suppress(OSError):
                if b"agentsd.sandbox.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
    return found


async def test_workers_accept_what_one_process_accepts(tree: Tree, keys: Keys) -> None:
    """Good files have the same result; those in doubt are left over. No key is in reach of a neighbour."""
    checker, seen = make_checker(keys), list[bytes]()
    before = set(list_workers())

    def look(_: int) -> None:
        for pid in set(list_workers()) - before:
            with suppress(OSError):
                seen.extend(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("environ", "cmdline"))

    files = list(tree.files.values())
    found = await check_in_workers(checker, files, tree.beside, files_min=1, workers=2, progress=look)
    alone = check_here(checker, tree)
    left = {"_defaults.yaml", "broken.yaml", "forged.yaml", "textual.yaml"}
    assert {path: one for path, one in alone.items() if path not in left} == found
    assert seen
    assert not any(b"AGE-SECRET-KEY" in text or b"SOPS" in text for text in seen)
    assert set(list_workers()) <= before


async def test_a_worker_alone_checks_and_answers_sealed(tree: Tree, keys: Keys) -> None:
    """What a worker sends back contains no secret, and the file's bytes are those that were read."""
    checker, files = make_checker(keys), list(tree.files.values())
    rules = parallel_checks._pack_rules(checker, tree.beside)
    assert rules is not None
    reply = parallel_checks.check_files(rules, files)
    assert b"sk-canary" not in reply
    assert len(ResultUnpickler(BytesIO(reply)).load()) == SEALED + 8


async def test_a_killed_worker_leaves_its_files_to_the_caller(tree: Tree, keys: Keys) -> None:
    """``kill -9`` of every worker: what was found is right, and the rest can still be checked."""
    checker, killed = make_checker(keys), list[int]()
    before = set(list_workers())

    def kill(_: int) -> None:
        for pid in set(list_workers()) - before - set(killed):
            killed.append(pid)
            os.kill(pid, signal.SIGKILL)

    files = list(tree.files.values())
    found = await check_in_workers(checker, files, tree.beside, files_min=1, workers=2, progress=kill)
    assert killed
    alone = check_here(checker, tree)
    assert all(alone[path] == one for path, one in found.items())


async def test_a_large_round_reports_every_fault(place: Place, keys: Keys) -> None:
    """A round that is checked on all cores plans what any other does, and refuses the same files."""
    keyed = place.again(make_checker(keys))
    files = {f"e{n}.yaml": echo(n) for n in range(1, FILES_MIN + 1)}
    keyed.write({**files, "broken.yaml": "id: [\n"})
    outcome = await keyed.plan(strict=False)
    assert len(outcome.plan.changes) == FILES_MIN
    assert [one.path for one in outcome.plan.quarantined] == ["broken.yaml"]


@pytest.mark.parametrize("value", [os.system, SourceFile, Path("/")])
def test_a_worker_cannot_answer_with_code(value: object) -> None:
    """A reply contains checked manifests only; anything else is refused before it is made."""
    with pytest.raises(pickle.UnpicklingError):
        ResultUnpickler(BytesIO(pickle.dumps(value))).load()


async def test_without_a_key_or_with_few_files_there_are_no_workers(tree: Tree, keys: Keys) -> None:
    """Nothing could be verified, or it would take longer to start them."""
    files = list(tree.files.values())
    assert await check_in_workers(make_checker(None), files, tree.beside, files_min=1, workers=2) == {}
    assert await check_in_workers(make_checker(keys), files, tree.beside, workers=2) == {}
