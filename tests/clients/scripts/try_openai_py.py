"""OpenAI's client for Python."""

from __future__ import annotations

import base64
import json
import os
import ssl
from array import array
from pathlib import Path

from openai import AsyncOpenAI, DefaultHttpxClient, OpenAI, pydantic_function_tool
from pydantic import BaseModel
from verdicts import ANSWER, MODEL, RECORDING, SECURE_URL, TRANSCRIPT, feature, run_features

client = OpenAI()
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


class City(BaseModel):
    """What is parsed."""

    name: str
    people: int


class GetWeather(BaseModel):
    """Parameters of a tool."""

    city: str


TOOL = {
    "type": "function",
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}
CHAT_TOOL = {"type": "function", "function": {key: TOOL[key] for key in ("name", "parameters", "strict")}}


@feature("chat")
def _() -> None:
    answer = client.chat.completions.create(model=MODEL, messages=QUESTION)
    assert ANSWER in answer.choices[0].message.content
    assert answer.usage.total_tokens > 0


@feature("chat, async and streamed")
async def _() -> None:
    async with AsyncOpenAI() as other:
        stream = await other.chat.completions.create(
            model=MODEL, messages=QUESTION, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert ANSWER in "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert chunks[-1].usage.total_tokens > 0


@feature("chat: stream helper")
def _() -> None:
    with client.chat.completions.stream(model=MODEL, messages=QUESTION) as stream:
        kinds = {event.type for event in stream}
        assert ANSWER in stream.get_final_completion().choices[0].message.content
    assert {"content.delta", "content.done"} <= kinds


@feature("chat: parse")
def _() -> None:
    answer = client.chat.completions.parse(model=MODEL, messages=QUESTION, response_format=City)
    assert answer.choices[0].message.parsed == City(name="Paris", people=7)


@feature("chat: tools")
def _() -> None:
    tools = [pydantic_function_tool(GetWeather)]
    answer = client.chat.completions.parse(model=MODEL, messages=QUESTION, tools=tools)
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.parsed_arguments == GetWeather(city="Paris")
    messages = [
        *QUESTION,
        answer.choices[0].message,
        {"role": "tool", "tool_call_id": call.id, "content": "20"},
    ]
    assert (
        "20"
        in client.chat.completions.create(model=MODEL, messages=messages, tools=tools)
        .choices[0]
        .message.content
    )


@feature("chat: tools, streamed")
def _() -> None:
    with client.chat.completions.stream(model=MODEL, messages=QUESTION, tools=[CHAT_TOOL]) as stream:
        message = stream.get_final_completion().choices[0].message
    assert json.loads(message.tool_calls[0].function.arguments) == {"city": "Paris"}


@feature("responses")
def _() -> None:
    answer = client.responses.create(model=MODEL, input="What is the capital of France?")
    assert ANSWER in answer.output_text


@feature("responses, streamed")
def _() -> None:
    with client.responses.stream(model=MODEL, input="What is the capital of France?") as stream:
        kinds = [event.type for event in stream]
        assert ANSWER in stream.get_final_response().output_text
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"


@feature("responses: parse")
def _() -> None:
    answer = client.responses.parse(model=MODEL, input="Which city?", text_format=City)
    assert answer.output_parsed == City(name="Paris", people=7)


@feature("responses: tools")
def _() -> None:
    first = client.responses.create(model=MODEL, input=QUESTION, tools=[TOOL])
    call = next(item for item in first.output if item.type == "function_call")
    assert json.loads(call.arguments) == {"city": "Paris"}
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "20"}
    second = client.responses.create(model=MODEL, input=[*QUESTION, *first.output, result], tools=[TOOL])
    assert "20" in second.output_text


@feature("responses: stored, continued and deleted")
def _() -> None:
    first = client.responses.create(model=MODEL, input="My name is Ann.", store=True)
    second = client.responses.create(model=MODEL, input="And?", previous_response_id=first.id, store=True)
    assert ANSWER in second.output_text
    assert client.responses.retrieve(first.id).id == first.id
    assert client.responses.input_items.list(first.id).data
    client.responses.delete(first.id)


@feature("responses: count of tokens", refused="/v1/responses/input_tokens")
def _() -> None:
    client.responses.input_tokens.count(model=MODEL, input="Hello")


@feature("responses: hosted tool", refused="web_search")
def _() -> None:
    client.responses.create(model=MODEL, input="News?", tools=[{"type": "web_search"}])


@feature("responses: background", refused="background")
def _() -> None:
    client.responses.create(model=MODEL, input="Think.", background=True)


