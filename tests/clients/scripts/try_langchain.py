"""LangChain's OpenAI integration."""

from __future__ import annotations

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from pydantic import BaseModel
from verdicts import ANSWER, MODEL, feature, run_features

QUESTION = "What is the capital of France?"


class City(BaseModel):
    """A city."""

    name: str
    people: int


@tool
def get_weather(city: str) -> str:
    """Return the weather of a city."""
    return f"20 degrees in {city}"


@feature("ChatOpenAI: invoke")
def _() -> None:
    answer = ChatOpenAI(model=MODEL).invoke(QUESTION)
    assert ANSWER in answer.text
    assert answer.usage_metadata["total_tokens"] > 0


@feature("ChatOpenAI: stream")
async def _() -> None:
    chunks = [chunk async for chunk in ChatOpenAI(model=MODEL).astream(QUESTION)]
    assert ANSWER in "".join(chunk.text for chunk in chunks)


@feature("ChatOpenAI: structured output")
def _() -> None:
    assert ChatOpenAI(model=MODEL).with_structured_output(City).invoke(QUESTION) == City(
        name="Paris", people=7
    )


@feature("ChatOpenAI: agent with a tool")
def _() -> None:
    agent = create_agent(ChatOpenAI(model=MODEL), [get_weather])
    result = agent.invoke({"messages": [{"role": "user", "content": QUESTION}]})
    assert "20 degrees in Paris" in result["messages"][-1].text


@feature("ChatOpenAI: reasoning (responses)")
def _() -> None:
    model = ChatOpenAI(model=MODEL, reasoning={"effort": "low", "summary": "auto"})
    assert ANSWER in model.invoke(QUESTION).text
    assert ANSWER in "".join(chunk.text for chunk in model.stream(QUESTION))


@feature("ChatOpenAI: responses, agent with a tool")
def _() -> None:
    agent = create_agent(ChatOpenAI(model=MODEL, use_responses_api=True), [get_weather])
    result = agent.invoke({"messages": [{"role": "user", "content": QUESTION}]})
    assert "20 degrees in Paris" in result["messages"][-1].text


@feature("OpenAI (completions)")
def _() -> None:
    assert ANSWER in OpenAI(model=MODEL).invoke(QUESTION)


@feature("OpenAIEmbeddings (tokens by default)")
def _() -> None:
    tokens = OpenAIEmbeddings(model=MODEL)
    texts = OpenAIEmbeddings(model=MODEL, check_embedding_ctx_length=False)
    words = ["Hello world", "Grüße, 日本 😀"]
    assert tokens.embed_documents(words) == texts.embed_documents(words)
    assert tokens.embed_query("Hello world") == texts.embed_query("Hello world")


@feature("OpenAIEmbeddings: dimensions")
def _() -> None:
    assert len(OpenAIEmbeddings(model=MODEL, dimensions=4).embed_query("Hello")) == 4


run_features()
