"""Hints for requests that lead nowhere: what this server has, and where other programs' paths would be."""

from __future__ import annotations

import re

from aiohttp import web

from agentsd.web.http.problem import OPENAI_PREFIX

OLLAMA_PATHS = frozenset(
    {"/api/chat", "/api/generate", "/api/tags", "/api/embed", "/api/embeddings", "/api/show", "/api/version"}
)
_BASE = "the base URL of OpenAI's clients is this server's with /v1"


def explain_missing_route(request: web.Request) -> str:
    """Return a hint for a path, or a method of one, that this server does not have; empty if none fits."""
    routes = list_openai_routes(request.app)
    path = re.sub("/+", "/", request.path)
    if path in OLLAMA_PATHS:
        return f"Ollama's own interface is not spoken here, OpenAI's is; {_BASE}"
    tails = {route.partition(OPENAI_PREFIX)[2] for route in routes}
    meant = next((tail for tail in sorted(tails, key=len, reverse=True) if path.endswith(f"/{tail}")), None)
    if meant is not None and request.path != OPENAI_PREFIX + meant:
        return f"did you mean {OPENAI_PREFIX}{meant}? {_BASE}"
    if path.startswith(OPENAI_PREFIX):
        return f"this server has {', '.join(routes)}"
    return ""


def list_openai_routes(app: web.Application) -> list[str]:
    """Return the methods and paths below ``/v1``: ``POST /v1/chat/completions``."""
    found = {
        f"{route.method} {route.resource.canonical}"
        for route in app.router.routes()
        if route.resource is not None and route.resource.canonical.startswith(OPENAI_PREFIX)
    }
    return sorted((one for one in found if not one.startswith("HEAD ")), key=lambda one: one.split(" ")[::-1])
