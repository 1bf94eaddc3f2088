"""Environment of sops: an allow-list, with only the credentials that the file needs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from agentsd.core.trust.key_services import NETWORK_KINDS, KeyServices

_ALWAYS = frozenset(
    (
        *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR", "XDG_CONFIG_HOME"),
        *("SOPS_AGE_KEY", "SOPS_AGE_KEY_FILE", "SOPS_AGE_RECIPIENTS"),
        *("SOPS_AGE_SSH_PRIVATE_KEY_FILE", "SOPS_AGE_SSH_PRIVATE_KEY_CMD"),
        *("USERPROFILE", "APPDATA", "SYSTEMROOT"),
    )
)
_NETWORKED = frozenset(
    (
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
        *("http_proxy", "https_proxy", "no_proxy"),
    )
)
_OF_KIND: Mapping[str, tuple[str, ...]] = {
    "pgp": ("GNUPGHOME", "GPG_TTY", "GPG_AGENT_INFO", "XDG_RUNTIME_DIR", "SOPS_GPG_EXEC"),
    "kms": ("AWS_",),
    "gcp_kms": ("GOOGLE_", "CLOUDSDK_", "SOPS_GCP_KMS_CLIENT_TYPE", "SOPS_GCP_KMS_ENDPOINT"),
    "azure_kv": ("AZURE_", "IDENTITY_", "MSI_"),
    "hc_vault": ("VAULT_",),
    "hckms": ("HUAWEICLOUD_",),
}
"""Prefixes of the variables that one group of keys needs."""
_KEY_SERVICE = ("SOPS_KEYSERVICE", "SOPS_ENABLE_LOCAL_KEYSERVICE")
_FILES = frozenset(
    (
        *("SOPS_AGE_KEY_FILE", "SOPS_AGE_SSH_PRIVATE_KEY_FILE", "GNUPGHOME", "SSL_CERT_FILE", "SSL_CERT_DIR"),
        *("GOOGLE_APPLICATION_CREDENTIALS", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"),
    )
)
"""Variables that name a file, maybe relative to our working folder: sops is called in another one."""

_ADDED = {"SOPS_DISABLE_VERSION_CHECK": "true", "VAULT_DISABLE_REDIRECTS": "true"}
"""A redirect would send the token to any address that the server names."""


def make_environment(
    kinds: Collection[str], environ: Mapping[str, str], services: KeyServices
) -> dict[str, str]:
    """Return what sops may see of ``environ`` for a file that needs ``kinds``."""
    return {
        name: str(Path(value).absolute()) if name in _FILES and value else value
        for name, value in environ.items()
        if _is_passed(name, kinds, services)
    } | _ADDED


def remove_credentials(kinds: Collection[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return ``environ`` without the credentials of services that a file does not need: for an editor."""
    foreign = tuple(start for kind, starts in _OF_KIND.items() if kind not in kinds for start in starts)
    ours = ("AGENTSD_", "SOPS_KEYSERVICE", "SOPS_CONFIG", "SOPS_DECRYPTION_ORDER")
    kept = {name: value for name, value in environ.items() if not name.startswith((*foreign, *ours))}
    return kept | _ADDED | {name: environ[name] for name in ("XDG_RUNTIME_DIR", "GPG_TTY") if name in environ}


def _is_passed(name: str, kinds: Collection[str], services: KeyServices) -> bool:
    if name in _ALWAYS:
        return True
    if name in _NETWORKED:
        return not NETWORK_KINDS.isdisjoint(kinds)
    if name in _KEY_SERVICE:
        return "keyservice" in services.entries
    return any(name.startswith(_OF_KIND[kind]) for kind in kinds if kind in _OF_KIND)
