"""Prerequisites of the first secret: an age key outside the repository, and creation rules."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentsd.control.validation.recipients import CONFIG_NAME, find_recipients
from agentsd.core.errors import ConfigError
from agentsd.files.atomic.compare_and_swap import FileChanged, compare_and_swap
from agentsd.sops.identities import KEYS_FILE, find_config_home, find_identities

RULES_TEMPLATE = """\
# Who can open what. Only secret fields are sealed, and the MAC covers only them: everything else can be
# edited in any editor, without a key, and merges cleanly. A new colleague or server: add the public key
# here, after a comma, then run `sops updatekeys FILE` on each sealed file.
creation_rules:
  - path_regex: ({folders})/.*\\.ya?ml$
    encrypted_regex: ^(api_key|auth_token)$
    mac_only_encrypted: true
    age: {recipients}
stores:
  yaml:
    indent: 2
"""

_REGEX_SPECIAL = re.compile(r"[.^$*+?{}\[\]\\|()]")


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Files that were made; None for one that existed."""

    rules: Path | None = None
    key: Path | None = None


def find_default_keys_file(environ: Mapping[str, str], home: Path) -> Path:
    """Return the file where sops looks for age keys by default."""
    return find_config_home(environ, home) / KEYS_FILE


def add_key(file: Path) -> str:
    """Append a fresh age identity to ``file``, which only its owner can read; return the public half.

    Existing content of the file stays. Raises ``ConfigError`` and ``OSError``.
    """
    from pyrage import x25519

    identity = x25519.Identity.generate()
    recipient = str(identity.to_public())
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "rb+") as opened:
        if os.fstat(descriptor).st_mode & 0o077:
            raise ConfigError(f"{file} can be read by others", hint=f"chmod 600 {file}, then retry")
        before = opened.read()
        gap = "" if not before or before.endswith(b"\n") else "\n"
        opened.write(f"{gap}# made by agentsd; public key: {recipient}\n{identity}\n".encode())
    return recipient


def make_rules_text(folder: str, recipients: Sequence[str]) -> str:
    """Return a ``.sops.yaml`` for the manifests in ``folder`` beside it, and for overlays."""
    literal = _REGEX_SPECIAL.sub(r"\\\g<0>", folder)  # re.escape escapes what RE2 refuses, such as spaces
    return RULES_TEMPLATE.format(folders=f"{literal}|envs", recipients=",".join(recipients))


def ensure_creation_rules(root: Path, environ: Mapping[str, str], home: Path) -> Bootstrap:
    """Ensure that creation rules exist for ``root``: they name the available key, or a fresh one.

    Raises ``ConfigError`` and ``OSError``.
    """
    if find_recipients(root) is not None:
        return Bootstrap()
    recipients = find_identities(environ, home).recipients[:1]
    key = None
    if not recipients:
        key = find_default_keys_file(environ, home)
        recipients = (add_key(key),)
    rules = root.absolute().parent / CONFIG_NAME
    try:
        compare_and_swap(rules, None, make_rules_text(root.absolute().name, recipients).encode())
    except FileChanged:
        raise ConfigError(f"{rules} exists", hint="is it readable?") from None
    return Bootstrap(rules, key)
