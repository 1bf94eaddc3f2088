"""LlamaIndex's client of servers like OpenAI's, as it is by default (completions), and for chat."""

from __future__ import annotations

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike
from verdicts import ANSWER, API_KEY, BASE_URL, MODEL, feature, run_features

QUESTION = "What is the capital of France?"
HOW = {"model": MODEL, "api_base": BASE_URL, "api_key": API_KEY}


def get_weather(city: str) -> str:
    """Return the weather of a city."""
    return f"20 degrees in {city}"


@feature("OpenAILike: complete (completions by default)")
def _() -> None:
    assert ANSWER in OpenAILike(**HOW).complete(QUESTION).text


@feature("OpenAILike: stream_complete")
def _() -> None:
    assert ANSWER in [*OpenAILike(**HOW).stream_complete(QUESTION)][-1].text


@feature("OpenAILike: chat")
def _() -> None:
    model = OpenAILike(**HOW, is_chat_model=True)
    assert ANSWER in model.chat([ChatMessage(role="user", content=QUESTION)]).message.content


@feature("OpenAILike: stream_chat")
async def _() -> None:
    model = OpenAILike(**HOW, is_chat_model=True)
    stream = await model.astream_chat([ChatMessage(role="user", content=QUESTION)])
    assert ANSWER in [chunk async for chunk in stream][-1].message.content


@feature("OpenAILike: tools")
def _() -> None:
    model = OpenAILike(**HOW, is_chat_model=True, is_function_calling_model=True)
    answer = model.predict_and_call([FunctionTool.from_defaults(get_weather)], QUESTION)
    assert "20 degrees in Paris" in str(answer)


@feature("OpenAILikeEmbedding")
def _() -> None:
    model = OpenAILikeEmbedding(model_name=MODEL, api_base=BASE_URL, api_key=API_KEY)
    assert len(model.get_text_embedding("Hello")) > 0
    assert len(model.get_text_embedding_batch(["one", "two"])) == 2


run_features()
