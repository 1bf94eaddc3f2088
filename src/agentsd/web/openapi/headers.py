"""Headers of responses."""

from __future__ import annotations

from agentsd.web.http.conditional import SECURITY_HEADERS
from agentsd.web.openapi.model import Schema

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}

HEADERS: dict[str, tuple[str, Schema]] = {
    "Access-Control-Allow-Origin": ("The page's origin, where `AGENTSD_CORS_ORIGINS` lists it.", _TEXT),
    "Access-Control-Expose-Headers": ("What such a page may read.", _TEXT),
    "Allow": ("The methods that are answered here; empty where none is.", _TEXT),
    "Cache-Control": ("Whether the reply may be kept.", _TEXT),
    "Content-Security-Policy": ("What a browser may load for this reply.", _TEXT),
    "Cross-Origin-Resource-Policy": ("Pages of other origins may not embed it.", _TEXT),
    "ETag": ("The state that this is: send it back as `If-None-Match` or `If-Match`.", _TEXT),
    "Link": ('The next page, `rel="next"`; absent on the last one.', _TEXT),
    "Location": ("The path of what was made.", _TEXT),
    "RateLimit": ("What is left of each quota: `r` requests in `t` seconds.", _TEXT),
    "RateLimit-Policy": ("The quotas that count this request.", _TEXT),
    "Referrer-Policy": ("Links from here do not tell where they came from.", _TEXT),
    "Retry-After": ("Seconds to wait before the next try.", _COUNT),
    "Server": ("The program's name.", _TEXT),
    "Set-Cookie": ("`agentsd_agent`: the chosen agent's id.", _TEXT),
    "Strict-Transport-Security": ("Only over HTTPS, behind a trusted proxy.", _TEXT),
    "Vary": ("The request headers that the reply depends on.", _TEXT),
    "WWW-Authenticate": ("The challenge: a bearer token.", _TEXT),
    "X-Accel-Buffering": ("Asks proxies not to hold events back.", _TEXT),
    "X-Agent": ("The slug of the agent that answers.", _TEXT),
    "X-Agent-Version": ("The version that answers, from the first byte to the last.", _COUNT),
    "X-Content-Type-Options": ("The type is not to be guessed.", _TEXT),
    "X-Sample-Rate": ("Samples a second.", _COUNT),
}
"""Name → (description, schema)."""

COMMON_HEADERS = (
    *SECURITY_HEADERS,
    "Access-Control-Allow-Origin",
    "Access-Control-Expose-Headers",
    "RateLimit",
    "RateLimit-Policy",
    "Strict-Transport-Security",
)
"""What any reply may carry; those of ``SECURITY_HEADERS`` every one does."""
