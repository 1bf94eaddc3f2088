"""Pages: /ui/agents and the others, and their files.

A page is a shell without data, so it needs no token: its script requests everything from /api, as
the signed-in user. Nothing in it comes from a request. It may load only from this server, and no
script can turn a text into markup or code (``require-trusted-types-for``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from agentsd.web.http.conditional import (
    SECURITY_HEADERS,
    compute_etag,
    make_cache_headers,
    make_conditional_response,
)
from agentsd.web.ui.assets import load_assets

CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "media-src 'self' blob:",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types agentsd-events",
    )
)
"""Content-Security-Policy of every page. The one policy of Trusted Types makes the address of ``WORKER``."""

WORKER = "js/events/worker.js"
WORKER_POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'"
"""The worker that pages share, and its Content-Security-Policy: it has the policy of its own file."""

PERMISSIONS_POLICY = "microphone=(self), camera=(), geolocation=(), payment=(), usb=()"


@dataclass(frozen=True, slots=True)
class Page:
    """Page of the UI. ``name`` is its address, template, script and style; ``label`` is its menu text.

    ``under``: the page of the menu that it belongs to.
    """

    name: str
    title: str
    label: str = ""
    under: str = ""


PAGES = (
    Page("agents", "Agents", "Agents"),
    Page("agent", "Agent", under="agents"),
    Page("edit", "Edit an agent", under="agents"),
    Page("chat", "Chat", "Chat"),
    Page("voice", "Voicebot", "Voicebot"),
    Page("speech", "Text to speech", "Text to speech"),
    Page("transcription", "Speech to text", "Speech to text"),
    Page("usage", "Usage", "Usage"),
    Page("sync", "Sync", "Sync"),
    Page("users", "Users and tokens", "Users"),
)

FIRST_PATH = "/ui/agents"
_ASSET_CACHE_CONTROL = "public, max-age=31536000, immutable"


def make_routes() -> list[web.RouteDef]:
    """Return the routes of all pages, and one route for their files."""
    return [
        web.get("/", _redirect_to_first),
        web.get("/ui", _redirect_to_first),
        *(web.get(f"/ui/{one.name}", _make_handler(one)) for one in PAGES),
        web.get("/ui/static/{edition}/{name:.+}", serve_asset),
        web.get("/ui/{page:.*}", handle_missing),
    ]


async def _redirect_to_first(request: web.Request) -> web.Response:
    raise web.HTTPFound(FIRST_PATH)


def _make_handler(page: Page) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def get(request: web.Request) -> web.Response:
        body = render_page(page)
        headers = make_cache_headers(compute_etag(body))
        headers["Content-Type"] = "text/html; charset=utf-8"
        headers["Content-Security-Policy"] = CONTENT_POLICY
        headers["Permissions-Policy"] = PERMISSIONS_POLICY
        return make_conditional_response(request, body, headers["ETag"], headers)

    return get


async def handle_missing(request: web.Request) -> web.Response:
    """Return a "not found" page."""
    headers = {
        **SECURITY_HEADERS,
        "Content-Security-Policy": CONTENT_POLICY,
        "Content-Type": "text/html; charset=utf-8",
    }
    return web.Response(body=render_page(Page("missing", "No such page")), status=404, headers=headers)


async def serve_asset(request: web.Request) -> web.Response:
    """Return one file; browsers cache it as long as its URL is of this edition."""
    all_of_them = load_assets()
    found = all_of_them.named.get(request.match_info["name"])
    if found is None:
        raise web.HTTPNotFound
    current = request.match_info["edition"] == all_of_them.edition
    headers = {
        **SECURITY_HEADERS,
        "Content-Type": found.kind,
        "Cache-Control": _ASSET_CACHE_CONTROL if current else "no-cache",
    }
    if request.match_info["name"] == WORKER:
        headers["Content-Security-Policy"] = WORKER_POLICY
    if found.packed is None:
        return web.Response(body=found.data, headers=headers)
    headers["Vary"] = "Accept-Encoding"
    if "gzip" not in request.headers.get("Accept-Encoding", ""):
        return web.Response(body=found.data, headers=headers)
    return web.Response(body=found.packed, headers={**headers, "Content-Encoding": "gzip"})


@cache
def render_page(page: Page) -> bytes:
    """Render a page's HTML."""
    template = _make_environment().get_template(f"{page.name}.html")
    menu = [one for one in PAGES if one.label]
    return template.render(page=page, menu=menu, static=f"/ui/static/{load_assets().edition}").encode()


@cache
def _make_environment() -> Environment:
    return Environment(
        loader=PackageLoader("agentsd.web.ui"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
