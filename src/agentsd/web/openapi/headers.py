"""Headers of responses."""

from __future__ import annotations

from agentsd.web.http.conditional import SECURITY_HEADERS
from agentsd.web.openapi.model import Schema

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}

HEADERS: dict[str, tuple[str, Schema]] = {
    "Access-Control-Allow-Origin": ("The page's origin, where `AGENTSD_CORS_ORIGINS` lists it.", _TEXT),
    "Access-Control-Expose-Headers": ("The headers that such a page may read.", _TEXT),
    "Allow": ("The methods that are allowed here; empty where none is.", _TEXT),
    "Cache-Control": ("Whether the response may be cached.", _TEXT),
    "Content-Security-Policy": ("What a browser may load for this response.", _TEXT),
    "Cross-Origin-Resource-Policy": ("Pages of other origins may not embed it.", _TEXT),
    "ETag": ("The version of the content: send it back as `If-None-Match` or `If-Match`.", _TEXT),
    "Link": ('The next page, `rel="next"`; absent on the last one.', _TEXT),
    "Location": ("The path of the created resource.", _TEXT),
    "RateLimit": ("The remainder of each quota: `r` requests in `t` seconds.", _TEXT),
    "RateLimit-Policy": ("The quotas that count this request.", _TEXT),
    "Referrer-Policy": ("Links from here send no referrer.", _TEXT),
    "Retry-After": ("Seconds to wait before a retry.", _COUNT),
    "Server": ("The program's name.", _TEXT),
    "Set-Cookie": ("`agentsd_agent`: the chosen agent's id.", _TEXT),
    "Strict-Transport-Security": ("Only over HTTPS, behind a trusted proxy.", _TEXT),
    "Vary": ("The request headers that the response depends on.", _TEXT),
    "WWW-Authenticate": ("The challenge: a bearer token.", _TEXT),
    "X-Accel-Buffering": ("Asks proxies not to buffer events.", _TEXT),
    "X-Agent": ("The slug of the agent that answers.", _TEXT),
    "X-Agent-Version": ("The version that answers, from the first byte to the last.", _COUNT),
    "X-Content-Type-Options": ("The media type must not be guessed.", _TEXT),
    "X-Request-ID": ("The request's id: the client's own, or a new one; the log contains it.", _TEXT),
    "X-Sample-Rate": ("Samples per second.", _COUNT),
    "x-should-retry": ("`false` where a retry is useless: it was done here, or cannot help.", _TEXT),
}
"""Name → (description, schema)."""

COMMON_HEADERS = (
    *SECURITY_HEADERS,
    "Access-Control-Allow-Origin",
    "Access-Control-Expose-Headers",
    "RateLimit",
    "RateLimit-Policy",
    "Strict-Transport-Security",
    "X-Request-ID",
    "x-should-retry",
)
"""Headers of any response; those of ``SECURITY_HEADERS`` are in every one."""
