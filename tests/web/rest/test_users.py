"""/api/users: who sees which tokens; made and revoked by an edit of a user file, and valid with the reply."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from agentsd.control.writeback.delivery import GitOptions
from agentsd.store.database import Database
from agentsd.web.middleware.auth import AccessPolicy, FileTokens
from tests.files.git.repositories import git
from tests.web.conftest import Make, Stack, echo
from tests.web.people import ADMIN, ALICE, ANN, DAN, GUS, LONG_AGO, User, settle, write_users

COMMENTED = """\
# Who may come in.
email: ops@acme.example  # on call

tokens:
  - name: editor  # Alice's
    sha256: {hash}
    role: editor
"""


def hashed(token: str) -> str:
    """As a user file lists it."""
    return sha256(token.encode()).hexdigest()


def bearer(token: str) -> dict[str, str]:
    """The header that shows it."""
    return {"Authorization": f"Bearer {token}"}


def body(token: str, name: str = "ci", **more: Any) -> dict[str, Any]:
    """What makes ``token`` known."""
    return {"name": name, "sha256": hashed(token), **more}


async def made(
    stack: Stack, owner: str, token: str, user: User | None = None, **more: Any
) -> tuple[int, Any]:
    """Make ``token`` known, as ``user``."""
    force = more.pop("force", "")
    return await stack.ask(
        "POST",
        f"/api/users/{owner}/tokens{force}",
        json=body(token, **more),
        headers=user.headers if user else {},
    )


async def revoked(stack: Stack, token: str, user: User, query: str = "") -> tuple[int, Any]:
    """Revoke ``owner/name``, as ``user``."""
    owner, name = token.split("/")
    return await stack.ask("DELETE", f"/api/users/{owner}/tokens/{name}{query}", headers=user.headers)


@pytest.fixture
async def town(make: Make) -> Stack:
    """A replica that writes files, with every owner and every user."""
    stack = await make(write_back="files")
    await settle(stack)
    return stack


async def test_an_admin_sees_every_owner(town: Stack) -> None:
    """The top level first; names, roles and ends of tokens, and nothing of their hashes."""
    status, told = await town.get("/api/users", headers=ADMIN.headers)
    assert status == 200
    assert [one["username"] for one in told["items"]] == ["default", "acme", "globex"]
    acme = told["items"][1]
    assert (acme["email"], acme["source"], acme["path"]) == ("ops@acme.example", "main", "acme/_user.yaml")
    assert acme["tokens"] == [
        {"name": "editor", "role": "editor", "expires": None, "expired": False},
        {"name": "viewer", "role": "viewer", "expires": None, "expired": False},
        {"name": "old", "role": "editor", "expires": LONG_AGO, "expired": True},
    ]
    for token in (ADMIN.token, ALICE.token):
        assert hashed(token)[:6] not in str(told)


async def test_owners_come_in_pages(town: Stack) -> None:
    """As every list: by ``next_cursor`` and by ``Link``, the top level first."""
    seen: list[str] = []
    path = "/api/users?limit=1"
    while path:
        async with town.client.get(town.url + path, headers=ADMIN.headers) as reply:
            page = await reply.json()
            following = reply.links.get("next")
        assert (page["next_cursor"] is None) is (following is None)
        seen += [one["username"] for one in page["items"]]
        path = following["url"].path_qs if following else ""
    assert seen == ["default", "acme", "globex"]
    status, problem = await town.get("/api/users?offset=1", headers=ADMIN.headers)
    assert (status, problem["param"]) == (400, "offset")


async def test_others_see_their_own(town: Stack) -> None:
    """Whatever the role."""
    for user in (ALICE, ANN, GUS, DAN):
        _, told = await town.get("/api/users", headers=user.headers)
        assert [one["username"] for one in told["items"]] == [user.owner]


async def test_an_owner_without_a_file_is_told(town: Stack) -> None:
    """A folder of agents is an owner, too."""
    town.write("initech/desk.yaml", echo("Desk"))
    await town.sync()
    _, told = await town.get("/api/users", headers=ADMIN.headers)
    (initech,) = [one for one in told["items"] if one["username"] == "initech"]
    assert (initech["path"], initech["tokens"]) == (None, [])


async def test_a_token_is_valid_with_the_reply_and_ends_with_it(town: Stack) -> None:
    """Made, used at once, revoked, and refused at once; comments and other lines stay as they were."""
    text = COMMENTED.format(hash=hashed(ALICE.token))
    town.write("acme/_user.yaml", text)
    await town.sync()
    status, user = await made(town, "acme", "a-new-token-of-ci", ADMIN, role="editor", expires="2999-01-31")
    assert status == 201, user
    assert user["tokens"][1] == {"name": "ci", "role": "editor", "expires": "2999-01-31", "expired": False}
    assert (user["write_back"]["mode"], user["write_back"]["path"]) == ("files", "acme/_user.yaml")
    assert user["write_back"]["message"] == ""
    now = (town.root / "acme/_user.yaml").read_text()
    assert now.startswith(text)
    assert "a-new-token-of-ci" not in now
    _, listed = await town.get("/api/users", headers=bearer("a-new-token-of-ci"))
    assert [{**one, "write_back": user["write_back"]} for one in listed["items"]] == [user]
    status, left = await revoked(town, "acme/ci", ADMIN)
    assert (status, [one["name"] for one in left["tokens"]]) == (200, ["editor"])
    assert (await town.get("/api/users", headers=bearer("a-new-token-of-ci")))[0] == 401
    assert (town.root / "acme/_user.yaml").read_text() == text


async def test_a_new_owner(town: Stack) -> None:
    """A folder and a file come to be, and the reply says that there was none."""
    status, user = await made(town, "hooli", "a-new-token-of-hooli", ADMIN)
    assert status == 201, user
    assert user["write_back"]["message"] == "the owner is new, with the folder agents.d/hooli"
    assert (town.root / "hooli/_user.yaml").is_file()
    assert (await town.get("/api/agents", headers=bearer("a-new-token-of-hooli")))[1]["total"] == 0


async def test_many_at_once(town: Stack) -> None:
    """None gets lost, and of two of one name one is refused."""
    names = ["a", "b", "c", "a"]
    told = await asyncio.gather(
        *(made(town, "acme", f"a-token-of-{i}", ADMIN, name=name) for i, name in enumerate(names))
    )
    assert sorted(status for status, _ in told) == [201, 201, 201, 409]
    _, listed = await town.get("/api/users", headers=ALICE.headers)
    assert {one["name"] for one in listed["items"][0]["tokens"]} >= {"a", "b", "c"}


WRONG: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "a name that is taken": ("acme", body("x", "editor"), 409, "token_exists"),
    "another owner's hash": ("acme", body(GUS.token), 409, "token_exists"),
    "an admin of an owner": ("acme", body("x", role="admin"), 422, "invalid_request"),
    "no such role": ("acme", body("x", role="root"), 422, "invalid_request"),
    "a name with a blank": ("acme", body("x", "my token"), 422, "invalid_request"),
    "a token for a hash": ("acme", {"name": "ci", "sha256": "agentsd_x"}, 422, "invalid_request"),
    "capitals": ("acme", {"name": "ci", "sha256": "A" * 64}, 422, "invalid_request"),
    "no day": ("acme", body("x", expires="2999-02-30"), 422, "invalid_request"),
    "a span": ("acme", body("x", expires="90d"), 422, "invalid_request"),
    "over": ("acme", body("x", expires=LONG_AGO), 422, "invalid_request"),
    "a field too many": ("acme", body("x") | {"token": "y"}, 422, "invalid_request"),
    "no owner's name": ("acme~sales", body("x"), 422, "invalid_request"),
    "a hidden folder": (".git", body("x"), 422, "invalid_request"),
}


async def test_what_is_refused_changes_nothing(town: Stack) -> None:
    """Neither a file nor a version; it is on record, where only admins read it."""
    _, before = await town.get("/api/users", headers=ADMIN.headers)
    for what, (owner, sent, status, code) in WRONG.items():
        path = f"/api/users/{owner}/tokens"
        got, problem = await town.ask("POST", path, json=sent, headers=ADMIN.headers)
        assert (got, problem["code"]) == (status, code), (what, problem)
    status, problem = await revoked(town, "acme/edito", ADMIN)
    assert (status, problem["code"], problem["hint"]) == (404, "token_not_found", "did you mean 'editor'?")
    assert (await revoked(town, "nobody/ci", ADMIN))[0] == 404
    for user in (ALICE, DAN):
        for owner in (user.owner, "globex", "nobody"):
            assert (await made(town, owner, "x", user))[0] == 403
    assert (await town.get("/api/users", headers=ADMIN.headers))[1] == before
    assert not (town.root / "nobody").exists()
    _, audit = await town.get("/api/audit", headers=ADMIN.headers)
    assert {one["outcome"] for one in audit["items"]} == {"refused"}
    _, audit = await town.get("/api/audit", headers=GUS.headers)
    assert audit["items"] == []


async def test_audit_entries_are_on_record(town: Stack) -> None:
    """As ``agentsd token`` keeps them: the owner's users read of them."""
    await made(town, "acme", "a-new-token-of-ci", ADMIN)
    await revoked(town, "acme/ci", ADMIN)
    _, audit = await town.get("/api/audit", headers=ANN.headers)
    assert [(one["action"], one["actor"], one["target"], one["status"]) for one in audit["items"]] == [
        ("token-revoke", "default/admin", "token:acme/ci", 200),
        ("token-create", "default/admin", "token:acme/ci", 201),
    ]
    assert {one["path"] for one in audit["items"]} == {"acme/_user.yaml"}


