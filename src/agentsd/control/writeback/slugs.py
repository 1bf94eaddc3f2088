"""Slugs of new manifests."""

from __future__ import annotations

from agentsd.control.writeback.errors import AgentExists
from agentsd.core.manifest.edit import InvalidEdit
from agentsd.core.names import DEFAULT_OWNER, SUFFIXES, find_slug_problem, suggest_slug
from agentsd.files.tree import Tree

_DERIVED_MAX = 100  # characters of a slug that is made from a name
_READ_MAX = 1000  # characters of the name that are read
_NUMBER_MAX = 999_999


def slug_from_name(owner: str, name: object) -> str:
    """Make a slug from a name, in the folder of its owner. Raises ``InvalidEdit`` where none is possible."""
    text = name[:_READ_MAX] if isinstance(name, str) else ""
    base = suggest_slug(text).replace("/", "-").lower()[:_DERIVED_MAX]
    slug = base if owner == DEFAULT_OWNER else f"{owner}/{base}"
    problem = find_slug_problem(f"{slug}-{_NUMBER_MAX}")  # whatever ``next_free_slug`` may try must be a slug
    if problem:
        raise InvalidEdit(f"user: {problem}", hint="send a slug", param="user")
    return slug


def next_free_slug(tree: Tree, slug: str) -> str:
    """Return ``slug``, or the first of ``slug-2``, ``slug-3`` … that no file has."""
    number, free = 1, slug
    while any(f"{free}{suffix}" in tree.files for suffix in SUFFIXES) or find_slug_problem(free):
        number += 1
        free = f"{slug}-{number}"
    return free


def check_slug(tree: Tree, slug: str) -> None:
    problem = find_slug_problem(slug)
    if problem:
        raise InvalidEdit(f"slug: {problem}", hint=f"for example: {suggest_slug(slug)}", param="slug")
    if any(f"{slug}{suffix}" in tree.files for suffix in SUFFIXES):
        raise AgentExists(f"the agent {slug!r} already exists", hint="change it with PUT or PATCH")
