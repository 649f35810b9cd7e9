"""Encodes BGR frames to an animated GIF; each frame has its own palette of 256 colors."""

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

from live_cam.sinks.video.timestamps import ClockState

# GIF counts hundredths of a second (GIF89a, section 23), and browsers slow down frames that are shorter than two.
_TIME_BASE = Fraction(1, 100)
# A GIF encodes each frame by itself: more frames make files that are too large to send.
MAX_GIF_FRAMES_PER_SECOND = 20
_MIN_TICKS = 100 // MAX_GIF_FRAMES_PER_SECOND
# A palette for each frame needs memory for one frame only. Unlike error diffusion, Bayer's pattern does not flicker.
_PALETTEGEN_OPTIONS = "stats_mode=single"
_PALETTEUSE_OPTIONS = "new=1:dither=bayer:bayer_scale=4:diff_mode=rectangle"


class GifEncoder:
    """Encodes one growing GIF, which repeats forever. It has the attributes of ``VideoEncoder``.

    Args:
        path: Created, or emptied if it exists.
        size_wh: Width and height.
    """

    # A GIF cannot be resumed.
    began_fragment = False
    safe_count = 0
    clock_state = ClockState()

    def __init__(self, path: Path, size_wh: tuple[int, int]) -> None:
        self._container = av.open(f"file:{path}", "w", format="gif", options={"loop": "0", "flush_packets": "1"})
        self._stream: Any = self._container.add_stream("gif", rate=100)
        self._stream.width, self._stream.height = size_wh
        self._stream.pix_fmt = "pal8"
        self._stream.codec_context.time_base = _TIME_BASE
        self._graph = _palette_graph(size_wh)
        self._first_seconds: float | None = None
        self._last_ticks = -_MIN_TICKS
        self._has_failed = False
        self.frame_count = 0

    def add(self, image: np.ndarray, time_seconds: float, duration_seconds: float | None = None) -> None:
        """Encodes one frame, unless it follows the one before too soon.

        Args:
            image: (height, width, 3) uint8, BGR.
            time_seconds: Media time; only differences between frames count.
            duration_seconds: Not used: the last frame of a GIF is shown as long as the one before.
        """
        if self._first_seconds is None:
            self._first_seconds = time_seconds
        ticks = round((time_seconds - self._first_seconds) / _TIME_BASE)
        if ticks - self._last_ticks < _MIN_TICKS:
            return
        self._last_ticks = ticks
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
        frame.pts, frame.time_base = ticks, _TIME_BASE
        self._graph.push(frame)
        self._write_ready_frames()
        self.frame_count += 1

    @property
    def end_seconds(self) -> float:
        """Start of the last written frame, counted from the first frame."""
        return float(max(0, self._last_ticks) * _TIME_BASE)

    def close(self, is_complete: bool = False) -> None:
        """Writes the frames that wait in the encoder, unless writing has failed before, and closes the file.

        Args:
            is_complete: Not used: a GIF has no audio.
        """
        try:
            if not self._has_failed and self._first_seconds is not None:
                self._graph.push(None)
                self._write_ready_frames()
                self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()

    def _write_ready_frames(self) -> None:
        while True:
            try:
                frame = self._graph.vpull()
            except (NotYet, EndOfFile):
                return
            try:
                self._container.mux(self._stream.encode(frame))
            except (av.FFmpegError, OSError):
                self._has_failed = True
                raise


def _palette_graph(size_wh: tuple[int, int]) -> Graph:
    """Returns the filter graph split -> palettegen -> paletteuse."""
    graph = Graph()
    width, height = size_wh
    source = graph.add("buffer", f"video_size={width}x{height}:pix_fmt=bgr24:time_base=1/100:pixel_aspect=1/1")
    split, palette = graph.add("split"), graph.add("palettegen", _PALETTEGEN_OPTIONS)
    quantized, sink = graph.add("paletteuse", _PALETTEUSE_OPTIONS), graph.add("buffersink")
    source.link_to(split)
    split.link_to(quantized, 0, 0)
    split.link_to(palette, 1, 0)
    palette.link_to(quantized, 0, 1)
    quantized.link_to(sink)
    graph.configure()
    return graph
