"""Checks of many files on all cores: here and in worker processes of a sandbox, for one round.

A worker gets the rules, the keys and the files through its pipe, and answers with checked manifests, in
which values are sealed. Only good results count: a file with any violation or doubt, one that names a
source that must be read, and all files of a worker that failed, are left to the caller, who checks them
as if there were no workers. The workers, and the keys in their memory, end with the round.
"""

from __future__ import annotations

import asyncio
import os
import pickle
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from typing import Any

from agentsd.control.validation.checker import Checker, CheckResult
from agentsd.core.errors import SandboxError
from agentsd.core.manifest.agent import SECTIONS
from agentsd.core.trust.engine_limits import EngineLimits
from agentsd.files.tree import SourceFile, TreeContext
from agentsd.providers.catalog import Catalog
from agentsd.providers.schema import ProviderSettings
from agentsd.providers.vendor import Vendor
from agentsd.sandbox.limits import CallLimits
from agentsd.sandbox.pool import Sandbox
from agentsd.sops.opener import Opener

FILES_MIN = 500
"""Files of a round from which on workers pay off: each takes as long to start as to check some 500."""
WORKERS_MAX = 32
BATCH_FILES_MAX = 128
"""Files of one call; fewer where that keeps all workers busy to the end."""
DOUBTS_MIN = 200
"""Files after which workers are given up if most of these were not good beyond doubt."""
TEXT_BYTES_MAX = 1 << 20
"""Bytes of texts beside the manifests that are sent along; with more, who names one is checked here."""

_LIMITS = CallLimits(memory=1 << 30, cpu_seconds=60.0, wall_seconds=120.0)
_ALLOWED_PACKAGES = ("agentsd.core.manifest.", "agentsd.core.violations")
_ALLOWED_CLASSES = frozenset({("uuid", "UUID"), ("agentsd.control.validation.checker", "CheckResult")})
_ALLOWED_BUILTINS = frozenset({"frozenset", "set", "dict", "list", "tuple", "bytes"})


@dataclass(frozen=True, slots=True)
class _Rules:
    """All that a checker consists of, as far as it can be sent."""

    vendors: Mapping[str, Mapping[str, type[ProviderSettings]]]  # by section and name
    keys: tuple[str, ...]
    trusted: frozenset[str]
    limits: EngineLimits
    require_mac: bool
    fingerprint: bytes
    beside: TreeContext

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"  # without the keys


