"""Haystack's components for OpenAI."""

from __future__ import annotations

from haystack.components.agents import Agent
from haystack.components.embedders import OpenAITextEmbedder
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.tools import create_tool_from_function
from verdicts import ANSWER, BASE_URL, MODEL, feature, run_features

QUESTION = [ChatMessage.from_user("What is the capital of France?")]


def get_weather(city: str) -> str:
    """Return the weather of a city."""
    return f"20 degrees in {city}"


@feature("OpenAIChatGenerator")
def _() -> None:
    generator = OpenAIChatGenerator(model=MODEL, api_base_url=BASE_URL)
    assert ANSWER in generator.run(QUESTION)["replies"][0].text


@feature("OpenAIChatGenerator, streamed")
def _() -> None:
    heard = []
    generator = OpenAIChatGenerator(model=MODEL, api_base_url=BASE_URL, streaming_callback=heard.append)
    assert ANSWER in generator.run(QUESTION)["replies"][0].text
    assert len(heard) > 2


@feature("OpenAIResponsesChatGenerator")
def _() -> None:
    from haystack.components.generators.chat import OpenAIResponsesChatGenerator

    generator = OpenAIResponsesChatGenerator(model=MODEL, api_base_url=BASE_URL)
    assert ANSWER in generator.run(QUESTION)["replies"][0].text


@feature("Agent with a tool")
def _() -> None:
    generator = OpenAIChatGenerator(model=MODEL, api_base_url=BASE_URL)
    agent = Agent(chat_generator=generator, tools=[create_tool_from_function(get_weather)])
    assert "20 degrees in Paris" in agent.run(messages=QUESTION)["messages"][-1].text


@feature("OpenAITextEmbedder")
def _() -> None:
    embedder = OpenAITextEmbedder(model=MODEL, api_base_url=BASE_URL)
    assert len(embedder.run("Hello")["embedding"]) > 0


run_features()
