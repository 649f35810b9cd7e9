"""Writes videos like a job, but without a network, and reads back what they contain."""

from __future__ import annotations

import subprocess
from pathlib import Path

import av
import numpy as np
from media_clips import result_of

from live_cam.sinks.video.sink import VideoSink
from live_cam.sources.video import VideoSource

LEAST_PSNR_DB = 40.0  # of two encodings of the same frames


def ffmpeg(*arguments: object) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True)


def record(source_path: Path, output_path: Path, start=None, end=None, max_frames=None, **options) -> VideoSink:
    """Copies a video through source and sink; each frame is its own annotated image."""
    with VideoSource(source_path, start, end) as source:
        tracks = source.aux_tracks(ends_with_frames=max_frames is not None)
        with VideoSink(output_path, source.size_wh, source.rate, tracks=tracks, **options) as sink:
            while sink.frame_count != max_frames and (frame := source.read()) is not None:
                sink.write(result_of(frame.image, frame.index, frame.time_seconds, None, frame.duration_seconds))
            sink.finish()
    return sink


def packets_of(path: Path, kind: str, index: int = 0) -> list[tuple[bytes, float, float]]:
    """Returns content, presentation time and duration in seconds of each packet of the n-th track of a kind."""
    with av.open(str(path)) as container:
        stream = [stream for stream in container.streams if stream.type == kind][index]
        return [
            (bytes(packet), float(packet.pts * packet.time_base), float((packet.duration or 0) * packet.time_base))
            for packet in container.demux(stream)
            if packet.size
        ]


def contents_of(path: Path, kind: str, index: int = 0) -> list[bytes]:
    return [content for content, _, _ in packets_of(path, kind, index)]


def frames_of(path: Path) -> list[tuple[float, np.ndarray]]:
    """Returns media time and image of each frame."""
    with VideoSource(path) as source:
        return [(frame.time_seconds, frame.image) for frame in iter(source.read, None)]


def sound_of(path: Path, index: int = 0) -> tuple[np.ndarray, float, int]:
    """Returns the samples of the loudest channel, the time of the first, and the sample rate."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[index]
        frames = list(container.decode(stream))
        planar = [frame.to_ndarray().reshape(-1, frame.samples) for frame in frames]
        channels = np.concatenate(planar, axis=1).astype(np.float32)
        return channels[np.abs(channels).max(1).argmax()], float(frames[0].pts * frames[0].time_base), stream.rate


def subtitles_of(path: Path) -> str:
    """Returns the first subtitle track as SubRip text."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:s:0", "-f", "srt", "-"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def moving_clip(path: Path, *options: object, rate: object = 25) -> Path:
    """Six seconds of a light that moves in a circle, with a tone."""
    pattern = f"gradients=s=96x64:r={rate}:d=6:n=2:c0=black:c1=white:x0=0:y0=0:x1=95:y1=63:speed=0.08,format=yuv420p"
    ffmpeg("-f", "lavfi", "-i", pattern, "-f", "lavfi", "-i", "sine=f=300:d=6", "-g", "40", *options, path)
    return path


def psnr_db(made: Path, expected: Path) -> float:
    errors = [
        np.square(made_image.astype(float) - expected_image).mean()
        for (_, made_image), (_, expected_image) in zip(frames_of(made), frames_of(expected), strict=True)
    ]
    return float(10 * np.log10(255**2 / max(float(np.mean(errors)), 1e-9)))


def times_of(path: Path) -> list[tuple[float, float]]:
    return [(seconds, duration) for _, seconds, duration in packets_of(path, "video")]


def sound_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return contents_of(path, "audio") if container.streams.audio else []


def assert_same(made: Path, expected: Path) -> None:
    """The video has the same frames, times and sound as an uninterrupted run's."""
    assert times_of(made) == times_of(expected)
    assert sound_packets(made) == sound_packets(expected)
    assert psnr_db(made, expected) >= LEAST_PSNR_DB
