"""``python -m tests.bench``: all benches, one table."""

from tests.bench import (
    chatting,
    coldstart,
    converging,
    large,
    listing,
    opening,
    pulling,
    reading,
    resolving,
    saving,
    syncing,
    validating,
    voice,
)
from tests.bench.report import main

if __name__ == "__main__":
    files = (opening, validating, syncing, saving, pulling)
    modules = (*files, converging, coldstart, reading, listing, chatting, resolving, voice)
    main(*(module.run for module in modules), extra=large.run)
