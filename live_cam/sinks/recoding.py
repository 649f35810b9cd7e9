"""One track of sound or subtitles on its way into the output: copied, or coded anew where it has to be."""

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

_BITS_PER_CHANNEL = 96_000
_OPUS_RATE = 48_000


class Track(Protocol):
    """What ``Companions`` needs of a track.

    Attributes:
        stream: In the output.
    """

    stream: Any

    def packets(self, packet: Packet) -> list[Packet]:
        """What goes into the output for one packet of the source, which already carries the output's times."""

    def last_packets(self) -> list[Packet]:
        """What is still held at the end."""


class CopiedTrack:
    """The packets as they are.

    Args:
        container: Gets the stream.
        template: The source's stream.
    """

    def __init__(self, container: OutputContainer, template: Any) -> None:
        self._filter: BitStreamFilterContext | None = None
        context = template.codec_context
        if context.name.startswith("aac") and not context.extradata and container.format.name in ("mp4", "mov"):
            # In a transport stream each packet has a header of its own, which MP4 keeps in one place.
            self._filter = BitStreamFilterContext("aac_adtstoasc", template)
        self.stream: Any = container.add_stream_from_template(template, opaque=True)
        self.stream.time_base = template.time_base

    def packets(self, packet: Packet) -> list[Packet]:
        """The packet itself."""
        copies = [packet]
        if self._filter is not None:
            time_base = packet.time_base  # the filter takes it away with the packet's content
            copies = self._filter.filter(packet)
            for copy in copies:
                copy.time_base = time_base
        for copy in copies:
            copy.stream = self.stream
        return copies

    def last_packets(self) -> list[Packet]:
        """None: nothing is held."""
        return []


class RecodedSound:
    """Sound decoded and coded again.

    Args:
        container: Gets the stream.
        template: The source's stream.
        encoder: ffmpeg's name.
    """

    def __init__(self, container: OutputContainer, template: Any, encoder: str) -> None:
        source: AudioCodecContext = template.codec_context
        self._decoder = source
        rate = _OPUS_RATE if encoder == "libopus" else min(source.sample_rate, 48_000)
        layout = {1: "mono", 2: "stereo"}.get(source.layout.nb_channels, "5.1" if encoder == "aac" else "stereo")
        self.stream = _new_stream(container, encoder, rate=rate)
        self.stream.codec_context.layout = layout
        self.stream.codec_context.bit_rate = _BITS_PER_CHANNEL * min(source.layout.nb_channels, 6)
        self._encoder: AudioCodecContext = self.stream.codec_context
        self._resampler: AudioResampler | None = None

    def packets(self, packet: Packet) -> list[Packet]:
        """Decodes the packet; what its decoder refuses is silence."""
        try:
            frames = self._decoder.decode(packet)
        except FFmpegError:
            return []
        return [coded for frame in frames for coded in self._coded(frame)]

    def last_packets(self) -> list[Packet]:
        """What decoder, resampler and encoder still hold."""
        coded = []
        with contextlib.suppress(EndOfFile):
            coded = [one for frame in self._decoder.decode(None) for one in self._coded(frame)]
        if self._resampler is None:
            return coded
        return [*coded, *self._coded(None), *self.stream.encode(None)]

    def _coded(self, frame: AudioFrame | None) -> Iterator[Packet]:
        if self._resampler is None:
            # Opened only now: the encoder tells its frame size when it is open, which it is with the file's header.
            self._encoder.open(strict=False)
            self._resampler = AudioResampler(
                self._encoder.format, self._encoder.layout, self._encoder.sample_rate, self._encoder.frame_size
            )
        for resampled in self._resampler.resample(frame):
            yield from self.stream.encode(resampled)


class RecodedSubtitles:
    """Text subtitles in another container's way of writing them.

    Args:
        container: Gets the stream.
        template: The source's stream.
        encoder: ffmpeg's name.
    """

    def __init__(self, container: OutputContainer, template: Any, encoder: str) -> None:
        self._decoder: SubtitleCodecContext = template.codec_context
        self._decoder.open(strict=False)
        self.stream = _new_stream(container, encoder)
        self._encoder: SubtitleCodecContext = self.stream.codec_context
        self._encoder.subtitle_header = self._decoder.subtitle_header
        self._encoder.time_base = template.time_base
        self.stream.time_base = template.time_base

    def packets(self, packet: Packet) -> list[Packet]:
        """The packet's text, coded anew; nothing where it has none."""
        try:
            decoded = self._decoder.decode2(packet)
            if decoded is None or len(decoded) == 0:
                return []
            coded = self._encoder.encode_subtitle(decoded)
        except FFmpegError:
            return []
        coded.pts, coded.dts, coded.duration = packet.pts, packet.pts, packet.duration
        coded.time_base = packet.time_base
        coded.stream = self.stream
        return [coded]

    def last_packets(self) -> list[Packet]:
        """None: nothing is held."""
        return []


def _new_stream(container: OutputContainer, encoder: str, **settings: Any) -> Any:
    # PyAV's type of a stream tells nothing of its kind.
    return container.add_stream(encoder, **settings)
