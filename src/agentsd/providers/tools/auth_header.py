"""Header that carries a tool's key."""

from __future__ import annotations

from agentsd.core.manifest.tools import AuthToken
from agentsd.core.secret import Secret
from agentsd.providers.base import ProviderRejected
from agentsd.providers.redaction import Redactor


def make_auth_header(
    token: AuthToken | Secret | None, owner: str, header: str = "Authorization"
) -> tuple[dict[str, str], Redactor]:
    """Return the header with the key, and the mask of the key in answers; no header without a key.

    ``owner`` names whose key it is in errors. Raises ``ProviderRejected`` for a key that no header can carry.
    """
    secret = token.value if isinstance(token, AuthToken) else token
    if secret is None:
        return {}, Redactor(())
    plain = secret.reveal()
    if not (plain.isascii() and plain.isprintable()):
        hint = "seal auth_token again, without a line break or other characters around it"
        raise ProviderRejected(f"the key of {owner} cannot be sent in a header", hint=hint)
    bearer = header.lower() == "authorization"
    return {header: f"Bearer {plain}" if bearer else plain}, Redactor((plain,))
