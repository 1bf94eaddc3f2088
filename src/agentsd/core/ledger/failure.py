"""Failures of vendors in our own words: a reason for programs, what it means, and the field to edit. Pure.

What a vendor, a plug-in or a library wrote never gets here: a failure is a word of a fixed list, a code of
another, and names of the manifest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from agentsd.core.ledger.status import StatusCause

_CODE = re.compile(r"[a-z_]{1,64}")


@dataclass(frozen=True, slots=True)
class FailureText:
    """Text of one reason: ``{at}`` is a provider's place, ``{section}`` its section, ``{slug}`` the agent."""

    what: str
    fix: str
    fields: Mapping[str, str]  # section → field to edit; ``""``: of every other section

    def find_field(self, section: str) -> str:
        """Return the field of ``section`` that has to be edited; empty for none."""
        return self.fields.get(section, self.fields.get("", ""))


_KEY = {"": "api_key"}
_MODEL = {"llm": "model", "stt": "model", "embedding": "model"}
_URL = {"llm": "api_url", "embedding": "api_url"}
TEXTS: Mapping[str, FailureText] = {
    "wrong-key": FailureText(
        "it does not accept the key", "put a valid key into {at}.api_key: agentsd edit {slug}", _KEY
    ),
    "no-credit": FailureText(
        "the quota or the credit of the account is used up",
        "top up the account at the vendor; {section}.fallback lets another answer meanwhile",
        {},
    ),
    "rate-limited": FailureText(
        "it answers no more requests for now",
        "wait, or ask the vendor for a higher limit; {section}.fallback lets another answer meanwhile",
        {},
    ),
    "not-found": FailureText(
        "it has no such model, voice or path",
        "correct the model or voice of {at}; if both exist, its URL and path are wrong",
        _MODEL,
    ),
    "forbidden": FailureText(
        "this server may not connect to its address",
        "correct the URL of {at}; AGENTSD_OUTBOUND lists what this machine may connect to",
        _URL,
    ),
    "timeout": FailureText(
        "it did not answer in time",
        "is the server up, and the model loaded? {at}.timeout_seconds allows more time",
        {"": "timeout_seconds"},
    ),
    "unreachable": FailureText(
        "it cannot be reached",
        "correct the URL of {at}; if it is right: is the server up, and reachable from here?",
        _URL,
    ),
    "wrong-url": FailureText(
        "it does not use the expected protocol",
        "the server at the URL of {at} uses another protocol: correct its URL and path",
        _URL,
    ),
    "silent": FailureText(
        "it answered without content", "the model or voice of {at} may be the wrong one", _MODEL
    ),
    "broken": FailureText("its client failed", "report it to the author of this provider", {}),
    "rejected": FailureText(
        "it refuses the settings", "the vendor refuses the settings of {at}: check each of its fields", {}
    ),
    "failed": FailureText(
        "it failed", "the vendor failed: try again later; {section}.fallback lets another answer", {}
    ),
}
"""Texts by reason."""


def format_fix(reason: str, at: str, slug: str) -> str:
    """Return what to do about a failure of the provider ``at`` a place such as ``llm.fallback[0]``."""
    return TEXTS[reason].fix.format(at=at, section=at.partition(".")[0], slug=slug)


def make_cause(
    kind: str,
    provider: str,
    reason: str,
    code: str | None,
    slug: str,
    since: datetime | None,
    at: str = "",
) -> StatusCause:
    """Return the cause of a status. A reason that this version does not know counts as ``failed``."""
    known = reason if reason in TEXTS else "failed"
    text, place = TEXTS[known], at or kind
    shown = f" ({code})" if code and _CODE.fullmatch(code) else ""
    field = text.find_field(kind)
    return StatusCause(
        known,
        f"{kind}: {provider}: {text.what}{shown}",
        since,
        format_fix(known, place, slug),
        f"{place}.{field}" if field else place,
    )
