"""Rules of a manifest's tools that a schema cannot express, and the destinations of their keys. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from agentsd.core.manifest.placeholders import (
    PARAMETER_PATTERN,
    InvalidTemplate,
    TemplateParts,
    find_placeholders,
    parse_template,
)
from agentsd.core.manifest.tool_schema import find_schema_problem, make_parameters_schema
from agentsd.core.sealed import is_sealed
from agentsd.core.trust.request_options import find_header_problem, may_hold_credential
from agentsd.core.trust.rules import NO_ORIGIN, normalise_origin
from agentsd.core.violations import Pointer

SECRET_NAMES = frozenset({"api_key", "auth_token"})
"""Names that the creation rules of repositories seal; a parameter cannot be called so."""

_URL = re.compile(
    r"(?P<origin>https?://[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?(?P<fragment>#.*)?", re.DOTALL
)
_AUTHORITY = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_NAME = re.compile(PARAMETER_PATTERN)
_SEALABLE = frozenset({"description", "timeout_seconds", "say", "say_after_ms", "on_interrupt"})
"""Fields of an entry that may be sealed, beside the key: no request contains them."""


@dataclass(frozen=True, slots=True)
class ToolProblem:
    """Broken rule of ``tools``. ``pointer`` begins with an entry's index; ``key``: it is about the key."""

    pointer: Pointer
    code: str
    message: str
    hint: str
    key: bool = False


@dataclass(frozen=True, slots=True)
class UrlTemplate:
    """Address of a tool, divided into what is fixed and what arguments fill."""

    origin: str
    path: tuple[TemplateParts, ...]  # segments
    query: tuple[tuple[str, TemplateParts], ...]


def parse_url_template(url: str) -> UrlTemplate:
    """Divide ``url``. Raises ``InvalidTemplate`` with what is wrong with it."""
    found = _URL.fullmatch(url)
    if found is None:
        raise InvalidTemplate("it is not the URL of an HTTP server")
    origin = found["origin"]
    if "@" in origin:
        raise InvalidTemplate("it contains a user or a password")
    valid = _AUTHORITY.fullmatch(origin) is not None and normalise_origin(origin) != NO_ORIGIN
    if not valid or urlsplit(origin).port == 0:
        raise InvalidTemplate("scheme, host and port must be fixed, and valid")
    if found["fragment"]:
        raise InvalidTemplate("a fragment (#) is never sent")
    segments = tuple(parse_template(one) for one in found["path"].split("/")[1:])
    if any("".join(map(str, one)) in (".", "..") for one in segments):
        raise InvalidTemplate("a path segment is '.' or '..'")
    return UrlTemplate(origin, segments, tuple(_parse_query(found["query"] or "")))


def _parse_query(text: str) -> Iterator[tuple[str, TemplateParts]]:
    for part in text[1:].split("&") if text[1:] else ():
        name, _, value = part.partition("=")
        if "{" in name or "}" in name:
            raise InvalidTemplate("a placeholder stands in the name of a query's member")
        yield name, parse_template(value)


def find_tool_problems(tools: object, variables: Collection[str] | None) -> Iterator[ToolProblem]:
    """Yield what is wrong with a section ``tools``.

    ``variables``: names that the manifest declares; None where they are not to be checked.
    """
    names: dict[str, int] = {}
    for index, entry in enumerate(tools if isinstance(tools, list) else ()):
        if not isinstance(entry, Mapping):
            continue
        name = entry.get("name")
        if isinstance(name, str) and names.setdefault(name, index) != index:
            message, hint = f"two tools are called {name!r}", f"rename one: tools[{names[name]}] has the name"
            yield ToolProblem((index, "name"), "tool-name", message, hint)
        yield from _find_parameter_problems(index, entry)
        http = entry.get("http")
        if isinstance(http, Mapping):
            parameters = entry.get("parameters")
            known = parameters if isinstance(parameters, Mapping) else {}
            yield from _find_request_problems((index, "http"), http, known, variables)
        mcp = entry.get("mcp")
        if isinstance(mcp, Mapping):
            yield from _find_server_problems((index, "mcp"), mcp)


def _find_parameter_problems(index: int, entry: Mapping[str, Any]) -> Iterator[ToolProblem]:
    parameters = entry.get("parameters")
    if not isinstance(parameters, Mapping):
        return
    at: Pointer = (index, "parameters")
    if is_sealed(parameters):
        hint = "parameters are plain: the model, and a sync without a key, read them"
        yield ToolProblem(at, "sealed-structural", "a parameter must not be sealed", hint)
        return
    for name, schema in parameters.items():
        if str(name) in SECRET_NAMES:
            hint = "rename it: a value of this name is sealed by the repository's rules"
            yield ToolProblem(
                (*at, name), "tool-parameter", f"{name} is the name of a secret", hint, key=True
            )
        elif not _NAME.fullmatch(str(name)):
            hint = "a letter or _, then letters, digits, _ and -, 64 at most"
            yield ToolProblem(
                (*at, name), "tool-parameter", "a parameter cannot have this name", hint, key=True
            )
        elif problem := _find_property_problem(schema):
            hint = "for example: {type: string, description: Six digits.}"
            yield ToolProblem((*at, name), "tool-schema", f"the schema of this parameter: {problem}", hint)


