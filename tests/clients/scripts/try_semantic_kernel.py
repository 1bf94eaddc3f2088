"""Semantic Kernel's connectors for OpenAI."""

from __future__ import annotations

from openai import AsyncOpenAI
from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion, OpenAITextEmbedding
from semantic_kernel.functions import kernel_function
from verdicts import ANSWER, MODEL, feature, run_features

QUESTION = "What is the capital of France?"


class Weather:
    """A plug-in."""

    @kernel_function
    def get_weather(self, city: str) -> str:
        """Return the weather of a city."""
        return f"20 degrees in {city}"


def make_service() -> OpenAIChatCompletion:
    """Return the chat service."""
    return OpenAIChatCompletion(ai_model_id=MODEL, async_client=AsyncOpenAI())


@feature("agent")
async def _() -> None:
    agent = ChatCompletionAgent(service=make_service(), name="A", instructions="Be kind.")
    assert ANSWER in str(await agent.get_response(messages=QUESTION))


@feature("agent, streamed")
async def _() -> None:
    agent = ChatCompletionAgent(service=make_service(), name="A")
    assert ANSWER in "".join([str(part.message) async for part in agent.invoke_stream(messages=QUESTION)])


@feature("agent with a plug-in")
async def _() -> None:
    agent = ChatCompletionAgent(service=make_service(), name="A", plugins=[Weather()])
    assert "20 degrees in Paris" in str(await agent.get_response(messages=QUESTION))


@feature("embeddings")
async def _() -> None:
    service = OpenAITextEmbedding(ai_model_id=MODEL, async_client=AsyncOpenAI())
    assert len(await service.generate_embeddings(["one", "two"])) == 2


run_features()
