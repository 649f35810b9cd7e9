"""The tables of video codecs and containers, and what ``quality`` means for each encoder.

Needs no PyAV: the command line's help lists the names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from live_cam.errors import SettingError, SinkError, check_number, unknown_name
from live_cam.settings import DEFAULT_QUALITY


@dataclass(frozen=True)
class VideoCodec:
    """A video codec and how its encoder is used.

    Attributes:
        title: The codec's usual name, for messages.
        encoder: ffmpeg's name of the encoder.
        options: Encoder options. With all of them a packet soon follows its frame, so that a killed run loses little.
        pixel_format: ffmpeg's name.
        quantizer_range: The encoder's quantizer or rate factor at quality 0 and at quality 100.
        quantizer_options: The encoder options that take it.
        low_delay_options: Further encoder options for frames that must not wait inside the encoder: those of a live
            source, or of a low frame rate, where the few waiting frames would be seconds.
    """

    title: str
    encoder: str
    options: Mapping[str, str]
    pixel_format: str
    quantizer_range: tuple[float, float]
    quantizer_options: tuple[str, ...] = ("crf",)
    low_delay_options: Mapping[str, str] = field(default_factory=dict)

    def options_at(self, quality: int) -> dict[str, str]:
        """Returns the encoder options for a quality of 0 to 100."""
        worst, best = self.quantizer_range
        quantizer = str(round(worst + (best - worst) * quality / 100))
        return dict(self.options) | dict.fromkeys(self.quantizer_options, quantizer)

    @property
    def needs_even_sides(self) -> bool:
        """Whether a color sample covers 2x2 pixels."""
        return "420" in self.pixel_format


# Measured on two videos with overlays, 640x360 and 768x432: size (1 %) and PSNR (0.1 dB) of "superfast" at crf 23 with
# mbtree for 0.63-0.71 of its CPU time; "veryfast" at crf 23 takes twice ours for 11 % smaller files, 0.2-0.3 dB worse.
_X264 = {"preset": "ultrafast", "coder": "cabac", "aq-mode": "1", "mbtree": "1", "deblock": "0:0"}
# Without B-frames, frames are stored in display order: no edit list, no start offset, and fragments end sooner.
# The look-ahead is short for the same reason. ``PresentationClock`` decides about keyframes.
_X264 |= {"bf": "0", "rc-lookahead": "10", "forced-idr": "1", "g": "600"}
_X264_LOW_DELAY = {"tune": "zerolatency", "rc-lookahead": "0", "mbtree": "0"}
# x265 prints to stderr by itself, past ffmpeg's log.
_X265 = {"preset": "ultrafast", "forced-idr": "1", "bf": "0", "g": "600", "x265-params": "log-level=none"}
_VP9 = {"deadline": "realtime", "cpu-used": "7", "row-mt": "1", "lag-in-frames": "0", "b": "0", "g": "600"}
# SVT-AV1 prints to stderr too, and only the environment variable SVT_LOG silences it.
_SVT_AV1 = {"preset": "9", "g": "600", "svtav1-params": "pred-struct=1"}

CODECS = {
    "h264": VideoCodec("H.264", "libx264", _X264, "yuv420p", (40, 10), low_delay_options=_X264_LOW_DELAY),
    "h265": VideoCodec("H.265", "libx265", _X265, "yuv420p", (44, 14), low_delay_options={"tune": "zerolatency"}),
    "vp9": VideoCodec("VP9", "libvpx-vp9", _VP9, "yuv420p", (53, 18)),
    "av1": VideoCodec("AV1", "libsvtav1", _SVT_AV1, "yuv420p", (56, 21)),
    "mjpeg": VideoCodec("Motion JPEG", "mjpeg", {}, "yuvj420p", (12, 2), ("qmin", "qmax")),
}
# Not in the table: nobody chooses it, the suffix .gif implies it.
_GIF = VideoCodec("GIF", "gif", {}, "pal8", (0, 0), quantizer_options=())


@dataclass(frozen=True)
class Container:
    """A file format for video.

    Attributes:
        format_name: ffmpeg's name.
        codecs: Names from ``CODECS``, the default first; none for GIF, which is its own codec.
    """

    format_name: str
    codecs: tuple[str, ...]


CONTAINERS = {
    ".mp4": Container("mp4", ("h264", "h265", "vp9", "av1")),
    ".m4v": Container("mp4", ("h264", "h265")),
    ".mov": Container("mov", ("h264", "h265", "mjpeg")),
    ".mkv": Container("matroska", ("h264", "h265", "vp9", "av1", "mjpeg")),
    ".webm": Container("webm", ("vp9", "av1")),
    ".avi": Container("avi", ("mjpeg", "h264")),
    ".gif": Container("gif", ()),
}
# The containers that can say "play from here" (an edit list), and whose index is moved to the beginning at the end.
MP4_FORMATS = ("mp4", "mov")


@dataclass(frozen=True)
class VideoFormat:
    """Container and codec of a video file.

    Attributes:
        container: ffmpeg's name of the container.
        codec: The codec.
        encoder_options: Options for the codec's encoder, including the quality.
    """

    container: str
    codec: VideoCodec
    encoder_options: Mapping[str, str]


def video_format(path: Path, codec: str | None = None, quality: int | None = None) -> VideoFormat:
    """Returns the format of a video file.

    Args:
        path: The file's name; its suffix is one of ``CONTAINERS``.
        codec: One of ``CODECS``. Default: the container's first.
        quality: 0 to 100. Default: 60.

    Raises:
        SinkError: The suffix is unknown.
        SettingError: The codec or quality is unknown, or the container cannot hold the codec.
    """
    container = CONTAINERS.get(path.suffix.lower())
    if container is None:
        raise SinkError(f"cannot write a video to {path}; its name must end in {', '.join(CONTAINERS)}")
    if codec is not None and codec not in CODECS:
        raise unknown_name("codec", codec, CODECS)
    check_number("quality", quality, 0, is_whole=True)
    if quality is not None and quality > 100:
        raise SettingError(f"quality must be 100 or less, not {quality}")
    if not container.codecs and (codec is not None or quality is not None):
        raise SettingError(f"{path}: a GIF has neither codec nor quality; leave out both")
    if codec is not None and codec not in container.codecs:
        suffixes = [suffix for suffix, other in CONTAINERS.items() if codec in other.codecs]
        raise SettingError(
            f"{path}: {path.suffix} cannot hold {codec}; it can hold {', '.join(container.codecs)}, "
            f"and {codec} goes into {', '.join(suffixes)}"
        )
    chosen = CODECS[codec or container.codecs[0]] if container.codecs else _GIF
    options = chosen.options_at(DEFAULT_QUALITY if quality is None else quality)
    return VideoFormat(container.format_name, chosen, options)
