"""Writes one audio or subtitle track: its packets copied, or transcoded where the container cannot hold its codec."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.bitstream import BitStreamFilterContext
from av.container import OutputContainer
from av.error import EOFError as EndOfFile
from av.error import FFmpegError
from av.packet import Packet
from av.subtitles.codeccontext import SubtitleCodecContext

from live_cam.sinks.video.codecs import MP4_FORMATS

_BITS_PER_CHANNEL = 96_000
_OPUS_RATE = 48_000


class Track(Protocol):
    """A track of the output.

    Attributes:
        stream: The output's stream.
    """

    stream: Any

    def packets(self, packet: Packet) -> list[Packet]:
        """Returns the packets to write for one packet of the source, which already has the output's times."""
        ...

    def last_packets(self) -> list[Packet]:
        """Returns the packets that are held back until the end."""
        return []


class CopiedTrack(Track):
    """Copies packets.

    Args:
        container: The output; gets a stream.
        template: The source's stream.
    """

    def __init__(self, container: OutputContainer, template: Any) -> None:
        self._filter: BitStreamFilterContext | None = None
        context = template.codec_context
        if context.name.startswith("aac") and not context.extradata and container.format.name in MP4_FORMATS:
            # In a transport stream, each AAC packet has its own header; MP4 has one header for all of them.
            self._filter = BitStreamFilterContext("aac_adtstoasc", template)
        self.stream = container.add_stream_from_template(template, opaque=True)
        self.stream.time_base = template.time_base

    def packets(self, packet: Packet) -> list[Packet]:
        """Returns the packet itself."""
        copies = [packet]
        if self._filter is not None:
            time_base = packet.time_base  # The filter removes it together with the packet's content.
            copies = self._filter.filter(packet)
            for copy in copies:
                copy.time_base = time_base
        for copy in copies:
            copy.stream = self.stream
        return copies


class TranscodedAudio(Track):
    """Decodes audio and encodes it again.

    Args:
        container: The output; gets a stream.
        template: The source's stream.
        encoder: ffmpeg's name.
    """

    def __init__(self, container: OutputContainer, template: Any, encoder: str) -> None:
        self._decoder: AudioCodecContext = template.codec_context
        channel_count = self._decoder.layout.nb_channels
        rate = _OPUS_RATE if encoder == "libopus" else min(self._decoder.sample_rate, 48_000)
        self.stream = _add_stream(container, encoder, rate=rate)
        self._encoder: AudioCodecContext = self.stream.codec_context
        self._encoder.layout = {1: "mono", 2: "stereo"}.get(channel_count, "5.1" if encoder == "aac" else "stereo")
        self._encoder.bit_rate = _BITS_PER_CHANNEL * min(channel_count, 6)
        self._resampler: AudioResampler | None = None

    def packets(self, packet: Packet) -> list[Packet]:
        """Decodes and encodes a packet; a damaged one becomes silence."""
        try:
            frames = self._decoder.decode(packet)
        except FFmpegError:
            return []
        return [encoded for frame in frames for encoded in self._encode(frame)]

    def last_packets(self) -> list[Packet]:
        """Returns what decoder, resampler and encoder still hold."""
        packets = []
        with contextlib.suppress(EndOfFile):
            packets = [encoded for frame in self._decoder.decode(None) for encoded in self._encode(frame)]
        if self._resampler is None:
            return packets
        return [*packets, *self._encode(None), *self.stream.encode(None)]

    def _encode(self, frame: AudioFrame | None) -> Iterator[Packet]:
        if self._resampler is None:
            # Only an open encoder knows its frame size.
            self._encoder.open(strict=False)
            self._resampler = AudioResampler(
                self._encoder.format, self._encoder.layout, self._encoder.sample_rate, self._encoder.frame_size
            )
        for resampled in self._resampler.resample(frame):
            yield from self.stream.encode(resampled)


class TranscodedSubtitles(Track):
    """Converts text subtitles to the format of another container.

    Args:
        container: The output; gets a stream.
        template: The source's stream.
        encoder: ffmpeg's name.
    """

    def __init__(self, container: OutputContainer, template: Any, encoder: str) -> None:
        self._decoder: SubtitleCodecContext = template.codec_context
        self._decoder.open(strict=False)
        self.stream = _add_stream(container, encoder)
        self._encoder: SubtitleCodecContext = self.stream.codec_context
        self._encoder.subtitle_header = self._decoder.subtitle_header
        self._encoder.time_base = template.time_base
        self.stream.time_base = template.time_base

    def packets(self, packet: Packet) -> list[Packet]:
        """Returns the packet's text in the new format; nothing if it has no text."""
        try:
            decoded = self._decoder.decode2(packet)
            if decoded is None or len(decoded) == 0:
                return []
            encoded = self._encoder.encode_subtitle(decoded)
        except FFmpegError:
            return []
        encoded.pts, encoded.dts, encoded.duration = packet.pts, packet.pts, packet.duration
        encoded.time_base = packet.time_base
        encoded.stream = self.stream
        return [encoded]


def _add_stream(container: OutputContainer, encoder: str, **settings: Any) -> Any:
    # Not PyAV's type, which covers every kind of stream.
    return container.add_stream(encoder, **settings)
