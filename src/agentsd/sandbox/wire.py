"""Frames between a process and its worker: a kind of one byte, eight bytes of length, the payload.

Requests are pickled: the worker's parent is trusted. Replies never are, because a worker may be under
the control of what it read: they are bytes, or JSON.
"""

from __future__ import annotations

import struct

HEADER = struct.Struct("!cQ")

CALL = b"c"
BYTES = b"b"  # the result, as it is
VALUE = b"v"  # the result as JSON
KNOWN = b"k"  # an error of agentsd: {"type", "message", "hint"}
FOREIGN = b"f"  # any other exception: the name of its type
EXHAUSTED = b"m"  # the function ran out of memory
TOO_LARGE = b"o"  # the result exceeds the limit of output

RESULTS = frozenset((BYTES, VALUE))
KINDS = RESULTS | {KNOWN, FOREIGN, EXHAUSTED, TOO_LARGE}
ERROR_BYTES = 64 << 10
"""Limit of an error's frame."""
