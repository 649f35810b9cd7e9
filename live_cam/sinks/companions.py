"""Sound, subtitles, chapters and tags of the source into the file with the drawn frames, in step with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from av.container import OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream

from live_cam.sinks.recoding import CopiedTrack, RecodedSound, RecodedSubtitles, Track

if TYPE_CHECKING:
    from live_cam.sources.tracks import SideTracks

# By ffmpeg's names of container and codec; what is not here cannot be played from there, or not be written.
_SOUND = {
    "mp4": {"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"},
    "mov": {"aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_f32le"},
    "webm": {"opus", "vorbis"},
    "avi": {"mp3", "ac3", "pcm_s16le", "pcm_u8"},
}
_SOUND_INSTEAD = {"mp4": "aac", "mov": "aac", "webm": "libopus", "avi": "libmp3lame"}
_SOUND_TITLES = {"aac": "AAC", "libopus": "Opus", "libmp3lame": "MP3"}
_TEXT_INSTEAD = {"mp4": "mov_text", "mov": "mov_text", "webm": "webvtt", "matroska": "subrip"}
_TEXT = {"subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text"}
_SUBTITLES = {
    "mp4": {"mov_text"},
    "mov": {"mov_text"},
    "webm": {"webvtt"},
    "matroska": {"subrip", "srt", "ass", "ssa", "webvtt", "hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle"},
}
# The formats that can say "play from here", and so hold the packet before, which a decoder needs to begin well.
_WITH_EDIT_LIST = ("mp4", "mov")
_LEAD_IN_SECONDS = 0.1
_MKV_ROUNDING_SECONDS = 0.0006


@dataclass(frozen=True)
class PlannedTrack:
    """One track that goes into the output.

    Attributes:
        stream: Of the source.
        encoder: ffmpeg's name; None where its packets are copied.
    """

    stream: Stream
    encoder: str | None


@dataclass(frozen=True)
class TrackPlan:
    """What becomes of the source's tracks.

    Attributes:
        tracks: Those that go into the output.
        lines: What the user should know: each track that is left out or coded anew.
    """

    tracks: tuple[PlannedTrack, ...]
    lines: tuple[str, ...]

    def part_for(self, container: str, is_growing: bool) -> TrackPlan:
        """What goes into the file while it grows, or only when it is copied to have its index at the beginning.

        Subtitles in a growing MP4 make ffmpeg 8 abort the process (an assertion in ``movenc.c``).
        """
        is_held = [container in _WITH_EDIT_LIST and one.stream.type == "subtitle" for one in self.tracks]
        return TrackPlan(tuple(one for one, held in zip(self.tracks, is_held, strict=True) if held != is_growing), ())


def plan_tracks(streams: Sequence[Stream], container: str, with_sound: bool = True) -> TrackPlan:
    """Decides for each track whether it is copied, coded anew or left out.

    Args:
        streams: Of the source, without its pictures.
        container: ffmpeg's name of the output's.
        with_sound: Whether sound is wanted.
    """
    tracks: list[PlannedTrack] = []
    lines: list[str] = []
    for stream in streams:
        if stream.type == "audio" and not with_sound:
            continue
        name, codec = _track_name(stream), _codec_name(stream)
        encoder = _encoder_for(stream.type, codec, container)
        if encoder == "":
            lines.append(f"{name} is left out: {_container_title(container)} cannot hold it")
            continue
        if stream.type == "audio" and encoder is not None:
            lines.append(
                f"{name} is coded anew as {_SOUND_TITLES[encoder]}: {_container_title(container)} cannot hold it"
            )
        tracks.append(PlannedTrack(stream, encoder))
    return TrackPlan(tuple(tracks), tuple(lines))


def _encoder_for(kind: str, codec: str, container: str) -> str | None:
    """None to copy; an empty name where it cannot go at all."""
    if kind == "audio" and container != "gif":
        return None if codec and codec in _SOUND.get(container, {codec}) else _SOUND_INSTEAD.get(container, "")
    if kind == "subtitle" and codec in _SUBTITLES.get(container, ()):
        return None
    return _TEXT_INSTEAD.get(container, "") if kind == "subtitle" and codec in _TEXT else ""


def _codec_name(stream: Stream) -> str:
    """The codec's name in ffmpeg, not of its decoder ("mp3", not "mp3float"); empty where it has no decoder."""
    return "" if stream.codec_context is None else stream.codec_context.codec.canonical_name


def _track_name(stream: Stream) -> str:
    kind = {"audio": "sound", "subtitle": "subtitle", "video": "picture"}.get(stream.type, stream.type)
    language = f", {stream.language}" if stream.language and stream.language != "und" else ""
    return f"{kind} track {stream.index} ({_codec_name(stream) or 'of no known codec'}{language})"


def _container_title(container: str) -> str:
    return {"matroska": "MKV", "webm": "WebM"}.get(container, container.upper())


