"""OpenAI's Agents SDK for Python, as it is by default (Responses)."""

from __future__ import annotations

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    Runner,
    SQLiteSession,
    WebSearchTool,
    function_tool,
    handoff,
    set_tracing_disabled,
)
from openai import AsyncOpenAI
from pydantic import BaseModel
from verdicts import ANSWER, MODEL, feature, run_features

set_tracing_disabled(True)
QUESTION = "What is the capital of France?"


class City(BaseModel):
    """What is parsed."""

    name: str
    people: int


@function_tool
def get_weather(city: str) -> str:
    """Return the weather of a city."""
    return f"20 degrees in {city}"


@feature("run")
async def _() -> None:
    result = await Runner.run(Agent(name="A", instructions="Be kind.", model=MODEL), QUESTION)
    assert ANSWER in result.final_output


@feature("run, streamed")
async def _() -> None:
    result = Runner.run_streamed(Agent(name="A", model=MODEL), QUESTION)
    kinds = [event.type async for event in result.stream_events()]
    assert ANSWER in result.final_output
    assert "raw_response_event" in kinds


@feature("tools")
async def _() -> None:
    result = await Runner.run(Agent(name="A", model=MODEL, tools=[get_weather]), QUESTION)
    assert "20 degrees in Paris" in result.final_output


@feature("tools, streamed")
async def _() -> None:
    result = Runner.run_streamed(Agent(name="A", model=MODEL, tools=[get_weather]), QUESTION)
    async for _event in result.stream_events():
        pass
    assert "20 degrees in Paris" in result.final_output


@feature("output type")
async def _() -> None:
    result = await Runner.run(Agent(name="A", model=MODEL, output_type=City), QUESTION)
    assert result.final_output == City(name="Paris", people=7)


@feature("handoff")
async def _() -> None:
    other = Agent(name="Other", model=MODEL)
    result = await Runner.run(Agent(name="A", model=MODEL, handoffs=[handoff(other)]), QUESTION)
    assert result.last_agent.name == "Other"


@feature("session")
async def _() -> None:
    session = SQLiteSession("s")
    agent = Agent(name="A", model=MODEL, model_settings=ModelSettings(temperature=0.1))
    await Runner.run(agent, QUESTION, session=session)
    assert ANSWER in (await Runner.run(agent, "And?", session=session)).final_output


@feature("chat model")
async def _() -> None:
    model = OpenAIChatCompletionsModel(model=MODEL, openai_client=AsyncOpenAI())
    result = await Runner.run(Agent(name="A", model=model, tools=[get_weather]), QUESTION)
    assert "20 degrees in Paris" in result.final_output


@feature("hosted tool", refused="web_search")
async def _() -> None:
    await Runner.run(Agent(name="A", model=MODEL, tools=[WebSearchTool()]), QUESTION)


run_features("realtime.agents_py")
