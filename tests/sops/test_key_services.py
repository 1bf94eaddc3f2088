"""Keys that a service holds: asked where the operator names it, and never a byte to it otherwise."""

from __future__ import annotations

import json
import shutil
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pyrage
import pytest
from pyrage import x25519

from agentsd.core.errors import (
    AgentsdError,
    KeyServiceForbidden,
    SealLocked,
    SealMalformed,
    SealUnsure,
    SopsFailed,
)
from agentsd.sops.binary import MEMORY_MAX_BYTES, SopsBinary
from agentsd.sops.identities import Identities, find_identities
from agentsd.sops.opener import Opener
from tests.files.git.remote import end_agent
from tests.sops.age_plugin import IDENTITY, RECIPIENT, install
from tests.sops.real import Sops, document
from tests.sops.services import PLAIN, binary, fingerprint, gpg, opener, seal, vault_key, with_block
from tests.vendors.base import Fault
from tests.vendors.kms_server import ACCESS_KEY, KmsServer
from tests.vendors.listener import Listener
from tests.vendors.vault_server import TOKEN, VaultServer

OPENED = {"name": "Support", "api_key": "canary-91"}


@pytest.fixture
async def vault() -> AsyncIterator[VaultServer]:
    async with VaultServer() as server:
        yield server


async def sealed_by_vault(vault: VaultServer, folder: Path) -> bytes:
    uri = f"{vault.url}/v1/transit/keys/agents"
    return await seal(folder, {"hc_vault_transit_uri": uri}, VAULT_TOKEN=TOKEN)


async def test_a_vault_that_is_named_opens(vault: VaultServer, tmp_path: Path) -> None:
    """By its origin, by its key, by a pattern; an edit renews the MAC through it, too."""
    sealed = await sealed_by_vault(vault, tmp_path)
    for entry in (vault.url, f"{vault.url}/v1/transit/keys/agents", f"{vault.url}/v1/transit/keys/*"):
        found = await opener({"VAULT_TOKEN": TOKEN}, entry).open_surely(document(sealed))
        assert found.value == OPENED
    sops = binary({"VAULT_TOKEN": TOKEN}, vault.url)
    renewed = await sops.set(sealed, ("api_key",), "canary-92")
    assert (await sops.decrypt(renewed))["api_key"] == "canary-92"


@pytest.mark.parametrize(
    "entry",
    ["pgp", "https://127.0.0.1:{port}", "http://127.0.0.1:1", "http://127.0.0.1", "http://localhost:{port}",
     "http://127.0.0.1:{port}/v1/transit/keys/other", "http://127.0.0.1:{port}/v1/transit", "aws-kms",
     "azure-kv"],
)  # fmt: skip
async def test_a_vault_that_is_not_named_gets_nothing(entry: str, sops: Sops) -> None:
    """Not even a connection, to decrypt or to edit, with the operator's token at hand; the hint names it."""
    with Listener() as listener:
        key = vault_key(listener.url)
        sealed = with_block(sops.seal(PLAIN), age=None, hc_vault=[key])
        services = binary({"VAULT_TOKEN": TOKEN}, entry.format(port=listener.port))
        for call in (services.decrypt(sealed), services.set(sealed, ("name",), "x")):
            with pytest.raises(KeyServiceForbidden) as caught:
                await call
            assert f"{listener.url}/v1/transit/keys/agents" in caught.value.hint
            assert caught.value.pointer == ("sops", "hc_vault", 0, "vault_address")
        assert listener.connections == 0


async def test_what_the_hint_names_is_what_opens(vault: VaultServer, tmp_path: Path) -> None:
    """Adding the value of the hint, and nothing else, is enough."""
    sealed = await sealed_by_vault(vault, tmp_path)
    with pytest.raises(KeyServiceForbidden) as caught:
        await opener({"VAULT_TOKEN": TOKEN}).open_surely(document(sealed))
    entry = caught.value.hint.split("add ")[1].split(" to ")[0]
    assert (await opener({"VAULT_TOKEN": TOKEN}, entry).open_surely(document(sealed))).value == OPENED


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"engine_path": "sys", "key_name": "../seal"}, "sys/seal"),
        ({"engine_path": "auth/token/x/../create"}, ""),
        ({"engine_path": "transit", "key_name": "agents?x=1"}, ""),
        ({"engine_path": "transit/../sys", "key_name": ".."}, ""),
        ({"engine_path": "%2e%2e/sys"}, ""),
    ],
)
async def test_a_path_cannot_lead_elsewhere_in_vault(
    vault: VaultServer, sops: Sops, fields: dict[str, str], path: str
) -> None:
    """The named Vault's other commands are out of an editor's reach: POST sys/seal would seal it."""
    sealed = with_block(sops.seal(PLAIN), age=None, hc_vault=[vault_key(vault.url, **fields)])
    with pytest.raises(KeyServiceForbidden) as caught:
        await binary({"VAULT_TOKEN": TOKEN}, vault.url).decrypt(sealed)
    assert caught.value.final
    assert vault.others == []
    assert vault.connections == 0


