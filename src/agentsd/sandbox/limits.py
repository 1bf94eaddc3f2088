"""Limits of one call in a worker."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Limits of one call. Sizes in bytes, times in seconds."""

    memory: int = 512 << 20  # address space of the worker, some 50 MiB of which are its own
    cpu_seconds: float = 10.0
    wall_seconds: float = 20.0  # generous, so that cheap calls succeed on a busy machine
    input_bytes: int = 64 << 20
    output_bytes: int = 32 << 20
