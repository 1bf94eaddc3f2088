"""The catalog: every vendor's settings, and what they promise to the schema and the trust rules."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from agentsd.core.errors import ConfigError
from agentsd.core.trust.rules import normalise_origin
from agentsd.providers.catalog import EMBEDDING_VENDORS, LLM_VENDORS, STT_VENDORS, TTS_VENDORS, Catalog
from agentsd.providers.transport.sessions import HttpSessions
from agentsd.providers.vendor import Vendor

VENDORS = [
    pytest.param(kind, vendor, id=f"{kind}-{vendor.name}")
    for kind, vendors in (
        ("llm", LLM_VENDORS),
        ("tts", TTS_VENDORS),
        ("stt", STT_VENDORS),
        ("embedding", EMBEDDING_VENDORS),
    )
    for vendor in vendors
]
CANARY = "canary-9c1f"


def test_every_vendor_is_listed(catalog: Catalog) -> None:
    """The names that a manifest may use."""
    assert list(catalog.llm) == [
        "azure.com",
        "echo.local",
        "groq.com",
        "llama-cpp.local",
        "llama-cpp.embedded",
        "mistral.ai",
        "openai.com",
        "openai-compatible",
        "openrouter.ai",
    ]
    assert set(catalog.tts) >= {"async.ai", "elevenlabs.io", "deepgram.com", "hume.ai", "kokoro.local"}
    assert set(catalog.tts) >= {"flite.local", "piper.local"}
    own = {"faster-whisper.local", "moonshine.local"}
    assert set(catalog.stt) == {"deepgram.com", "openai-compatible", "whisper.local"} | own
    assert set(catalog.embedding) == {"minilm.local", "openai-compatible"}


@pytest.mark.parametrize(("kind", "vendor"), VENDORS)
def test_every_field_is_explained(kind: str, vendor: Vendor) -> None:
    """An editor shows a description and an example for each field."""
    for name, field in vendor.settings.model_fields.items():
        if name not in ("provider", "fallback"):
            assert field.description, name
            assert field.examples, name


@pytest.mark.parametrize(("kind", "vendor"), VENDORS)
def test_examples_are_valid(kind: str, vendor: Vendor) -> None:
    """Each field's first example makes a valid section, so what an editor suggests works."""
    section = {
        name: field.examples[0] for name, field in vendor.settings.model_fields.items() if field.examples
    }
    built = vendor.settings.model_validate({"provider": vendor.name, **section})
    assert getattr(built, "kind", kind) == kind


@pytest.mark.parametrize(("kind", "vendor"), VENDORS)
def test_a_secret_goes_home_by_default(kind: str, vendor: Vendor) -> None:
    """A vendor's own URL is one of its home origins; one without a home makes the manifest name the URL."""
    settings = vendor.settings
    for name, default in settings.url_fields().items():
        if name == "proxy":  # none unless a manifest names one
            assert default is None
        elif default is None:
            assert not settings.home
        else:
            assert normalise_origin(default) in settings.home
    assert settings.secret_fields() <= {"api_key"}
    if settings.secret_fields():
        assert settings.url_fields()


@pytest.mark.parametrize(("kind", "vendor"), VENDORS)
def test_a_client_opens_nothing_when_it_is_built(kind: str, vendor: Vendor) -> None:
    """Building needs no event loop and no network, so a registry can build thousands."""
    if vendor.needs and vendor.needs.missing():
        pytest.skip(f"{vendor.name} is not installed: {vendor.needs.advice()}")
    required = {
        name: field.examples[0]
        for name, field in vendor.settings.model_fields.items()
        if field.is_required() and field.examples
    }
    settings = vendor.settings.model_validate({"provider": vendor.name, **required})
    sessions = HttpSessions()
    if vendor.build is not None:
        vendor.build(settings, sessions)
    assert sessions.opened() == frozenset()


def test_an_unknown_vendor_gets_a_suggestion(catalog: Catalog) -> None:
    """The nearest name, or the list of names."""
    with pytest.raises(ConfigError, match=r"did you mean 'groq\.com'"):
        catalog.settings_of("llm", {"provider": "groq.con"})
    with pytest.raises(ConfigError, match="known: "):
        catalog.settings_of("tts", {"provider": 7})


@pytest.mark.parametrize(
    "section",
    [
        {"provider": "groq.com", "model": "m"},
        {"provider": "groq.com", "model": "m", "api_key": CANARY, "colour": CANARY},
        {"provider": "groq.com", "model": "m", "api_key": None},
        {"provider": "groq.com", "model": 7, "api_key": CANARY},
        {"provider": "groq.com", "model": "m", "api_key": CANARY, "api_url": f"ftp://{CANARY}"},
        {"provider": "groq.com", "model": "m", "api_key": CANARY, "api_url": f"https://u:{CANARY}@h"},
        {"provider": "groq.com", "model": "m", "api_key": CANARY, "completions_path": "v1"},
        {"provider": "groq.com", "model": "m", "api_key": CANARY, "temperature": 3},
    ],
)
def test_a_bad_section_is_refused_without_its_values(catalog: Catalog, section: dict[str, Any]) -> None:
    """The error names field and rule, and quotes nothing."""
    with pytest.raises(ConfigError, match=r"llm\.") as caught:
        catalog.settings_of("llm", section)
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None


def test_settings_do_not_show_their_key(catalog: Catalog) -> None:
    """Neither repr nor str nor a dump holds it."""
    settings = catalog.settings_of("llm", {"provider": "groq.com", "model": "m", "api_key": CANARY})
    assert CANARY not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


def test_importing_the_catalog_loads_no_network_library() -> None:
    """`agentsd validate` stays quick: no aiohttp, not even asyncio."""
    code = (
        "import sys, agentsd.providers.catalog as c; c.default_catalog();"
        "print([m for m in ('aiohttp', 'asyncio', 'ssl') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
