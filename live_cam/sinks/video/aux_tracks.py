"""Writes the source's audio, subtitles, chapters and tags to the annotated video, in step with its frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias

from av.container import OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream

from live_cam.sinks.video.codecs import MP4_FORMATS
from live_cam.sinks.video.transcode import CopiedTrack, Track, TranscodedAudio, TranscodedSubtitles

if TYPE_CHECKING:
    from live_cam.sources.aux_tracks import AuxTracks

# By ffmpeg's names of container and codec: what players play from there and ffmpeg can write. MKV holds all audio.
_AUDIO_CODECS = {
    "mp4": {"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"},
    "mov": {"aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_f32le"},
    "webm": {"opus", "vorbis"},
    "avi": {"mp3", "ac3", "pcm_s16le", "pcm_u8"},
}
_AUDIO_ENCODERS = {"mp4": "aac", "mov": "aac", "webm": "libopus", "avi": "libmp3lame"}
_AUDIO_ENCODER_TITLES = {"aac": "AAC", "libopus": "Opus", "libmp3lame": "MP3"}
_SUBTITLE_CODECS = {
    "mp4": {"mov_text"},
    "mov": {"mov_text"},
    "webm": {"webvtt"},
    "matroska": {"subrip", "srt", "ass", "ssa", "webvtt", "hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle"},
}
_SUBTITLE_ENCODERS = {"mp4": "mov_text", "mov": "mov_text", "webm": "webvtt", "matroska": "subrip"}
_TEXT_SUBTITLES = {"subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text"}
# MP4 and MOV can store audio from before the video's start (and not play it), which decoders need to start cleanly.
_LEAD_IN_SECONDS = 0.1
_MKV_ROUNDING_SECONDS = 0.0006


@dataclass(frozen=True)
class PlannedTrack:
    """One track for the output.

    Attributes:
        stream: The source's stream.
        encoder: ffmpeg's name; None to copy the packets.
    """

    stream: Stream
    encoder: str | None


@dataclass(frozen=True)
class TrackPlan:
    """Which of the source's tracks the output gets.

    Attributes:
        source: The source's tracks.
        format_name: ffmpeg's name of the output's container.
        tracks: The tracks that the output gets.
        notices: What the user should know: each track that is left out or transcoded.
    """

    source: AuxTracks
    format_name: str
    tracks: tuple[PlannedTrack, ...]
    notices: tuple[str, ...]

    def start(self, container: OutputContainer, first_seconds: float, is_growing: bool) -> AuxTrackWriter:
        """Adds the tracks to a container, whose header is not written yet.

        Args:
            container: Already has its video stream.
            first_seconds: Media time of the first frame that is written.
            is_growing: Whether it is the growing file, or the finished copy of it. Subtitles only go into the copy of
                an MP4: in a growing one, ffmpeg 8 aborts the process (an assertion in ``movenc.c``).
        """
        is_mp4 = self.format_name in MP4_FORMATS
        tracks = [track for track in self.tracks if (is_mp4 and track.stream.type == "subtitle") != is_growing]
        return AuxTrackWriter(container, self.format_name, self.source, tracks, first_seconds)


def plan_tracks(source: AuxTracks, format_name: str, audio: bool = True) -> TrackPlan:
    """Decides for each track of the source whether it is copied, transcoded or left out.

    Args:
        source: The source's tracks.
        format_name: ffmpeg's name of the output's container.
        audio: Whether audio is wanted.
    """
    tracks: list[PlannedTrack] = []
    notices: list[str] = []
    title = {"matroska": "MKV", "webm": "WebM"}.get(format_name, format_name.upper())
    for stream in source.streams:
        if stream.type == "audio" and not audio:
            continue
        name, codec = _track_name(stream), _codec_name(stream)
        if _can_copy(stream.type, codec, format_name):
            tracks.append(PlannedTrack(stream, None))
            continue
        encoder = _encoder(stream.type, codec, format_name)
        if encoder is None:
            notices.append(f"{name} is left out: {title} cannot hold it")
            continue
        tracks.append(PlannedTrack(stream, encoder))
        if stream.type == "audio":
            notices.append(f"{name} is transcoded to {_AUDIO_ENCODER_TITLES[encoder]}: {title} cannot hold it")
    return TrackPlan(source, format_name, tuple(tracks), tuple(notices))


def _can_copy(kind: str, codec: str, format_name: str) -> bool:
    if kind == "audio":
        return bool(codec) and format_name != "gif" and codec in _AUDIO_CODECS.get(format_name, {codec})
    return kind == "subtitle" and codec in _SUBTITLE_CODECS.get(format_name, ())


def _encoder(kind: str, codec: str, format_name: str) -> str | None:
    if kind == "audio":
        return _AUDIO_ENCODERS.get(format_name) if codec else None
    return _SUBTITLE_ENCODERS.get(format_name) if kind == "subtitle" and codec in _TEXT_SUBTITLES else None


def _codec_name(stream: Stream) -> str:
    """Returns ffmpeg's name of the codec ("mp3", not its decoder "mp3float"); empty if it has no decoder."""
    return "" if stream.codec_context is None else stream.codec_context.codec.canonical_name


def _track_name(stream: Stream) -> str:
    language = f", {stream.language}" if stream.language and stream.language != "und" else ""
    return f"{stream.type} track {stream.index} ({_codec_name(stream) or 'unknown codec'}{language})"


