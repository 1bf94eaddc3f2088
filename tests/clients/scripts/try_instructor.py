"""Instructor over OpenAI's client."""

from __future__ import annotations

import instructor
from openai import OpenAI
from pydantic import BaseModel
from verdicts import MODEL, feature, run_features

QUESTION = [{"role": "user", "content": "Which city?"}]


class City(BaseModel):
    """A city."""

    name: str
    people: int


def try_mode(client: instructor.Instructor) -> None:
    """Ask for a city."""
    city = client.chat.completions.create(model=MODEL, messages=QUESTION, response_model=City)
    assert (city.name, city.people) == ("Paris", 7)


@feature("tools (by default)")
def _() -> None:
    try_mode(instructor.from_openai(OpenAI()))


@feature("JSON schema")
def _() -> None:
    try_mode(instructor.from_openai(OpenAI(), mode=instructor.Mode.JSON_SCHEMA))


@feature("from_provider")
def _() -> None:
    client = instructor.from_provider(f"openai/{MODEL}")
    city = client.create(messages=QUESTION, response_model=City)
    assert city.name == "Paris"


@feature("partial, streamed")
def _() -> None:
    client = instructor.from_openai(OpenAI())
    parts = [*client.chat.completions.create_partial(model=MODEL, messages=QUESTION, response_model=City)]
    assert parts[-1].people == 7


run_features()
