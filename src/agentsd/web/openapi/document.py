"""OpenAPI 3.1 document, assembled from the descriptions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agentsd import __version__
from agentsd.control.validation.schema import share_schemas
from agentsd.providers.catalog import Catalog
from agentsd.web.http.problem import OpenAIError, ProblemDocument
from agentsd.web.openapi.errors import list_error_statuses, make_responses, name_component, refer_to_header
from agentsd.web.openapi.headers import COMMON_HEADERS, HEADERS
from agentsd.web.openapi.model import MediaType, Operation, Parameter, Reply, RequestBody, Schema
from agentsd.web.openapi.operations import GROUP_DESCRIPTIONS, OPERATIONS
from agentsd.web.openapi.schemas.manifests import make_request_schemas
from agentsd.web.openapi.schemas.models import make_model_schemas

DESCRIPTION = (
    "Voice and chat agents as code. Errors are `application/problem+json`; under `/v1` they have OpenAI's "
    "form. Secrets are always `**********`. A server without tokens accepts requests from this machine only, "
    "and requires none. `POST /mcp` is an endpoint of the Model Context Protocol, with the same tokens and "
    "roles: it describes its tools itself."
)


def make_document(catalog: Catalog) -> dict[str, Any]:
    """Return the whole document; the vendors are those of ``catalog``."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "agentsd",
            "version": __version__,
            "description": DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in GROUP_DESCRIPTIONS.items()],
        "security": [{"bearer": []}],
        "paths": _make_paths(),
        "components": {
            "securitySchemes": {"bearer": _BEARER, **_SIGNATURES},
            "headers": {
                name: {"description": text, "schema": schema} for name, (text, schema) in HEADERS.items()
            },
            "responses": make_responses(),
            "schemas": make_schemas(catalog),
        },
    }


_SIGNATURES = {
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Hub-Signature-256",
        "description": "`sha256=` and the HMAC-SHA256 of the body, in hex: GitHub; Gitea under its own name.",
    },
    "hookToken": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Gitlab-Token",
        "description": "The webhook's secret itself: GitLab.",
    },
}

SECURITY_BY_ROLE: dict[str | None, list[dict[str, list[str]]]] = {
    None: [],
    "signed": [{name: []} for name in _SIGNATURES],
}
"""Security schemes other than a bearer token."""

_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "A user's token. Viewers read and talk, editors also write, admins access all owners.",
}


def make_schemas(catalog: Catalog) -> dict[str, Schema]:
    """Return the schemas of all components by name."""
    sent = [model for one in OPERATIONS if one.body for form in one.body.forms for model in form.models]
    replied = [
        model for one in OPERATIONS for reply in one.replies for form in reply.forms for model in form.models
    ]
    made = {
        **make_model_schemas([ProblemDocument, OpenAIError, *replied], "serialization"),
        **make_model_schemas(sent, "validation"),
        **make_request_schemas(share_schemas(catalog)),
    }
    return dict(sorted(made.items()))


def _make_paths() -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _make_operation(operation)
    return paths


def _make_operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.group],
        "summary": operation.summary,
        "description": _describe_operation(operation),
        "parameters": [_make_parameter(one) for one in operation.parameters],
        "responses": _make_responses(operation),
    }
    if operation.role in SECURITY_BY_ROLE:
        described["security"] = SECURITY_BY_ROLE[operation.role]
    if operation.body is not None:
        described["requestBody"] = _make_body(operation.body)
    return {name: value for name, value in described.items() if value not in ("", []) or name == "security"}


def _describe_operation(operation: Operation) -> str:
    role = {
        None: "Needs no token.",
        "viewer": "",
        "signed": "Needs no token, but the Git host's own proof.",
        "editor": "Needs the role editor.",
        "admin": "Needs the role admin.",
    }
    return " ".join(text for text in (operation.description, role[operation.role]) if text)


def _make_parameter(one: Parameter) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": one.name,
        "in": one.where,
        "description": one.description,
        "schema": one.schema,
    }
    if one.where == "path":
        described["required"] = True
    return described | ({} if one.example is None else {"example": one.example})


def _make_body(body: RequestBody) -> dict[str, Any]:
    return {"required": body.required, "content": _make_contents(body.forms)}


def _make_contents(forms: Iterable[MediaType]) -> dict[str, Any]:
    return {form.kind: _make_content(form) for form in forms}


def _make_content(form: MediaType) -> dict[str, Any]:
    described: dict[str, Any] = {} if form.schema is None else {"schema": form.schema}
    return described | ({} if form.example is None else {"example": form.example})


def _make_responses(operation: Operation) -> dict[str, Any]:
    made: dict[str, Any] = {str(reply.status): _make_reply(reply) for reply in operation.replies}
    for status in list_error_statuses(operation):
        name = name_component(status, openai=operation.is_openai)
        made.setdefault(str(status), {"$ref": f"#/components/responses/{name}"})
    return dict(sorted(made.items()))


def _make_reply(reply: Reply) -> dict[str, Any]:
    described: dict[str, Any] = {"description": reply.description}
    described["headers"] = {name: refer_to_header(name) for name in sorted({*COMMON_HEADERS, *reply.headers})}
    if reply.forms:
        described["content"] = _make_contents(reply.forms)
    if reply.links:
        described["links"] = {
            target: {"operationId": target, "parameters": dict(parameters)}
            for target, parameters in reply.links.items()
        }
    return described
