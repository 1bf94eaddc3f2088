"""Identifier of a request, for whoever looks for it in logs: the client's own, or one that is made here."""

from __future__ import annotations

import re

from aiohttp import web

from agentsd.system.identifier import make_identifier
from agentsd.telemetry import REQUEST_ID

REQUEST_ID_HEADER = "X-Request-ID"
_ID = web.RequestKey("request_id", str)
_FORM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


def begin_request(request: web.Request) -> str:
    """Return the request's identifier, and note it for the log records of this task.

    A client's is taken in a form that cannot break a header or a log line.
    """
    given = request.headers.get(REQUEST_ID_HEADER)
    if given is None or not _FORM.fullmatch(given):
        given = make_identifier("req")
    request[_ID] = given
    REQUEST_ID.set(given)
    return given


def get_request_id(request: web.Request) -> str:
    """Return the identifier that ``begin_request`` chose."""
    identifier: str = request.get(_ID, "")
    return identifier


async def add_request_id(request: web.Request, response: web.StreamResponse) -> None:
    """Add the identifier to the head of a response: a signal of the application."""
    if (identifier := request.get(_ID)) is not None:
        response.headers[REQUEST_ID_HEADER] = identifier
