"""Request of an HTTP tool, made of the manifest's template and a call's arguments. Pure.

Nothing that a model writes can change where a request goes: scheme, host and port are fixed, a value fills
one path segment, one value of the query, one header's value or one value of the body.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import orjson

from agentsd.core.manifest.placeholders import (
    Placeholder,
    TemplateParts,
    fill_template,
    find_placeholders,
    parse_template,
)
from agentsd.core.manifest.tool_checks import parse_url_template
from agentsd.core.manifest.tools import HttpRequest

DECODINGS_MAX = 4
"""How often a value is decoded to look for what a careless server would decode."""
_QUERY_METHODS = ("GET", "DELETE")
_SEGMENT_SAFE = "!$&'()*+,;=:@-._~"
_LITERAL_SAFE = _SEGMENT_SAFE.replace("@", "")
_VALUE_SAFE = _LITERAL_SAFE.replace(";", "")
"""What stands as it is of an argument in a segment, to which it adds no parameter."""
_QUERY_SAFE = "!$'()*,:@-._~"
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_HEADER_SAFE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


class ArgumentRefused(ValueError):
    """Error of an argument that must not be put where the template has it. Its text contains no value."""


@dataclass(frozen=True, slots=True)
class HttpCall:
    """Request that is ready to be sent."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None


class RequestTemplate:
    """Template of a tool's requests."""

    def __init__(self, request: HttpRequest) -> None:
        parsed = parse_url_template(request.url)
        self.method = request.method
        self.origin = parsed.origin
        self._path = parsed.path
        self._query = (*parsed.query, *((name, parse_template(one)) for name, one in request.query.items()))
        self._headers = tuple((name, parse_template(one)) for name, one in request.headers.items())
        self._body = request.body
        placed = tuple(self._find_placed())
        self._placed = frozenset(one.name for one in placed if one.kind == "argument")
        self.variables = frozenset(one.name for one in placed if one.kind == "variable")

    def _find_placed(self) -> Iterator[Placeholder]:
        """Yield all placeholders."""
        pairs = (*self._query, *self._headers, *(("", parts) for parts in self._path))
        for parts in (*(parts for _, parts in pairs), *_iter_body_templates(self._body)):
            yield from find_placeholders(parts)

    def fill(self, arguments: Mapping[str, Any], variables: Mapping[str, Any]) -> HttpCall:
        """Return the request for ``arguments``. Raises ``ArgumentRefused``."""
        rest = {name: value for name, value in arguments.items() if name not in self._placed}
        try:
            path = "/".join(_fill_segment(parts, arguments, variables) for parts in self._path)
            query = [
                (name, fill_template(parts, arguments, variables, _write_plain))
                for name, parts in self._query
            ]
            headers = {
                name: _check_header(fill_template(parts, arguments, variables, _write_text))
                for name, parts in self._headers
            }
            body = _fill_body(self._body, arguments, variables)
        except KeyError as missing:
            raise ArgumentRefused(f"there is no value for {missing.args[0]}") from None
        sent: bytes | None = None
        if self.method in _QUERY_METHODS:
            query += [pair for name, value in rest.items() for pair in _spread(name, value)]
        elif body is not None or rest:
            sent = orjson.dumps({**(body or {}), **rest})
        url = f"{self.origin}/{path}" + (f"?{_encode_query(query)}" if query else "")
        return HttpCall(self.method, url, headers, sent)


def _fill_segment(parts: TemplateParts, arguments: Mapping[str, Any], variables: Mapping[str, Any]) -> str:
    """Return one segment of the path, which stays one whatever the server decodes.

    Java's servers cut off what follows a ``;`` before they read ``..`` (RFC 3986, 3.3: parameters of a
    segment), so what an argument has of it is encoded, and cannot hide dots.
    """
    if not any(isinstance(part, Placeholder) for part in parts):
        return quote("".join(map(str, parts)), safe=f"{_SEGMENT_SAFE}%")
    text = fill_template(parts, arguments, variables, _write_plain)
    decoded = text
    for _ in range(DECODINGS_MAX):
        if decoded.partition(";")[0] in ("", ".", "..") or "/" in decoded or "\\" in decoded:
            raise ArgumentRefused("an argument would leave its segment of the path")
        decoded = _check_controls(unquote(decoded))
    return "".join(
        quote(part, safe=_LITERAL_SAFE)
        if isinstance(part, str)
        else quote(fill_template((part,), arguments, variables, _write_plain), safe=_VALUE_SAFE)
        for part in parts
    )


def _write_text(value: Any) -> str:
    """Return a value as text: a string as it is, anything else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _write_plain(value: Any) -> str:
    """Return a value as text without control characters. Raises ``ArgumentRefused``."""
    return _check_controls(_write_text(value))


def _check_controls(text: str) -> str:
    if _CONTROL.search(text):
        raise ArgumentRefused("an argument contains a control character")
    return text


def _check_header(text: str) -> str:
    return quote(_check_controls(text), safe=f"{_HEADER_SAFE}%")


def _spread(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield the members of the query for an argument: a list is repeated, None is left out."""
    for one in value if isinstance(value, list) else (value,):
        if one is not None:
            yield name, _write_plain(one)


def _encode_query(pairs: list[tuple[str, str]]) -> str:
    return "&".join(
        f"{quote(name, safe=_QUERY_SAFE)}={quote(value, safe=_QUERY_SAFE)}" for name, value in pairs
    )


def _iter_body_templates(node: Any) -> Iterator[TemplateParts]:
    if isinstance(node, Mapping):
        for child in node.values():
            yield from _iter_body_templates(child)
    elif isinstance(node, list):
        for child in node:
            yield from _iter_body_templates(child)
    elif isinstance(node, str):
        yield parse_template(node)


def _fill_body(node: Any, arguments: Mapping[str, Any], variables: Mapping[str, Any]) -> Any:
    """Return the body; a text that is one placeholder becomes the value itself, with its type."""
    if isinstance(node, Mapping):
        return {key: _fill_body(child, arguments, variables) for key, child in node.items()}
    if isinstance(node, list):
        return [_fill_body(child, arguments, variables) for child in node]
    if not isinstance(node, str):
        return node
    parts = parse_template(node)
    if len(parts) == 1 and isinstance(parts[0], Placeholder):
        values = arguments if parts[0].kind == "argument" else variables
        return values[parts[0].name]
    return fill_template(parts, arguments, variables, _write_text)
