"""LiteLLM as a client, with ``openai/AGENT``."""

from __future__ import annotations

import json
from pathlib import Path

import litellm
from pydantic import BaseModel
from verdicts import ANSWER, MODEL, RECORDING, TRANSCRIPT, feature, run_features

NAME = f"openai/{MODEL}"
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class City(BaseModel):
    """A city."""

    name: str
    people: int


@feature("completion")
def _() -> None:
    assert ANSWER in litellm.completion(model=NAME, messages=QUESTION).choices[0].message.content


@feature("completion, async and streamed")
async def _() -> None:
    stream = await litellm.acompletion(model=NAME, messages=QUESTION, stream=True)
    assert ANSWER in "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


@feature("completion: response_format")
def _() -> None:
    answer = litellm.completion(model=NAME, messages=QUESTION, response_format=City)
    assert City.model_validate_json(answer.choices[0].message.content).people == 7


@feature("completion: tools")
def _() -> None:
    answer = litellm.completion(model=NAME, messages=QUESTION, tools=[TOOL])
    assert json.loads(answer.choices[0].message.tool_calls[0].function.arguments) == {"city": "Paris"}


@feature("text_completion")
def _() -> None:
    name = f"text-completion-openai/{MODEL}"
    assert ANSWER in litellm.text_completion(model=name, prompt="The capital is").choices[0].text


@feature("responses")
def _() -> None:
    answer = litellm.responses(model=NAME, input="What is the capital of France?")
    assert ANSWER in answer.output[0].content[0].text


@feature("embedding")
def _() -> None:
    assert len(litellm.embedding(model=NAME, input=["one", "two"]).data) == 2


@feature("speech")
def _() -> None:
    assert len(litellm.speech(model=NAME, voice="alloy", input="Hello.").content) > 1000


@feature("transcription")
def _() -> None:
    with Path(RECORDING).open("rb") as file:
        assert TRANSCRIPT in litellm.transcription(model=NAME, file=file).text


run_features()
