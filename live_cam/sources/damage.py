"""Notices that a video ends before its container says so, or that frames in its middle are missing.

ffmpeg reads on through damage, and ends without an error where a file was cut off. Good files have oddities, too (edit
lists, reordered frames, frames that are never shown, no frame count), so only these count as damage:

- several frames in a row that were read but could not be decoded,
- a jump in time where the demuxer skipped bytes that were no packet (MKV, WebM, FLV),
- a last packet that is shorter than the container says,
- an index or a declared size that reaches beyond the end of the file (MP4, MOV; MKV, WebM),
- an end well before the duration in the header (MP4, MOV, MKV, WebM, AVI), over all streams.
"""

from __future__ import annotations

from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from live_cam.errors import SourceError
from live_cam.sources.container import has_presentation_times

# Players conceal one or two lost frames, and some good streams hold packets that show nothing.
_LOST_FRAMES_OF_A_BREAK = 3
# Headers between two packets are shorter than this; a demuxer that searches for the next good packet skips more.
_SKIPPED_BYTES = 4096
_FORMATS_WITHOUT_GAPS = ("matroska", "flv")
# Durations are rounded when they are written, and some programs are a few frames off.
_SLACK_SECONDS = 0.5
_SLACK_FRACTION = 0.01
# Formats whose header is written when the whole length is known. For other formats ffmpeg estimates the duration.
_FORMATS_WITH_DURATION = ("mov", "matroska", "avi")
# EBML (RFC 8794) and Matroska (RFC 9559).
_EBML_HEADER_ID = b"\x1a\x45\xdf\xa3"
_SEGMENT_ID = b"\x18\x53\x80\x67"
_EBML_HEADER_MAX_BYTES = 4096


class BrokenStreamError(SourceError):
    """A stream cannot be read beyond this point. The message is the reason, without the stream's name."""


