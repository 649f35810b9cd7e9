"""Deinterlaces decoded frames, one whole frame for each interlaced one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from av import VideoFrame
from av.error import BlockingIOError as NeedsMoreInput
from av.error import EOFError as EndOfStream
from av.filter import Graph

from live_cam.sources.damage import BrokenStreamError

_TIME_BASE = Fraction(1, 1_000_000)


class TimedFrame(NamedTuple):
    """A decoded frame and its times, in units of its stream's time base.

    Attributes:
        frame: As decoded.
        pts: Presentation time.
        duration: How long the frame is shown; 0 if unknown.
    """

    frame: VideoFrame
    pts: int
    duration: int


def deinterlaced(decoded: Iterator[TimedFrame]) -> Iterator[TimedFrame]:
    """Yields the same frames, deinterlaced where they are interlaced; their number and times stay.

    Raises:
        BrokenStreamError: From ``decoded``, after all frames before it.
    """
    deinterlacer = _Deinterlacer()
    try:
        for timed in decoded:
            yield from deinterlacer.push(timed)
    except BrokenStreamError:
        yield from deinterlacer.flush()
        raise
    yield from deinterlacer.flush()


class _Deinterlacer:
    """ffmpeg's bwdif filter, from the first interlaced frame on. It needs the next frame, so it is one frame behind."""

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._layout: tuple[int, int, str] | None = None
        self._pending: deque[TimedFrame] = deque()

    def push(self, timed: TimedFrame) -> Iterator[TimedFrame]:
        """Takes one frame and yields those that are ready."""
        frame = timed.frame
        layout = (frame.width, frame.height, frame.format.name)
        if self._graph is not None and layout != self._layout:
            yield from self.flush()
        if self._graph is None and not frame.interlaced_frame:
            yield timed
            return
        if self._graph is None:
            self._graph, self._layout = _graph_for(frame), layout
        self._pending.append(timed)
        # The filter's own output times are not used: it returns the frames in order, one for one.
        frame.pts, frame.time_base = timed.pts, _TIME_BASE
        self._graph.push(frame)
        yield from self._ready()

    def flush(self) -> Iterator[TimedFrame]:
        """Yields the frames that are still in the filter."""
        if self._graph is not None:
            self._graph.push(None)
            yield from self._ready()
            self._graph = None

    def _ready(self) -> Iterator[TimedFrame]:
        while self._graph is not None:
            try:
                whole = self._graph.vpull()
            except (NeedsMoreInput, EndOfStream):
                return
            yield self._pending.popleft()._replace(frame=whole)


def _graph_for(frame: VideoFrame) -> Graph:
    graph = Graph()
    size = f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base={_TIME_BASE}"
    colors = f":pixel_aspect=1/1:colorspace={frame.colorspace}:range={frame.color_range}"
    graph.link_nodes(
        graph.add("buffer", size + colors),
        graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced"),
        graph.add("buffersink"),
    ).configure()
    return graph
