"""The playable part of a video that a killed run left, packet by packet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

import av
from av.packet import Packet

_LENGTH_BYTES = 4
_START_CODE = b"\x00\x00\x00\x01"


def packet_count(path: Path) -> int:
    """How many pictures can be read from the file's beginning on, each of them whole; 0 where there is no video."""
    with suppress(av.FFmpegError, OSError), av.open(f"file:{path}", metadata_errors="replace") as container:
        if container.streams.video:
            return sum(1 for _ in _whole_packets(container))
    return 0


def first_packets(path: Path, count: int) -> Iterator[Packet]:
    """The first packets of the pictures, as their encoder gave them."""
    with av.open(f"file:{path}", metadata_errors="replace") as container:
        codec = container.streams.video[0].codec_context
        has_lengths = codec.name in ("h264", "hevc") and (codec.extradata or b"")[:1] == b"\x01"
        for packet in islice(_whole_packets(container), count):
            yield _with_start_codes(packet) if has_lengths else packet


def _whole_packets(container: av.container.InputContainer) -> Iterator[Packet]:
    with suppress(av.FFmpegError, OSError):
        for packet in container.demux(container.streams.video[0]):
            if packet.is_corrupt:  # the run was killed while it was written
                return
            if packet.size:
                yield packet


def _with_start_codes(packet: Packet) -> Packet:
    """In MP4 and MKV each unit has its length before it; encoders write a mark (ISO/IEC 14496-15 and -10, annex B)."""
    content, at = bytearray(packet), 0
    while at + _LENGTH_BYTES <= len(content):
        length = int.from_bytes(content[at : at + _LENGTH_BYTES], "big")
        content[at : at + _LENGTH_BYTES] = _START_CODE
        at += _LENGTH_BYTES + length
    marked: Packet = Packet(bytes(content))
    marked.pts, marked.dts, marked.duration = packet.pts, packet.dts, packet.duration
    marked.time_base, marked.is_keyframe = packet.time_base, packet.is_keyframe
    return marked
