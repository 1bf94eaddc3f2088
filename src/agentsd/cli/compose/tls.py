"""Certificate of the server, from settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agentsd.core.errors import ConfigError
from agentsd.settings import Settings

if TYPE_CHECKING:
    from agentsd.web.server.tls import ServerCertificate

CERTIFICATE_FILE = "self-signed.crt"
KEY_FILE = "self-signed.key"


def load_certificate(settings: Settings, host: str) -> ServerCertificate | None:
    """Return the certificate of a server at ``host``; None without TLS. Raise ``ConfigError``."""
    files = settings.tls_cert, settings.tls_key
    if settings.tls_self_signed and any(files):
        raise ConfigError("--tls and --tls-self-signed exclude each other", hint="give one of them")
    if not settings.tls_self_signed and not any(files):
        return None
    from agentsd.web.server.tls import ServerCertificate

    if settings.tls_self_signed:
        from agentsd.web.server.self_signed import ensure_self_signed

        folder = choose_tls_folder(settings)
        certificate, key = folder / CERTIFICATE_FILE, folder / KEY_FILE
        ensure_self_signed(certificate, key, [host, *settings.allowed_hosts])
        return ServerCertificate(certificate, key)
    cert, key_file = files
    if cert is None or key_file is None:
        hint = "set both AGENTSD_TLS_CERT and AGENTSD_TLS_KEY, or give both to --tls"
        raise ConfigError("a certificate needs its key, and a key its certificate", hint=hint)
    return ServerCertificate(cert, key_file)


def choose_tls_folder(settings: Settings) -> Path:
    """Return where the certificate that the server makes is kept."""
    if settings.tls_dir:
        return settings.tls_dir
    from agentsd.store.embedded.server import choose_default_data_dir

    return (settings.data_dir or choose_default_data_dir()).parent / "tls"
