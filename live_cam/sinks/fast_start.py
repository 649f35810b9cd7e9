"""A finished video copied into a file that players can seek in at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
from av.container import OutputContainer
from av.stream import Disposition

from live_cam.sinks.companions import MakeCompanions, no_companions


def copy_for_fast_start(
    piecewise: Path,
    whole: Path,
    container_format: str,
    end_seconds: float = 0.0,
    make_companions: MakeCompanions = no_companions,
) -> None:
    """Copies all tracks into a file with one index at its beginning.

    Args:
        piecewise: The file that was playable while it grew.
        whole: Made.
        container_format: ffmpeg's name of it.
        end_seconds: Where its last picture ends.
        make_companions: Adds what could not go into the growing file.
    """
    with (
        av.open(f"file:{piecewise}", metadata_errors="replace") as source,
        av.open(f"file:{whole}", "w", format=container_format, options={"movflags": "faststart"}) as target,
    ):
        copies = {stream.index: _copy_of(target, stream) for stream in source.streams if stream.type != "data"}
        companions = make_companions(target)
        if companions is not None:
            companions.set_chapters(end_seconds)
        for packet in source.demux([stream for stream in source.streams if stream.index in copies]):
            if packet.dts is not None:
                if companions is not None:
                    companions.write_until(float(packet.dts * packet.time_base))
                packet.stream = copies[packet.stream_index]
                target.mux(packet)
        if companions is not None:
            companions.finish(end_seconds)


def _copy_of(target: OutputContainer, stream: Any) -> Any:
    copy: Any = target.add_stream_from_template(stream, opaque=True)
    copy.time_base = stream.time_base  # PyAV before 18 would take 1/90000, in which 24000/1001 is not exact
    if stream.codec_context.name == "hevc":
        copy.codec_context.codec_tag = stream.codec_context.codec_tag
    copy.metadata.update(stream.metadata)
    copy.disposition = Disposition(stream.disposition)
    return copy
