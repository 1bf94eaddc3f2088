"""Containers of recordings, recognised by their first bytes: names and content types are often wrong. Pure.

Frames of MPEG audio and of AAC in ADTS come without a container. Their sync word is short and occurs in any
data, so that two headers in a row are needed: https://www.datavoyage.com/mpgscript/mpeghdr.htm,
https://wiki.multimedia.cx/index.php/ADTS.
"""

from __future__ import annotations

from dataclasses import dataclass

TAGS_MAX = 4
"""ID3 tags before the first frame."""
SNIFFED_BYTES = 8 << 10
"""Bytes at the start in which the first frame of MPEG audio must begin."""

_MP4_BOXES = frozenset((b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide"))
_MAGIC = (
    (0, b"OggS", "ogg"),
    (0, b"fLaC", "flac"),
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (0, b"\0\0\1\xba", "mpeg"),
    (0, b"#!AMR", "amr"),
    (0, b"caff", "caf"),
    (0, b".snd", "au"),
    (8, b"WAVE", "wav"),
    (8, b"AIFF", "aiff"),
    (8, b"AIFC", "aiff"),
)
_MATROSKA_CLUSTER = b"\x1f\x43\xb6\x75"
_HEADER_BYTES = 7
_LAYER_1, _LAYER_2, _LAYER_3 = 3, 2, 1  # as the header's two bits have them
_BITRATES = {  # kilobits a second, by (is MPEG-1, layer)
    (True, _LAYER_1): tuple(range(32, 449, 32)),
    (True, _LAYER_2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, _LAYER_3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, _LAYER_1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, _LAYER_2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, _LAYER_3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_MPEG_1 = 3
_ADTS_RATES = 13


@dataclass(frozen=True, slots=True)
class _Frame:
    name: str  # FFmpeg's, of the container
    size: int  # bytes
    kind: tuple[int, int]  # version, layer and sample rate, which two frames in a row have in common


def find_container(data: bytes) -> str | None:
    """Return FFmpeg's name of the container at the start of ``data``; None for an unknown one."""
    return find_marked_container(data) or _find_elementary_stream(data)


def find_marked_container(data: bytes) -> str | None:
    """Return the name of a container that has a mark at its start, which bare samples never have."""
    for offset, magic, name in _MAGIC:
        if data[offset : offset + len(magic)] == magic:
            return name
    return "mov" if data[4:8] in _MP4_BOXES else None


def is_later_part(data: bytes) -> bool:
    """Return whether ``data`` is a later part of a live WebM recording, without the head."""
    return data[:4] == _MATROSKA_CLUSTER


def _find_elementary_stream(data: bytes) -> str | None:
    """Return the name for frames without a container; tags may precede them."""
    start = _skip_tags(data)
    if data[start : start + 4] == b"fLaC":
        return "flac"
    for at in range(start, min(len(data) - _HEADER_BYTES, start + SNIFFED_BYTES)):
        if data[at] == 0xFF and (frame := _read_frame(data, at)) is not None:
            follower = _read_frame(data, at + frame.size)
            is_alone = at == start and at + frame.size >= len(data)
            if is_alone or (follower is not None and follower.kind == frame.kind):
                return frame.name
    return "mp3" if start else None


def _skip_tags(data: bytes) -> int:
    """Return where the first ID3 tags end."""
    start = 0
    for _ in range(TAGS_MAX):
        if data[start : start + 3] != b"ID3" or len(data) < start + 10:
            break
        size = 0
        for byte in data[start + 6 : start + 10]:
            size = size << 7 | byte & 0x7F
        start += 10 + size
    return start


def _read_frame(data: bytes, at: int) -> _Frame | None:
    """Return the frame whose header is at ``at``; None for other data."""
    head = data[at : at + _HEADER_BYTES]
    if len(head) < _HEADER_BYTES or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    if head[1] & 0x06:
        return _read_mpeg_frame(head)
    return _read_adts_frame(head) if head[1] & 0xF0 == 0xF0 else None


def _read_mpeg_frame(head: bytes) -> _Frame | None:
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bitrate, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version not in _RATES or rate == 3 or bitrate in (0, 15):
        return None
    bits = _BITRATES[version == _MPEG_1, layer][bitrate - 1] * 1000
    hertz = _RATES[version][rate]
    if layer == _LAYER_1:
        size = (12 * bits // hertz + padding) * 4
    else:
        samples = 576 if layer == _LAYER_3 and version != _MPEG_1 else 1_152
        size = samples // 8 * bits // hertz + padding
    return _Frame("mp3", size, (head[1] >> 1, rate))


def _read_adts_frame(head: bytes) -> _Frame | None:
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    rate = head[2] >> 2 & 15
    if rate >= _ADTS_RATES or size < _HEADER_BYTES:
        return None
    return _Frame("aac", size, (head[1] >> 1, rate))
