"""The old system's ``.env`` as sections of a manifest, and a note on every variable."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsd.control.importers.dotenv import MigratedEnv, is_old_env, migrate_env, read_env, read_environ
from agentsd.control.importers.dotenv_names import SELECTOR_VARIABLES, VARIABLE_NAMES, VENDOR_VARIABLES
from agentsd.control.importers.draft import explain_placeholder
from agentsd.core.errors import ConfigError
from agentsd.providers.catalog import default_catalog
from tests.development import LLM_KEY, SAMPLE, SECRETS, sample

CATALOG = default_catalog()


def migrated(text: str) -> MigratedEnv:
    """What a file makes."""
    return migrate_env(read_env(".env", text.encode()), CATALOG)


def outcomes(text: str) -> dict[str, str]:
    """Name → outcome of the last note on it."""
    return {note.name: note.outcome for note in migrated(text).notes}


def test_every_variable_of_the_old_system_is_told() -> None:
    """The sample names them all; each has one note, with its line, and none shows a secret."""
    read = read_env(".env", SAMPLE.read_bytes())
    assert read.variables.keys() == VARIABLE_NAMES | {"DATABASE_URL"}
    notes = migrate_env(read, CATALOG).notes
    assert sorted(note.name for note in notes) == sorted(read.variables)
    lines = SAMPLE.read_text().splitlines()
    assert all(note.line and note.name in lines[note.line - 1] for note in notes)
    assert not any(secret in str(notes) + repr(read) for secret in SECRETS)
    assert {note.outcome for note in notes} == {"used", "unused"}


@pytest.mark.parametrize(
    ("kind", "vendor"), [(kind, one) for kind in VENDOR_VARIABLES for one in VENDOR_VARIABLES[kind]]
)
def test_each_vendor_can_be_chosen(kind: str, vendor: str) -> None:
    """The sample's values fit the vendor's settings, whether its key is one or not."""
    text = sample(
        **{
            SELECTOR_VARIABLES[kind][0]: vendor,
            "MISTRAL_LLM_API_KEY": "mi_1",
            "OPENROUTER_LLM_API_KEY": "or_1",
        }
    )
    sections = migrated(text).sections
    assert sections.keys() == {"llm", "tts", "stt"}
    assert sections[kind]["provider"] == vendor
    assert CATALOG.settings_of(kind, sections[kind]).provider == vendor
    fields = set(VENDOR_VARIABLES[kind][vendor].fields.values()) - {"api_key"}
    assert fields <= sections[kind].keys()


@pytest.mark.parametrize(
    "value",
    ["", '""', "changeme", "your-key-here", "YOUR_API_KEY", "xxxxxxxx", "gsk_xxxxxxxxxx", "<key>", "${KEY}"],
)
def test_placeholders_are_told_and_not_written(value: str) -> None:
    """Without its key the section is left out, and what else was said for it is told as unused."""
    found = migrated(sample(GROQ_LLM_API_KEY=value))
    assert "llm" not in found.sections
    told = {note.name: note.outcome for note in found.notes}
    assert (told["GROQ_LLM_API_KEY"], told["llm"], told["GROQ_LLM_MODEL"]) == (
        "placeholder",
        "missing",
        "unused",
    )


@pytest.mark.parametrize("value", [*SECRETS, "llama-3.1-8b-instant", "my-model", "e7b694f8", "0", "key-123"])
def test_what_may_be_meant_is_no_placeholder(value: str) -> None:
    """A model or a key that only looks plain."""
    assert explain_placeholder(value) == ""


@pytest.mark.parametrize("value", ["gsk_1\n2", "gsk\0_1", "gsk_\udcff", "a\u2028b"])
def test_what_no_manifest_can_hold_is_none_either(value: str) -> None:
    """Told, instead of a manifest that is refused."""
    assert "control character" in explain_placeholder(value)


def test_what_is_said_badly() -> None:
    """No number, no such vendor, said twice, no line of the kind, a slip of the pen: each is told."""
    text = sample(ASYNC_AI_TTS_SAMPLE_RATE="fast", STT_PROVIDER="wisper.local", GROQ_LLM_MODL="m")
    found = migrated(f"GROQ_LLM_MODEL=first\n!! no line\n{text}")
    told = {(note.name, note.outcome): note.text for note in found.notes}
    assert found.sections["llm"]["model"] == "llama-3.1-8b-instant"
    assert "sample_rate" not in found.sections["tts"]
    assert "stt" not in found.sections
    assert "the last one counts" in told["GROQ_LLM_MODEL", "unused"]
    assert told["GROQ_LLM_MODEL", "used"] == "llm.model"
    assert told["line 2", "unused"] == "it cannot be read as NAME=value"
    assert "tts.sample_rate" in told["ASYNC_AI_TTS_SAMPLE_RATE", "unused"]
    assert "did you mean 'whisper.local'?" in told["STT_PROVIDER", "unused"]
    assert "did you mean 'GROQ_LLM_MODEL'?" in told["GROQ_LLM_MODL", "unused"]


def test_what_is_not_said() -> None:
    """The old defaults hold; what the vendor must know and nobody said is the schema's example, and told."""
    found = migrated(f"GROQ_LLM_API_KEY={LLM_KEY}\n")
    assert found.sections["llm"]["provider"] == "groq.com"
    assert found.sections.keys() == {"llm", "stt"}
    told = {note.name: note.outcome for note in found.notes}
    assert told["llm.model"] == "assumed"
    assert told["ASYNC_API_KEY"] == "missing"
    assert told["STT_PROVIDER"] == "assumed"


