"""Validation of a tree: every violation of every file. No database, and no key needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agentsd.control.validation.checker import Checker, CheckResult
from agentsd.control.validation.recipients import Recipients
from agentsd.core.errors import InvalidManifests
from agentsd.core.manifest.document import parse_document
from agentsd.core.names import derive_owner
from agentsd.core.plan.checked_files import CheckedFiles, KnownOwners
from agentsd.core.plan.plan import Quarantined, StoredState
from agentsd.core.violations import Violation, filter_errors, sort_violations
from agentsd.files.tree import Tree

_NOTHING_STORED = StoredState(0, {}, {})


async def validate_tree(
    tree: Tree, checker: Checker, recipients: Recipients | None = None
) -> tuple[Violation, ...]:
    """Return errors and warnings of all files in one run, in the order of files and lines."""
    beside = tree.beside
    checked = [await checker.check_wholly(file, beside) for file in tree.files.values()]
    found = [violation for one in checked for violation in one.violations]
    found += _check_across_files(checked)
    if recipients:
        found += check_recipients(tree, recipients)
    return sort_violations(found)


def gather_files(
    checked: Iterable[CheckResult], source: str = "", *, prune: bool = True, corrected: bool = False
) -> CheckedFiles:
    """Return the checked files of ``source`` for the rules that hold between them."""
    results = list(checked)
    bad = [
        Quarantined(one.path, sort_violations(errors))
        for one in results
        if (errors := filter_errors(one.violations))
    ]
    manifests = tuple(one.manifest for one in results if one.manifest)
    users = {one.user.username: one.user for one in results if one.user}
    owners = frozenset(derive_owner(one.path) for one in results)
    return CheckedFiles(manifests, users, tuple(bad), source, prune, corrected, owners)


def _check_across_files(checked: Iterable[CheckResult]) -> Iterator[Violation]:
    """Yield the violations of both steps for every file: a person corrects them all at once."""
    files = gather_files(checked)
    for quarantined in (
        *files.find_conflicts({}),
        *files.find_foreign_claims(_NOTHING_STORED, KnownOwners()),
    ):
        yield from quarantined.violations


def check_recipients(tree: Tree, recipients: Recipients) -> Iterator[Violation]:
    """Warn about every sealed file, layers included, that is sealed to others than its rules name."""
    for file in tree.files.values():
        if b"sops" not in file.data:
            continue
        try:
            yield from recipients.check(tree.root, parse_document(file.path, file.data))
        except InvalidManifests:
            continue  # reported by the check of the file
