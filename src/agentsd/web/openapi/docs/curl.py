"""curl examples, made from the descriptions, so that they match what the server accepts."""

from __future__ import annotations

import json
import shlex
from typing import Any

from agentsd.web.openapi.model import JSON_TYPE, Operation

TOKEN_OPTION = '-H "Authorization: Bearer $AGENTSD_TOKEN"'  # noqa: S105 (the shell's variable, not a token)


def make_curl_command(operation: Operation, base: str, *, guarded: bool) -> str:
    """Return a shell command. ``base``: ``http://127.0.0.1:8080``; ``guarded``: a token is needed."""
    if operation.path == "/v1/realtime":
        return f"websocat {_quote_text(base.replace('http', 'ws', 1) + operation.path + '?model=current')}"
    words = ["curl", "-sN" if operation.streams else "-s"]
    if operation.method != "GET" and not (operation.method == "POST" and (operation.body or operation.curl)):
        words.append(f"-X {operation.method}")
    words.append(_quote_text(base + _make_path(operation) + operation.query))
    lines = [" ".join(words)]
    if guarded and operation.role not in (None, "signed"):
        lines.append(TOKEN_OPTION)
    if operation.body and (sent := operation.body.forms[0]).example is not None:
        lines += [
            f"-H 'Content-Type: {sent.kind or JSON_TYPE}'",
            f"-d {_quote_text(_dump_json(sent.example))}",
        ]
    if operation.curl:
        lines.append(operation.curl)
    return " \\\n  ".join(lines)


def _make_path(operation: Operation) -> str:
    path, on = operation.path, operation.on
    for one in operation.parameters:
        if one.where == "path":  # ``on`` is of the first
            path, on = path.replace(f"{{{one.name}}}", str(on or one.example)), ""
    return path


def _quote_text(text: str) -> str:
    return shlex.quote(text)


def _dump_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
