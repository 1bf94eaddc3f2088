"""Pydantic AI with ``openai:AGENT``, as it is by default."""

from __future__ import annotations

from pydantic import BaseModel
from pydantic_ai import Agent
from verdicts import ANSWER, MODEL, feature, run_features

QUESTION = "What is the capital of France?"


class City(BaseModel):
    """A city."""

    name: str
    people: int


def get_weather(city: str) -> str:
    """Return the weather of a city."""
    return f"20 degrees in {city}"


def add_features(prefix: str) -> None:
    """Register the features of one kind of model."""
    name = f"{prefix}:{MODEL}"

    @feature(f"{prefix}: run")
    async def _() -> None:
        assert ANSWER in (await Agent(name, instructions="Be kind.").run(QUESTION)).output

    @feature(f"{prefix}: stream")
    async def _() -> None:
        async with Agent(name).run_stream(QUESTION) as result:
            assert ANSWER in "".join([text async for text in result.stream_text(delta=True)])

    @feature(f"{prefix}: tools")
    async def _() -> None:
        assert "20 degrees in Paris" in (await Agent(name, tools=[get_weather]).run(QUESTION)).output

    @feature(f"{prefix}: output type")
    async def _() -> None:
        assert (await Agent(name, output_type=City).run(QUESTION)).output == City(name="Paris", people=7)


for kind in ("openai", "openai-chat", "openai-responses"):
    add_features(kind)


@feature("embedder")
async def _() -> None:
    from pydantic_ai import Embedder

    result = await Embedder(f"openai:{MODEL}").embed_query("Hello")
    assert len(result.embeddings[0]) > 0


run_features()
