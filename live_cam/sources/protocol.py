"""The protocol of all sources, and the defaults that most of them keep."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol

from live_cam.closing import Closing
from live_cam.errors import SourceError

if TYPE_CHECKING:
    from live_cam.frame import Frame
    from live_cam.sources.aux_tracks import AuxTracks


@dataclass(frozen=True)
class Outage:
    """A live source gives no frames at the moment.

    Attributes:
        since_seconds: The monotonic clock's reading at its last frame.
        problem: Why, in one line, as far as it is known.
    """

    since_seconds: float
    problem: str


class Source(Closing, Protocol):
    """Yields frames in order; open once it is made, closed by its ``with`` block.

    A source subclasses this protocol, sets ``name`` and ``size_wh``, implements ``read``, and overrides the defaults
    that do not fit it.

    Attributes:
        name: What the user would recognize; credentials in a URL are replaced by ``***``.
        size_wh: Width and height of its images in pixels, upright.
        rate: Nominal frames per second, exact (30000/1001); None for an image and for a live source.
        frame_count_estimate: How many frames to expect; None if unknown.
        duration_seconds: None if unknown.
        is_live: Frames are lost if they are not taken in time; their times are the monotonic clock's.
        is_still: It has a single image.
        is_awaited: Whoever gives the images waits for their explanations; a frame with that of another is of no use.
        is_sole_owner: Nobody else uses the memory of its images, so that they may be drawn on.
        notices: What the user should know about it, a line each: a size or rate other than the one asked for, a
            conversion of colors or pixels.
        reconnects: How often a live source gave frames again after an outage.
        outage: Why a live source gives no frames now; None while it does. Read from any thread.
        can_seek: Whether ``seek`` works: a recording that is watched.
        begin_seconds: Media time of a recording's first frame.
        last_index: Number of the last frame, once a recording that can seek has given it; else None.
    """

    name: str
    size_wh: tuple[int, int]
    rate: Fraction | None = None
    frame_count_estimate: int | None = None
    duration_seconds: float | None = None
    is_live: bool = False
    is_still: bool = False
    is_awaited: bool = False
    is_sole_owner: bool = False
    notices: tuple[str, ...] = ()
    reconnects: int = 0
    outage: Outage | None = None
    can_seek: bool = False
    begin_seconds: float = 0.0
    last_index: int | None = None

    def read(self) -> Frame | None:
        """Returns the next frame, waiting for it; None at the end.

        Raises:
            SourceError: The source broke; all frames before the break have been returned.
        """
        ...

    def seek(self, seconds: float) -> int:
        """Continues at that media time; returns the number of the first frame from there.

        Raises:
            SourceError: It cannot seek.
        """
        raise SourceError(f"{self.name} can only be read from its beginning to its end")

    def close(self) -> None:
        """Frees what it holds. May be called twice, and while another thread is in ``read``, which then returns."""

    def aux_tracks(self, ends_with_frames: bool) -> AuxTracks | None:
        """Opens its sound, subtitles, chapters and tags for copying; None if it can have none.

        Args:
            ends_with_frames: Whether sound behind the last frame is cut off, because the recording is.
        """
        return None
