"""``agentsd import-env`` and ``agentsd import``: sealed manifests of what was there before."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Shell
from tests.cli.sealed import opened
from tests.development import LLM_KEY, SECRETS, TTS_KEY, sample


@pytest.fixture
def env(keyed: Shell) -> Shell:
    """The old system's file in the working folder, and a key."""
    (keyed.root / ".env").write_text(sample())
    return keyed


def silent(shell: Shell, said: str, *, secrets: tuple[str, ...] = SECRETS, besides: str = ".env") -> None:
    """No secret was said, and none is in a file but the one that it came from."""
    assert not [secret for secret in secrets if secret in said]
    for file in shell.root.rglob("*"):
        if file.is_file() and file.name != besides:
            data = file.read_bytes()
            assert not [secret for secret in secrets if secret.encode() in data], file


class TestEnv:
    """``agentsd import-env``."""

    def test_one_sealed_manifest(self, env: Shell) -> None:
        """It opens with the real sops to what the file said, validates strictly, and the .env stays."""
        done = env.run("import-env", ".env")
        assert done.code == 0, done.err
        value = opened(env, "development.yaml")
        assert value["name"] == "Development Agent"
        assert value["llm"] == {
            "provider": "groq.com",
            "api_key": LLM_KEY,
            "model": "llama-3.1-8b-instant",
            "api_url": "https://api.groq.com",
            "completions_path": "/openai/v1/chat/completions",
        }
        assert value["tts"]["api_key"] == TTS_KEY  # type: ignore[index]
        assert value["tts"]["sample_rate"] == 24000  # type: ignore[index]
        assert value["stt"]["provider"] == "whisper.local"  # type: ignore[index]
        assert "GROQ_LLM_API_KEY" in done.out
        assert "sealed, valid and opened" in done.err
        assert "remove it" in done.err
        assert (env.root / ".env").read_text() == sample()
        silent(env, done.out + done.err)
        assert env.run("validate", "--strict", "--require-mac").code == 0

    def test_the_report_as_json(self, env: Shell) -> None:
        """One document: every variable with its outcome; nothing else on standard output."""
        view = env.run("import-env", ".env", "--format", "json").json()
        assert view["written"] is True
        (manifest,) = view["manifests"]
        assert (manifest["slug"], manifest["sealed"], manifest["opened"]) == ("development", True, True)
        told = {note["name"]: note["outcome"] for note in view["notes"]}
        assert (told["ASYNC_API_KEY"], told["HUME_TTS_API_KEY"]) == ("used", "unused")
        assert sum(view["counts"].values()) == len(view["notes"]) == len(told)

    def test_a_dry_run_writes_nothing(self, env: Shell) -> None:
        """Not the manifest, not a key, not rules."""
        (env.root / ".sops.yaml").unlink()
        env.env(SOPS_AGE_KEY_FILE=None)
        before = sorted(env.root.rglob("*"))
        done = env.run("import-env", ".env", "--dry-run")
        assert (done.code, "would write" in done.err) == (0, True)
        assert sorted(env.root.rglob("*")) == before

    def test_without_rules_and_key_both_are_made(self, env: Shell) -> None:
        """The key outside the repository, for its owner only; the result is valid and opens."""
        (env.root / ".sops.yaml").unlink()
        env.env(SOPS_AGE_KEY_FILE=None)
        done = env.run("import-env", ".env", "--slug", "acme/desk", "--name", "Front desk")
        assert done.code == 0, done.err
        keys = env.root / "home/.config/sops/age/keys.txt"
        assert stat.S_IMODE(keys.stat().st_mode) == 0o600
        assert str(keys) in done.err
        assert "sealed, valid and opened" in done.err
        assert "name: Front desk" in (env.root / "agents.d/acme/desk.yaml").read_text()
        assert env.run("validate", "--strict").code == 0

    def test_rules_fit_a_folder_of_any_name(self, env: Shell) -> None:
        """Dots, blanks and brackets are no patterns."""
        (env.root / ".sops.yaml").unlink()
        done = env.run("import-env", ".env", "--path", "old/my agents (2).d")
        assert done.code == 0, done.err
        assert "made the rules" in done.err
        assert env.run("validate", "--strict", "--path", "old/my agents (2).d").code == 0

    def test_with_the_public_half_alone(self, env: Shell) -> None:
        """CI may import: sealing needs no private key."""
        env.env(SOPS_AGE_KEY_FILE=None)
        done = env.run("import-env", ".env")
        assert (done.code, "opened" in done.err) == (0, False), done.err
        assert opened(env, "development.yaml")["llm"]["api_key"] == LLM_KEY  # type: ignore[index]

    def test_an_address_that_gets_a_key_is_sealed_with_it(self, env: Shell) -> None:
        """Unless it is the vendor's own, or trusted by name."""
        (env.root / ".env").write_text(sample(GROQ_LLM_API_URL="https://proxy.example.org"))
        assert env.run("import-env", ".env").code == 0
        assert "proxy.example.org" not in (env.root / "agents.d/development.yaml").read_text()
        assert opened(env, "development.yaml")["llm"]["api_url"] == "https://proxy.example.org"  # type: ignore[index]
        env.env(AGENTSD_TRUSTED_ORIGINS="https://proxy.example.org")
        assert env.run("import-env", ".env", "--slug", "plain").code == 0
        assert "https://proxy.example.org" in (env.root / "agents.d/plain.yaml").read_text()

    def test_without_secrets_nothing_is_sealed(self, shell: Shell) -> None:
        """Local vendors alone need no rules and no key."""
        (shell.root / ".sops.yaml").unlink()
        (shell.root / ".env").write_text("LLM_PROVIDER=llama-cpp.local\nLLAMA_CPP_LLM_MODEL=smollm2\n")
        assert shell.run("import-env", ".env").code == 0
        assert "sops:" not in (shell.root / "agents.d/development.yaml").read_text()
        assert not (shell.root / ".sops.yaml").exists()

    @pytest.mark.parametrize(
        ("text", "arguments", "words"),
        [
            ("FOO=1\nSTT_PROVIDER=none.such\n", [], "does not define an agent"),
            ("GROQ_LLM_API_KEY=gsk_1\n", ["--slug", "taken"], "agentsd edit taken"),
            ("GROQ_LLM_API_KEY=gsk_1\n", ["--slug", "current"], "reserved"),
            ("\udcff", [], "not UTF-8"),
        ],
    )
    def test_what_cannot_be(self, shell: Shell, text: str, arguments: list[str], words: str) -> None:
        """2, what is wrong, and no file."""
        shell.write("taken.yaml", "llm: {provider: echo.local}\n")
        (shell.root / ".env").write_bytes(text.encode(errors="surrogateescape"))
        done = shell.run("import-env", ".env", *arguments)
        assert done.code == 2
        assert words in done.err
        assert [file.name for file in (shell.root / "agents.d").iterdir()] == ["taken.yaml"]


