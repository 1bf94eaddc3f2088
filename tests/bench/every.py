"""Every bench that there is, in the order of the table."""

from tests.bench import (
    browsing,
    chatting,
    coldstart,
    converging,
    listing,
    opening,
    pulling,
    reading,
    resolving,
    saving,
    sound,
    stalls,
    syncing,
    tools,
    turn_taking,
    turns,
    validating,
    voice,
)

FILES = (opening, validating, syncing, saving, pulling)
BENCHES = (
    *FILES,
    converging,
    coldstart,
    reading,
    listing,
    browsing,
    chatting,
    resolving,
    tools,
    turns,
    turn_taking,
    voice,
    sound,
    stalls,
)