class AuxTrackWriter:
    """Writes tracks of the source between the video packets of the output.

    Args:
        container: The output; has its video stream, but no header yet.
        format_name: ffmpeg's name of the container.
        source: The source's tracks; belongs to the caller.
        tracks: The tracks to write.
        first_seconds: Media time of the first frame that is written: 0 in the output.
    """

    def __init__(
        self,
        container: OutputContainer,
        format_name: str,
        source: AuxTracks,
        tracks: Sequence[PlannedTrack],
        first_seconds: float,
    ) -> None:
        self._container, self._source = container, source
        self._zero_seconds = source.zero_seconds + first_seconds
        self._cut_seconds = None if source.end_seconds is None else source.end_seconds - first_seconds
        self._is_mp4 = format_name in MP4_FORMATS
        self._tracks = {track.stream.index: self._add_track(track) for track in tracks}
        container.metadata.update(source.tags)
        self._packets = source.packets([track.stream for track in tracks]) if tracks else iter(())
        self._next: Packet | None = next(self._packets, None)

    def _add_track(self, planned: PlannedTrack) -> Track:
        track: Track
        if planned.encoder is None:
            track = CopiedTrack(self._container, planned.stream)
        elif planned.stream.type == "audio":
            track = TranscodedAudio(self._container, planned.stream, planned.encoder)
        else:
            track = TranscodedSubtitles(self._container, planned.stream, planned.encoder)
        names = ("language", "title", "handler_name") if self._is_mp4 else ("language", "title")
        metadata = planned.stream.metadata
        track.stream.metadata.update({name: metadata[name] for name in names if name in metadata})
        track.stream.disposition = Disposition(planned.stream.disposition)
        return track

    def write_until(self, seconds: float) -> None:
        """Writes the packets that begin before a time in the output, in seconds."""
        while self._next is not None and self._seconds(self._next) < seconds:
            packet, self._next = self._next, next(self._packets, None)
            if self._cut_seconds is None or self._seconds(packet) < self._cut_seconds:
                self._write(packet)

    def finish(self, end_seconds: float) -> None:
        """Writes the rest: until the last frame's end if the recording is cut there, else everything.

        Also sets the chapters, except in MP4: call ``set_chapters`` there.

        Args:
            end_seconds: Where the last frame ends in the output.
        """
        if self._source.ends_with_frames:
            self._cut_seconds = end_seconds
        self.write_until(float("inf"))
        for track in self._tracks.values():
            self._container.mux(track.last_packets())
        if not self._is_mp4:
            self.set_chapters(end_seconds)

    def set_chapters(self, end_seconds: float) -> None:
        """Sets the chapters, shifted and cut like the frames. MP4 takes them before the header only.

        Args:
            end_seconds: Where the last frame ends in the output.
        """
        self._container.set_chapters(list(_shifted(self._source.chapters, self._zero_seconds, end_seconds)))

    def _seconds(self, packet: Packet) -> float:
        return float((packet.pts or 0) * packet.time_base) - self._zero_seconds

    def _write(self, packet: Packet) -> None:
        begin_seconds = self._seconds(packet)
        end_seconds = begin_seconds + float((packet.duration or 0) * packet.time_base)
        if packet.stream.type == "subtitle":
            if end_seconds <= 0:
                return
            _clip(packet, self._zero_seconds, self._cut_seconds)
        elif self._is_too_early(begin_seconds, end_seconds, packet.stream):
            return
        offset = round(Fraction(self._zero_seconds) / packet.time_base)
        packet.pts = (packet.pts or 0) - offset
        packet.dts = packet.pts if packet.dts is None else packet.dts - offset
        self._container.mux(self._tracks[packet.stream_index].packets(packet))

    def _is_too_early(self, begin_seconds: float, end_seconds: float, stream: Stream) -> bool:
        if self._is_mp4:
            return end_seconds <= -_LEAD_IN_SECONDS
        return begin_seconds < -_opus_delay_seconds(stream)


def _opus_delay_seconds(stream: Stream) -> float:
    """Returns by how much Opus audio begins early, which MKV and WebM store (RFC 7845, section 5.1, "pre-skip")."""
    header = stream.codec_context.extradata if _codec_name(stream) == "opus" else None
    if header is None or len(header) < 12:
        return 0.0
    return int.from_bytes(header[10:12], "little") / 48_000 + _MKV_ROUNDING_SECONDS


def _clip(packet: Packet, zero_seconds: float, cut_seconds: float | None) -> None:
    """Shortens a subtitle to the part between zero and the cut."""
    zero = round(Fraction(zero_seconds) / packet.time_base)
    begin = max(packet.pts or 0, zero)
    end = (packet.pts or 0) + (packet.duration or 0)
    if cut_seconds is not None:
        end = min(end, zero + round(Fraction(cut_seconds) / packet.time_base))
    packet.pts = packet.dts = begin
    packet.duration = max(0, end - begin)


def _shifted(chapters: Sequence[Any], zero_seconds: float, end_seconds: float) -> Iterator[Any]:
    for chapter in chapters:
        time_base = chapter["time_base"]
        zero, end = (round(Fraction(time) / time_base) for time in (zero_seconds, zero_seconds + end_seconds))
        if chapter["end"] > zero and chapter["start"] < end:
            yield chapter | {"start": max(0, chapter["start"] - zero), "end": min(end, chapter["end"]) - zero}


# Adds tracks to a container that has its video stream, but no header yet.
StartAuxTracks: TypeAlias = Callable[[OutputContainer], AuxTrackWriter]
