"""TLS of the server over real sockets: whom clients trust, and how a certificate is renewed."""

from __future__ import annotations

import asyncio
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from agentsd.core.errors import ConfigError
from agentsd.web.server.self_signed import ensure_self_signed, make_certificate
from agentsd.web.server.server import Server, bind_sockets, start_server
from agentsd.web.server.tls import ServerCertificate


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for loopback and its key."""
    certificate, key = tmp_path / "tls/server.crt", tmp_path / "tls/server.key"
    ensure_self_signed(certificate, key, ["127.0.0.1"])
    return certificate, key


@asynccontextmanager
async def serving(files: tuple[Path, Path]) -> AsyncIterator[Server]:
    """A server that streams slowly at ``/``."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for part in (b"one ", b"two"):
            await response.write(part)
            await asyncio.sleep(0)
        return response

    app = web.Application()
    app.router.add_get("/", answer)
    server = await start_server(app, bind_sockets("127.0.0.1", 0), certificate=ServerCertificate(*files))
    yield server
    await server.stop()


async def ask(url: str, trusted: Path | None) -> str:
    """What a client that trusts one certificate gets, on a connection of its own."""
    context = ssl.create_default_context(cafile=trusted)
    async with aiohttp.ClientSession() as client, client.get(url, ssl=context) as reply:
        return await reply.text()


async def test_a_client_that_trusts_the_certificate_is_served(files: tuple[Path, Path]) -> None:
    """By address and by name; one that was not given the certificate refuses it, and the key is private."""
    async with serving(files) as server:
        assert server.url.startswith("https://127.0.0.1:")
        for url in (server.url, server.url.replace("127.0.0.1", "localhost")):
            assert await ask(url, files[0]) == "one two"
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await ask(server.url, None)
        async with aiohttp.ClientSession() as client:
            with pytest.raises(aiohttp.ClientError):
                await client.get(server.url.replace("https", "http"))
        assert await ask(server.url, files[0]) == "one two"
    assert stat.S_IMODE(files[1].stat().st_mode) == 0o600


async def test_a_renewed_certificate_is_served_at_once(files: tuple[Path, Path], tmp_path: Path) -> None:
    """From the next handshake on; half of a renewal, a broken or a missing file change nothing."""
    old = tmp_path / "old.crt"
    old.write_bytes(files[0].read_bytes())
    new = tmp_path / "new.crt", tmp_path / "new.key"
    ensure_self_signed(*new, ["127.0.0.1"])
    async with serving(files) as server:
        files[0].write_bytes(new[0].read_bytes())
        assert await ask(server.url, old) == "one two"
        files[1].write_bytes(b"not a key")
        assert await ask(server.url, old) == "one two"
        files[1].unlink()
        assert await ask(server.url, old) == "one two"
        files[1].write_bytes(new[1].read_bytes())
        assert await ask(server.url, new[0]) == "one two"
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await ask(server.url, old)


def test_a_certificate_is_kept_until_it_must_change(files: tuple[Path, Path]) -> None:
    """The same names: the same certificate. A further name, or a damaged file: a new one."""
    certificate, key = files
    first = certificate.read_bytes()
    ensure_self_signed(certificate, key, ["::", "localhost"])
    assert certificate.read_bytes() == first
    ensure_self_signed(certificate, key, ["agents.example.org"])
    second = certificate.read_bytes()
    assert second != first
    certificate.write_text("half of a certificate")
    ensure_self_signed(certificate, key, [])
    ServerCertificate(certificate, key)
    key.unlink()
    ensure_self_signed(certificate, key, [])
    ServerCertificate(certificate, key)


def test_a_certificate_that_has_ended_is_reported(
    files: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Clients refuse it before the server hears of them; a good one is not reported."""
    ServerCertificate(*files)
    assert caplog.messages == []
    secret, ended = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC) - timedelta(days=1)
    name = x509.Name([])
    builder = x509.CertificateBuilder(name, name, secret.public_key(), 1, ended - timedelta(days=1), ended)
    files[0].write_bytes(builder.sign(secret, SHA256()).public_bytes(Encoding.PEM))
    files[1].write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    ServerCertificate(*files)
    assert "has ended" in caplog.text


@pytest.mark.parametrize("left", ["another key", "half of a key", "nothing"])
def test_half_of_a_renewal_is_made_whole_at_the_next_start(
    files: tuple[Path, Path], tmp_path: Path, left: str
) -> None:
    """A process that ended between key and certificate does not keep every later one from starting."""
    certificate, key = files
    ensure_self_signed(tmp_path / "new.crt", tmp_path / "new.key", [])
    kept = {"another key": (tmp_path / "new.key").read_bytes(), "half of a key": key.read_bytes()[:60]}
    key.write_bytes(kept.get(left, b""))
    ensure_self_signed(certificate, key, [])
    ServerCertificate(certificate, key)


@pytest.mark.parametrize("case", ["no certificate", "no key", "other key", "passphrase", "folder", "text"])
def test_what_cannot_be_used_is_named_at_the_start(
    files: tuple[Path, Path], tmp_path: Path, case: str
) -> None:
    """Nothing asks for a passphrase, and the file is named."""
    certificate, key = files
    secret = ec.generate_private_key(ec.SECP256R1())
    form = Encoding.PEM, PrivateFormat.PKCS8
    match case:
        case "no certificate":
            certificate = tmp_path / "absent"
        case "no key":
            key = tmp_path / "absent"
        case "other key":
            certificate.write_bytes(make_certificate(secret, ["localhost"]).public_bytes(Encoding.PEM))
        case "passphrase":
            certificate.write_bytes(make_certificate(secret, ["localhost"]).public_bytes(Encoding.PEM))
            key.write_bytes(secret.private_bytes(*form, BestAvailableEncryption(b"secret")))
        case "folder":
            key = tmp_path
        case "text":
            certificate.write_text("hello")
    with pytest.raises(ConfigError) as refused:
        ServerCertificate(certificate, key)
    assert str(tmp_path) in refused.value.message


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """With the setting that chooses another."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file") as refused:
        ensure_self_signed(tmp_path / "file/a.crt", tmp_path / "file/a.key", [])
    assert "AGENTSD_TLS_DIR" in refused.value.hint
