"""HashiCorp Vault's transit engine, as sops calls it.

https://developer.hashicorp.com/vault/api-docs/secret/transit#encrypt-data and #decrypt-data
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from os import urandom
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.vendors.base import Fault, VendorServer

TOKEN = "hvs.canary-vault-token-7"
_PREFIX = "vault:v1:"


class VaultServer(VendorServer):
    """One transit engine at ``transit``; a key is made when it is first used for encryption.

    ``redirect``: where to send whoever asks, with 307, as a standby node does.
    """

    def __init__(self, *, fault: Fault | None = None, delay: float = 0.0) -> None:
        super().__init__(fault=fault, delay=delay)
        self.redirect = ""
        self.others: list[str] = []  # other paths of the API that were asked for, such as sys/seal
        self._keys: dict[str, AESGCM] = {}

    def routes(self, app: web.Application) -> None:
        """Vault takes PUT and POST alike."""
        for method in ("PUT", "POST"):
            app.router.add_route(method, "/v1/transit/encrypt/{key}", self._encrypt)
            app.router.add_route(method, "/v1/transit/decrypt/{key}", self._decrypt)
            app.router.add_route(method, "/v1/{path:.*}", self._other)

    async def _body(self, request: web.Request) -> dict[str, Any]:
        """The request's body. Raises what the client is to be answered."""
        body: dict[str, Any] = await request.json()
        self.receive(request, body)
        if (refusal := await self.refuse(request)) is not None:
            raise _Answered(refusal)
        if self.redirect:
            raise web.HTTPTemporaryRedirect(self.redirect + request.path)
        if request.headers.get("X-Vault-Token") != TOKEN:
            raise _Answered(web.json_response({"errors": ["permission denied"]}, status=403))
        return body

    async def _encrypt(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await self._body(request)
        except _Answered as answered:
            return answered.response
        key = self._keys.setdefault(request.match_info["key"], AESGCM(urandom(32)))
        nonce = urandom(12)
        sealed = nonce + key.encrypt(nonce, b64decode(body["plaintext"]), None)
        text = _PREFIX + b64encode(sealed).decode()
        return web.json_response({"request_id": "1", "data": {"ciphertext": text, "key_version": 1}})

    async def _decrypt(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await self._body(request)
        except _Answered as answered:
            return answered.response
        key = self._keys.get(request.match_info["key"])
        text = str(body.get("ciphertext", ""))
        if key is None or not text.startswith(_PREFIX):
            return web.json_response({"errors": ["encryption key not found"]}, status=400)
        sealed = b64decode(text.removeprefix(_PREFIX))
        plain = key.decrypt(sealed[:12], sealed[12:], None)
        return web.json_response({"request_id": "1", "data": {"plaintext": b64encode(plain).decode()}})

    async def _other(self, request: web.Request) -> web.StreamResponse:
        self.others.append(request.match_info["path"])
        return web.Response(status=204)


class _Answered(Exception):
    """A request that is answered already."""

    def __init__(self, response: web.StreamResponse) -> None:
        super().__init__()
        self.response = response
