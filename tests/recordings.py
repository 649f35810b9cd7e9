"""Sources with sound and subtitles for the tests of recordings, and how to look into what came out."""

from __future__ import annotations

import subprocess
from pathlib import Path

import av
import numpy as np
from media_clips import result_of

from live_cam.sinks.video import VideoSink
from live_cam.sources.tracks import SideTracks
from live_cam.sources.video import VideoSource


def ffmpeg(*arguments: object) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True)


def record(source_path: Path, output_path: Path, start=None, end=None, max_frames=None, **options) -> VideoSink:
    """What livecam does with a recording, without a network: each frame into the file as it is."""
    cut = end is not None or max_frames is not None
    with VideoSource(source_path, start, end) as source:
        tracks = SideTracks(source_path, source.zero_seconds, start or 0.0, end, cut)
        with VideoSink(output_path, source.size_wh, source.rate, tracks=tracks, **options) as sink:
            while sink.frame_count != max_frames and (frame := source.read()) is not None:
                sink.write(result_of(frame.image, frame.index, frame.time_seconds, None, frame.duration_seconds))
            sink.finish()
    return sink


def packets_of(path: Path, kind: str, index: int = 0) -> list[tuple[bytes, float, float]]:
    """Content, presentation time and duration in seconds of each packet of the n-th track of a kind."""
    with av.open(str(path)) as container:
        stream = [one for one in container.streams if one.type == kind][index]
        return [
            (bytes(packet), float(packet.pts * packet.time_base), float((packet.duration or 0) * packet.time_base))
            for packet in container.demux(stream)
            if packet.size
        ]


def contents_of(path: Path, kind: str, index: int = 0) -> list[bytes]:
    return [content for content, _, _ in packets_of(path, kind, index)]


def frames_of(path: Path) -> list[tuple[float, np.ndarray]]:
    """Time and picture of each frame."""
    with VideoSource(path) as source:
        return [(frame.time_seconds, frame.image) for frame in iter(source.read, None)]


def sound_of(path: Path, index: int = 0) -> tuple[np.ndarray, float, int]:
    """All samples of the loudest channel, the first one's time, and how many there are in a second."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[index]
        frames = list(container.decode(stream))
        planar = [frame.to_ndarray().reshape(-1, frame.samples) for frame in frames]
        channels = np.concatenate(planar, axis=1).astype(np.float32)
        return channels[np.abs(channels).max(1).argmax()], float(frames[0].pts * frames[0].time_base), stream.rate


def subtitles_of(path: Path) -> str:
    """The first track of subtitles in SubRip's words."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:s:0", "-f", "srt", "-"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
