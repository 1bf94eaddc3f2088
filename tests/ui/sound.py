"""What a page plays: recorded as it is scheduled, sample by sample."""

from __future__ import annotations

from array import array
from base64 import b64decode
from itertools import pairwise

from playwright.async_api import Page

RECORDER = """
(() => {
  window.played = [];
  window.stopped = 0;
  const pieces = new WeakMap();
  const { start, stop } = AudioBufferSourceNode.prototype;
  AudioBufferSourceNode.prototype.start = function (when, ...rest) {
    const samples = Int16Array.from(this.buffer.getChannelData(0), (sample) => Math.round(sample * 32768));
    const text = Array.from(new Uint8Array(samples.buffer), (byte) => String.fromCharCode(byte)).join("");
    const rates = { rate: this.buffer.sampleRate, context: this.context.sampleRate };
    const end = when + samples.length / rates.rate;
    const piece = { when, end, ...rates, cuts: window.stopped, pcm: btoa(text) };
    pieces.set(this, piece);
    window.played.push(piece);
    return start.call(this, when, ...rest);
  };
  AudioBufferSourceNode.prototype.stop = function (...rest) {
    window.stopped += 1;
    const piece = pieces.get(this);
    piece.end = Math.min(piece.end, this.context.currentTime);
    return stop.call(this, ...rest);
  };
})();
"""
"""Init script: ``played`` has every buffer that was started, ``stopped`` counts those that were cut.

``cuts`` of a buffer is what ``stopped`` was when it was started; its ``end`` is where it was cut, if it was.
"""

DENIED = "navigator.mediaDevices.getUserMedia = async () => {{ throw new DOMException('', '{name}'); }};"
"""An init script: there is no microphone, for the reason ``name``."""


async def played(page: Page, rate: int = 24_000) -> bytes:
    """The PCM that was played since the last time: at the right rate, nothing over another."""
    before, after = await played_around_cut(page, rate)
    return before + after


async def played_around_cut(page: Page, rate: int = 24_000) -> tuple[bytes, bytes]:
    """Like ``played``: what was started before sound was cut for the first time, and after it."""
    pieces = await page.evaluate("window.played.splice(0)")
    for piece in pieces:
        assert (piece["rate"], piece["context"]) == (rate, rate)
    for piece, following in pairwise(pieces):
        uncut = piece["cuts"] == following["cuts"]
        end = piece["when"] + len(b64decode(piece["pcm"])) / 2 / rate if uncut else piece["end"]
        assert following["when"] > end - 0.5 / rate
    before = b"".join(b64decode(piece["pcm"]) for piece in pieces if not piece["cuts"])
    return before, b"".join(b64decode(piece["pcm"]) for piece in pieces if piece["cuts"])


def likeness(heard: bytes, meant: bytes) -> float:
    """The best normalised correlation of two recordings at one rate, however they are shifted."""
    import numpy as np

    one, other = (np.array(array("h", pcm), dtype=np.float64) for pcm in (heard, meant))
    size = 1 << (len(one) + len(other)).bit_length()
    crossed = np.fft.irfft(np.fft.rfft(one, size) * np.conj(np.fft.rfft(other, size)), size)
    return float(crossed.max() / np.sqrt((one**2).sum() * (other**2).sum()))
