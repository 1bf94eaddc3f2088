"""POST /hooks/git: a Git host reports a push, and every puller pulls at once.

No token is needed: the call is authenticated by its signature (see ``webhook_signature``). Its
content is not even read: it is a hint, and the current state is read from the remote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aiohttp import web

from agentsd.web.context import APP_CONTEXT, AppContext
from agentsd.web.http.problem import Problem
from agentsd.web.http.reply import make_reply
from agentsd.web.middleware.webhook_signature import WEBHOOK_PATH, GitWebhook

BODY_BYTES_MAX = 25 << 20
"""Maximum bytes, as of GitHub: https://docs.github.com/webhooks/webhook-events-and-payloads#payload-cap"""

_CHUNK_BYTES = 64 << 10


@dataclass(frozen=True)
class PullingReply:
    """Every puller was notified."""

    pulling: Literal[True] = True


def make_routes() -> list[web.RouteDef]:
    """Return the routes of this resource."""
    return [web.post(WEBHOOK_PATH, receive_webhook)]


async def receive_webhook(request: web.Request) -> web.Response:
    """Return 202 after every puller was notified."""
    parts = request.app[APP_CONTEXT]
    if parts.hook is None:
        raise Problem(404, "not_found", f"there is nothing at {WEBHOOK_PATH}")
    if not await _check_signature(request, parts.hook):
        await _refuse_webhook(request, parts)
    await parts.hook.pull()
    return make_reply(PullingReply(), 202)


async def _check_signature(request: web.Request, hook: GitWebhook) -> bool:
    """Check the signature of the body, which is hashed in chunks and never stored. Raise ``Problem`` 413."""
    if not hook.claims(request.headers):
        return False
    proof, size = hook.proof(request.headers), 0
    async for chunk in request.content.iter_chunked(_CHUNK_BYTES):
        size += len(chunk)
        if size > BODY_BYTES_MAX:
            raise Problem(413, "body_too_large", f"more than {BODY_BYTES_MAX >> 20} MiB")
        proof.feed(chunk)
    return proof.holds()


async def _refuse_webhook(request: web.Request, parts: AppContext) -> None:
    """Raise ``Problem`` 401, or 429 for too many attempts."""
    if parts.guards.limiter is not None:
        await parts.guards.limiter.failed(request)
    raise Problem(
        401,
        "unauthorized",
        "this call is not signed with the webhook's secret",
        hint="configure the Git host with the secret of AGENTSD_HOOK_SECRET_FILE",
        headers={"WWW-Authenticate": 'Signature realm="agentsd"'},
    )