def _find_property_problem(schema: object) -> str | None:
    if not isinstance(schema, Mapping):
        return "it is not a mapping"
    return find_schema_problem(make_parameters_schema({"value": schema}))


def _find_request_problems(
    at: Pointer, http: Mapping[str, Any], parameters: Mapping[str, Any], variables: Collection[str] | None
) -> Iterator[ToolProblem]:
    url = http.get("url")
    templates: list[tuple[Pointer, TemplateParts]] = []
    if isinstance(url, str):
        yield from _take_url((*at, "url"), url, templates)
    yield from _find_plain_credentials(at, http)
    yield from _find_header_problems(at, http)
    if http.get("method", "GET") in ("GET", "DELETE") and http.get("body"):
        hint = "remove it, or use another method"
        yield ToolProblem((*at, "body"), "tool-request", "this method has no body", hint, key=True)
    for pointer, text in _iter_texts(at, http):
        if is_sealed(text):
            hint = "only auth_token may be sealed here: it names the origin that it may go to"
            yield ToolProblem(pointer, "tool-secret", "a sealed value would go wherever the URL leads", hint)
            continue
        try:
            templates.append((pointer, parse_template(text)))
        except InvalidTemplate as problem:
            yield ToolProblem(pointer, "tool-placeholder", f"{problem}", _BRACES)
    for pointer, parts in templates:
        yield from _find_placeholder_problems(pointer, parts, parameters, variables)


_BRACES = "write {parameter}, and \\{ for a literal brace"


def _take_url(at: Pointer, url: str, templates: list[tuple[Pointer, TemplateParts]]) -> Iterator[ToolProblem]:
    try:
        parsed = parse_url_template(url)
    except InvalidTemplate as problem:
        hint = (
            "placeholders stand in a path segment or in a value of the query: https://host/orders/{order_id}"
        )
        yield ToolProblem(at, "tool-url", f"this URL cannot be used: {problem}", hint)
        return
    templates += [(at, parts) for parts in parsed.path]
    templates += [(at, parts) for _, parts in parsed.query]
    for name, parts in parsed.query:
        if may_hold_credential(name) and not any(find_placeholders(parts)):
            yield ToolProblem(at, "tool-secret", "the URL's query may hold a credential", _SEAL_IT)


_SEAL_IT = "seal it as auth_token: {value, origin}; auth_header names its header"


def _find_plain_credentials(at: Pointer, http: Mapping[str, Any]) -> Iterator[ToolProblem]:
    """Yield the members of query and body that may hold a credential, unless an argument fills them."""
    for pointer, text in _iter_texts(at, http):
        name = next((str(part) for part in reversed(pointer) if isinstance(part, str)), "")
        if pointer[len(at)] == "headers" or is_sealed(text) or not may_hold_credential(name):
            continue
        if not re.search(r"\{", text):
            yield ToolProblem(pointer, "tool-secret", "this may hold a credential", _SEAL_IT, key=True)


def _find_header_problems(at: Pointer, http: Mapping[str, Any]) -> Iterator[ToolProblem]:
    headers = http.get("headers")
    for name, value in headers.items() if isinstance(headers, Mapping) else ():
        where = (*at, "headers", name)
        if may_hold_credential(str(name)):
            yield ToolProblem(where, "tool-secret", "a credential in plain", _SEAL_IT, key=True)
        elif found := find_header_problem(str(name), value):
            yield ToolProblem(where, "tool-header", *found, key=True)
    auth = http.get("auth_header")
    if isinstance(auth, str) and (auth.lower() == "cookie" or find_header_problem(auth, "")):
        hint = "name the header that the service documents for its key"
        yield ToolProblem((*at, "auth_header"), "tool-header", "a key cannot be sent in this header", hint)


def _iter_texts(at: Pointer, http: Mapping[str, Any]) -> Iterator[tuple[Pointer, str]]:
    """Yield the texts of query, headers and body."""
    for field in ("query", "headers", "body"):
        nodes: list[tuple[Pointer, Any]] = [((*at, field), http.get(field))]
        while nodes:
            pointer, node = nodes.pop()
            if isinstance(node, Mapping):
                nodes.extend(((*pointer, key), child) for key, child in node.items())
            elif isinstance(node, list):
                nodes.extend(((*pointer, index), child) for index, child in enumerate(node))
            elif isinstance(node, str):
                yield pointer, node


