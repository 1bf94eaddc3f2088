"""Text to speech to text: what a voice says is what a recogniser hears."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from tests.local.conftest import Make
from tests.local.speech import (
    SENTENCES,
    error_rate,
    heard,
    in_pieces,
    loudness,
    once,
    resampled,
    spoken,
    word_errors,
)

VOICES = ("piper.local", "flite.local")
EARS = ("moonshine.local", "faster-whisper.local")
MOST = 0.15
PAIRS = tuple(zip(VOICES, EARS, strict=True))


@pytest.mark.parametrize(
    ("voice", "ear"),
    [pytest.param(*pair, marks=pytest.mark.soak) for pair in PAIRS],
)
async def test_ten_sentences(make: Make, voice: str, ear: str) -> None:
    """Of ten sentences spoken and transcribed, at most 15 % of the words are wrong."""
    tts, stt = make("tts", voice), make("stt", ear)
    pairs = []
    for sentence in SENTENCES:
        pcm = resampled(await spoken(tts, sentence), tts.sample_rate, stt.sample_rate)
        pairs.append((sentence, await heard(stt, pcm)))
    rate = error_rate(pairs)
    print(f"{voice} → {ear}: {rate:.1%} of words wrong")
    assert rate <= MOST, [pair for pair in pairs if word_errors(*pair)[0]]


@pytest.mark.parametrize("voice", VOICES)
async def test_a_voice_is_sound_at_its_rate(make: Make, voice: str) -> None:
    """PCM comes sentence by sentence, in whole samples, neither silent nor absurdly long."""
    tts = make("tts", voice)
    pieces = [piece async for piece in tts.stream(once("Hello there. How are you today?"))]
    pcm = b"".join(pieces)
    assert all(len(piece) % 2 == 0 and piece for piece in pieces)
    assert 1.0 < len(pcm) / 2 / tts.sample_rate < 6.0
    assert loudness(pcm) > 300


@pytest.mark.parametrize("voice", VOICES)
async def test_nothing_to_say(make: Make, voice: str) -> None:
    """Text without a word ends the stream, without an error."""
    tts = make("tts", voice)
    assert len(await spoken(tts, "")) == 0
    assert len(await spoken(tts, " \n ")) == 0
    await spoken(tts, "...")


@pytest.mark.parametrize("voice", VOICES)
async def test_faster_speech_is_shorter(make: Make, voice: str) -> None:
    """``speed`` shortens what is said."""
    usual, quick = make("tts", voice), make("tts", voice, speed=2.0)
    assert len(await spoken(quick, SENTENCES[0])) < 0.7 * len(await spoken(usual, SENTENCES[0]))


async def test_deterministic_speech(make: Make) -> None:
    """With ``deterministic`` the same text is the same sound, byte for byte."""
    tts = make("tts", "piper.local", deterministic=True)
    assert await spoken(tts, SENTENCES[1]) == await spoken(tts, SENTENCES[1])


@pytest.mark.parametrize("voice", VOICES)
async def test_interrupted_speech(make: Make, voice: str) -> None:
    """A stream that is left early leaves nothing behind: the next one says the right thing."""
    tts = make("tts", voice)
    async with aclosing(tts.stream(once(" ".join(SENTENCES)))) as speech:
        first = await anext(speech)
    assert first
    whole = await spoken(tts, SENTENCES[0])
    assert 1.0 < len(whole) / 2 / tts.sample_rate < 6.0


@pytest.mark.parametrize("voice", VOICES)
async def test_many_voices_at_once(make: Make, voice: str) -> None:
    """Eight streams side by side each say their own text."""
    tts = make("tts", voice, **({"deterministic": True} if voice == "piper.local" else {}))
    alone = [await spoken(tts, sentence) for sentence in SENTENCES[:3]]
    together = await asyncio.gather(*(spoken(tts, sentence) for sentence in SENTENCES[:3]))
    assert [len(pcm) for pcm in together] == [len(pcm) for pcm in alone]


async def test_partial_transcripts(make: Make) -> None:
    """Moonshine says what it has heard so far while the sound still comes; final text comes once."""
    tts, stt = make("tts", "flite.local"), make("stt", "moonshine.local", update_seconds=0.3)
    pcm = resampled(await spoken(tts, " ".join(SENTENCES[:3])), tts.sample_rate, stt.sample_rate)
    sent = 0

    async def microphone():
        nonlocal sent
        async for piece in in_pieces(pcm, 3200):
            sent += len(piece)
            yield piece

    told = [(sent, each) async for each in stt.stream(microphone())]
    partial = [at for at, each in told if not each.final]
    finals = [each.text for _, each in told if each.final]
    assert partial
    assert partial[0] < len(pcm) / 2, "the first words are told before half of the sound has come"
    assert error_rate([(" ".join(SENTENCES[:3]), " ".join(finals))]) <= MOST


@pytest.mark.parametrize("ear", [EARS[0], pytest.param(EARS[1], marks=pytest.mark.soak)])
async def test_listening_to_several_at_once(make: Make, ear: str) -> None:
    """Streams side by side on one model hear each their own sound."""
    tts, stt = make("tts", "flite.local"), make("stt", ear)
    sounds = [await spoken(tts, sentence) for sentence in SENTENCES[:3]]
    texts = await asyncio.gather(*(heard(stt, sound) for sound in sounds))
    assert error_rate(zip(SENTENCES, texts, strict=False)) <= MOST


@pytest.mark.parametrize("ear", EARS)
async def test_silence(make: Make, ear: str) -> None:
    """No sound at all is no text and no error."""
    stt = make("stt", ear)
    assert [each async for each in stt.stream(in_pieces(b"", 100))] == []
    odd = [each async for each in stt.stream(in_pieces(bytes(32001), 333))]
    assert all(each.final or each.text for each in odd)


async def test_a_caller_who_hangs_up(make: Make) -> None:
    """A stream that is cancelled in mid-sound leaves the model free for the next one."""
    tts, stt = make("tts", "flite.local"), make("stt", "moonshine.local")
    pcm = await spoken(tts, SENTENCES[0])
    started = asyncio.Event()

    async def endless():
        while True:
            yield pcm[:3200]
            started.set()
            await asyncio.sleep(0)

    async def listen() -> None:
        async for _ in stt.stream(endless()):
            pass

    calls = [asyncio.create_task(listen()) for _ in range(3)]
    await started.wait()
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert error_rate([(SENTENCES[0], await heard(stt, pcm))]) <= MOST
