"""Description of /api/users."""

from __future__ import annotations

from agentsd.core.names import SLUG_MAX
from agentsd.web.openapi.model import Body, Content, Operation, Parameter, Reply, Schema, ref
from agentsd.web.openapi.operations.agent_writes import WAIT
from agentsd.web.openapi.operations.agents import IF_NONE_MATCH, KEPT, UNCHANGED
from agentsd.web.openapi.schemas.common import COUNT, FLAG, HEX, TEXT, listed, nullable, thing

GROUP = "Users and tokens"

_NAME: Schema = {"type": "string", "pattern": "^[A-Za-z0-9]([A-Za-z0-9._@-]{0,98}[A-Za-z0-9])?$"}
_ENDS: Schema = {
    "type": "string",
    "pattern": r"^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\dZ)?$",
    "description": "The last valid day or moment, in UTC; null: never.",
}
_ROLE: Schema = {"type": "string", "enum": ["viewer", "editor", "admin"]}
_USER = Parameter(
    "user",
    "path",
    "The owner: a folder of manifests, or `default`, the top level.",
    {"type": "string", "pattern": "^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9_-])?$", "maxLength": SLUG_MAX},
    "acme",
)
_TOKEN = Parameter("name", "path", "The token's name.", _NAME, "ci")
_FORCE = Parameter("force", "query", "Even if it locks you out.", {"type": "boolean", "default": False})
_WRITTEN = (Content(ref("WrittenUser")),)
_BRANCH = Reply(202, "The edit waits on a branch of its own, for a pull request.", _WRITTEN)
_ERRORS = (400, 404, 405, 409, 422, 503)

OPERATIONS = (
    Operation(
        id="listUsers",
        method="GET",
        path="/api/users",
        group=GROUP,
        summary="Owners and their tokens",
        description="An admin sees every owner, others their own. Of a token nothing is told but its name.",
        parameters=(IF_NONE_MATCH,),
        replies=(Reply(200, "All of them.", (Content(ref("Users")),), KEPT), UNCHANGED),
        errors=(400, 503),
    ),
    Operation(
        id="createToken",
        method="POST",
        path="/api/users/{user}/tokens",
        group=GROUP,
        summary="Make a token known",
        description=(
            "Whoever makes the token keeps it, and sends its SHA-256. 409 `token_exists` where the name or "
            "the hash is taken, `lockout` where the first token of all would be no admin's."
        ),
        parameters=(_USER, _FORCE, WAIT),
        body=Body((Content(ref("NewToken"), example={"name": "ci", "role": "editor", "sha256": "9f" * 32}),)),
        replies=(Reply(201, "The owner; the token is valid.", _WRITTEN), _BRANCH),
        errors=(*_ERRORS, 413, 415),
        role="admin",
    ),
    Operation(
        id="revokeToken",
        method="DELETE",
        path="/api/users/{user}/tokens/{name}",
        group=GROUP,
        summary="Revoke a token",
        description="409 `lockout` for the token that asks, and for the last admin's.",
        parameters=(_USER, _TOKEN, _FORCE, WAIT),
        replies=(Reply(200, "The owner; the token is not valid any more.", _WRITTEN), _BRANCH),
        errors=_ERRORS,
        role="admin",
    ),
)


def users() -> dict[str, Schema]:
    """Return the components of users."""
    user = thing(
        "An owner of agents.",
        username=TEXT,
        email=nullable(TEXT),
        source={"type": "string", "description": "The tree that says so."},
        path=nullable({"type": "string", "description": "Its `_user.yaml`; null: it has none."}),
        version=nullable({**COUNT, "description": "That changed it last; null: the edit waits on a branch."}),
        tokens=listed(ref("Token")),
    )
    return {
        "Users": thing("Owners.", items=listed(ref("User"))),
        "User": user,
        "WrittenUser": {
            **user,
            "required": [*user["required"], "write_back"],
            "properties": {**user["properties"], "write_back": ref("WriteBack")},
        },
        "Token": thing(
            "A token, of which only a hash is kept.",
            name=TEXT,
            role=_ROLE,
            expires=nullable(_ENDS),
            expired={**FLAG, "description": "It is not valid any more, and stays until it is revoked."},
        ),
        "NewToken": {
            **thing(
                "A token to be known.",
                name={**_NAME, "description": "What it is for; logs and commits quote it."},
                role={**_ROLE, "default": "viewer", "description": "`admin` only for the owner `default`."},
                expires={**nullable(_ENDS), "default": None},
                sha256={**HEX, "description": "SHA-256 of the token, in lower-case hex."},
                optional=("role", "expires"),
            ),
            "additionalProperties": False,
        },
    }
