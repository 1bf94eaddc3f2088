"""Tokens created and revoked through the API: edits of ``_user.yaml``, made as those of agents are.

Only a token's hash ever gets here. An edit that would lock out the caller needs ``force``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from agentsd.control.writeback.delivery import EditPlan, WriteAction, WriteResult
from agentsd.control.writeback.errors import Forbidden, LockedOut, TokenExists, TokenNotFound, WriteConflict
from agentsd.control.writeback.intent_log import FileEdit
from agentsd.control.writeback.manifest_editor import read_document
from agentsd.control.writeback.user_file import rewrite_user_file
from agentsd.control.writeback.writer import WriteBack
from agentsd.core.access import LOCAL, Principal, parse_expiry
from agentsd.core.api_tokens import add_token, list_tokens, remove_token, user_path
from agentsd.core.names import DEFAULT_OWNER, USER_FILE, derive_owner, derive_user_id
from agentsd.core.violations import suggest_word
from agentsd.files.tree import Tree

_UserValue = Mapping[str, Any]
_EditUser = Callable[[Tree, _UserValue], tuple[dict[str, Any], str]]
"""A user file's value → its new value, and the hash of the token that is added or removed."""


@dataclass(frozen=True, slots=True)
class UserWriteResult:
    """Result of an edit of a user file."""

    written: WriteResult
    value: _UserValue  # of the file as it is now: on a branch, that is as it was
    sha256: str  # of the token that came or went
    new_owner: bool  # there was no such folder


class TokenOperations:
    """Operations on the user files of one folder.

    ``others``: the server has tokens of admins that are in no user file.
    """

    def __init__(self, writeback: WriteBack, *, others: bool) -> None:
        self._writeback = writeback
        self._others = others

    async def create(
        self, who: Principal, owner: str, entry: Mapping[str, Any], *, force: bool = False
    ) -> UserWriteResult:
        """Add a token, as ``core.api_tokens.make_token_entry`` makes it.

        Raises ``TokenExists``, ``LockedOut``, ``Forbidden``, ``ConfigError``, and as the edit of an agent.
        """

        def edit(tree: Tree, value: _UserValue) -> tuple[dict[str, Any], str]:
            if any(token.get("name") == entry["name"] for token in _list_tokens(value)):
                told = f"a token {entry['name']!r} of {owner} already exists"
                raise TokenExists(told, hint="use another name, or revoke that one first")
            _refuse_known_hash(tree, entry["sha256"])
            if who == LOCAL and entry["role"] != "admin" and not force:
                raise LockedOut(
                    "it would be the first token, without an admin: no other could be created here",
                    hint="create an admin's first; if intended, use ?force=true",
                )
            return add_token(value, entry), entry["sha256"]

        return await self._edit(who, owner, "token-create", entry["name"], edit)

    async def revoke(self, who: Principal, owner: str, name: str, *, force: bool = False) -> UserWriteResult:
        """Revoke a token. Raises ``TokenNotFound``, and as ``create`` does."""

        def edit(_: Tree, value: _UserValue) -> tuple[dict[str, Any], str]:
            token = _find_token(value, owner, name)
            if not force:
                self._refuse_lockout(who, owner, token, _list_tokens(value))
            return remove_token(value, name), str(token.get("sha256", ""))

        return await self._edit(who, owner, "token-revoke", name, edit)

    def _refuse_lockout(
        self, who: Principal, owner: str, token: _UserValue, tokens: Iterable[Mapping[str, Any]]
    ) -> None:
        if token.get("sha256") == who.digest.hex():
            raise LockedOut(
                "this request uses that token: it would lock you out", hint="if intended, use ?force=true"
            )
        admins = [one for one in tokens if owner == DEFAULT_OWNER and _is_admin_token(one)]
        if not self._others and admins == [token]:
            raise LockedOut(
                "it is the last admin's token: no other could be created here",
                hint="create another admin's first; if intended, use ?force=true",
            )

    async def _edit(
        self, who: Principal, owner: str, action: WriteAction, name: str, edit: _EditUser
    ) -> UserWriteResult:
        if not who.is_admin:
            raise Forbidden(
                "only admins may create and revoke tokens", hint="use a token with the role admin"
            )
        path, came = user_path(owner), _Result()

        async def decide(tree: Tree) -> EditPlan:
            before = _read_user_file(tree, path)
            came.old = {} if before is None else read_document(path, before).value
            came.new, came.sha256 = edit(tree, came.old)
            came.new_owner = owner != DEFAULT_OWNER and not (tree.root / owner).is_dir()
            after = rewrite_user_file(tree.root, path, before, came.new)
            edits = (FileEdit(path, before, after),)
            return EditPlan(action, derive_user_id(owner), f"{owner}/{name}", path, edits)

        written = await self._writeback.carry(who, owner, decide)
        value = came.old if written.version is None else came.new
        return UserWriteResult(written, value, came.sha256, came.new_owner)


@dataclass(slots=True)
class _Result:
    """Result of the last decision: it is made anew where the file changed meanwhile."""

    old: _UserValue = field(default_factory=dict)
    new: _UserValue = field(default_factory=dict)
    sha256: str = ""
    new_owner: bool = False


def user_view(
    username: str,
    email: str | None,
    source: str,
    path: str | None,
    version: int | None,
    tokens: Iterable[Mapping[str, Any]],
    now: datetime,
) -> dict[str, Any]:
    """Return an owner for the API: of a token its name, role and end, and nothing of its hash."""
    shown = list_tokens(username, list(tokens), now)
    return {
        "username": username,
        "email": email,
        "source": source,
        "path": path,
        "version": version,
        "tokens": [
            {"name": one.name, "role": one.role, "expires": one.expires, "expired": one.expired}
            for one in shown
        ],
    }


def _read_user_file(tree: Tree, path: str) -> bytes | None:
    """Return the user file as it is; None where it does not exist."""
    if tree.overlay and tree.overlay + path in tree.files:
        told = f"{tree.overlay}{path} replaces {path} here"
        raise WriteConflict(told, hint="edit it manually: agentsd token writes the other one")
    file = tree.files.get(path)
    if file is None:
        return None
    if file.problem:
        raise WriteConflict(f"{path} cannot be read: {file.problem.message}", hint=file.problem.hint)
    return file.data


def _refuse_known_hash(tree: Tree, sha256: str) -> None:
    """Refuse a hash that another owner lists: such a token is valid for nobody.

    Searches the text, since parsing all files takes long.
    """
    for file in tree.files.values():
        if file.path.endswith(USER_FILE) and sha256.encode() in file.data:
            told = f"this token is already listed for {derive_owner(file.path)}"
            raise TokenExists(told, hint="create a new one: tokens must differ")


def _find_token(value: _UserValue, owner: str, name: str) -> Mapping[str, Any]:
    tokens = _list_tokens(value)
    for token in tokens:
        if token.get("name") == name:
            return token
    near = suggest_word(name, [str(token.get("name")) for token in tokens])
    raise TokenNotFound(f"there is no token {name!r} of {owner}", hint=near or "GET /api/users lists them")


def _list_tokens(value: _UserValue) -> list[Mapping[str, Any]]:
    """Return the entries; the checker reports what is wrong with anything but a list of tokens."""
    tokens = value.get("tokens")
    return [token for token in tokens if isinstance(token, Mapping)] if isinstance(tokens, list) else []


def _is_admin_token(token: Mapping[str, Any]) -> bool:
    expires = token.get("expires")
    end = parse_expiry(None if expires is None else str(expires))
    return token.get("role") == "admin" and (end is None or end > time.time())
