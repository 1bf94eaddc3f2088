"""AutoGen's client of OpenAI."""

from __future__ import annotations

from autogen_agentchat.agents import AssistantAgent
from autogen_core.models import UserMessage
from autogen_ext.models.openai import OpenAIChatCompletionClient
from verdicts import ANSWER, MODEL, feature, run_features

QUESTION = "What is the capital of France?"
ABILITIES = {
    "vision": False,
    "function_calling": True,
    "json_output": True,
    "family": "unknown",
    "structured_output": True,
}


def make_client() -> OpenAIChatCompletionClient:
    """Return the client; a model that it does not know needs its abilities."""
    return OpenAIChatCompletionClient(model=MODEL, model_info=ABILITIES)


def get_weather(city: str) -> str:
    """Return the weather of a city."""
    return f"20 degrees in {city}"


@feature("create")
async def _() -> None:
    assert ANSWER in (await make_client().create([UserMessage(content=QUESTION, source="user")])).content


@feature("create_stream")
async def _() -> None:
    stream = make_client().create_stream([UserMessage(content=QUESTION, source="user")])
    assert ANSWER in [part async for part in stream][-1].content


@feature("agent with a tool")
async def _() -> None:
    agent = AssistantAgent("a", model_client=make_client(), tools=[get_weather], reflect_on_tool_use=True)
    result = await agent.run(task=QUESTION)
    assert "20 degrees in Paris" in result.messages[-1].content


run_features()
