"""Webhook signatures: a Git host authenticates its calls with a secret shared with this server.

GitHub signs the body: ``X-Hub-Signature-256: sha256=HEX``, HMAC-SHA256
(https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries). Gitea, Forgejo and
Gogs do the same: ``X-Gitea-Signature: HEX``, and so on (https://docs.gitea.com/usage/webhooks).
GitLab sends the secret itself: ``X-Gitlab-Token``
(https://docs.gitlab.com/user/project/integrations/webhooks/#validate-webhooks-by-using-a-secret-token).
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from agentsd.core.errors import ConfigError

WEBHOOK_PATH = "/hooks/git"
SECRET_LENGTH_MIN = 16
TOKEN_HEADER = "X-Gitlab-Token"  # noqa: S105  (the header's name)
SIGNATURE_PREFIXES = {
    "X-Hub-Signature-256": "sha256=",
    "X-Gitea-Signature": "",
    "X-Forgejo-Signature": "",
    "X-Gogs-Signature": "",
}
"""Header → prefix of the hexadecimal digits."""


@dataclass(frozen=True, slots=True)
class GitWebhook:
    """Secrets of the Git webhook, and the function that makes every puller pull."""

    secrets: tuple[bytes, ...] = field(repr=False)  # several while one replaces another
    pull: Callable[[], Awaitable[None]]

    def claims(self, headers: Mapping[str, str]) -> bool:
        """Return whether a call contains any signature or token."""
        return any(name in headers for name in (TOKEN_HEADER, *SIGNATURE_PREFIXES))

    def proof(self, headers: Mapping[str, str]) -> SignatureCheck:
        """Return a signature check, to be fed with the body."""
        return SignatureCheck(self.secrets, headers)


class SignatureCheck:
    """Signature check of one call, fed while its body arrives; all comparisons take constant time."""

    def __init__(self, secrets: tuple[bytes, ...], headers: Mapping[str, str]) -> None:
        self._secrets = secrets
        self._headers = headers
        self._sums = [hmac.new(secret, digestmod=sha256) for secret in secrets]

    def feed(self, chunk: bytes) -> None:
        """Add the next part of the body."""
        for one in self._sums:
            one.update(chunk)

    def holds(self) -> bool:
        """Return whether the signature of the complete body, or the token, matches one of the secrets."""
        token = self._headers.get(TOKEN_HEADER, "").encode("utf-8", "surrogateescape")
        good = False
        for secret, one in zip(self._secrets, self._sums, strict=True):
            good |= hmac.compare_digest(token, secret)
            for name, prefix in SIGNATURE_PREFIXES.items():
                given = self._headers.get(name, "").encode("utf-8", "surrogateescape")
                good |= hmac.compare_digest(given, f"{prefix}{one.hexdigest()}".encode())
        return good


def load_secrets(path: Path) -> tuple[bytes, ...]:
    """Load the secrets of a file, one a line. Raise ``ConfigError``, which does not quote them."""
    try:
        lines = [line.strip() for line in path.read_bytes().splitlines()]
    except OSError as error:
        raise ConfigError(
            f"the webhook's secret file {path} cannot be read: {error.strerror}",
            hint="see AGENTSD_HOOK_SECRET_FILE",
        ) from None
    secrets = tuple(line for line in lines if line and not line.startswith(b"#"))
    if not secrets or min(map(len, secrets)) < SECRET_LENGTH_MIN:
        raise ConfigError(
            f"{path} contains no secret, or one shorter than {SECRET_LENGTH_MIN} characters",
            hint="make one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'",
        )
    return secrets
