"""``agentsd plan --against git:REF``: a branch's changes, without a database and without a key."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from agentsd.cli.compose.factories import load_settings, make_catalog, run
from agentsd.cli.output import get_stdout, print_json, print_lines, show_progress, show_violations
from agentsd.control.sync.branch_plan import BranchPlan, plan_branch
from agentsd.control.validation.checker import Checker
from agentsd.core.errors import ConfigError
from agentsd.core.names import escape_unprintable
from agentsd.core.text.plan_markdown import format_code, format_plan_markdown
from agentsd.core.text.render import format_plan, plan_to_json, summarise_plan
from agentsd.files.git.merge_base import read_merge_base_tree
from agentsd.files.tree import read_tree_at_rest
from agentsd.settings import Settings
from agentsd.sops.identities import Identities
from agentsd.sops.opener import Opener

_UNSUPPORTED_FLAGS = ("allow_older", "require_mac")


def plan_against(base: str, form: str, flags: Mapping[str, Any], *, detailed: bool) -> None:
    """Print what this folder would change in ``base``; exit with 1 if a file breaks a rule."""
    scheme, _, ref = base.partition(":")
    if scheme != "git" or not ref:
        raise ConfigError(
            f"--against {escape_unprintable(base)!r} does not name a tree",
            hint="for example: git:origin/main",
        )
    for name in _UNSUPPORTED_FLAGS:
        if flags[name]:
            option = name.replace("_", "-")
            raise ConfigError(f"--{option} cannot be used with --against", hint="omit one of the two")
    settings = load_settings(path=flags["path"], source=flags["source"], env=flags["env"])
    commit, compared = run(_compare_branch(settings, ref, prune=not flags["no_prune"]))
    refused = 0 if flags["allow_mass_delete"] else compared.mass_deletion
    _print_comparison(compared, form, f"{settings.path.as_posix().rstrip('/')}/", (ref, commit, refused))
    if compared.plan.quarantined:
        sys.exit(1)
    if detailed and not compared.plan.empty:
        sys.exit(2)


async def _compare_branch(settings: Settings, ref: str, *, prune: bool) -> tuple[str, BranchPlan]:
    with show_progress("reading"):
        commit, before = await read_merge_base_tree(settings.path, ref, settings.env)
        after = read_tree_at_rest(settings.path, env=settings.env)
    checker = Checker(
        make_catalog(), Opener(Identities()), trusted=settings.trusted_origins, limits=settings.engine_limits
    )
    return commit, plan_branch(before, after, checker, prune=prune)


def _print_comparison(compared: BranchPlan, form: str, prefix: str, base: tuple[str, str, int]) -> None:
    ref, commit, refused = base
    accident = (
        f"A sync would refuse to remove {refused} agents at once; to allow it: `sync --allow-mass-delete`."
    )
    if form == "json":
        print_json(
            {
                **plan_to_json(compared.plan),
                "against": {"ref": ref, "commit": commit},
                "refused_deletions": refused,
            }
        )
        return
    if form == "markdown":
        notes = [
            f"Against {format_code(ref)} at {format_code(commit[:12])}.",
            *([f"**{accident}**"] if refused else []),
        ]
        masker = make_catalog().make_masker()
        sys.stdout.write(format_plan_markdown(compared.plan, notes=notes, prefix=prefix, masker=masker))
        return
    if compared.warnings:
        show_violations(compared.warnings, prefix)
    lines = [*format_plan(compared.plan), *([(("yellow", f"  ! {accident}"),)] if refused else [])]
    counted = (
        ("bold", f"  {summarise_plan(compared.plan)} "),
        ("dim", f"(against {escape_unprintable(ref)}, {commit[:12]})"),
    )
    print_lines(get_stdout(), [*lines, counted])
