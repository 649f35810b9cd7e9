"""Interlaced frames to whole ones, one for one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from av import VideoFrame
from av.error import BlockingIOError as NotYet
from av.error import EOFError as EndOfFile
from av.filter import Graph

from live_cam.errors import SourceError

_TIME_BASE = Fraction(1, 1_000_000)


class TimedFrame(NamedTuple):
    """A decoded frame with its times in units of its stream's time base.

    Attributes:
        frame: As decoded.
        pts: Presentation time.
        duration: 0 where nothing tells.
    """

    frame: VideoFrame
    pts: int
    duration: int


def deinterlaced(decoded: Iterator[TimedFrame]) -> Iterator[TimedFrame]:
    """The same frames, those that consist of two half pictures made whole; count and times stay.

    Raises:
        SourceError: From ``decoded``, after all frames before it.
    """
    weaver = _Deinterlacer()
    try:
        for timed in decoded:
            yield from weaver.give(timed)
    except SourceError:
        yield from weaver.rest()
        raise
    yield from weaver.rest()


class _Deinterlacer:
    """ffmpeg's bwdif from the first interlaced frame on; it holds one frame back, for it looks at the next."""

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._layout: tuple[int, int, str] | None = None
        self._times: deque[TimedFrame] = deque()

    def give(self, timed: TimedFrame) -> Iterator[TimedFrame]:
        """Takes one frame, gives those that are ready."""
        frame = timed.frame
        layout = (frame.width, frame.height, frame.format.name)
        if self._graph is not None and layout != self._layout:
            yield from self.rest()
        if self._graph is None and not frame.interlaced_frame:
            yield timed
            return
        if self._graph is None:
            self._graph, self._layout = _graph_for(frame), layout
        self._times.append(timed)
        # The times that come out are not used: the filter gives the frames in order, one for one.
        frame.pts, frame.time_base = timed.pts, _TIME_BASE
        self._graph.push(frame)
        yield from self._ready()

    def rest(self) -> Iterator[TimedFrame]:
        """Gives what is held, at an end."""
        if self._graph is not None:
            self._graph.push(None)
            yield from self._ready()
            self._graph = None

    def _ready(self) -> Iterator[TimedFrame]:
        while self._graph is not None:
            try:
                whole = self._graph.vpull()
            except (NotYet, EndOfFile):
                return
            yield self._times.popleft()._replace(frame=whole)


def _graph_for(frame: VideoFrame) -> Graph:
    graph = Graph()
    about = f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base={_TIME_BASE}"
    colours = f":pixel_aspect=1/1:colorspace={frame.colorspace}:range={frame.color_range}"
    graph.link_nodes(
        graph.add("buffer", about + colours),
        graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced"),
        graph.add("buffersink"),
    ).configure()
    return graph
