"""What schemathesis loads beside its own checks (``SCHEMATHESIS_HOOKS``); it runs in a process of its own."""

from __future__ import annotations

import io
import wave
from typing import Any

import schemathesis
from hypothesis import strategies as st

WHOLE = "zoe/whole"
"""An agent with every organ that nothing leads to, so that it is as it was from start to end."""

CHANGED = "acme~sales"
"""An agent that is there unless somebody names it to delete it."""


@schemathesis.check
def no_server_error(ctx: Any, response: Any, case: Any) -> None:
    """Nothing of 500 and above: an agent that cannot do what is asked of it is a 400."""
    status = response.status_code
    if status >= 500:
        raise AssertionError(f"server error {status}: {response.text[:500]}")


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Talk to the whole agent where none or the current one is meant: others make that what they will.

    A deletion is one: what is only shown as deleted would be found used after it was freed. What changes
    the current agent changes one that is there: the current one may be gone by now.
    """
    if case.method.upper() == "DELETE" and isinstance(case.query, dict):
        case.query.pop("dry_run", None)
    elif case.method.upper() in ("PUT", "PATCH") and (case.path_parameters or {}).get("agent") == "current":
        case.path_parameters["agent"] = CHANGED
    if case.path.startswith("/v1/"):
        for place in (case.body, case.query):
            if isinstance(place, dict) and place.get("model") in (None, "current"):
                place["model"] = WHOLE


def wav(pcm: bytes) -> bytes:
    """A recording."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", ""))
        sound.writeframes(pcm + bytes(len(pcm) % 2))
    return file.getvalue()


SAMPLES = st.binary(min_size=2, max_size=64).map(lambda pcm: pcm + bytes(len(pcm) % 2))
schemathesis.openapi.media_type("audio/pcm", SAMPLES)
schemathesis.openapi.media_type("audio/wav", st.one_of(SAMPLES.map(wav), SAMPLES))