async def test_the_first_token_closes_the_server(make: Make) -> None:
    """It must be an admin's; then every request needs one. The last one goes by force, and opens it."""
    stack = await make(write_back="files")
    status, problem = await made(stack, "default", "x", name="tv")
    assert (status, problem["code"]) == (409, "lockout")
    root = User("default", "admin", "root")
    status, user = await made(stack, "default", root.token, name="root", role="admin")
    assert (status, user["path"]) == (201, "_user.yaml")
    assert user["write_back"]["message"] == "it is the first token: from now on every request needs one"
    assert (await stack.get("/api/users"))[0] == 401
    other = User("default", "admin", "other")
    assert (await made(stack, "default", other.token, root, name="other", role="admin"))[0] == 201
    for user_, token in ((root, "default/root"), (other, "default/other")):
        status, problem = await revoked(stack, token, user_)
        assert (status, problem["code"]) == (409, "lockout")
    assert (await revoked(stack, "default/other", root))[0] == 200
    assert (await revoked(stack, "default/root", root))[0] == 409
    status, left = await revoked(stack, "default/root", root, "?force=true")
    assert (status, left["tokens"]) == (200, [])
    assert left["write_back"]["message"] == "it was the last token: this server is open to this machine now"
    assert (await stack.get("/api/users"))[0] == 200


