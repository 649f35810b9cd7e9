"""Opens the source that the settings name."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from live_cam.errors import SettingError
from live_cam.settings import SourceSettings
from live_cam.sources.address import is_url, path_of

if TYPE_CHECKING:
    from live_cam.sources.protocol import Source
    from live_cam.sources.video import ResumePoint
    from live_cam.sources.wrappers import ExpectedFrames

_FILE_PATIENCE_SECONDS = 60.0

Kind: TypeAlias = Literal["webcam", "video", "images"]

# What OpenCV reads, except GIF, which may be a video.
_IMAGE_SUFFIX = re.compile(r"\.(avif|bmp|dib|exr|hdr|jp2|jpe|jpe?g|p[bgnp]m|png|tiff?|webp)", re.IGNORECASE)


def open_source(
    settings: SourceSettings, resume_at: ResumePoint | None = None, expected: ExpectedFrames | None = None
) -> Source:
    """Opens the one source that is set; the demo if none is.

    A live source is opened again when it is lost. With ``settings.loop``, a video or the demo starts again at its end;
    an image and a live source do not. ``settings.max_frames`` is not applied.

    Args:
        settings: The source.
        resume_at: First frame that is read, if an earlier run read those before it; for a video.
        expected: The frames that a video must have. Default: they are not checked.

    Raises:
        SourceError: It cannot be opened, or holds no frame.
        SettingError: ``start_seconds`` and ``end_seconds`` leave nothing between them.
    """
    source = _open_once(settings, resume_at)
    if source.is_live:
        from live_cam.sources.live import LiveSource

        return LiveSource(source, lambda: _open_once(settings), settings.retry)
    if expected is not None:
        from live_cam.sources.wrappers import VerifiedVideoSource

        source = VerifiedVideoSource(source, expected)
    if settings.loop and not source.is_still:
        from live_cam.sources.wrappers import LoopedSource

        return LoopedSource(source, lambda: _open_once(settings))
    return source


def open_played(settings: SourceSettings) -> Source:
    """Opens a video file or the demo to be watched: it can be played from any place, and again.

    Raises:
        SourceError: See ``open_source``.
        SettingError: See ``open_source``.
    """
    from live_cam.sources.playback import PlayedSource

    def open_at(seconds: float) -> Source:
        return _open_once(replace(settings, start_seconds=seconds))

    return PlayedSource(_open_once(settings), open_at, settings.start_seconds or 0.0, settings.loop)


def open_as_live(settings: SourceSettings, name: str) -> Source:
    """Opens a camera, stream, video or the demo in the background; it is tried again for as long as it is not there.

    Recordings are played at their own speed, again and again.

    Args:
        settings: The source, no image. ``settings.max_frames`` and ``settings.loop`` are not applied.
        name: What the user would recognize.
    """
    from live_cam.sources.live import LiveSource
    from live_cam.sources.wrappers import LoopedSource, PacedSource

    def open_once() -> Source:
        source = _open_once(settings)
        return source if source.is_live else PacedSource(LoopedSource(source, lambda: _open_once(settings)))

    # A file is never lost; a busy machine only reads it late.
    patience = {} if settings.is_remote_or_camera else {"patience_seconds": _FILE_PATIENCE_SECONDS}
    return LiveSource(None, open_once, settings.retry, name, **patience)


def _open_once(settings: SourceSettings, resume_at: ResumePoint | None = None) -> Source:
    # Only the modules that this source needs are imported: PyAV takes 0.3 s from a cold disk.
    if settings.webcam is not None:
        from live_cam.sources.camera import CameraSource

        return CameraSource(settings.webcam, settings.camera)
    if settings.video is not None:
        from live_cam.sources.video import VideoSource

        return VideoSource(settings.video, settings.start_seconds, settings.end_seconds, resume_at)
    if settings.image is not None:
        from live_cam.sources.image import ImageSource

        return ImageSource(settings.image)
    from live_cam.sources.demo import DemoSource

    return DemoSource(settings.start_seconds or 0.0, settings.end_seconds)


def source_settings_for(source: int | str | Path) -> SourceSettings:
    """Returns the settings for a source that is given as one value.

    Args:
        source: The index of a camera; a URL; the path of an image, if it ends or begins like one; or the path of a
            video.

    Raises:
        SettingError: It is something else.
    """
    value: Any = source
    if isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 0:
        return SourceSettings(webcam=int(value))
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise SettingError(f"source: expected a camera's index, a path or a URL, got {value!r:.60}")
    if is_url(str(value)):
        return SourceSettings(video=str(value))
    path = path_of(os.fsdecode(value))
    if path is not None and is_image(path):
        return SourceSettings(image=str(path))
    return SourceSettings(video=str(path))


def kind_of(word: str) -> Kind:
    """Returns what a word of the command line is.

    Digits are a camera, ``./0`` is a file. Folders are images.
    """
    if word.isascii() and word.isdecimal():
        return "webcam"
    path = path_of(word)
    return "images" if path is not None and (path.is_dir() or is_image(path)) else "video"


def is_image(path: Path) -> bool:
    """Returns whether a file is an image: by its suffix or, if it is there, by its first bytes."""
    if has_image_suffix(path) or not path.is_file():
        return has_image_suffix(path)
    from live_cam.sources.image import is_image_content

    return is_image_content(path)


def has_image_suffix(path: Path) -> bool:
    """Returns whether a name ends like that of an image. GIF does not count: it may be a video."""
    return _IMAGE_SUFFIX.fullmatch(path.suffix) is not None
