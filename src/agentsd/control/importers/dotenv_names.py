"""Variables of the system that agentsd replaces, and the manifest field that each of them becomes.

One ``.env`` configured one agent: three selectors, and for each vendor its own names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_AUDIO_ENCODING = "pcm_s16le"


@dataclass(frozen=True, slots=True)
class OldVendor:
    """Variables of one vendor.

    ``fields``: variable → field of the section. ``fixed``: variable → the only value that exists now.
    """

    fields: Mapping[str, str]
    fixed: Mapping[str, str] = field(default_factory=dict)


def _make_llm_vendor(prefix: str, **more: str) -> OldVendor:
    names = ("api_key", "model", "api_url", "completions_path")
    return OldVendor({f"{prefix}_LLM_{name.upper()}": name for name in names} | more)


def _name_fields(prefix: str, *names: str) -> dict[str, str]:
    return {f"{prefix}_{name.upper()}": name for name in names}


SELECTOR_VARIABLES: Mapping[str, tuple[str, str]] = {
    "llm": ("LLM_PROVIDER", "groq.com"),
    "tts": ("TTS_PROVIDER", "async.ai"),
    "stt": ("STT_PROVIDER", "whisper.local"),
}
"""Section → the variable that selected its vendor, and the default vendor."""

VENDOR_VARIABLES: Mapping[str, Mapping[str, OldVendor]] = {
    "llm": {
        "groq.com": _make_llm_vendor("GROQ"),
        "mistral.ai": _make_llm_vendor("MISTRAL"),
        "openrouter.ai": _make_llm_vendor(
            "OPENROUTER", OPENROUTER_LLM_APP_NAME="app_name", OPENROUTER_LLM_APP_URL="app_url"
        ),
        "llama-cpp.local": _make_llm_vendor("LLAMA_CPP"),
    },
    "tts": {
        "async.ai": OldVendor(
            {
                "ASYNC_API_KEY": "api_key",
                **_name_fields("ASYNC_AI_TTS", "voice_id", "model_id", "sample_rate", "url"),
            },
            {"ASYNC_AI_TTS_ENCODING": _AUDIO_ENCODING, "ASYNC_AI_TTS_CONTAINER": "raw"},
        ),
        "elevenlabs.io": OldVendor(
            {
                **_name_fields("ELEVENLABS_TTS", "api_key", "voice_id", "model_id", "sample_rate"),
                "ELEVENLABS_TTS_OUTPUT_FORMAT": "sample_rate",
            },
            {"ELEVENLABS_TTS_ENCODING": _AUDIO_ENCODING},
        ),
        "deepgram.com": OldVendor(
            _name_fields("DEEPGRAM_TTS", "api_key", "model", "sample_rate"),
            {"DEEPGRAM_TTS_ENCODING": "linear16"},
        ),
        "hume.ai": OldVendor(
            {**_name_fields("HUME_TTS", "api_key", "voice_id"), "HULME_TTS_MODEL_VERSION": "version"}
        ),
        "kokoro.local": OldVendor(
            {
                "KOKORO_LOCAL_TTS_URL": "url",
                "KOKORO_TTS_DEFAULT_VOICE": "voice",
                "KOKORO_TTS_DEFAULT_LANGUAGE": "language",
                "KOKORO_TTS_DEFAULT_SPEED": "speed",
                "KOKORO_TTS_SAMPLE_RATE": "sample_rate",
            },
            {"KOKORO_TTS_ENCODING": _AUDIO_ENCODING, "KOKORO_TTS_CONTAINER": "raw"},
        ),
    },
    "stt": {
        "deepgram.com": OldVendor(
            {"DEEPGRAM_STT_API_KEY": "api_key", "DEEPGRAM_MODEL": "model", "DEEPGRAM_LANGUAGE": "language"}
        ),
        "whisper.local": OldVendor({"WHISPER_LOCAL_STT_URL": "url", "WHISPER_STT_WS_PATH": "path"}),
    },
}
"""Section → vendor → its variables. ``HULME`` is how the old system spelled it."""

VARIABLE_NAMES: frozenset[str] = frozenset(
    [
        *(name for name, _ in SELECTOR_VARIABLES.values()),
        *(name for vendors in VENDOR_VARIABLES.values() for one in vendors.values() for name in one.fields),
        *(name for vendors in VENDOR_VARIABLES.values() for one in vendors.values() for name in one.fixed),
    ]
)
"""Every variable that the old system read."""


def convert_value(name: str, value: str) -> str:
    """Return the manifest's value for the value of a variable."""
    convert = _CONVERSIONS.get(name)
    return convert(value) if convert else value


def _strip_query(value: str) -> str:
    """Strip query and fragment, which the client adds itself: old addresses sometimes contained the key."""
    return value.partition("#")[0].partition("?")[0]


def _convert_kokoro_url(value: str) -> str:
    """Return the full address of the live stream; the old system accepted the server's address, too."""
    bare = _strip_query(value)
    return bare.rstrip("/") + "/ws/tts/live" if urlsplit(bare).path in ("", "/") else bare


_CONVERSIONS: Mapping[str, Callable[[str], str]] = {
    "ELEVENLABS_TTS_OUTPUT_FORMAT": lambda value: value.removeprefix("pcm_"),
    "ASYNC_AI_TTS_URL": _strip_query,
    "KOKORO_LOCAL_TTS_URL": _convert_kokoro_url,
}