@pytest.mark.parametrize("fault", [Fault.FORBIDDEN, Fault.UNAUTHORIZED, Fault.NOT_FOUND])
async def test_a_vault_that_refuses(vault: VaultServer, tmp_path: Path, fault: Fault) -> None:
    """The file is locked, and nothing of the answer is passed on."""
    sealed = await sealed_by_vault(vault, tmp_path)
    vault.fault = fault
    with pytest.raises(SealLocked) as caught:
        await binary({"VAULT_TOKEN": TOKEN}, vault.url).decrypt(sealed)
    assert TOKEN not in str(caught.value)


async def test_a_vault_that_never_answers(vault: VaultServer, tmp_path: Path) -> None:
    """It is given up in bounded time, retryable, and sops is gone."""
    sealed = await sealed_by_vault(vault, tmp_path)
    vault.fault = Fault.STALL
    with pytest.raises(SopsFailed, match="did not answer"):
        await binary({"VAULT_TOKEN": TOKEN}, vault.url, timeout=0.3).decrypt(sealed)


async def test_a_redirect_takes_no_token_elsewhere(vault: VaultServer, tmp_path: Path) -> None:
    """A named Vault that points to another host is not followed."""
    sealed = await sealed_by_vault(vault, tmp_path)
    with Listener() as listener:
        vault.redirect = listener.url
        with pytest.raises(AgentsdError):
            await binary({"VAULT_TOKEN": TOKEN}, vault.url, timeout=3.0).decrypt(sealed)
        assert listener.connections == 0


async def test_an_unnamed_key_beside_an_age_key_is_left_out(sops: Sops) -> None:
    """sops is given the age key only, though it has to judge the file; an edit keeps both in the block."""
    with Listener() as listener:
        sealed = sops.seal(PLAIN)
        mixed = with_block(sealed, hc_vault=[vault_key(listener.url)])
        services = binary({**sops.environ, "VAULT_TOKEN": TOKEN})
        assert await services.decrypt(mixed) == OPENED
        key = "vault_address: {}\n          engine_path: transit\n          key_name: a\n          enc: y\n"
        added = f"sops:\n    hc_vault:\n        - {key.format(listener.url)}"
        text = sealed.replace(b"sops:\n", added.encode())
        assert await services.decrypt(b"# first\n" + text + b"# last\n") == OPENED
        with pytest.raises(KeyServiceForbidden):
            await binary({"VAULT_TOKEN": TOKEN, "HOME": str(sops.folder / "none")}).decrypt(mixed)
        assert listener.connections == 0


async def test_fields_of_another_sops_are_left_out(sops: Sops) -> None:
    """A newer sops may know another kind of key: what is not known here does not reach it."""
    sealed = with_block(sops.seal(PLAIN), new_kms=[{"url": "http://127.0.0.1:1"}])
    assert await binary(sops.environ).decrypt(sealed) == OPENED


@pytest.mark.parametrize(
    "address", ["http://169.254.169.254", "http://[fe80::1]", "http://[::ffff:a9fe:a9fe]:8200"]
)
async def test_link_local_is_never_asked(sops: Sops, address: str) -> None:
    """Whatever the operator lists."""
    sealed = with_block(sops.seal(PLAIN), age=None, hc_vault=[vault_key(address)])
    with pytest.raises(KeyServiceForbidden) as caught:
        await binary({"VAULT_TOKEN": TOKEN}, address).decrypt(sealed)
    assert caught.value.final


async def test_the_outbound_list_counts_too(vault: VaultServer, tmp_path: Path) -> None:
    """A Vault that is named but not in AGENTSD_OUTBOUND is not asked, by address or by name."""
    sealed = await sealed_by_vault(vault, tmp_path)
    before = vault.connections
    with pytest.raises(KeyServiceForbidden):
        await binary({"VAULT_TOKEN": TOKEN}, vault.url, outbound="10.0.0.0/8").decrypt(sealed)
    named = vault.url.replace("127.0.0.1", "localhost")
    block = with_block(sealed, hc_vault=[vault_key(named)])
    with pytest.raises(SopsFailed, match="may not connect"):
        await binary({"VAULT_TOKEN": TOKEN}, named, outbound="10.0.0.0/8").decrypt(block)
    assert vault.connections == before


# AWS KMS, by the endpoint override that sops' client honours

ARN = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
AWS = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": "canary-secret"}