LITELLM = """\
model_list:
  - model_name: fast
    litellm_params: {model: groq/llama-3.1-8b-instant, api_key: os.environ/THE_KEY, temperature: 0, rpm: 9}
  - model_name: fast
    litellm_params: {model: openai/gpt-4o-mini, api_key: sk-Literal9}
  - model_name: in/house
    litellm_params: {model: hosted_vllm/qwen, api_base: "http://vllm:8000/v1/", api_key: abc-House9}
  - model_name: llama3
    litellm_params: {model: ollama/llama3, api_base: "http://localhost:11434"}
  - {model_name: gpt-4o, litellm_params: {model: gpt-4o, api_key: os.environ/NOT_SET}}
  - {model_name: claude, litellm_params: {model: anthropic/claude-3, api_key: k}}
  - {model_name: deep, litellm_params: {model: deepseek/chat, api_key: k}}
  - {model_name: "*", litellm_params: {model: "openai/*"}}
  - {model_name: broken}
router_settings: {routing_strategy: simple-shuffle}
"""
TOKENS = ("gsk_Canary9", "sk-Literal9", "abc-House9")


class TestLiteLLM:
    """``agentsd import --from litellm``."""

    def test_models_become_agents(self, keyed: Shell) -> None:
        """Vendors where we have them, else an address; one name's deployments stand in for each other."""
        (keyed.root / "config.yaml").write_text(LITELLM)
        keyed.env(THE_KEY=TOKENS[0])
        done = keyed.run("import", "--from", "litellm", "config.yaml", "--owner", "acme", "--format", "json")
        assert done.code == 1, "a key is missing"
        view = done.json()
        assert [one["slug"] for one in view["manifests"]] == ["acme/fast", "acme/in-house", "acme/llama3"]
        llm: Any = opened(keyed, "acme/fast.yaml")["llm"]
        assert llm == {
            "provider": "groq.com",
            "api_key": TOKENS[0],
            "model": "llama-3.1-8b-instant",
            "temperature": 0,
            "fallback": [{"provider": "openai.com", "api_key": TOKENS[1], "model": "gpt-4o-mini"}],
        }
        house: Any = opened(keyed, "acme/in-house.yaml")["llm"]
        assert (house["provider"], house["api_url"], house["completions_path"], house["api_key"]) == (
            "openai-compatible", "http://vllm:8000/v1", "/chat/completions", TOKENS[2]
        )  # fmt: skip
        silent(keyed, done.out + done.err, secrets=TOKENS, besides="config.yaml")
        assert keyed.run("validate", "--strict").code == 0
        texts = {note["name"]: (note["outcome"], note["text"]) for note in view["notes"]}
        assert texts["THE_KEY"] == ("used", "acme/fast: llm.api_key")
        assert texts["model_list[4] gpt-4o"][0] == "missing"
        assert "NOT_SET" in texts["model_list[4] gpt-4o"][1]
        unused = {name for name, (outcome, _) in texts.items() if outcome == "unused"}
        assert {"model_list[5] claude", "model_list[6] deep", "model_list[7] *", "model_list[8]"} <= unused
        assert "router_settings" in unused

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("model_list: [", "config.yaml:2:1: not YAML"),
            ("- 1\n", "no model_list"),
            ("model_list: [{model_name: a, litellm_params: {model: groq/x}}]\n", "no model that can be"),
        ],
    )
    def test_what_cannot_be(self, keyed: Shell, text: str, words: str) -> None:
        """2, and no file."""
        (keyed.root / "config.yaml").write_text(text)
        done = keyed.run("import", "--from", "litellm", "config.yaml")
        assert (done.code, words in done.err) == (2, True), done.err
        assert list(Path(keyed.root / "agents.d").iterdir()) == []
