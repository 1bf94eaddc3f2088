"""llama.cpp, by xllamacpp: its own server as a library, with slots, batching, templates, tools, grammars."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agentsd.providers.local.host import EngineCall, EngineRefusal
from agentsd.providers.local.native.gguf import estimate_memory

PROMPT_BATCH = 256
"""Tokens of a prompt per batch: a cancelled request stops between two batches."""
SOCKET_PATH_BYTES = 90
"""Longest folder whose socket still has a valid address (108 bytes in all)."""
TOO_LONG = "exceed_context_size_error"
UNREADABLE = "unreadable_request"
_CODE = re.compile(r"[a-z0-9_]{1,48}")


def need(settings: Mapping[str, Any]) -> int:
    """Return the bytes that the model is estimated to take."""
    return estimate_memory(Path(settings["path"]), settings["context"] * settings["parallel"])


class LlamaEngine:
    """Loaded model, behind llama.cpp's own scheduler."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        import xllamacpp

        path, parallel = Path(settings["path"]), settings["parallel"]
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx = settings["context"] * parallel  # llama.cpp divides it among its slots
        params.n_parallel = parallel
        params.cpuparams.n_threads = settings["threads"]
        params.n_batch = PROMPT_BATCH
        params.cache_ram_mib = 0  # the default keeps up to 8 GiB of old prompts
        params.api_keys = [secrets.token_urlsafe(32)]
        params.ui = False
        params.endpoint_slots = False
        params.verbosity = 0  # its log quotes prompts
        params.warmup = False
        self._name = path.stem
        self.operations = {"chat": self._chat}
        with _socket_folder() as folder:
            if folder:
                params.hostnames = [f"{folder}/llama.sock"]
            self._server: Any = xllamacpp.Server(params)

    def _chat(self, call: EngineCall) -> None:
        """Answer chunk by chunk; stop at the next token once the request is cancelled."""
        failed: list[str] = []

        def take(chunk: dict[str, Any]) -> bool:
            if "error" in chunk:
                failed.append(_extract_code(chunk["error"]))
                return True
            if "prompt_progress" in chunk:
                return call.stopped
            return call.emit({}, json.dumps({**chunk, "model": self._name}).encode())

        try:
            self._server.handle_chat_completions(json.loads(call.body), take)
        except (ValueError, RuntimeError):  # raised before anything is written
            raise EngineRefusal(UNREADABLE) from None
        if failed:
            raise EngineRefusal(failed[0])


@contextmanager
def _socket_folder() -> Iterator[str | None]:
    """Yield a folder of mode 0700 for the socket on which the library always listens; then remove it.

    Yields None where there is no place for one: the server then has a port of 127.0.0.1, protected by
    its random key.
    """
    try:
        folder = tempfile.mkdtemp(prefix="agentsd-")
    except OSError:
        yield None
        return
    try:
        yield folder if len(folder) < SOCKET_PATH_BYTES else None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _extract_code(error: Any) -> str:
    code = error.get("type") if isinstance(error, dict) else None
    return code if isinstance(code, str) and _CODE.fullmatch(code) else "server_error"


load = LlamaEngine
