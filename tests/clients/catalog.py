"""Clients that are tried, most used first. ``core`` ones run in CI."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SCRIPTS = Path(__file__).with_name("scripts")


@dataclass(frozen=True)
class ClientProgram:
    """A client of a registry; its script is ``scripts/try_NAME``. The first package gives the version."""

    name: str
    language: Literal["python", "javascript"]
    packages: tuple[str, ...]
    section: str = ""  # heading of its example in docs/clients.md
    core: bool = False
    realtime: bool = False
    needs_token_tables: bool = False

    @property
    def package(self) -> str:
        """Return the package whose version is shown."""
        return self.packages[0].partition("[")[0]

    @property
    def script(self) -> Path:
        """Return the script that tries its features."""
        return SCRIPTS / f"try_{self.name}{'.py' if self.language == 'python' else '.mjs'}"


CLIENTS = (
    ClientProgram(
        "openai_py", "python", ("openai[realtime]",), "OpenAI for Python", core=True, realtime=True
    ),
    ClientProgram(
        "openai_js", "javascript", ("openai", "ws", "zod"), "OpenAI for JavaScript", core=True, realtime=True
    ),
    ClientProgram("vercel_ai", "javascript", ("@ai-sdk/openai", "ai", "zod"), "Vercel AI SDK", core=True),
    ClientProgram(
        "agents_py", "python", ("openai-agents",), "OpenAI Agents for Python", core=True, realtime=True
    ),
    ClientProgram(
        "agents_js",
        "javascript",
        ("@openai/agents", "zod"),
        "OpenAI Agents for JavaScript",
        core=True,
        realtime=True,
    ),
    ClientProgram(
        "langchain", "python", ("langchain-openai", "langchain"), "LangChain", needs_token_tables=True
    ),
    ClientProgram("litellm", "python", ("litellm",), "LiteLLM"),
    ClientProgram("pydantic_ai", "python", ("pydantic-ai-slim[openai]",), "Pydantic AI"),
    ClientProgram(
        "llama_index",
        "python",
        (
            "llama-index-llms-openai-like",
            "llama-index-llms-openai",
            "llama-index-embeddings-openai-like",
        ),
        "LlamaIndex",
    ),
    ClientProgram("instructor", "python", ("instructor",), "Instructor"),
    ClientProgram("codex", "javascript", ("@openai/codex",), "Codex"),
    ClientProgram(
        "livekit", "python", ("livekit-plugins-openai", "livekit-agents"), "LiveKit Agents", realtime=True
    ),
    ClientProgram("pipecat", "python", ("pipecat-ai[openai]",), "Pipecat", realtime=True),
    ClientProgram("haystack", "python", ("haystack-ai",), "Haystack"),
    ClientProgram("semantic_kernel", "python", ("semantic-kernel",), "Semantic Kernel"),
    ClientProgram("dspy", "python", ("dspy", "numpy"), "DSPy"),
    ClientProgram("autogen", "python", ("autogen-ext[openai]", "autogen-agentchat"), "AutoGen"),
    ClientProgram("anthropic", "python", ("anthropic",), "Anthropic"),
)

JAVASCRIPT_PACKAGES = tuple(
    dict.fromkeys(
        package for client in CLIENTS if client.language == "javascript" for package in client.packages
    )
)
