"""AWS Key Management Service, as sops calls it: Encrypt and Decrypt of the JSON 1.1 protocol.

https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from os import urandom

from aiohttp import web
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.vendors.base import VendorServer

ACCESS_KEY = "AKIACANARY1234567890"


class KmsServer(VendorServer):
    """One region; any key id. The encryption context is authenticated, as in the real one."""

    def __init__(self) -> None:
        super().__init__()
        self.key = AESGCM(urandom(32))
        self.roles: list[str] = []  # that STS was asked to assume

    def routes(self, app: web.Application) -> None:
        """Everything is POST to the root; the operation is in a header, or for STS in the form."""
        app.router.add_post("/", self._call)

    async def _call(self, request: web.Request) -> web.StreamResponse:
        if "X-Amz-Target" not in request.headers:
            self.roles.append(str((await request.post()).get("RoleArn")))
            return web.Response(status=403)
        body = json.loads(await request.read())
        self.receive(request, body)
        if f"Credential={ACCESS_KEY}/" not in request.headers.get("Authorization", ""):
            return _refused("UnrecognizedClientException")
        context = json.dumps([body["KeyId"], body.get("EncryptionContext") or {}]).encode()
        if request.headers["X-Amz-Target"] == "TrentService.Encrypt":
            nonce = urandom(12)
            blob = nonce + self.key.encrypt(nonce, b64decode(body["Plaintext"]), context)
            return _answer({"CiphertextBlob": b64encode(blob).decode(), "KeyId": body["KeyId"]})
        blob = b64decode(body["CiphertextBlob"])
        try:
            plain = self.key.decrypt(blob[:12], blob[12:], context)
        except InvalidTag:
            return _refused("InvalidCiphertextException")
        return _answer({"Plaintext": b64encode(plain).decode(), "KeyId": body["KeyId"]})


def _answer(body: dict[str, str]) -> web.Response:
    return web.json_response(body, content_type="application/x-amz-json-1.1")


def _refused(kind: str) -> web.Response:
    return web.json_response({"__type": kind}, status=400, content_type="application/x-amz-json-1.1")