class Companions:
    """Writes the planned tracks between the packets of pictures.

    Args:
        container: Its header is not written yet; the stream of pictures is there.
        format_name: ffmpeg's name of it.
        source: Where the packets come from; belongs to the caller.
        plan: What to write.
        first_seconds: Media time of the first frame that is written: the output's zero.
    """

    def __init__(
        self, container: OutputContainer, format_name: str, source: SideTracks, plan: TrackPlan, first_seconds: float
    ) -> None:
        self._container, self._source = container, source
        self._zero_seconds = source.zero_seconds + first_seconds
        self._cut_seconds: float | None = None
        if source.end_seconds is not None:
            self._cut_seconds = source.end_seconds - first_seconds
        self._has_edit_list = format_name in _WITH_EDIT_LIST
        self._tracks = {one.stream.index: _track(container, one, format_name) for one in plan.tracks}
        container.metadata.update(source.tags)
        self._packets = source.packets([one.stream for one in plan.tracks]) if plan.tracks else iter(())
        self._next: Packet | None = next(self._packets, None)

    def write_until(self, seconds: float) -> None:
        """Writes what begins before a time, in the output's seconds."""
        while self._next is not None and self._seconds(self._next) < seconds:
            packet, self._next = self._next, next(self._packets, None)
            if self._cut_seconds is None or self._seconds(packet) < self._cut_seconds:
                self._write(packet)

    def finish(self, end_seconds: float) -> None:
        """Writes the rest: to the end of the pictures where the source is cut there, else all.

        Args:
            end_seconds: Where the last picture ends, in the output.
        """
        if self._source.ends_with_pictures:
            self._cut_seconds = end_seconds
        self.write_until(float("inf"))
        for track in self._tracks.values():
            self._container.mux(track.last_packets())

    def set_chapters(self, end_seconds: float) -> None:
        """Moves the chapters with the start, and leaves out those that are not in the output."""
        self._container.set_chapters(list(_moved(self._source.chapters, self._zero_seconds, end_seconds)))

    def _seconds(self, packet: Packet) -> float:
        return float((packet.pts or 0) * packet.time_base) - self._zero_seconds

    def _is_too_early(self, begin_seconds: float, end_seconds: float, stream: Stream) -> bool:
        if self._has_edit_list:
            return end_seconds <= -_LEAD_IN_SECONDS
        return begin_seconds < -_noted_delay_seconds(stream)

    def _write(self, packet: Packet) -> None:
        track = self._tracks[packet.stream_index]
        begin_seconds = self._seconds(packet)
        duration_seconds = float((packet.duration or 0) * packet.time_base)
        if packet.stream.type == "subtitle":
            if begin_seconds + duration_seconds <= 0:
                return
            _clip(packet, self._zero_seconds, self._cut_seconds)
        elif self._is_too_early(begin_seconds, begin_seconds + duration_seconds, packet.stream):
            return
        offset = round(Fraction(self._zero_seconds) / packet.time_base)
        packet.pts = (packet.pts or 0) - offset
        packet.dts = packet.pts if packet.dts is None else packet.dts - offset
        self._container.mux(track.packets(packet))


MakeCompanions = Callable[[OutputContainer], Companions | None]


def no_companions(container: OutputContainer) -> None:
    """Adds nothing to a container."""


def _noted_delay_seconds(stream: Stream) -> float:
    """How early Opus begins, which MKV and WebM note beside it (RFC 7845, section 5.1, "pre-skip")."""
    head = stream.codec_context.extradata if _codec_name(stream) == "opus" else None
    if head is None or len(head) < 12:
        return 0.0
    return int.from_bytes(head[10:12], "little") / 48_000 + _MKV_ROUNDING_SECONDS


def _track(container: OutputContainer, planned: PlannedTrack, format_name: str) -> Track:
    track: Track
    if planned.encoder is None:
        track = CopiedTrack(container, planned.stream)
    elif planned.stream.type == "audio":
        track = RecodedSound(container, planned.stream, planned.encoder)
    else:
        track = RecodedSubtitles(container, planned.stream, planned.encoder)
    kept = ("language", "title", "handler_name") if format_name in _WITH_EDIT_LIST else ("language", "title")
    track.stream.metadata.update({key: planned.stream.metadata[key] for key in kept if key in planned.stream.metadata})
    track.stream.disposition = Disposition(planned.stream.disposition)
    return track


def _clip(packet: Packet, zero_seconds: float, cut_seconds: float | None) -> None:
    """Shortens a subtitle to the part between zero and the cut."""
    zero = round(Fraction(zero_seconds) / packet.time_base)
    begin = max(packet.pts or 0, zero)
    end = (packet.pts or 0) + (packet.duration or 0)
    if cut_seconds is not None:
        end = min(end, zero + round(Fraction(cut_seconds) / packet.time_base))
    packet.pts = packet.dts = begin
    packet.duration = max(0, end - begin)


def _moved(chapters: Sequence[Any], zero_seconds: float, end_seconds: float) -> Iterator[Any]:
    for chapter in chapters:
        time_base = chapter["time_base"]
        zero, end = (round(Fraction(one) / time_base) for one in (zero_seconds, zero_seconds + end_seconds))
        if chapter["end"] > zero and chapter["start"] < end:
            yield chapter | {"start": max(0, chapter["start"] - zero), "end": min(end, chapter["end"]) - zero}
