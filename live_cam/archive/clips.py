"""Cuts what was found out of its videos: packets are copied, nothing is encoded again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from live_cam.archive.search import Hit
from live_cam.errors import SinkError, SourceError
from live_cam.sinks.atomic_file import locked_output, partial_path, put_in_place, refuse_same_file
from live_cam.sinks.video.remux import copy_stream
from live_cam.sources.container import has_presentation_times, open_container, packets_of, video_stream
from live_cam.sources.damage import BrokenStreamError

# Sound may be stored that much before the frames that it belongs to, and some formats find only later keyframes.
_SEEK_EARLIER_SECONDS = 10
# It can hold every codec.
_FALLBACK_SUFFIX = ".mkv"
# MKV stores no decoding times, and need not begin later because the first ones are negative.
_OPTIONS = dict.fromkeys(("mp4", "mov", "ipod"), {"movflags": "faststart"})
_OPTIONS |= dict.fromkeys(("matroska", "webm"), {"avoid_negative_ts": "disabled"})
# Times in an index are rounded.
_TOLERANCE_SECONDS = Fraction(1, 1000)


class _TimedPacket(NamedTuple):
    """A packet, and when it is shown and decoded in the container's time."""

    packet: Packet
    seconds: Fraction
    decoding_seconds: Fraction


class ClipFolder:
    """Writes clips into a folder, under names that tell video and time.

    Args:
        folder: Is made if there is none.
        overwrite: Whether clips of earlier searches may be replaced.

    Raises:
        SinkError: The folder cannot be made.
    """

    def __init__(self, folder: Path, overwrite: bool = False) -> None:
        self._folder, self._overwrite = folder, overwrite
        self._stems: set[str] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"cannot create {folder}: {error.strerror}") from None

    def cut(self, hit: Hit) -> Path:
        """Writes an interval of a video, from the last keyframe before it, and returns the clip's path.

        The clip has the video's container, or MKV if ffmpeg cannot write that one.

        Raises:
            SourceError: The video is gone or cannot be read.
            SinkError: The clip exists or cannot be written; nothing is left behind.
        """
        video, stem = Path(hit.video), self._free_stem(hit)
        for suffix in dict.fromkeys((_printable(video.suffix), _FALLBACK_SUFFIX)):
            path = self._folder / f"{stem}{suffix}"
            refuse_same_file(video, path)
            with locked_output(path, self._overwrite):
                partial = partial_path(path)
                try:
                    cut_clip(video, hit.from_seconds, hit.to_seconds, partial)
                    put_in_place(partial, path, self._overwrite)
                    return path
                except (av.FFmpegError, ValueError, OSError) as error:
                    reason = getattr(error, "strerror", None) or error
                finally:
                    partial.unlink(missing_ok=True)
        raise SinkError(f"cannot cut {video}: {reason}")

    def _free_stem(self, hit: Hit) -> str:
        stem = f"{_printable(Path(hit.video).stem)}-{hit.from_seconds:.2f}".rstrip("0").rstrip(".") + "s"
        number = 1
        while (name := stem if number == 1 else f"{stem}-{number}") in self._stems:
            number += 1
        self._stems.add(name)
        return name


def _printable(name: str) -> str:
    """Returns a name without line breaks and other control characters, which names of videos may have."""
    return "".join(letter if letter.isprintable() else "_" for letter in name)


def cut_clip(video: Path, from_seconds: float, to_seconds: float, clip: Path) -> None:
    """Copies a part of a video, its picture and its sound; its times begin at 0.

    Args:
        video: The video.
        from_seconds: The clip begins at the last keyframe that is not later than this media time.
        to_seconds: The clip ends before this media time; frames that its last ones depend on are kept.
        clip: Written; its suffix decides about the container.

    Raises:
        SourceError: The video cannot be opened or is damaged.
        av.FFmpegError, ValueError, OSError: The container cannot hold it.
    """
    try:
        _copy(video, from_seconds, to_seconds, clip)
    except BrokenStreamError as error:
        raise SourceError(f"{video} is damaged; cannot cut it at {from_seconds:.1f} s: {error}") from None


def _copy(video: Path, from_seconds: float, to_seconds: float, clip: Path) -> None:
    with open_container(video) as source:
        picture = video_stream(source, str(video))
        zero = _first_seconds(source, picture)
        begin = _keyframe_seconds(source, picture, zero + Fraction(from_seconds) + _TOLERANCE_SECONDS)
        if begin is None:
            raise BrokenStreamError("no keyframe before that is found")
        streams = [picture, *(stream for stream in source.streams.audio if stream.codec_context is not None)]
        with av.open(f"file:{clip}", "w") as target:
            target.options.update(_OPTIONS.get(target.format.name, {}))
            copies = {stream.index: copy_stream(target, stream) for stream in streams}
            for packet, seconds, decoding_seconds in _packets_between(
                source, streams, begin, zero + Fraction(to_seconds)
            ):
                packet.pts = round((seconds - begin) / packet.time_base)
                packet.dts = round((decoding_seconds - begin) / packet.time_base)
                packet.stream = copies[packet.stream_index]
                target.mux(packet)


def _first_seconds(source: InputContainer, picture: VideoStream) -> Fraction:
    """Returns the container's time of the first frame: media times count from it."""
    with _reading():
        for frame in source.decode(picture):
            pts = frame.pts if has_presentation_times(source) else frame.dts
            return Fraction(pts or 0) * (picture.time_base or 0)
    raise BrokenStreamError("no frame can be decoded")


def _keyframe_seconds(source: InputContainer, picture: VideoStream, latest: Fraction) -> Fraction | None:
    """Returns the container's time of the last keyframe until a time; None if there is none."""
    for earlier in (Fraction(0), Fraction(_SEEK_EARLIER_SECONDS), latest):
        found = None
        for packet, seconds, decoding_seconds in _packets_from(source, [picture], latest - earlier):
            if decoding_seconds > latest:
                break
            if packet.is_keyframe and seconds <= latest:
                found = seconds
        if found is not None:
            return found
    return None


def _packets_between(
    source: InputContainer, streams: Sequence[Stream], begin: Fraction, end: Fraction
) -> Iterator[_TimedPacket]:
    """Yields the packets of the frames and the sound from a keyframe until a time, in the file's order."""
    ended: set[int] = set()
    for timed in _packets_from(source, streams, begin - _SEEK_EARLIER_SECONDS):
        if timed.decoding_seconds >= end:
            ended.add(timed.packet.stream_index)
            if len(ended) == len(streams):
                return
        # Before the keyframe in time, but behind it in the file: they depend on frames that are left out.
        elif timed.seconds >= begin:
            yield timed


def _packets_from(source: InputContainer, streams: Sequence[Stream], seconds: Fraction) -> Iterator[_TimedPacket]:
    """Yields packets from about a time on."""
    has_times = has_presentation_times(source)
    with _reading("ffmpeg cannot seek there"):
        source.seek(max(0, round(seconds * av.time_base)))
    with _reading():
        for packet in packets_of(source, streams):
            if packet.size and packet.dts is not None:
                pts = packet.pts if has_times and packet.pts is not None else packet.dts
                yield _TimedPacket(packet, pts * packet.time_base, packet.dts * packet.time_base)


@contextmanager
def _reading(reason: str | None = None) -> Iterator[None]:
    """Tells errors of the video from those of the clip; ``reason`` replaces one of ffmpeg's that says nothing."""
    try:
        yield
    except av.FFmpegError as error:
        raise BrokenStreamError(reason or error.strerror or str(error)) from None
