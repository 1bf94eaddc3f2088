"""Request middleware: every request passes here once, in and out.

One middleware rather than five, because each costs a coroutine per request: it checks host,
origin and token, converts errors to responses, counts, and writes the access log (method, route
template, status, milliseconds: nothing that a client wrote).
"""

from __future__ import annotations

import logging
import traceback
from functools import partial
from time import perf_counter
from typing import NoReturn

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.typedefs import Handler, Middleware

from agentsd.core.access import LOCAL, NOBODY, Principal
from agentsd.core.errors import AgentsdError
from agentsd.supervisor import ENDING_ERRORS
from agentsd.web.http.compression import compress_reply
from agentsd.web.http.conditional import add_security_headers
from agentsd.web.http.problem import (
    OPENAI_PREFIX,
    Problem,
    from_error,
    from_http_exception,
    make_internal_error,
    make_not_ready,
)
from agentsd.web.http.request_id import begin_request
from agentsd.web.metrics import WebMetrics
from agentsd.web.middleware.auth import PRINCIPAL, SESSION_COOKIE, AccessPolicy, parse_bearer
from agentsd.web.middleware.memory_budget import (
    COUNTED_BYTES_MIN,
    MemoryBudget,
    count_reply,
    get_or_make_hold,
)
from agentsd.web.middleware.missing_route import explain_missing_route
from agentsd.web.middleware.policies import Policies
from agentsd.web.middleware.rate_limit import RateLimiter
from agentsd.web.middleware.webhook_signature import WEBHOOK_PATH as HOOK_PATH

PROBE_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
OPEN_PATHS = PROBE_PATHS | {"/", "/ui", "/openapi.json", "/docs", HOOK_PATH}
"""No token is needed: probes and scrapers send none, the API description contains no agent, and
Git hosts sign their calls."""

PAGES_PREFIX = "/ui/"
"""Prefix of the pages and their files."""

ASSET_ROUTE = "/ui/static/{edition}/{name}"
"""Route of the pages' files, as the access log names it."""
_QUIET_ROUTES = PROBE_PATHS | {ASSET_ROUTE}

CLIENT_GONE_STATUS = 499
"""Status in log and metrics for a client that disconnected; it is never sent."""

KEY_PROTOCOL_PREFIX = "openai-insecure-api-key."
"""Prefix of the key in a WebSocket's subprotocol."""

_SAFE_METHODS = frozenset({"GET", "HEAD"})
_HTTP_VERSIONS = (HttpVersion11, HttpVersion10)
_access_log = logging.getLogger("agentsd.access")
_log = logging.getLogger(__name__)


def request_middleware(
    access: AccessPolicy, metrics: WebMetrics, guards: Policies | None = None
) -> Middleware:
    """Return the only middleware of the application."""
    guards = guards or Policies()
    limiter, cors, budgets = guards.limiter, guards.cors or None, guards.budgets

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        started, request_id = perf_counter(), begin_request(request)
        status, work = CLIENT_GONE_STATUS, None
        guard = getattr(request.protocol, "guard", None)
        if guard is not None:
            guard.began(request.content)
        try:
            asked = cors.preflight(request) if cors is not None else None
            if asked is not None:
                response: web.StreamResponse = asked
            else:
                request[PRINCIPAL] = await _admit_request(request, access, limiter)
                work = budgets.enter(request, request[PRINCIPAL]) if budgets is not None else None
                response = await handler(request)
                await compress_reply(request, response)
                _count_reply(request, response, guards.memory)
            status = response.status
        except (ConnectionError, *ENDING_ERRORS):
            raise  # the client disconnected, or this process ends; aiohttp cleans up
        except web.HTTPRedirection as redirection:
            status = redirection.status
            add_security_headers(redirection)
            raise
        except BaseException as error:  # a plug-in's SystemExit, a panic in native code
            problem = make_problem(error, request)
            status = problem.status
            if has_begun(request):
                cut_connection(request)
            response = problem.response(request.path, request_id)
        finally:
            if work is not None and budgets is not None:
                budgets.leave(work)
            if guard is not None:
                guard.ended()
            _record_request(request, status, perf_counter() - started, metrics)
        add_security_headers(response)
        return response

    return middleware


async def _admit_request(
    request: web.Request, access: AccessPolicy, limiter: RateLimiter | None
) -> Principal:
    """Return the principal of the request, counted by the rate limits. Raise ``Problem``."""
    if limiter is None or request.path in PROBE_PATHS:
        return authenticate_request(request, access)
    return await limiter.admitted(request, partial(authenticate_request, request, access))


def _count_reply(request: web.Request, response: web.StreamResponse, memory: MemoryBudget) -> None:
    """Count a large response for its owner; refuse it where the request can be repeated."""
    body = response.body if isinstance(response, web.Response) else None
    if isinstance(body, (bytes, bytearray)) and len(body) >= COUNTED_BYTES_MIN:
        repeatable = request.method in _SAFE_METHODS or request.path.startswith(OPENAI_PREFIX)
        count_reply(get_or_make_hold(request, memory, request[PRINCIPAL].owner), response, refuse=repeatable)


