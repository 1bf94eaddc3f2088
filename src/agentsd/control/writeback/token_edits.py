"""Plans of token commands: edits of ``_user.yaml``, made as those of manifests are.

Only a token's hash ever gets here. An edit that would lock out the caller needs ``force``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from agentsd.control.writeback.commands import CreateToken, RevokeToken, TokenCommand
from agentsd.control.writeback.delivery import EditPlan, UserChange, WriteAction
from agentsd.control.writeback.errors import LockedOut, TokenExists, TokenNotFound, WriteConflict
from agentsd.control.writeback.intent_log import FileEdit
from agentsd.control.writeback.manifest_editor import read_document
from agentsd.control.writeback.user_file import rewrite_user_file
from agentsd.core.access import LOCAL, Principal, parse_expiry
from agentsd.core.api_tokens import add_token, remove_token, user_path
from agentsd.core.manifest.document import Document
from agentsd.core.names import DEFAULT_OWNER, USER_FILE, derive_owner, derive_user_id
from agentsd.core.violations import suggest_word
from agentsd.files.tree import Tree

_UserValue = Mapping[str, Any]


def plan_token_edit(who: Principal, command: TokenCommand, tree: Tree) -> EditPlan:
    """Return the plan of adding or revoking a token.

    Raises ``TokenExists``, ``TokenNotFound``, ``LockedOut``, ``WriteConflict``, ``ConfigError``.
    """
    path = user_path(command.owner)
    before = _read_user_file(tree, path)
    old = {} if before is None else before.value
    action: WriteAction
    match command:
        case CreateToken():
            action, name, sha256 = "token-create", command.entry["name"], command.entry["sha256"]
            new = _add_token(who, command, tree, old)
        case RevokeToken():
            action, name = "token-revoke", command.name
            token = _find_token(old, command.owner, name)
            if not command.force:
                _refuse_lockout(who, command, token, _list_tokens(old))
            new, sha256 = remove_token(old, name), str(token.get("sha256", ""))
    after = rewrite_user_file(tree.root, path, before, new)
    edit = FileEdit(path, None if before is None else before.data, after.data)
    new_owner = command.owner != DEFAULT_OWNER and not (tree.root / command.owner).is_dir()
    change = UserChange(old, new, sha256, new_owner)
    documents = (after,) if before is None else (before, after)
    slug = f"{command.owner}/{name}"
    return EditPlan(
        action, derive_user_id(command.owner), slug, path, (edit,), documents=documents, user=change
    )


def _add_token(who: Principal, command: CreateToken, tree: Tree, old: _UserValue) -> dict[str, Any]:
    entry = command.entry
    if any(token.get("name") == entry["name"] for token in _list_tokens(old)):
        told = f"a token {entry['name']!r} of {command.owner} already exists"
        raise TokenExists(told, hint="use another name, or revoke that one first")
    _refuse_known_hash(tree, entry["sha256"])
    if who == LOCAL and entry["role"] != "admin" and not command.force:
        raise LockedOut(
            "it would be the first token, without an admin: no other could be created here",
            hint="create an admin's first; if intended, use ?force=true",
        )
    return add_token(old, entry)


def _refuse_lockout(
    who: Principal, command: RevokeToken, token: _UserValue, tokens: Iterable[_UserValue]
) -> None:
    if token.get("sha256") == who.digest.hex():
        raise LockedOut(
            "this request uses that token: it would lock you out", hint="if intended, use ?force=true"
        )
    admins = [one for one in tokens if command.owner == DEFAULT_OWNER and _is_admin_token(one)]
    if not command.others and admins == [token]:
        raise LockedOut(
            "it is the last admin's token: no other could be created here",
            hint="create another admin's first; if intended, use ?force=true",
        )


def _read_user_file(tree: Tree, path: str) -> Document | None:
    """Return the user file as it is; None where it does not exist."""
    if tree.overlay and tree.overlay + path in tree.files:
        told = f"{tree.overlay}{path} replaces {path} here"
        raise WriteConflict(told, hint="edit it manually: agentsd token writes the other one")
    file = tree.files.get(path)
    if file is None:
        return None
    if file.problem:
        raise WriteConflict(f"{path} cannot be read: {file.problem.message}", hint=file.problem.hint)
    return read_document(path, file.data)


def _refuse_known_hash(tree: Tree, sha256: str) -> None:
    """Refuse a hash that another owner lists: such a token is valid for nobody.

    Searches the text, since parsing all files takes long.
    """
    for file in tree.files.values():
        if file.path.endswith(USER_FILE) and sha256.encode() in file.data:
            told = f"this token is already listed for {derive_owner(file.path)}"
            raise TokenExists(told, hint="create a new one: tokens must differ")


def _find_token(value: _UserValue, owner: str, name: str) -> _UserValue:
    tokens = _list_tokens(value)
    for token in tokens:
        if token.get("name") == name:
            return token
    near = suggest_word(name, [str(token.get("name")) for token in tokens])
    raise TokenNotFound(f"there is no token {name!r} of {owner}", hint=near or "GET /api/users lists them")


def _list_tokens(value: _UserValue) -> list[_UserValue]:
    """Return the entries; the checker reports what is wrong with anything but a list of tokens."""
    tokens = value.get("tokens")
    return [token for token in tokens if isinstance(token, Mapping)] if isinstance(tokens, list) else []


def _is_admin_token(token: _UserValue) -> bool:
    expires = token.get("expires")
    end = parse_expiry(None if expires is None else str(expires))
    return token.get("role") == "admin" and (end is None or end > time.time())