async def test_a_kms_key_that_is_named_opens(tmp_path: Path) -> None:
    """By its ARN, by a pattern, as a whole kind; not by another account's ARN."""
    async with KmsServer() as kms:
        environ = {**AWS, "AWS_ENDPOINT_URL_KMS": kms.url, "AWS_ENDPOINT_URL_STS": kms.url}
        sealed = await seal(tmp_path, {"kms": ARN}, **environ)
        for entry in (
            ARN,
            "arn:aws:kms:eu-central-1:123456789012:key/*",
            "arn:aws:kms:*:123456789012:key/*",
            "aws-kms",
        ):
            assert (await opener(environ, entry).open_surely(document(sealed))).value == OPENED
        asked = len(kms.requests)
        for entry in ("arn:aws:kms:eu-central-1:999999999999:key/*", "gcp-kms", "pgp"):
            with pytest.raises(KeyServiceForbidden, match="KMS"):
                await opener(environ, entry).open_surely(document(sealed))
        key: dict[str, Any] = document(sealed).value["sops"]["kms"][0]
        role = "arn:aws:iam::123456789012:role/Admin"
        for chosen, value in (("role", role), ("aws_profile", "production")):
            with pytest.raises(KeyServiceForbidden, match="may not use this"):
                await opener(environ, "aws-kms").open_surely(
                    document(with_block(sealed, kms=[{**key, chosen: value}]))
                )
        assert (len(kms.requests), kms.roles) == (asked, [])


# PGP, by the gpg of this machine


@pytest.fixture
def gpg_home() -> Iterator[Path]:
    """A keyring with one key for encryption; its path is short, because the agent's socket is in it."""
    home = Path(mkdtemp(prefix="g"))
    yield home
    end_agent(home)
    shutil.rmtree(home, ignore_errors=True)


async def test_pgp_opens_from_the_keyring_without_an_age_key(gpg_home: Path, tmp_path: Path) -> None:
    """By default; not where the operator took PGP off the list."""
    environ = {"GNUPGHOME": str(gpg_home)}
    sealed = await seal(tmp_path, {"pgp": await fingerprint(gpg_home, "ada")}, **environ)
    default = Opener(Identities(), SopsBinary(environ={"PATH": "/usr/bin:/bin", **environ}))
    assert default.obstacle(document(sealed)) is None
    assert (await default.open_surely(document(sealed))).value == OPENED
    with pytest.raises(KeyServiceForbidden, match="PGP"):
        await opener(environ, "aws-kms").open_surely(document(sealed))


async def test_gpg_asks_no_key_server(gpg_home: Path, tmp_path: Path) -> None:
    """A message that is signed by a key nobody has makes gpg fetch it, where gpg.conf says so: not here."""
    environ = {"GNUPGHOME": str(gpg_home)}
    mine = await fingerprint(gpg_home, "ada")
    stranger = await fingerprint(gpg_home, "eve")
    sealed = await seal(tmp_path, {"pgp": mine}, **environ)
    (key,) = document(sealed).value["sops"]["pgp"]
    data_key = await gpg(gpg_home, "--decrypt", data=key["enc"].encode())
    signing = ("--armor", "--trust-model", "always", "--sign", "--local-user", stranger, "--recipient", mine)
    signed = await gpg(gpg_home, *signing, "--encrypt", data=data_key)
    await gpg(gpg_home, "--yes", "--delete-secret-and-public-key", stranger)
    with Listener() as server:
        (gpg_home / "gpg.conf").write_text("auto-key-retrieve\n")
        (gpg_home / "dirmngr.conf").write_text(f"keyserver hkp://127.0.0.1:{server.port}\n")
        block = with_block(sealed, pgp=[{**key, "enc": signed.decode()}])
        with suppress(AgentsdError):
            await binary(environ, "pgp", timeout=20.0).decrypt(block)
        assert server.connections == 0


@pytest.mark.parametrize("fp", ["--keyserver=x", "-x", "ada@example.org", "", "A" * 65])
async def test_a_fingerprint_is_one(sops: Sops, fp: str) -> None:
    """What gpg could read as an option, or as anybody's name, does not reach it."""
    key = {"fp": fp, "enc": "-----BEGIN PGP MESSAGE-----", "created_at": "2026-01-01T00:00:00Z"}
    with pytest.raises(KeyServiceForbidden, match="fingerprint"):
        await binary({}, "pgp").decrypt(with_block(sops.seal(PLAIN), age=None, pgp=[key]))


# Creation rules that two programs could read differently


