"""Where frames come from: cameras, videos, streams, pictures and the demo, all behind one protocol."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing_extensions import Self

    from live_cam.frame import Frame
    from live_cam.sources.camera import CameraRequest
    from live_cam.sources.live import Retry


class Source(Protocol):
    """One thing that yields frames in order; opened when it is made, closed by its ``with`` block.

    Attributes:
        name: What the user would recognise; credentials in an address are replaced by ``***``.
        size_wh: Width and height of the images it yields, turned upright.
        rate: Nominal frames per second, exact (30000/1001); None for a picture and for a live source.
        frame_count_estimate: How many frames to expect; None where nothing tells.
        duration_seconds: None where nothing tells.
        is_live: Frames come when they come and are lost if not taken; times are the monotonic clock's.
        is_still: There is one picture only.
    """

    name: str
    size_wh: tuple[int, int]
    rate: Fraction | None
    frame_count_estimate: int | None
    duration_seconds: float | None
    is_live: bool
    is_still: bool

    def read(self) -> Frame | None:
        """The next frame; None at the end.

        Raises:
            SourceError: It broke; all frames before the break have been returned.
        """

    def close(self) -> None:
        """Frees what it holds; may be called twice, and from another thread than the one that reads."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_source(
    *,
    webcam: int | None = None,
    video: str | Path | None = None,
    image: str | Path | None = None,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
    camera: CameraRequest | None = None,
    retry: Retry | None = None,
) -> Source:
    """Opens the one source that is named; the demo if none is. A live one comes back when it is lost.

    Only the modules that this source needs are loaded: PyAV takes 0.3 s from a cold disk.

    Args:
        webcam: Index of a camera.
        video: A path, or an ``http(s)://`` or ``rtsp://`` address.
        image: A path.
        start_seconds: First media time that is wanted, for ``video``.
        end_seconds: First media time that is no longer wanted, for ``video``.
        camera: What is wanted of the camera, for ``webcam``.
        retry: How often a live source that was lost is opened again; for ever if not given.

    Raises:
        SourceError: It cannot be opened, or holds no picture.
        SettingError: ``start_seconds`` and ``end_seconds`` leave nothing between them.
    """
    if webcam is not None:
        from live_cam.sources.camera import CameraSource
        from live_cam.sources.live import LiveSource

        first_camera = CameraSource(webcam, camera)
        return LiveSource(first_camera, lambda: CameraSource(webcam, camera), retry, first_camera.remark)
    if video is not None:
        from live_cam.sources.live import LiveSource
        from live_cam.sources.video import VideoSource

        first = VideoSource(video, start_seconds, end_seconds)
        if not first.is_live:
            return first
        return LiveSource(first, lambda: VideoSource(video, start_seconds, end_seconds), retry)
    if image is not None:
        from live_cam.sources.image import ImageSource

        return ImageSource(image)
    from live_cam.sources.demo import DemoSource

    return DemoSource()
