"""Owner of a folder, from ``_user.yaml``, and the rules that its schema cannot express."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import Any

from agentsd.core.access import parse_expiry
from agentsd.core.manifest.document import Document
from agentsd.core.manifest.user import User
from agentsd.core.names import (
    DEFAULT_OWNER,
    USER_FILE,
    derive_owner,
    derive_user_id,
    find_slug_problem,
    suggest_slug,
)
from agentsd.core.violations import Violation


def parse_user(document: Document) -> User:
    """Return the owner that a valid ``_user.yaml`` describes."""
    username = derive_owner(document.path)
    return User(
        id=derive_user_id(username),
        username=username,
        email=document.value.get("email"),
        tokens=tuple(document.value.get("tokens", ())),
        path=document.path,
        data=document.data,
    )


def check_user(document: Document) -> Iterator[Violation]:
    """Check that only the top-level file may list admins, and that others are in an owner's folder."""
    owner = derive_owner(document.path)
    at_top = "/" not in document.path
    if problem := find_slug_problem(owner):
        hint = f"rename the folder, for example to {suggest_slug(owner)}"
        yield Violation(document.path, "slug-invalid", problem, hint)
    if document.path.count("/") > 1 or (owner == DEFAULT_OWNER and not at_top):
        right = USER_FILE if owner == DEFAULT_OWNER else f"{owner}/{USER_FILE}"
        message = "a user file belongs at the top or in an owner's own folder"
        yield Violation(document.path, "user-misplaced", message, f"move it to {right}")
    listed = document.value.get("tokens")
    tokens = listed if isinstance(listed, list) else []
    for index, token in enumerate(tokens):
        if isinstance(token, Mapping):
            yield from _check_token(document, index, token, tokens[:index], at_top)


def _check_token(
    document: Document, index: int, token: Mapping[str, Any], earlier: Sequence[Any], at_top: bool
) -> Iterator[Violation]:
    """Check one token; ``earlier``: the tokens above it in the file."""
    if not at_top and token.get("role") == "admin":
        pointer = ("tokens", index, "role")
        hint = f"use editor, or ask for the token in the top-level {USER_FILE}"
        yield document.violation(pointer, "user-admin", "only the top-level file may list admins", hint)
    if isinstance(expires := token.get("expires"), str) and parse_expiry(expires) == -inf:
        pointer = ("tokens", index, "expires")
        hint = "write a day such as '2027-01-31': the last on which it is valid"
        yield document.violation(pointer, "user-expires", "there is no such day or time", hint)
    for field in ("name", "sha256"):
        value = token.get(field)
        if value is not None and any(isinstance(t, Mapping) and t.get(field) == value for t in earlier):
            message = f"a token above has the same {field}"
            hint = "give each token a name and a value of its own: agentsd token create NAME"
            yield document.violation(("tokens", index, field), "user-token-twice", message, hint)
