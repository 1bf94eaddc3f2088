"""TLS of the server: a certificate with its key, read again when their files change.

A certificate that is renewed is served from the next handshake on; connections that exist are left alone.
Files that cannot be used, such as half of a renewal, change nothing: the one in use stays, with a warning.
"""

from __future__ import annotations

import logging
import ssl
import time
from math import inf
from pathlib import Path

from agentsd.core.errors import ConfigError

HANDSHAKE_TIMEOUT_SECONDS = 10.0
"""Time that a client has for the handshake; until its end no other limit of connections counts it."""

_FileMark = tuple[tuple[int, int, int], ...]
_log = logging.getLogger(__name__)


class ServerCertificate:
    """Certificate of a server. ``context`` is for its sockets."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Load both files, which contain PEM. Raise ``ConfigError`` that names what cannot be used."""
        self._files = (certificate, key)
        self._mark = self._look()
        self._ends = inf
        self.context = self._current = self._load()
        self.context.sni_callback = self._choose
        self._warn_of_end()

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Give a handshake the newest certificate."""
        mark = self._look()
        if mark != self._mark:
            self._mark = mark
            try:
                self._current = self._load()
                _log.info("the TLS certificate was read again")
            except ConfigError as error:
                _log.warning("the TLS certificate in use stays: %s", error)
        self._warn_of_end()
        connection.context = self._current

    def _warn_of_end(self) -> None:
        """Warn once of a certificate that has ended: clients refuse it, and this server would never know."""
        if time.time() > self._ends:
            self._ends = inf
            _log.warning(
                "the TLS certificate has ended: clients refuse it", extra={"path": str(self._files[0])}
            )

    def _look(self) -> _FileMark:
        marks = []
        for file in self._files:
            try:
                found = file.stat()
                marks.append((found.st_mtime_ns, found.st_size, found.st_ino))
            except OSError:
                marks.append((0, 0, 0))
        return tuple(marks)

    def _load(self) -> ssl.SSLContext:
        certificate, key = self._files
        for file in self._files:
            _require_readable(file)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.set_alpn_protocols(["http/1.1"])
        try:
            # Without a password OpenSSL would ask for one on the terminal.
            context.load_cert_chain(certificate, key, password=lambda: "")
        except (ssl.SSLError, OSError):
            hint = "both are PEM: the server's certificate, then its chain; the key without a passphrase"
            message = f"{certificate} and {key} are not a certificate and its key"
            raise ConfigError(message, hint=hint) from None
        self._ends = _read_end(certificate)
        return context


def _read_end(certificate: Path) -> float:
    """Return when a certificate ends, in seconds since 1970; never where that cannot be read."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc.timestamp()
    except (OSError, ValueError):
        return inf


def _require_readable(file: Path) -> None:
    try:
        with file.open("rb") as opened:
            opened.read(1)
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}", hint="see --tls") from None
