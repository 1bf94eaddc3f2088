"""Validation of a tree: every violation of every file. No database, and no key needed."""

from __future__ import annotations

from collections.abc import Iterator

from agentsd.control.validation.checker import Checker, CheckResult
from agentsd.control.validation.recipients import Recipients
from agentsd.core.errors import InvalidManifests
from agentsd.core.manifest.document import parse_document
from agentsd.core.plan.conflicts import (
    find_conflicts,
    find_owner_conflicts,
    find_reused_seals,
    find_reused_tokens,
    find_user_conflicts,
)
from agentsd.core.violations import Violation, sort_violations
from agentsd.files.tree import Tree


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


def _check_across_files(checked: list[CheckResult]) -> Iterator[Violation]:
    manifests = [one.manifest for one in checked if one.manifest]
    users = [one.user for one in checked if one.user]
    found = (
        *find_conflicts(manifests, {}, ""),
        *find_reused_seals(manifests, {}),
        *find_owner_conflicts(manifests, users, ()),
        *find_reused_tokens(users, {}),
        *find_user_conflicts(users, {}, ""),
    )
    for quarantined in found:
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
