"""Certificate that signs itself, for machines of one's own: encrypted, and trusted by who is given it.

It is kept, so that a client that trusts it once does so after a restart. The key is in a file of mode 0600.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agentsd.core.errors import ConfigError

VALID_DAYS = 825
"""The longest that Apple's clients accept."""
RENEW_DAYS = 90
"""Days before its end from which a start makes a new certificate."""
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


def ensure_self_signed(certificate: Path, key: Path, hosts: Iterable[str]) -> None:
    """Make a certificate for this machine and ``hosts``, and its key, unless the files contain them.

    Raise ``ConfigError`` where they cannot be written.
    """
    names, folder = list_names(hosts), key.parent
    try:
        if not _is_usable(certificate, key, names):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            secret = ec.generate_private_key(ec.SECP256R1())
            pem = secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            _replace_file(key, pem, 0o600)
            _replace_file(certificate, make_certificate(secret, names).public_bytes(Encoding.PEM), 0o644)
    except OSError as error:
        hint = "set AGENTSD_TLS_DIR to a folder that this user may write"
        raise ConfigError(f"cannot keep a certificate in {folder}: {error.strerror}", hint=hint) from None


def list_names(hosts: Iterable[str]) -> tuple[str, ...]:
    """Return the names that a certificate is for: loopback's, the machine's, and ``hosts`` but wildcards."""
    given = [host.strip("[]").lower() for host in hosts]
    named = [host for host in given if host and host not in ("0.0.0.0", "::", "*")]  # noqa: S104
    return tuple(sorted({*LOCAL_NAMES, socket.gethostname().lower(), *named}))


def make_certificate(secret: ec.EllipticCurvePrivateKey, names: Iterable[str]) -> x509.Certificate:
    """Make a certificate of a server, signed by its own key."""
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "agentsd")])
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks differ
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([_make_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(secret.public_key()), critical=False)
    )
    return builder.sign(secret, SHA256())


def _make_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _is_usable(certificate: Path, key: Path, names: tuple[str, ...]) -> bool:
    """Return whether the files exist, belong together, are for ``names``, and last for a while."""
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        named = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        secret = load_pem_private_key(key.read_bytes(), None)
    except (FileNotFoundError, TypeError, ValueError, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return False
    # A process that ended between the two replacements has left a new key beside the old certificate.
    paired = secret.public_key() == found.public_key()
    rest = found.not_valid_after_utc - datetime.now(UTC)
    known = {str(name.value) for name in named}
    return paired and rest > timedelta(days=RENEW_DAYS) and known.issuperset(names)


def _replace_file(path: Path, data: bytes, mode: int) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    temporary.replace(path)
