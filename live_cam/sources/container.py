"""Opens video files and streams with PyAV; says in one line why one cannot be opened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from live_cam.errors import SourceError
from live_cam.sources.address import display_name, path_of

OPEN_TIMEOUT_SECONDS = 10.0
READ_TIMEOUT_SECONDS = 10.0


def open_container(path_or_url: str | Path) -> InputContainer:
    """Opens a file or URL for reading.

    Raises:
        SourceError: It does not exist, cannot be reached, or is no video that ffmpeg can read.
    """
    path = path_of(path_or_url)
    if path is None:
        return _open_url(str(path_or_url))
    _check_file(path)
    try:
        # The prefix keeps a colon in a file's name from being read as a protocol.
        container = av.open(f"file:{path}", "r", metadata_errors="replace")
    except av.InvalidDataError:
        raise SourceError(f"{path} is not a video, or its beginning or index is damaged") from None
    except (av.FFmpegError, OSError) as error:
        raise SourceError(f"cannot open {path}: {error.strerror or error}") from None
    return _refuse_text_and_images(container, str(path))


def _check_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise SourceError(f"{path} is a directory, not a video; give the path of a file")
        if path.is_char_device():
            raise SourceError(f"{path} is a device; open a camera as a webcam, by its index")
        if not path.exists():
            raise SourceError(f"no such file: {path}")
        if path.is_file() and path.stat().st_size == 0:
            raise SourceError(f"{path} is empty: 0 bytes")
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot open {path}: {getattr(error, 'strerror', None) or error}") from None


def _open_url(url: str) -> InputContainer:
    name = display_name(url)
    options = {"rtsp_transport": "tcp"} if url.lower().startswith("rtsp") else {}
    if not url.lower().startswith("http"):
        # Always live, so its frame rate is not used. ffmpeg would delay the start to measure it over many frames.
        options["fpsprobesize"] = "0"
    timeout = (OPEN_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS)
    try:
        container = av.open(url, "r", options=options, timeout=timeout, metadata_errors="replace")
    except av.ProtocolNotFoundError:
        scheme = url.partition(":")[0]
        raise SourceError(
            f"cannot open {name}: unknown protocol {scheme!r}; give a path, or an http(s):// or rtsp:// URL"
        ) from None
    except av.ExitError:
        raise SourceError(f"cannot open {name}: no answer within {OPEN_TIMEOUT_SECONDS:g} s") from None
    except av.InvalidDataError:
        raise SourceError(f"cannot open {name}: the server does not send a video") from None
    except (av.FFmpegError, OSError) as error:
        raise SourceError(f"cannot reach {name}: {error.strerror or error}") from None
    return _refuse_text_and_images(container, name)


def _refuse_text_and_images(container: InputContainer, name: str) -> InputContainer:
    kind = container.format.name
    problem = None
    if kind == "tty":  # ffmpeg renders any text file as a video of a terminal
        problem = f"{name} is a text file, not a video"
    elif kind == "image2" or kind.endswith("_pipe"):
        problem = f"{name} is an image, not a video; open it as an image"
    if problem:
        container.close()
        raise SourceError(problem)
    return container


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """Returns the video stream that players show; a cover image does not count.

    Raises:
        SourceError: There is none, or ffmpeg has no decoder for it.
    """
    best = container.streams.best("video")
    if best is None or "attached_pic" in str(best.disposition):
        raise SourceError(f"{name} has no video stream")
    if not isinstance(best, VideoStream) or best.codec_context is None:
        raise SourceError(f"{name} has a video codec that this ffmpeg cannot decode")
    return best


def packets_of(container: InputContainer, streams: Sequence[Stream] = ()) -> Iterator[Packet]:
    """Yields the packets of some streams, or of all, from the container's current position on.

    Args:
        container: An open container.
        streams: Some of its streams. Packets of streams that begin only later in the file are left out: PyAV 18 does
            not know these streams and raises ``IndexError`` at their packets.
    """
    while True:
        try:
            yield from container.demux(*streams)
        except IndexError:
            continue
        return


def has_presentation_times(container: InputContainer) -> bool:
    """Returns whether the file stores presentation times. AVI stores only the decoding order; its pts are guesses."""
    return container.format.name != "avi"


def seeks_to_keyframes(container: InputContainer) -> bool:
    """Returns whether a seek ends at a keyframe. MPEG transport and program streams have no index: it ends anywhere."""
    return container.format.name not in ("mpegts", "mpeg")
