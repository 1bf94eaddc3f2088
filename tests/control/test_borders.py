"""One border per file, per source of knowledge and per report: whatever is raised there stops nobody else."""

from __future__ import annotations

from typing import Any

import pytest

from agentsd.control.sync.syncer import RoundReport, Syncer
from agentsd.control.validation.checker import Checker, CheckResult
from agentsd.core.manifest.document import Document
from agentsd.files.tree import SourceFile
from agentsd.providers.catalog import default_catalog
from agentsd.sops.identities import Identities
from agentsd.sops.opener import Opener
from tests.control.place import Place, echo, operations

RAG = "rag:\n  sources: [manual.pdf]\n"
PDFS = {
    "cut": b"%PDF-1.7\n1 0 obj\n<<",
    "loop": b"%PDF-1.7\n1 0 obj<</Type/Catalog/Pages 1 0 R/Kids[1 0 R]/Count 9>>endobj\n"
    b"trailer<</Root 1 0 R>>",
    "odd": b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids 5/Count -1>>"
    b"endobj\ntrailer<</Root 1 0 R/Size 3>>\nstartxref\n0\n%%EOF",
    "encrypted": b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Kids[]/Count 0>>endobj"
    b"\ntrailer<</Root 1 0 R/Encrypt<</Filter/X/V 99>>>>\nstartxref\n0\n%%EOF",
}


class Panic(BaseException):
    """What native code raises beside ``Exception``, as pyo3 does."""


class Broken(Checker):
    """Of a fault that nobody foresaw, in one file."""

    def _check_manifest(self, file: SourceFile, *rest: Any) -> CheckResult:
        if b"boom" in file.data:
            raise Panic("sk-canary")
        return super()._check_manifest(file, *rest)

    def _check_layer(self, file: SourceFile) -> CheckResult:
        if b"boom" in file.data:
            raise OverflowError("sk-canary")
        return super()._check_layer(file)

    def document(self, *given: Any) -> Document:
        """What is stored."""
        if b"stored" in given[1]:
            raise LookupError("sk-canary")
        return super().document(*given)


@pytest.fixture
def broken(place: Place) -> Place:
    """A place whose checker has faults."""
    return place.again(Broken(default_catalog(), Opener(Identities())))


async def test_a_check_that_fails_is_that_files_violation(broken: Place) -> None:
    """Named by type and place; the others are applied, and nothing is pruned."""
    await broken.sync({"a.yaml": echo(1), "acme/b.yaml": echo(2), "beta/c.yaml": echo(3)})
    changes = {
        "a.yaml": echo(1, reply="boom"),
        "beta/_defaults.yaml": "description: boom\n",
        "acme/b.yaml": echo(2, reply="bye"),
    }
    outcome = await broken.sync(changes, strict=False)
    assert ("update", "acme/b") in operations(outcome)
    found = {v.path: v for one in outcome.plan.quarantined for v in one.violations}
    assert found["a.yaml"].code == found["beta/_defaults.yaml"].code == "unchecked"
    assert "Panic" in found["a.yaml"].message
    assert "canary" not in str(found)


async def test_a_stored_document_that_cannot_be_read_is_replaced(broken: Place) -> None:
    await broken.sync({"a.yaml": echo(1, reply="stored"), "b.yaml": echo(2)})
    outcome = await broken.sync({"a.yaml": echo(1, reply="new"), "b.yaml": echo(2, reply="new")})
    assert operations(outcome) == {("update", "a"), ("update", "b")}


@pytest.mark.parametrize("kind", PDFS)
async def test_a_pdf_that_cannot_be_read_stops_only_its_agent(place: Place, kind: str) -> None:
    files = {"a.yaml": echo(1), "acme/b.yaml": echo(2, extra=RAG), "acme/manual.pdf": PDFS[kind]}
    outcome = await place.sync(files, strict=False)
    assert ("create", "a") in operations(outcome)
    for one in outcome.plan.quarantined:
        assert "acme/manual.pdf" in str(one.violations)


async def test_a_report_that_fails_changes_nothing_about_its_round(place: Place) -> None:
    async def hear(report: RoundReport) -> None:
        raise BrokenPipeError

    place.write({"a.yaml": echo(1)})
    report = await Syncer(place.root, place.reconciler, place.options, hear).round(None)
    assert report.error is None
    assert report.outcome
    assert report.outcome.head