def test_another_program_s_file_is_not_taken_for_it() -> None:
    """A file without one of the variables, or with placeholders alone."""
    for text in ("FOO=bar\n", "LLM_PROVIDER=\nGROQ_LLM_API_KEY=changeme\n", ""):
        read = read_env(".env", text.encode())
        assert not is_old_env(read, migrate_env(read, CATALOG))
    read = read_env(".env", SAMPLE.read_bytes())
    assert is_old_env(read, migrate_env(read, CATALOG))


def test_the_environment_is_asked_for_known_names_only() -> None:
    """Nothing is interpolated, and nothing else is read."""
    read = read_environ({"GROQ_LLM_API_KEY": LLM_KEY, "HOME": "/root", "PATH": "/bin"})
    assert list(read.variables) == ["GROQ_LLM_API_KEY"]
    assert read_env(".env", b"A=${HOME}\n").variables["A"].value == "${HOME}"


def test_addresses_lose_their_query() -> None:
    """The old system's held the key at times; a server's alone gets the path of its stream."""
    text = sample(ASYNC_AI_TTS_URL="wss://api.async.ai/x?api_key=k", KOKORO_LOCAL_TTS_URL="ws://kokoro:5000")
    assert migrated(text).sections["tts"]["url"] == "wss://api.async.ai/x"
    local = migrated(sample(TTS_PROVIDER="kokoro.local", KOKORO_LOCAL_TTS_URL="ws://kokoro:5000"))
    assert local.sections["tts"]["url"] == "ws://kokoro:5000/ws/tts/live"


@pytest.mark.parametrize("data", [b"\xff\xfe=1", b"A=" + b"1" * (1 << 20)])
def test_what_is_no_env_file(data: bytes) -> None:
    """An error that quotes nothing."""
    with pytest.raises(ConfigError):
        read_env(".env", data)


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(sorted(VARIABLE_NAMES)), st.text(max_size=20), max_size=12))
def test_whatever_they_hold_the_sections_are_valid(values: dict[str, str]) -> None:
    """Each section is one that its vendor takes, and every variable is told."""
    read = read_environ(values)
    found = migrate_env(read, CATALOG)
    for kind, section in found.sections.items():
        CATALOG.settings_of(kind, section)
    assert values.keys() <= {note.name for note in found.notes}