class DamageDetector:
    """Compares the packets that go into a decoder with the frames that come out, from an opening or a seek on.

    Args:
        container: Just opened, or at another position after a seek.
        stream: The stream that is decoded.
        path: The file; None for a URL.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, path: Path | None) -> None:
        self._container = container
        self._stream = stream
        self._path = path
        self._reached_seconds = 0.0
        self._undecoded_pts: set[int] = set()
        self._has_failed = False
        self._failures_in_a_row = 0
        self._has_skipped_bytes = False
        self._next_position: int | None = None
        self._last_pts: int | None = None
        self._has_frame = False

    def note_packet(self, packet: Packet) -> None:
        """Notes a packet of any stream of the container."""
        self._note_position(packet)
        if packet.pts is None or packet.time_base is None:
            return
        end_seconds = float((packet.pts + (packet.duration or 0)) * packet.time_base)
        self._reached_seconds = max(self._reached_seconds, end_seconds)
        is_decoded = packet.stream_index == self._stream.index and not packet.is_discard
        if is_decoded and has_presentation_times(self._container):
            self._undecoded_pts.add(packet.pts)

    def _note_position(self, packet: Packet) -> None:
        if packet.pos is None or packet.pos < 0 or packet.size == 0:
            return
        if self._next_position is not None and packet.pos - self._next_position > _SKIPPED_BYTES:
            self._has_skipped_bytes = self._container.format.name.startswith(_FORMATS_WITHOUT_GAPS)
        self._next_position = packet.pos + packet.size

    def note_failure(self) -> None:
        """Notes that the decoder refused a packet."""
        self._has_failed = True
        self._failures_in_a_row += 1

    def note_frame(self, pts: int | None) -> bool:
        """Notes a decoded frame and returns whether several frames before it are missing.

        Frames come in the order of presentation: a packet with an earlier time that gave no frame never will.

        Args:
            pts: The frame's presentation time; None if the file has none.
        """
        # Frames that are missing before the first one do not count: a recording may begin between two keyframes.
        is_broken = self._has_frame and (self._lost_before(pts) or self._jumped_to(pts))
        if pts is not None:
            self._undecoded_pts = {undecoded for undecoded in self._undecoded_pts if undecoded > pts}
            self._last_pts = pts
        self._failures_in_a_row = 0
        self._has_frame = True
        return is_broken

    def _lost_before(self, pts: int | None) -> bool:
        if not self._has_failed:
            return False
        if pts is None:
            return self._failures_in_a_row >= _LOST_FRAMES_OF_A_BREAK
        return sum(undecoded < pts for undecoded in self._undecoded_pts) >= _LOST_FRAMES_OF_A_BREAK

    def _jumped_to(self, pts: int | None) -> bool:
        if pts is None or self._last_pts is None or not self._has_skipped_bytes:
            return False
        step_seconds = (pts - self._last_pts) * (self._stream.time_base or 0)
        return step_seconds * (self._stream.guessed_rate or 0) > _LOST_FRAMES_OF_A_BREAK

    def reason_to_doubt_the_end(self) -> str | None:
        """Returns why the end that was reached is not the real one; None if it is."""
        if len(self._undecoded_pts) >= _LOST_FRAMES_OF_A_BREAK or self._failures_in_a_row >= _LOST_FRAMES_OF_A_BREAK:
            return f"{len(self._undecoded_pts) or self._failures_in_a_row} frames cannot be decoded"
        if self._is_shorter_than_declared():
            return "the file is cut off"
        declared_seconds = self._declared_seconds()
        if declared_seconds is None:
            return None
        # A header's duration counts from 0 or from the first packet; the longer of the two readings is the safe one.
        reached_seconds = self._reached_seconds - min(0, self._container.start_time or 0) / av.time_base
        if declared_seconds - reached_seconds <= _SLACK_SECONDS + _SLACK_FRACTION * declared_seconds:
            return None
        return f"the file is cut off: it should last {declared_seconds:.1f} s and ends at {reached_seconds:.1f} s"

    def _is_shorter_than_declared(self) -> bool:
        format_name, declared_bytes = self._container.format.name, 0
        if format_name.startswith("mov") and len(self._stream.index_entries) > 0:
            last = self._stream.index_entries[len(self._stream.index_entries) - 1]
            declared_bytes = last.pos + last.size
        elif format_name.startswith("matroska") and self._path is not None:
            declared_bytes = declared_matroska_bytes(self._path) or 0
        return 0 < self._container.size < declared_bytes

    def _declared_seconds(self) -> float | None:
        if not self._container.format.name.startswith(_FORMATS_WITH_DURATION):
            return None
        container_seconds = (self._container.duration or 0) / av.time_base
        stream_seconds = float((self._stream.duration or 0) * (self._stream.time_base or 0))
        return max(container_seconds, stream_seconds) or None


def declared_matroska_bytes(path: Path) -> int | None:
    """Returns the size that a Matroska or WebM file declares for itself: the end of its one segment, in bytes.

    None if it declares none, as in a recording that was not closed, or if it is no such file.
    """
    try:
        with path.open("rb") as file:
            beginning = file.read(_EBML_HEADER_MAX_BYTES)
    except OSError:
        return None
    header_end = _element_end(beginning, 0, _EBML_HEADER_ID)
    return None if header_end is None else _element_end(beginning, header_end, _SEGMENT_ID)


def _element_end(data: bytes, position: int, element_id: bytes) -> int | None:
    """Returns the end of the EBML element at ``position``; None if it is another element or declares no size.

    An element's size has 1 to 8 bytes; the number of leading zero bits says how many.
    """
    start = position + len(element_id)
    if data[position:start] != element_id or start >= len(data) or data[start] == 0:
        return None
    length = 9 - data[start].bit_length()
    value_mask = (1 << 7 * length) - 1
    size = int.from_bytes(data[start : start + length], "big") & value_mask
    return None if size == value_mask else start + length + size
