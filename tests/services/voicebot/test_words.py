"""What a voice says of what a model wrote, and how much of it was heard."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsd.core.text.speech_text import SpeechText
from agentsd.providers.base import Transcript
from agentsd.services.voicebot.conversation import ITEMS_MAX, Conversation, ConversationItem
from agentsd.services.voicebot.pipe import Pipe
from agentsd.services.voicebot.playback import Playback, cut_to_heard
from agentsd.services.voicebot.utterance import TranscriptBuilder, Utterance


def said(*deltas: str) -> str:
    """Everything that is spoken of these deltas."""
    speakable = SpeechText()
    return "".join([*(speakable.take(delta) for delta in deltas), speakable.rest()])


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("Hello there.", "Hello there. "),
        ("It is **very** _good_, `yes`.", "It is very good, yes. "),
        ("## Title\n- one\n- two", "Title \none \ntwo "),
        ("See [our page](https://example.org/a) now.", "See our page now. "),
        ("See https://example.org/a?b=c.", "See . "),
        ("At nine [1]. Closed [2].", "At nine . Closed . "),
        ("Run:\n```sh\nrm -rf x\n```\nDone.", "Run: \n\nDone. "),
        ("a_name stays, 2 * 3 does not", "a_name stays, 2 * 3 does not "),
        ("R & B costs 5 €", "R & B costs 5 € "),
        ("你好。", "你好。 "),
    ],
)
def test_markdown_is_not_spoken(written: str, spoken: str) -> None:
    """Marks, link targets, citations and code are left out; words and line breaks stay."""
    assert said(written) == spoken


@given(st.lists(st.text(alphabet="ab*_` \n.[]", max_size=6), max_size=20))
def test_where_deltas_are_cut_makes_no_difference(deltas: list[str]) -> None:
    """Words are cleaned whole."""
    assert said(*deltas).split() == said("".join(deltas)).split()


def test_a_word_passes_as_soon_as_it_is_whole() -> None:
    """Not at the end of the sentence."""
    speakable = SpeechText()
    assert [speakable.take(delta) for delta in ("Hel", "lo", " wor", "ld")] == ["", "", "Hello ", ""]


def test_playing_takes_as_long_as_the_sound() -> None:
    """Sent all at once it plays in real time; a gap stops the clock."""
    playback = Playback()
    playback.sent(1000, now=10.0)
    playback.sent(1000, now=10.0)
    assert [playback.heard_ms(now) for now in (10.0, 10.5, 12.0, 20.0)] == pytest.approx([0, 500, 2000, 2000])
    playback.sent(1000, now=20.0)
    assert playback.heard_ms(20.25) == pytest.approx(2250)


def test_only_whole_words_were_heard() -> None:
    """The word that was cut does not count."""
    text = "one two three four"
    assert cut_to_heard(text, 500, 1000, whole=True) == "one two"
    assert cut_to_heard(text, 1000, 1000, whole=True) == text
    assert cut_to_heard(text, 0, 1000, whole=True) == ""
    assert cut_to_heard(text, 500, 500, whole=False) == "one two"  # the rest has not been spoken yet


@given(st.text(max_size=200), st.floats(0, 20_000), st.floats(0, 20_000), st.booleans())
def test_what_was_heard_is_a_beginning(text: str, heard: float, sound: float, whole: bool) -> None:
    """Never more than there was, never something else."""
    assert text.startswith(cut_to_heard(text, heard, sound, whole=whole))


def test_transcripts_are_put_together() -> None:
    """Partial ones replace each other, final ones stay; what was told is not taken back."""
    listening = TranscriptBuilder()
    told = [
        listening.take(transcript)
        for transcript in (
            Transcript("hel", final=False),
            Transcript("hello", final=False),
            Transcript("help", final=False),
            Transcript("Hello.", final=True),
            Transcript("you", final=False),
            Transcript("You there?", final=True),
        )
    ]
    assert listening.text == "Hello. You there?"
    assert told[:3] == ["hel", "lo", ""]


async def test_an_utterance_is_bounded_and_read_as_it_comes() -> None:
    """What is beyond its length is dropped."""
    utterance = Utterance(8000, max_seconds=0.01)
    sound = utterance.sound(8000)
    utterance.put(b"ab" * 10)
    assert await anext(sound) == b"ab" * 10
    utterance.put(b"cd" * 100)
    utterance.end()
    assert await anext(sound) == b"cd" * 70
    assert await anext(sound, None) is None
    assert utterance.full


async def test_a_pipe_waits_for_room_and_drops_what_is_stale() -> None:
    """Who writes too fast waits; who reads gets the rest in order."""
    pipe: Pipe[int] = Pipe(2)
    writing = asyncio.create_task(_write(pipe))
    await asyncio.sleep(0)
    assert len(pipe) == 2
    pipe.discard(lambda item: item == 0)
    assert [item async for item in pipe] == [1, 2, 3, 4]
    await writing


async def _write(pipe: Pipe[int]) -> None:
    for item in range(5):
        await pipe.put(item)
    pipe.end()


def test_a_conversation_forgets_what_is_long_ago() -> None:
    """It knows its items by id, puts new ones where they are wanted, and has a bound."""
    conversation = Conversation()
    assert conversation.add(ConversationItem("a", "user", "one")) is None
    assert conversation.add(ConversationItem("c", "assistant", "three")) == "a"
    assert conversation.add(ConversationItem("b", "system", "two"), after="a") == "a"
    assert [message["content"] for message in conversation.messages()] == ["one", "two", "three"]
    assert not conversation.awaits_answer
    assert conversation.remove("c")
    assert conversation.awaits_answer
    for number in range(ITEMS_MAX):
        conversation.add(ConversationItem(str(number), "user", "x"))
    assert conversation.find("a") is None
    assert len(conversation.messages()) == ITEMS_MAX