async def test_tokens_of_a_file_are_admins_too(make: Make) -> None:
    """Whoever holds one is locked out neither by the last admin's token, nor by a first one of a viewer."""
    access = AccessPolicy(FileTokens((sha256(b"a-token-of-the-operator").digest(),)))
    stack = await make(write_back="files", access=access)
    operator = bearer("a-token-of-the-operator")
    sent = body("a-token-of-tv", "tv")
    assert (await stack.ask("POST", "/api/users/default/tokens", json=sent, headers=operator))[0] == 201
    sent = body("a-token-of-root", "root", role="admin")
    assert (await stack.ask("POST", "/api/users/default/tokens", json=sent, headers=operator))[0] == 201
    assert (await stack.ask("DELETE", "/api/users/default/tokens/root", headers=operator))[0] == 200


async def test_a_read_only_server_says_how(make: Make) -> None:
    """405 with the file and the command; GET works."""
    stack = await make()
    await settle(stack)
    status, problem = await made(stack, "acme", "x", ADMIN)
    assert (status, problem["code"], problem["file"]) == (405, "read_only", "agents.d/acme/_user.yaml")
    assert "agentsd token create NAME --owner acme" in problem["hint"]
    assert (await made(stack, "acme", "x", ALICE))[0] == 403
    assert (await stack.get("/api/users", headers=ADMIN.headers))[0] == 200


async def test_postgres_is_away(town: Stack, database: Database) -> None:
    """503, to be tried again; nothing is written."""
    await database.aclose()
    status, problem = await town.get("/api/users", headers=ADMIN.headers)
    assert (status, problem["code"]) == (503, "store_unavailable")
    before = (town.root / "acme/_user.yaml").read_bytes()
    assert (await made(town, "acme", "x", ADMIN))[0] == 503
    assert (town.root / "acme/_user.yaml").read_bytes() == before


async def test_a_broken_file_is_left_to_a_person(town: Stack) -> None:
    """409 with the place; what the checker finds is 422 with violations."""
    town.write("acme/_user.yaml", "tokens: [")
    status, problem = await made(town, "acme", "x", ADMIN)
    assert (status, problem["code"]) == (409, "conflict"), problem
    town.write("acme/_user.yaml", "emial: a@b.example\n")
    status, problem = await made(town, "acme", "x", ADMIN)
    assert (status, problem["violations"][0]["path"]) == (422, "acme/_user.yaml"), problem
    assert (town.root / "acme/_user.yaml").read_text() == "emial: a@b.example\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository around the folder of manifests."""
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "config", "user.name", "t")
    git(tmp_path, "config", "user.email", "t@t.example")
    (tmp_path / "agents.d").mkdir()
    return tmp_path


async def commit_users(stack: Stack, repository: Path) -> None:
    """An admin, on record in git and in the store."""
    write_users(stack, "default", [ADMIN])
    git(repository, "add", "agents.d")
    git(repository, "commit", "-qm", "users")
    await stack.sync()


async def test_in_git_it_is_a_commit(make: Make, repository: Path) -> None:
    """Of the one file, by whoever asked."""
    stack = await make(write_back="git")
    await commit_users(stack, repository)
    status, user = await made(stack, "acme", "a-new-token-of-ci", ADMIN)
    assert status == 201, user
    assert user["write_back"]["commit"] == git(repository, "rev-parse", "HEAD")
    shown = git(repository, "show", "--format=%an|%s", "--name-only")
    assert shown.split("\n\n") == ["default/admin|agentsd: token-create acme/ci", "agents.d/acme/_user.yaml"]


async def test_on_a_branch_it_waits(make: Make, repository: Path) -> None:
    """202: nothing is valid before somebody merges it."""
    stack = await make(write_back="git", git=GitOptions(branch="agentsd/{slug}"))
    await commit_users(stack, repository)
    status, user = await made(stack, "acme", "a-new-token-of-ci", ADMIN)
    assert (status, user["version"], user["tokens"]) == (202, None, [])
    assert user["write_back"]["branch"] == "agentsd/acme/ci"
    assert (await stack.get("/api/users", headers=bearer("a-new-token-of-ci")))[0] == 401
    assert not (stack.root / "acme").exists()
    assert "name: ci" in git(repository, "show", "agentsd/acme/ci:agents.d/acme/_user.yaml")