def _find_placeholder_problems(
    at: Pointer, parts: TemplateParts, parameters: Mapping[str, Any], variables: Collection[str] | None
) -> Iterator[ToolProblem]:
    for one in find_placeholders(parts):
        if one.kind == "argument" and one.name not in parameters:
            shown = ", ".join(list(parameters)[:10]) or "none"
            message = f"{{{one.name}}} is not a parameter of this tool"
            yield ToolProblem(at, "tool-placeholder", message, f"its parameters: {shown}")
        elif one.kind == "variable" and variables is not None and one.name not in variables:
            message = f"{{{{{one.name}}}}} is not a variable of this manifest"
            yield ToolProblem(
                at, "tool-placeholder", message, "declare it under variables, or use a parameter"
            )


def _find_server_problems(at: Pointer, mcp: Mapping[str, Any]) -> Iterator[ToolProblem]:
    url = mcp.get("url")
    query = urlsplit(url).query if isinstance(url, str) and normalise_origin(url) != NO_ORIGIN else ""
    if any(may_hold_credential(part.partition("=")[0]) for part in query.split("&")):
        yield ToolProblem((*at, "url"), "tool-secret", "the URL's query may hold a credential", _SEAL_IT)
    allow = mcp.get("allow")
    if isinstance(allow, list) and len({str(one) for one in allow}) != len(allow):
        yield ToolProblem((*at, "allow"), "tool-name", "a tool is listed twice", "list each tool once")


@dataclass(frozen=True, slots=True)
class MisdirectedToken:
    """Key of a tool that would be sent to an origin that it was not sealed for."""

    pointer: Pointer  # of the address
    message: str
    hint: str


def find_misdirected_tokens(
    value: Mapping[str, Any], sealed: Collection[Pointer] | None, trusted: frozenset[str]
) -> Iterator[MisdirectedToken]:
    """Yield each tool of a manifest whose key would be sent where it does not belong.

    ``value`` is opened, with ``sealed``, the pointers that are verified as sealed. None: no key opens it,
    so that origins are unknown, and only the form of a key can be judged.
    """
    tools = value.get("tools")
    for index, entry in enumerate(tools if isinstance(tools, list) else ()):
        if not isinstance(entry, Mapping):
            continue
        for path in (("auth_token",), ("mcp", "auth_token")):
            holder = entry if len(path) == 1 else entry.get("mcp")
            target = entry.get("http") if len(path) == 1 else holder
            token = holder.get("auth_token") if isinstance(holder, Mapping) else None
            if not token or not isinstance(target, Mapping):
                continue
            origin = normalise_origin(str(target.get("url") or ""))
            at: Pointer = ("tools", index, *path)
            if problem := _judge_token(token, origin, _is_whole_seal(at, sealed), trusted):
                place = "http" if len(path) == 1 else "mcp"
                yield MisdirectedToken(("tools", index, place, "url"), *problem)
    yield from _find_loose_secrets(sealed or ())


def _find_loose_secrets(sealed: Collection[Pointer]) -> Iterator[MisdirectedToken]:
    """Yield sealed values of a tool that no origin is bound to: whoever changes its URL would get them."""
    for at in sealed:
        if at[0] != "tools" or len(at) < 3:
            continue
        key = at[2:4] == ("mcp", "auth_token") or at[2] == "auth_token"
        if not key and at[2] not in _SEALABLE:
            hint = "only auth_token may be sealed here: it names the origin that it may go to"
            yield MisdirectedToken(at, "a sealed value would go wherever the URL leads", hint)


def _is_whole_seal(at: Pointer, sealed: Collection[Pointer] | None) -> bool | None:
    """Return whether secret and origin of the key at ``at`` are both sealed; None: that is unknown."""
    return None if sealed is None else {(*at, "value"), (*at, "origin")} <= set(sealed)


def _judge_token(
    token: object, origin: str, whole: bool | None, trusted: frozenset[str]
) -> tuple[str, str] | None:
    """Return (problem, what to do) of a key that would be sent to ``origin``; None if it belongs there."""
    if origin != NO_ORIGIN and not isinstance(token, Mapping) and origin in trusted:
        return None
    if not isinstance(token, Mapping):
        hint = f"seal auth_token as {{value, origin}}, or add {origin} to AGENTSD_TRUSTED_ORIGINS"
        return f"a bare auth_token would be sent to {origin}", hint
    if whole is None:
        return None
    if whole and origin != NO_ORIGIN and normalise_origin(str(token.get("origin") or "")) == origin:
        return None
    hint = "if the key belongs there, seal the URL's origin as auth_token.origin: agentsd edit FILE"
    return f"this key was not sealed for {origin}", hint
