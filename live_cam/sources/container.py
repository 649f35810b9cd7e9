"""Opening a video file or stream with PyAV, and saying in one line why it cannot be opened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import av.logging
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from live_cam.errors import SourceError
from live_cam.sources.address import display_name, path_of

# ffmpeg's own messages would stand between ours and the user; every error it means is raised as well.
av.logging.set_level(None)

OPEN_TIMEOUT_SECONDS = 10.0
READ_TIMEOUT_SECONDS = 10.0


def open_container(path_or_url: str | Path) -> InputContainer:
    """Opens a file or an address for reading.

    Raises:
        SourceError: There is nothing, or nothing that ffmpeg knows.
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
    return _refuse_what_only_looks_like_video(container, str(path))


def _check_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise SourceError(f"{path} is a directory, not a video; give the path of one file")
        if path.is_char_device():
            raise SourceError(f"{path} is a device; read a camera with --webcam and its number")
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
        # Never a recording: nobody needs its frame rate, for which ffmpeg would wait and look at many frames.
        options["fpsprobesize"] = "0"
    timeout = (OPEN_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS)
    try:
        container = av.open(url, "r", options=options, timeout=timeout, metadata_errors="replace")
    except av.ProtocolNotFoundError:
        scheme = url.partition(":")[0]
        raise SourceError(
            f"cannot open {name}: unknown protocol {scheme!r}; give a path, or an http(s):// or rtsp:// address"
        ) from None
    except av.ExitError:
        raise SourceError(f"cannot open {name}: no answer within {OPEN_TIMEOUT_SECONDS:g} s") from None
    except av.InvalidDataError:
        raise SourceError(f"cannot open {name}: what comes from there is not a video") from None
    except (av.FFmpegError, OSError) as error:
        raise SourceError(f"cannot reach {name}: {error.strerror or error}") from None
    return _refuse_what_only_looks_like_video(container, name)


def _refuse_what_only_looks_like_video(container: InputContainer, name: str) -> InputContainer:
    kind = container.format.name
    problem = None
    if kind == "tty":  # ffmpeg draws any text as a film of a terminal
        problem = f"{name} is a text, not a video"
    elif kind == "image2" or kind.endswith("_pipe"):
        problem = f"{name} is a picture, not a video; open it with --image"
    if problem:
        container.close()
        raise SourceError(problem)
    return container


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """The video stream that players show.

    Raises:
        SourceError: There is none (a cover picture is none), or no decoder for it.
    """
    best = container.streams.best("video")
    if best is None or "attached_pic" in str(best.disposition):
        raise SourceError(f"{name} has no video stream")
    if not isinstance(best, VideoStream) or best.codec_context is None:
        raise SourceError(f"{name} is coded in a way this ffmpeg cannot read")
    return best


def packets_of(container: InputContainer, streams: Sequence[Stream] = ()) -> Iterator[Packet]:
    """The packets of some streams, or of all, from where the container is.

    Args:
        container: Open.
        streams: Of it. One that begins only later in the file is unknown to PyAV 18, which raises at its packets;
            they are left out.
    """
    while True:
        try:
            yield from container.demux(*streams)
        except IndexError:
            continue
        return


def has_presentation_times(container: InputContainer) -> bool:
    """Whether the times of frames stand in the file; AVI has only their order of decoding, and pts would be guesses."""
    return container.format.name != "avi"