@feature("completions")
def _() -> None:
    answer = client.completions.create(model=MODEL, prompt="The capital of France is")
    assert ANSWER in answer.choices[0].text
    stream = client.completions.create(model=MODEL, prompt="The capital of France is", stream=True)
    assert ANSWER in "".join(chunk.choices[0].text for chunk in stream if chunk.choices)


@feature("embeddings")
def _() -> None:
    plain = client.embeddings.create(model=MODEL, input=["one", "two"], encoding_format="float")
    packed = client.embeddings.create(model=MODEL, input=["one", "two"])  # asks for base64
    rows = zip(plain.data, packed.data, strict=True)
    assert all(array("f", one.embedding) == array("f", two.embedding) for one, two in rows)
    assert plain.data[0].embedding != plain.data[1].embedding
    assert plain.usage.total_tokens > 0


@feature("embeddings: base64 as it is")
def _() -> None:
    reply = client.embeddings.with_raw_response.create(model=MODEL, input="one", encoding_format="base64")
    text = reply.http_response.json()["data"][0]["embedding"]
    assert len(base64.b64decode(text)) == 4 * len(
        client.embeddings.create(model=MODEL, input="one").data[0].embedding
    )


@feature("embeddings: tokens")
def _() -> None:
    text = client.embeddings.create(model=MODEL, input=["Hello world"])
    tokens = client.embeddings.create(model=MODEL, input=[[9906, 1917]])
    one = client.embeddings.create(model=MODEL, input=[9906, 1917])
    assert text.data[0].embedding == tokens.data[0].embedding == one.data[0].embedding


@feature("embeddings: dimensions")
def _() -> None:
    answer = client.embeddings.create(model=MODEL, input="one", dimensions=4)
    assert len(answer.data[0].embedding) == 4


@feature("speech (mp3 by default)")
def _() -> None:
    sound = client.audio.speech.create(model=MODEL, voice="alloy", input="Hello.").content
    assert sound[:3] == b"ID3" or sound[0] == 0xFF


@feature("speech: pcm, streamed")
def _() -> None:
    with client.audio.speech.with_streaming_response.create(
        model=MODEL, voice="alloy", input="Hello.", response_format="pcm"
    ) as reply:
        assert len(b"".join(reply.iter_bytes())) > 20_000


@feature("speech: events")
def _() -> None:
    with client.audio.speech.with_streaming_response.create(
        model=MODEL, voice="alloy", input="Hello.", response_format="pcm", stream_format="sse"
    ) as reply:
        events = [json.loads(line[5:]) for line in reply.iter_lines() if line.startswith("data:")]
    assert events[0]["type"] == "speech.audio.delta"
    assert events[-1]["type"] == "speech.audio.done"


@feature("transcription")
def _() -> None:
    with Path(RECORDING).open("rb") as file:
        assert TRANSCRIPT in client.audio.transcriptions.create(model=MODEL, file=file).text


@feature("transcription, streamed")
def _() -> None:
    with Path(RECORDING).open("rb") as file:
        events = [*client.audio.transcriptions.create(model=MODEL, file=file, stream=True)]
    assert TRANSCRIPT in events[-1].text


@feature("transcription: srt")
def _() -> None:
    with Path(RECORDING).open("rb") as file:
        text = client.audio.transcriptions.create(model=MODEL, file=file, response_format="srt")
    assert "-->" in text
    assert TRANSCRIPT in text


@feature("models")
def _() -> None:
    assert MODEL in {model.id for model in client.models.list()}
    model = client.models.retrieve(MODEL)
    assert model.id == MODEL
    assert {"chat", "embeddings", "realtime", "speech", "transcription"} <= set(model.abilities)


@feature("https")
def _() -> None:
    context = ssl.create_default_context(cafile=os.environ["CERTIFICATE"])
    with OpenAI(base_url=SECURE_URL, http_client=DefaultHttpxClient(verify=context)) as secure:
        answer = secure.chat.completions.create(model=MODEL, messages=QUESTION)
    assert ANSWER in answer.choices[0].message.content


@feature("realtime (wss by default)")
async def _() -> None:
    context = ssl.create_default_context(cafile=os.environ["CERTIFICATE"])
    async with AsyncOpenAI(base_url=SECURE_URL) as secure:
        options = {"ssl": context}
        async with secure.realtime.connect(model=MODEL, websocket_connection_options=options) as call:
            assert (await call.recv()).type == "session.created"


@feature("images", refused="/v1/images/generations")
def _() -> None:
    client.images.generate(model=MODEL, prompt="A cat")


@feature("moderations", refused="/v1/moderations")
def _() -> None:
    client.moderations.create(model=MODEL, input="Hello")


@feature("files", refused="/v1/files")
def _() -> None:
    client.files.list()


run_features("realtime.openai_py", "realtime.openai_py_beta")
