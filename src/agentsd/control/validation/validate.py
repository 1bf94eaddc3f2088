"""Validation of a tree: every violation of every file. No database, and no key needed."""

from __future__ import annotations

from collections.abc import Iterator

from agentsd.control.validation.checker import Checked, Checker
from agentsd.control.validation.recipients import Recipients
from agentsd.core.manifest.document import parse
from agentsd.core.plan.conflicts import (
    conflicts,
    owner_conflicts,
    reused_seals,
    reused_tokens,
    user_conflicts,
)
from agentsd.core.violations import Violation, in_order
from agentsd.files.tree import Tree


async def validate(
    tree: Tree, checker: Checker, recipients: Recipients | None = None
) -> tuple[Violation, ...]:
    """Return errors and warnings of all files in one run, in the order of files and lines."""
    beside = tree.beside
    checked = [await checker.check_wholly(file, beside) for file in tree.files.values()]
    found = [violation for one in checked for violation in one.violations]
    found += _across(checked)
    if recipients:
        found += _recipients(tree, checked, recipients)
    return in_order(found)


def _across(checked: list[Checked]) -> Iterator[Violation]:
    manifests = [one.manifest for one in checked if one.manifest]
    users = [one.user for one in checked if one.user]
    found = (
        *conflicts(manifests, {}, ""),
        *reused_seals(manifests, {}),
        *owner_conflicts(manifests, users, ()),
        *reused_tokens(users, {}),
        *user_conflicts(users, {}, ""),
    )
    for quarantined in found:
        yield from quarantined.violations


def _recipients(tree: Tree, checked: list[Checked], recipients: Recipients) -> Iterator[Violation]:
    for one in checked:
        if one.manifest and one.manifest.data:
            yield from recipients.check(tree.root, parse(one.path, one.manifest.data))