def authenticate_request(request: web.Request, access: AccessPolicy) -> Principal:
    """Return the principal of the request.

    Raise ``Problem`` 401 without a valid token, 403 for host and origin, 503 before tokens are loaded.
    """
    given = _get_authorization(request)
    cookie = request.cookies.get(SESSION_COOKIE) if given is None and "Cookie" in request.headers else None
    principal = _find_principal(request, access, parse_bearer(given) or cookie)
    if principal is not NOBODY or not access.guarded:
        _check_host(request, access, cookie=cookie is not None)
    return principal


def _find_principal(request: web.Request, access: AccessPolicy, token: str | None) -> Principal:
    """Return the principal of a valid token, or the local or anonymous one where no token is needed.

    Raise ``Problem`` 401, or 503 before the first load.
    """
    book = access.book
    principal = book.find(token) if token is not None else None
    if principal is not None:
        return principal
    if book.known and not access.guarded:
        return LOCAL
    if is_open_path(request.path):
        return NOBODY
    if not book.known and (token is not None or not access.guarded):
        raise make_not_ready()  # it may be a user's, and those are loaded with the agents
    raise _make_unauthorized(request)


def is_open_path(path: str) -> bool:
    """Return whether ``path`` needs no token. Pages are empty until their scripts load data with one."""
    return path in OPEN_PATHS or path.startswith(PAGES_PREFIX)


def _check_host(request: web.Request, access: AccessPolicy, *, cookie: bool) -> None:
    """Check host and origin. Raise ``Problem``.

    ``Sec-Fetch-Site`` distinguishes http from https, which we cannot behind a proxy: a page of the same
    name that was loaded as plain text may come from anybody.
    """
    headers = request.headers
    if request.version not in _HTTP_VERSIONS:
        raise Problem(
            505, "http_version", "this server supports HTTP/1.1 only", headers={"Connection": "close"}
        )
    host = headers.get("Host")
    if not access.host_allowed(host):
        raise Problem(
            403,
            "host_not_allowed",
            "this server does not answer to that Host",
            hint="use localhost or 127.0.0.1, or add the name to AGENTSD_ALLOWED_HOSTS",
        )
    if not _can_change(request):
        return
    foreign = cookie and headers.get("Sec-Fetch-Site", "same-origin") != "same-origin"
    if foreign or not access.origin_allowed(headers.get("Origin"), host, cookie=cookie):
        raise Problem(
            403,
            "origin_not_allowed",
            "requests from pages of other origins are not allowed",
            hint="a sign-in is valid for pages of the same origin only, and http is not https"
            if foreign
            else "add the page's host and port to AGENTSD_ALLOWED_HOSTS if you trust it",
        )


def _get_authorization(request: web.Request) -> str | None:
    """Return the ``Authorization`` header, or the key offered as a WebSocket subprotocol.

    Browsers cannot set the header for a WebSocket, so OpenAI's clients offer the key as a protocol.
    """
    given = request.headers.get("Authorization")
    if given is None and "Upgrade" in request.headers:
        for offered in request.headers.get("Sec-WebSocket-Protocol", "").split(","):
            if offered.strip().startswith(KEY_PROTOCOL_PREFIX):
                return f"Bearer {offered.strip().removeprefix(KEY_PROTOCOL_PREFIX)}"
    return given


def _can_change(request: web.Request) -> bool:
    return request.method not in _SAFE_METHODS or "Upgrade" in request.headers


def _make_unauthorized(request: web.Request) -> Problem:
    openai = request.path.startswith("/v1/")
    return Problem(
        401,
        "invalid_api_key" if openai else "unauthorized",
        "a valid bearer token is needed",
        hint="send it as Authorization: Bearer TOKEN (OpenAI clients: as the API key)",
        headers={"WWW-Authenticate": 'Bearer realm="agentsd"'},
    )


def make_problem(error: BaseException, request: web.Request) -> Problem:
    """Return the problem for whatever a handler raised; log what nobody foresaw."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, AgentsdError):
        return from_error(error)
    if isinstance(error, web.HTTPException):
        hint = explain_missing_route(request) if error.status in (404, 405) else ""
        return from_http_exception(error, request.path, hint)
    log_unexpected_error(error)
    return make_internal_error()


def has_begun(request: web.Request) -> bool:
    """Return whether bytes of a response have been sent.

    A second head would land in the middle of the response, or in a WebSocket.
    """
    return request.writer.output_size > 0


def cut_connection(request: web.Request) -> NoReturn:
    """Close the connection without the end marker of a response. Raise ``ConnectionError``."""
    if request.transport is not None:
        request.transport.close()
    raise ConnectionResetError


def log_unexpected_error(error: BaseException) -> None:
    """Log where an unexpected error arose, without its text, which may quote a client's input."""
    place = "".join(traceback.format_tb(error.__traceback__))
    _log.error("unexpected %s\n%s", type(error).__name__, place)


def _record_request(request: web.Request, status: int, seconds: float, metrics: WebMetrics) -> None:
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "(none)"
    metrics.observe(request.method, route, status, seconds)
    # probes arrive every second, and a view of a page reads some thirty files
    level = logging.DEBUG if route in _QUIET_ROUTES and status < 400 else logging.INFO
    if _access_log.isEnabledFor(level):
        method = request.method if request.method.isalpha() else "?"
        _access_log.log(level, "%s %s %d %.1f ms", method[:10], route, status, seconds * 1000)
