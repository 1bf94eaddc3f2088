"""``python -m tests.bench``: all benches, one table."""

from tests.bench import (
    chatting,
    large,
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
    modules = (opening, validating, syncing, saving, pulling, reading, chatting, resolving, voice)
    main(*(module.run for module in modules), extra=large.run)
