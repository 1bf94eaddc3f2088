"""Description of /api/users."""

from __future__ import annotations

from agentsd.core.names import SLUG_MAX
from agentsd.web.openapi.model import (
    MediaType,
    Operation,
    Parameter,
    Reply,
    RequestBody,
    Schema,
    refer_to_schema,
)
from agentsd.web.openapi.operations.agent_writes import WAIT
from agentsd.web.openapi.operations.agents import CACHE_HEADERS, IF_NONE_MATCH, NOT_MODIFIED
from agentsd.web.openapi.schemas.common import COUNT, FLAG, HEX, TEXT, make_list, make_nullable, make_object

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
_FORCE = Parameter("force", "query", "Skip the lockout check.", {"type": "boolean", "default": False})
_WRITTEN = (MediaType(refer_to_schema("WrittenUser")),)
_BRANCH = Reply(202, "The edit waits on a branch of its own, for a pull request.", _WRITTEN)
_ERRORS = (400, 404, 405, 409, 422, 503)

OPERATIONS = (
    Operation(
        id="listUsers",
        method="GET",
        path="/api/users",
        group=GROUP,
        summary="Owners and their tokens",
        description="Admins see every owner, others their own. No token or hash is returned.",
        parameters=(IF_NONE_MATCH,),
        replies=(
            Reply(200, "The owners.", (MediaType(refer_to_schema("Users")),), CACHE_HEADERS),
            NOT_MODIFIED,
        ),
        errors=(400, 503),
    ),
    Operation(
        id="createToken",
        method="POST",
        path="/api/users/{user}/tokens",
        group=GROUP,
        summary="Register a token",
        description=(
            "Clients keep the token and send its SHA-256. 409 `token_exists` where the name or "
            "the hash is taken, `lockout` where the first token would not be an admin's."
        ),
        parameters=(_USER, _FORCE, WAIT),
        body=RequestBody(
            (
                MediaType(
                    refer_to_schema("NewToken"), example={"name": "ci", "role": "editor", "sha256": "9f" * 32}
                ),
            )
        ),
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
        description="409 `lockout` for the token of the request, and for the last admin token.",
        parameters=(_USER, _TOKEN, _FORCE, WAIT),
        replies=(Reply(200, "The owner; the token is revoked.", _WRITTEN), _BRANCH),
        errors=_ERRORS,
        role="admin",
    ),
)


def make_user_schemas() -> dict[str, Schema]:
    """Return the components of users."""
    user = make_object(
        "An owner of agents.",
        username=TEXT,
        email=make_nullable(TEXT),
        source={"type": "string", "description": "The source that defines it."},
        path=make_nullable({"type": "string", "description": "Its `_user.yaml`; null: none."}),
        version=make_nullable(
            {**COUNT, "description": "The version that last changed it; null: the edit waits on a branch."}
        ),
        tokens=make_list(refer_to_schema("Token")),
    )
    return {
        "Users": make_object("Owners.", items=make_list(refer_to_schema("User"))),
        "User": user,
        "WrittenUser": {
            **user,
            "required": [*user["required"], "write_back"],
            "properties": {**user["properties"], "write_back": refer_to_schema("WriteBack")},
        },
        "Token": make_object(
            "A token, of which only a hash is kept.",
            name=TEXT,
            role=_ROLE,
            expires=make_nullable(_ENDS),
            expired={**FLAG, "description": "It has expired, and is listed until it is revoked."},
        ),
        "NewToken": {
            **make_object(
                "A token to register.",
                name={**_NAME, "description": "What it is for; logs and commits quote it."},
                role={**_ROLE, "default": "viewer", "description": "`admin` only for the owner `default`."},
                expires={**make_nullable(_ENDS), "default": None},
                sha256={**HEX, "description": "SHA-256 of the token, in lower-case hex."},
                optional=("role", "expires"),
            ),
            "additionalProperties": False,
        },
    }
