"""Dry runs on a server that writes no files: the edit of a stored manifest, for a person to make."""

from __future__ import annotations

from tests.web.conftest import CANARY, Make, echo, vendor_manifest
from tests.web.rest.agents.test_dry_run import GROQ, asked, minus_and_plus, previewed


async def test_on_a_read_only_server_secrets_are_left_to_a_person(make: Make) -> None:
    """One that is given is neither sealed nor kept; one that is kept stays as it is in the file."""
    stack = await make()
    stack.write("acme/a.yaml", vendor_manifest("http://127.0.0.1:1"), sealed=True)
    await stack.sync()
    given = {"llm_provider_config": {"api_key": f"{CANARY}-2", "model": "large"}}
    told = await previewed(stack, "PATCH", "/acme~a", json=given)
    assert (told["mode"], told["file"]) == ("off", "agents.d/acme/a.yaml")
    assert minus_and_plus(told["diff"]) == [
        *("-    model: m", "-    api_key: ENC[…]"),
        *("+    model: large", '+    api_key: "ENC[sealed by: agentsd edit acme/a]"'),
    ]
    assert "the seal" not in told["diff"]
    told = await previewed(stack, "POST", "", json={"slug": "b", "llm_provider_config": GROQ})
    assert '  api_key: "ENC[sealed by: agentsd edit b]"\n' in told["text"]
    moved = {"llm_provider_config": {"provider": "groq.com", "model": "m", "api_key": "**********"}}
    status, problem = await asked(stack, "PATCH", "/acme~a", json=moved)
    assert (status, problem["code"]) == (422, "secret_needed")


async def test_on_a_read_only_server_files_beside_the_manifest_are_not_asked_for(make: Make) -> None:
    """A prompt's file may be there or not; what is inherited stays inherited."""
    stack = await make()
    (stack.root / "prompts").mkdir()
    (stack.root / "prompts/a.md").write_text("Be kind.")
    stack.write("_defaults.yaml", "greeting: Welcome.\nllm: {provider: echo.local}\n")
    stack.write(
        "a.yaml", "id: 3f0c1a52-7a60-4d51-9f3e-0d1c5a8a2b11\nname: A\nsystem_prompt_file: prompts/a.md\n"
    )
    await stack.sync()
    _, agent = await stack.get("/api/agents/a")
    told = await previewed(stack, "PUT", "/a", json={**agent, "name": "B"})
    assert minus_and_plus(told["diff"]) == ["-name: A", "+name: B"]
    told = await previewed(stack, "PATCH", "/a", json={"system_prompt_file": "prompts/new.md"})
    assert "+system_prompt_file: prompts/new.md" in told["diff"]
    stack.write("b.yaml", echo("B"))
    stack.write("a.yaml", (stack.root / "a.yaml").read_text() + "default: true\n")
    await stack.sync()
    told = await previewed(stack, "POST", "/b/set-default")
    assert minus_and_plus(told["diff"]) == ["-default: true", "-default: false", "+default: true"]
