"""``_user.yaml``: the owner of a folder, and the rules that its schema cannot say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agentsd.core.document import Document
from agentsd.core.names import DEFAULT_OWNER, USER_FILE, owner_of, user_id_of
from agentsd.core.user import User
from agentsd.core.violations import Violation


def user_of(document: Document) -> User:
    """The owner that a valid ``_user.yaml`` describes."""
    username = owner_of(document.path)
    return User(
        id=user_id_of(username),
        username=username,
        email=document.value.get("email"),
        tokens=tuple(document.value.get("tokens", ())),
        path=document.path,
        data=document.data,
    )


def user_rules(document: Document) -> Iterator[Violation]:
    """Only the top-level file makes admins; a user file stands at the top or in an owner's folder."""
    owner = owner_of(document.path)
    at_top = "/" not in document.path
    if document.path.count("/") > 1 or (owner == DEFAULT_OWNER and not at_top):
        right = USER_FILE if owner == DEFAULT_OWNER else f"{owner}/{USER_FILE}"
        message = "a user file belongs at the top or in an owner's own folder"
        yield Violation(document.path, "user-misplaced", message, f"move it to {right}")
    tokens = document.value.get("tokens")
    for index, token in enumerate(tokens if isinstance(tokens, list) else ()):
        if not at_top and isinstance(token, Mapping) and token.get("role") == "admin":
            pointer = ("tokens", index, "role")
            hint = f"use editor, or ask for the token in the top-level {USER_FILE}"
            yield document.violation(pointer, "user-admin", "only the top-level file makes admins", hint)
