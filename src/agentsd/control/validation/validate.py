"""Validation of a tree: every violation of every file. No database, and no key needed."""

from __future__ import annotations

from collections.abc import Iterator

from agentsd.control.validation.checker import Checker, CheckResult
from agentsd.control.validation.parallel_checks import check_in_workers
from agentsd.control.validation.recipients import Recipients
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
    good = await check_in_workers(checker, list(tree.files.values()), beside)
    checked = [
        good.get(path) or await checker.check_wholly(file, beside) for path, file in tree.files.items()
    ]
    found = [violation for one in checked for violation in one.violations]
    found += _check_across_files(checked)
    if recipients:
        found += _check_recipients(tree, checked, recipients)
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


def _check_recipients(tree: Tree, checked: list[CheckResult], recipients: Recipients) -> Iterator[Violation]:
    for one in checked:
        if one.manifest and one.manifest.data:
            yield from recipients.check(tree.root, parse_document(one.path, one.manifest.data))