@pytest.mark.parametrize(
    "text",
    [
        "creation_rules:\n  - !!binary aGNfdmF1bHRfdHJhbnNpdF91cmk=: {uri}\n    age: {age}\n",
        "creation_rules:\n  - hc_vault_transit_uri: !!binary aHR0cDovL3g=\n    age: {age}\n",
        "x: &x {{hc_vault_transit_uri: '{uri}'}}\ncreation_rules:\n  - <<: *x\n    age: {age}\n",
        "creation_rules:\n  - &a\n    age: {age}\n    key_groups: [*a, *a, *a]\n",
        "creation_rules:\n" + "  - {{path_regex: ^z$, age: {age}}}\n" * 1001,
        "creation_rules: [x]\n",
        "creation_rules: {uri}\n",
        "- 1\n",
    ],
)
async def test_a_rule_is_read_as_sops_reads_it_or_not_at_all(sops: Sops, tmp_path: Path, text: str) -> None:
    """Tags, merge keys, anchors within themselves, too many rules, other forms: nothing is sealed or sent."""
    with Listener() as listener:
        uri = f"{listener.url}/v1/transit/keys/agents"
        config = tmp_path / ".sops.yaml"
        config.write_text(text.format(uri=uri, age=sops.recipients[0]))
        with pytest.raises(SopsFailed):
            await binary({"VAULT_TOKEN": TOKEN}).encrypt(PLAIN.encode(), path="x.yaml", config=config)
        assert listener.connections == 0


# Plug-ins of age


async def test_a_plugin_of_the_operators_key_file_opens(tmp_path: Path) -> None:
    """It seals where it is named, opens because the key file names it, and is not run otherwise."""
    ran = tmp_path / "ran"
    install(tmp_path, ran)
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path)}
    config = tmp_path / ".sops.yaml"
    config.write_text(json.dumps({"creation_rules": [{"age": RECIPIENT, "encrypted_regex": "^api_key$"}]}))
    with pytest.raises(SopsFailed, match="plug-in") as caught:
        await binary(environ).encrypt(PLAIN.encode(), path="x.yaml", config=config)
    assert "age-plugin-canary" in caught.value.hint
    assert not ran.exists()
    sealed = await binary(environ, "age-plugin-canary").encrypt(PLAIN.encode(), path="x.yaml", config=config)
    with pytest.raises(SealLocked):
        await binary({**environ, "SOPS_AGE_KEY": str(x25519.Identity.generate())}).decrypt(sealed)
    identities = find_identities({"SOPS_AGE_KEY": IDENTITY}, tmp_path)
    asked = Opener(identities, binary({**environ, "SOPS_AGE_KEY": IDENTITY}))
    assert (await asked.open_surely(document(sealed))).value == OPENED


# What an outsider's seal may cost


SCRYPT = (
    b"age-encryption.org/v1\n-> scrypt AAAAAAAAAAAAAAAAAAAAAA 30\n"
    b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"
    + bytes(64)
)


def test_a_wrapped_key_with_a_thousand_recipients_is_not_tried_here(sops: Sops, keys: list[Any]) -> None:
    """131 kB of them held up the event loop for a minute; a passphrase of 2^30 rounds costs nothing."""
    strangers = [x25519.Identity.generate().to_public() for _ in range(100)]
    opener_ = Opener(Identities((keys[0],)))
    for wrapped in (
        pyrage.encrypt(b"x" * 32, strangers, armored=True),
        armored(SCRYPT),
    ):
        key = {"recipient": sops.recipients[0], "enc": wrapped.decode()}
        with pytest.raises((SealUnsure, SealLocked)):
            opener_.open(document(with_block(sops.seal(PLAIN), age=[key])))
    many = [{"recipient": sops.recipients[0], "enc": "x" * 40}] * 101
    with pytest.raises(SealMalformed, match="too large"):
        opener_.open(document(with_block(sops.seal(PLAIN), age=many)))


def armored(data: bytes) -> bytes:
    text = b64encode(data).decode()
    lines = "\n".join(text[start : start + 64] for start in range(0, len(text), 64))
    return f"-----BEGIN AGE ENCRYPTED FILE-----\n{lines}\n-----END AGE ENCRYPTED FILE-----\n".encode()


async def test_output_without_end_is_cut(tmp_path: Path) -> None:
    """What sops prints is bounded, and the process is gone."""
    program = tmp_path / "sops"
    program.write_text("#!/bin/sh\ncat >/dev/null\nexec yes\n")
    program.chmod(0o755)
    with pytest.raises(SopsFailed, match="printed more than"):
        await SopsBinary(program, environ={"PATH": "/usr/bin:/bin"}).decrypt(PLAIN.encode())


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are Linux's")
async def test_memory_and_files_are_bounded(tmp_path: Path) -> None:
    """As the program sees them once it has its input."""
    program = tmp_path / "sops"
    limits = "$(ulimit -d), $(ulimit -n), $(ulimit -t), $(ulimit -c)"
    program.write_text(f'#!/bin/sh\ncat >/dev/null\necho "{{\\"seen\\": [{limits}]}}"\n')
    program.chmod(0o755)
    seen = await SopsBinary(program, environ={"PATH": "/usr/bin:/bin"}).decrypt(PLAIN.encode())
    assert seen == {"seen": [MEMORY_MAX_BYTES // 1024, 256, 20, 0]}
