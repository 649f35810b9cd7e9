"""Which codec goes into which container, and what ``--quality`` means for each encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from live_cam.errors import SettingError, SinkError, unknown_name

DEFAULT_QUALITY = 60


@dataclass(frozen=True)
class VideoCodec:
    """One way to code pictures.

    Attributes:
        title: As people write it.
        encoder: ffmpeg's name of the encoder.
        options: For the encoder. All of them give a packet soon after its frame, so that a killed run loses little.
        pixel_format: ffmpeg's name; 4:2:0, which needs even sides.
        rate_factors: What the encoder calls quality, at quality 0 and at 100.
        rate_options: The encoder options that take it.
        prompt_options: For the encoder in addition, where each frame must come out at once: of a live source, and
            where frames are so far apart that the few that wait inside would be seconds.
    """

    title: str
    encoder: str
    options: Mapping[str, str]
    pixel_format: str
    rate_factors: tuple[float, float]
    rate_options: tuple[str, ...] = ("crf",)
    prompt_options: Mapping[str, str] = field(default_factory=dict)

    def options_at(self, quality: int) -> dict[str, str]:
        """The encoder's options, for a quality of 0 to 100."""
        worst, best = self.rate_factors
        factor = str(round(worst + (best - worst) * quality / 100))
        return dict(self.options) | dict.fromkeys(self.rate_options, factor)


# Measured on two films with overlays, 640x360 and 768x432: size (1 %) and PSNR (0.1 dB) of "superfast" at crf 23 with
# mbtree for 0.63-0.71 of its CPU time; "veryfast" at crf 23 takes twice ours for 11 % smaller files, 0.2-0.3 dB worse.
_X264 = {"preset": "ultrafast", "coder": "cabac", "aq-mode": "1", "mbtree": "1", "deblock": "0:0"}
# Without B-frames a frame's place in the file is its time: no edit list, no start offset, and pieces end sooner.
# The look-ahead is short for the same reason. Keyframes come by time, see the clock.
_X264 |= {"bf": "0", "rc-lookahead": "10", "forced-idr": "1", "g": "600"}
# A live recording must lose little when it is killed, at any frame rate: nothing waits inside the encoder.
_PROMPT_X264 = {"tune": "zerolatency", "rc-lookahead": "0", "mbtree": "0"}
_X265 = {"preset": "ultrafast", "forced-idr": "1", "bf": "0", "g": "600", "x265-params": "log-level=none"}
_VP9 = {"deadline": "realtime", "cpu-used": "7", "row-mt": "1", "lag-in-frames": "0", "b": "0", "g": "600"}
_SVT_AV1 = {"preset": "9", "g": "600", "svtav1-params": "pred-struct=1"}

CODECS = {
    "h264": VideoCodec("H.264", "libx264", _X264, "yuv420p", (40, 10), prompt_options=_PROMPT_X264),
    "h265": VideoCodec("H.265", "libx265", _X265, "yuv420p", (44, 14), prompt_options={"tune": "zerolatency"}),
    "vp9": VideoCodec("VP9", "libvpx-vp9", _VP9, "yuv420p", (53, 18)),
    "av1": VideoCodec("AV1", "libsvtav1", _SVT_AV1, "yuv420p", (56, 21)),
    "mjpeg": VideoCodec("Motion JPEG", "mjpeg", {}, "yuvj420p", (12, 2), ("qmin", "qmax")),
}


@dataclass(frozen=True)
class Container:
    """One kind of file.

    Attributes:
        format_name: ffmpeg's.
        codecs: Names from ``CODECS``, the default first; a GIF has its own one.
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


@dataclass(frozen=True)
class VideoFormat:
    """What a video file will be.

    Attributes:
        container: ffmpeg's name of the container.
        codec: None for a GIF.
        encoder_options: For the encoder.
    """

    container: str
    codec: VideoCodec | None
    encoder_options: Mapping[str, str]

    @property
    def has_index_at_end(self) -> bool:
        """Whether the finished file is copied once more, to have its index at the beginning."""
        return self.container in ("mp4", "mov")


def video_format(path: Path, codec: str | None = None, quality: int | None = None) -> VideoFormat:
    """What a file of that name will hold.

    Args:
        path: Ends in one of ``CONTAINERS``.
        codec: One of ``CODECS``; None for the container's usual one.
        quality: 0 to 100; None for ``DEFAULT_QUALITY``.

    Raises:
        SinkError: The ending is unknown.
        SettingError: The codec or quality is unknown, or the container cannot hold the codec.
    """
    container = CONTAINERS.get(path.suffix.lower())
    if container is None:
        raise SinkError(f"cannot write a video into {path}; its name must end in {', '.join(CONTAINERS)}")
    if codec is not None and codec not in CODECS:
        raise unknown_name("codec", codec, CODECS)
    if quality is not None and not 0 <= quality <= 100:
        raise SettingError(f"the quality must be from 0 to 100, not {quality}")
    if not container.codecs:
        return _gif(path, container, codec, quality)
    if codec is not None and codec not in container.codecs:
        raise SettingError(_cannot_be(path, codec, container))
    chosen = CODECS[codec or container.codecs[0]]
    return VideoFormat(
        container.format_name, chosen, chosen.options_at(DEFAULT_QUALITY if quality is None else quality)
    )


def _gif(path: Path, container: Container, codec: str | None, quality: int | None) -> VideoFormat:
    if codec is not None or quality is not None:
        raise SettingError(f"{path}: a GIF has neither codec nor quality; leave out --codec and --quality")
    return VideoFormat(container.format_name, None, {})


def _cannot_be(path: Path, codec: str, container: Container) -> str:
    endings = [ending for ending, other in CONTAINERS.items() if codec in other.codecs]
    return (
        f"{path}: {path.suffix} cannot hold {codec}; it can hold {', '.join(container.codecs)}, "
        f"and {codec} goes into {', '.join(endings)}"
    )
