"""Copies encoded video without encoding it again: to a file with its index first, or from a killed run's file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Disposition

from live_cam.sinks.video.aux_tracks import StartAuxTracks

_LENGTH_BYTES = 4
_START_CODE = b"\x00\x00\x00\x01"


def copy_for_fast_start(
    growing: Path, finished: Path, format_name: str, end_seconds: float, start_aux_tracks: StartAuxTracks | None = None
) -> None:
    """Copies all tracks to a file with one index at its beginning, so that players can seek in it at once.

    Args:
        growing: A fragmented MP4 or MOV that is closed.
        finished: Created.
        format_name: ffmpeg's name of the container.
        end_seconds: Where the last frame ends.
        start_aux_tracks: Adds the tracks and chapters that could not go into the growing file.
    """
    with (
        av.open(f"file:{growing}", metadata_errors="replace") as source,
        av.open(f"file:{finished}", "w", format=format_name, options={"movflags": "faststart"}) as target,
    ):
        copies = {stream.index: copy_stream(target, stream) for stream in source.streams if stream.type != "data"}
        aux_tracks = None if start_aux_tracks is None else start_aux_tracks(target)
        if aux_tracks is not None:
            aux_tracks.set_chapters(end_seconds)
        for packet in source.demux([stream for stream in source.streams if stream.index in copies]):
            if packet.dts is not None:
                if aux_tracks is not None:
                    aux_tracks.write_until(float(packet.dts * packet.time_base))
                packet.stream = copies[packet.stream_index]
                target.mux(packet)
        if aux_tracks is not None:
            aux_tracks.finish(end_seconds)


def copy_stream(target: OutputContainer, stream: Any) -> Any:
    """Adds a stream for copied packets to a container that has no header yet, and returns it."""
    copy: Any = target.add_stream_from_template(stream, opaque=True)
    copy.time_base = stream.time_base  # PyAV before 18 would use 1/90000, in which 24000/1001 is not exact.
    if stream.codec_context.name == "hevc":
        copy.codec_context.codec_tag = stream.codec_context.codec_tag
    copy.metadata.update(stream.metadata)
    copy.disposition = Disposition(stream.disposition)
    return copy


def packet_count(path: Path) -> int:
    """Returns the number of complete video packets from a file's beginning on; 0 if it is no video."""
    with suppress(av.FFmpegError, OSError), av.open(f"file:{path}", metadata_errors="replace") as container:
        if container.streams.video:
            return sum(1 for _ in _complete_packets(container))
    return 0


def first_packets(path: Path, count: int) -> Iterator[Packet]:
    """Yields the first video packets of a file in the form in which an encoder returns them."""
    with av.open(f"file:{path}", metadata_errors="replace") as container:
        codec = container.streams.video[0].codec_context
        has_lengths = codec.name in ("h264", "hevc") and (codec.extradata or b"")[:1] == b"\x01"
        for packet in islice(_complete_packets(container), count):
            yield _with_start_codes(packet) if has_lengths else packet


def _complete_packets(container: InputContainer) -> Iterator[Packet]:
    with suppress(av.FFmpegError, OSError):
        for packet in container.demux(container.streams.video[0]):
            if packet.is_corrupt:  # The process was killed while it wrote this packet.
                return
            if packet.size:
                yield packet


def _with_start_codes(packet: Packet) -> Packet:
    """Replaces the length before each NAL unit by a start code.

    MP4 and MKV store lengths (ISO/IEC 14496-15), encoders return start codes (ISO/IEC 14496-10, annex B).
    """
    content, position = bytearray(packet), 0
    while position + _LENGTH_BYTES <= len(content):
        length = int.from_bytes(content[position : position + _LENGTH_BYTES], "big")
        content[position : position + _LENGTH_BYTES] = _START_CODE
        position += _LENGTH_BYTES + length
    converted: Packet = Packet(bytes(content))
    converted.pts, converted.dts, converted.duration = packet.pts, packet.dts, packet.duration
    converted.time_base, converted.is_keyframe = packet.time_base, packet.is_keyframe
    return converted
