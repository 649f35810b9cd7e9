"""BGR frames into an animated GIF: each with the 256 colours that suit it best."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av import VideoFrame
from av.error import BlockingIOError as NotYet
from av.error import EOFError as EndOfFile
from av.filter import Graph

# GIF counts in hundredths of a second (GIF89a, section 23), and browsers slow down what is shorter than two of them.
_TIME_BASE = Fraction(1, 100)
# A GIF codes each picture for itself: more of them make files that nobody can send.
MOST_FRAMES_PER_SECOND = 20
_FEWEST_TICKS = 100 // MOST_FRAMES_PER_SECOND
# A palette a frame needs memory for a frame only. The regular pattern of dots does not swarm as diffused errors do.
_PALETTE = "stats_mode=single"
_DRAW = "new=1:dither=bayer:bayer_scale=4:diff_mode=rectangle"


class GifFile:
    """One growing GIF; it repeats for ever.

    Args:
        path: Made, or emptied if it exists.
        size_wh: Width and height.
    """

    def __init__(self, path: Path, size_wh: tuple[int, int]) -> None:
        self._container = av.open(f"file:{path}", "w", format="gif", options={"loop": "0", "flush_packets": "1"})
        self._stream: Any = self._container.add_stream("gif", rate=100)
        self._stream.width, self._stream.height = size_wh
        self._stream.pix_fmt = "pal8"
        self._stream.codec_context.time_base = _TIME_BASE
        self._graph = _palette_graph(size_wh)
        self._first_seconds: float | None = None
        self._last_ticks = -_FEWEST_TICKS
        self._has_failed = False

    def add(self, image: np.ndarray, time_seconds: float, duration_seconds: float | None = None) -> None:
        """Encodes one frame, unless it follows the one before too soon.

        Args:
            image: (height, width, 3) uint8, BGR.
            time_seconds: Only differences between frames count.
            duration_seconds: Not used: a GIF's last picture stays as long as the one before.
        """
        if self._first_seconds is None:
            self._first_seconds = time_seconds
        ticks = round((time_seconds - self._first_seconds) / _TIME_BASE)
        if ticks - self._last_ticks < _FEWEST_TICKS:
            return
        self._last_ticks = ticks
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
        frame.pts, frame.time_base = ticks, _TIME_BASE
        self._graph.push(frame)
        self._encode_what_is_ready()

    @property
    def end_seconds(self) -> float:
        """Where the last picture so far began; 0 is the first one's time."""
        return float(max(0, self._last_ticks) * _TIME_BASE)

    def close(self, is_whole: bool = False) -> None:
        """Ends the file.

        Args:
            is_whole: Not used: there is nothing beside the pictures.
        """
        try:
            if not self._has_failed and self._first_seconds is not None:
                self._graph.push(None)
                self._encode_what_is_ready()
                self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()

    def _encode_what_is_ready(self) -> None:
        while True:
            try:
                painted = self._graph.vpull()
            except (NotYet, EndOfFile):
                return
            try:
                self._container.mux(self._stream.encode(painted))
            except (av.FFmpegError, OSError):
                self._has_failed = True
                raise


def _palette_graph(size_wh: tuple[int, int]) -> Graph:
    graph = Graph()
    width, height = size_wh
    pictures = graph.add("buffer", f"video_size={width}x{height}:pix_fmt=bgr24:time_base=1/100:pixel_aspect=1/1")
    split, palette = graph.add("split"), graph.add("palettegen", _PALETTE)
    drawn, end = graph.add("paletteuse", _DRAW), graph.add("buffersink")
    pictures.link_to(split)
    split.link_to(drawn, 0, 0)
    split.link_to(palette, 1, 0)
    palette.link_to(drawn, 0, 1)
    drawn.link_to(end)
    graph.configure()
    return graph