async def check_in_workers(
    checker: Checker,
    files: Sequence[SourceFile],
    beside: TreeContext,
    *,
    files_min: int = FILES_MIN,
    workers: int | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> dict[str, CheckResult]:
    """Return the results, by path, of those files that are good beyond doubt; empty below ``files_min``.

    ``progress`` is called with the number of files that a worker is done with.
    """
    count = min(workers or len(os.sched_getaffinity(0)) - 1, WORKERS_MAX)
    rules = _pack_rules(checker, beside) if len(files) >= files_min and count > 0 else None
    if rules is None:
        return {}
    found: dict[str, CheckResult] = {}
    done = 0
    batches = _split(files, count)
    with closing(Sandbox(_LIMITS, workers=count)) as sandbox:

        async def work(check: Callable[[Sequence[SourceFile]], Awaitable[Mapping[str, CheckResult]]]) -> None:
            nonlocal done
            for batch in batches:
                found.update(await check(batch))
                done += len(batch)
                progress(len(found))
                if done > DOUBTS_MIN and len(found) < done / 2:
                    return  # most are doubtful: twice the work for nothing

        async def check_here(batch: Sequence[SourceFile]) -> Mapping[str, CheckResult]:
            return await asyncio.to_thread(_check_here, checker, beside, batch)

        there = partial(_check_batch, sandbox, rules)
        await asyncio.gather(work(check_here), *(work(there) for _ in range(count)))
    return found


def _check_here(
    checker: Checker, beside: TreeContext, batch: Sequence[SourceFile]
) -> Mapping[str, CheckResult]:
    """Return the good results of a batch: this process works, too, while the workers start."""
    return {
        file.path: one for file in batch if (one := _accept_good(checker.check(file, beside))) is not None
    }


async def _check_batch(
    sandbox: Sandbox, rules: bytes, batch: Sequence[SourceFile]
) -> Mapping[str, CheckResult]:
    """Return the good results of a batch; none where its worker failed, was killed or is slow."""
    try:
        reply = await sandbox.run(check_files, rules, batch)
        checked = await asyncio.to_thread(ResultUnpickler(BytesIO(reply)).load)
    except (SandboxError, OSError, pickle.UnpicklingError, EOFError):
        return {}
    known = {file.path: file for file in batch}
    return {one.path: _set_data(one, known[one.path].data) for one in checked if one.path in known}


def _set_data(one: CheckResult, data: bytes | None) -> CheckResult:
    """Return the result with these bytes of its file, which are not sent back."""
    return replace(one, manifest=one.manifest and replace(one.manifest, data=data))


def check_files(rules: bytes, files: Sequence[SourceFile]) -> bytes:
    """Return, in a worker, the results without any violation, doubt or unread source; pickled."""
    checker, beside = _load_checker(rules)
    good = _check_here(checker, beside, files).values()
    return pickle.dumps([_set_data(one, None) for one in good])


def _accept_good(one: CheckResult) -> CheckResult | None:
    """Return a result that is good beyond doubt; None for any other."""
    doubtful = one.violations or one.unsure or one.unread or one.pending
    return None if doubtful or one.manifest is None or not one.manifest.verified else one


_loaded: dict[bytes, tuple[Checker, TreeContext]] = {}  # one at most, since a worker serves one round


def _load_checker(packed: bytes) -> tuple[Checker, TreeContext]:
    """Return the checker of these rules, made once in each worker."""
    known = _loaded.get(packed)
    if known is None:
        rules: _Rules = pickle.loads(packed)  # noqa: S301  (from our parent)
        kinds = {
            kind: {name: Vendor(settings, None) for name, settings in vendors.items()}
            for kind, vendors in rules.vendors.items()
        }
        checker = Checker(
            Catalog(**kinds),
            Opener.from_keys(rules.keys),
            trusted=rules.trusted,
            limits=rules.limits,
            require_mac=rules.require_mac,
        )
        if checker.fingerprint != rules.fingerprint:
            raise ValueError("the rules are not those of the caller")
        _loaded.clear()
        known = _loaded[packed] = (checker, rules.beside)
    return known


def _pack_rules(checker: Checker, beside: TreeContext) -> bytes | None:
    """Return the rules of ``checker``; None where they cannot be sent or no seal could be opened."""
    parts = checker.parts
    keys = parts.opener.export_keys()
    if not keys:
        return None
    vendors = {
        kind: {name: vendor.settings for name, vendor in parts.catalog.of(kind).items()} for kind in SECTIONS
    }
    if sum(len(file.data) for file in beside.files.values()) > TEXT_BYTES_MAX:
        beside = replace(beside, files={})
    rules = _Rules(vendors, keys, parts.trusted, parts.limits, parts.require_mac, checker.fingerprint, beside)
    try:
        return pickle.dumps(rules)
    except (pickle.PicklingError, AttributeError, TypeError):  # a plug-in's class within a function
        return None


def _split(files: Sequence[SourceFile], workers: int) -> Iterator[Sequence[SourceFile]]:
    size = max(1, min(BATCH_FILES_MAX, len(files) // (workers * 8)))
    return (files[start : start + size] for start in range(0, len(files), size))


class ResultUnpickler(pickle.Unpickler):
    """Reader of a worker's reply: plain values and checked manifests only, since files are others' work."""

    def find_class(self, module: str, name: str) -> Any:
        """Return an allowed class. Raises ``UnpicklingError`` for any other."""
        plain = module == "builtins" and name in _ALLOWED_BUILTINS
        ours = module.startswith(_ALLOWED_PACKAGES) and "." not in name
        if not (plain or ours or (module, name) in _ALLOWED_CLASSES):
            raise pickle.UnpicklingError("a worker answered with a value of another kind")
        found = super().find_class(module, name)
        if not isinstance(found, type):
            raise pickle.UnpicklingError("a worker answered with something that is not a class")
        return found
