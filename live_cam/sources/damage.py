"""Notices that a video ends before its container says so, or that a stretch in its middle is missing.

ffmpeg reads on through damage and ends without a word where a file was cut off. Good files have their own oddities
(edit lists, reordered frames, frames that are never shown, no frame count), so only these count as damage:

- several frames in a row that were read but could not be decoded,
- a jump in time where the demuxer skipped bytes that were no packet (MKV, WebM, FLV),
- a last packet that is shorter than the container says,
- an index or a length that points behind the end of the file (MP4, MOV; MKV, WebM),
- an end well before the duration in the header (MP4, MOV, MKV, WebM, AVI), counting all streams.
"""

from __future__ import annotations

from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from live_cam.sources.container import has_presentation_times
from live_cam.sources.matroska import promised_bytes

# One or two lost frames are concealed by every player, and some good streams hold packets that show nothing.
_LOST_FRAMES_OF_A_BREAK = 3
# Headers between two packets are shorter than this; a demuxer that looks for the next good one skips more.
_SKIPPED_BYTES = 4096
_FORMATS_WITHOUT_GAPS = ("matroska", "flv")
# Durations are written rounded, and by some programs a few frames off.
_SLACK_SECONDS = 0.5
_SLACK_FRACTION = 0.01
# The formats whose header was written when the whole length was known. Of others ffmpeg guesses the duration.
_FORMATS_WITH_DURATION = ("mov", "matroska", "avi")


class DamageWatch:
    """Keeps account of the packets that went into a decoder and the frames that came out.

    Args:
        container: As opened, nothing read yet.
        stream: The one that is decoded.
        path: The file; None for what comes from elsewhere.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, path: Path | None) -> None:
        self._container = container
        self._stream = stream
        self._path = path
        self._reached_seconds = 0.0
        self.restart()

    def restart(self) -> None:
        """Forgets what is in the decoder: call it after a seek."""
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
        is_ours = packet.stream_index == self._stream.index and not packet.is_discard
        if is_ours and has_presentation_times(self._container):
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
        """Notes a decoded frame; True if a stretch of frames before it is missing.

        ``pts`` is None where the file has none.
        Frames come in the order of presentation, so what was sent with an earlier time and has not come, never will.
        """
        # Before the first frame nothing counts: a recording may begin between two keyframes.
        is_broken = self._has_frame and (self._lost_before(pts) or self._jumped_to(pts))
        if pts is not None:
            self._undecoded_pts = {one for one in self._undecoded_pts if one > pts}
            self._last_pts = pts
        self._failures_in_a_row = 0
        self._has_frame = True
        return is_broken

    def _lost_before(self, pts: int | None) -> bool:
        if not self._has_failed:
            return False
        lost_count = self._failures_in_a_row if pts is None else sum(one < pts for one in self._undecoded_pts)
        return lost_count >= _LOST_FRAMES_OF_A_BREAK

    def _jumped_to(self, pts: int | None) -> bool:
        if pts is None or self._last_pts is None or not self._has_skipped_bytes:
            return False
        step_seconds = (pts - self._last_pts) * (self._stream.time_base or 0)
        return step_seconds * (self._stream.guessed_rate or 0) > _LOST_FRAMES_OF_A_BREAK

    def reason_to_doubt_the_end(self) -> str | None:
        """Why the end that was reached is not the real one; None if it is."""
        if len(self._undecoded_pts) >= _LOST_FRAMES_OF_A_BREAK or self._failures_in_a_row >= _LOST_FRAMES_OF_A_BREAK:
            return f"{len(self._undecoded_pts) or self._failures_in_a_row} frames cannot be decoded"
        if self._file_is_shorter_than_it_says():
            return "the file is cut off"
        promised_seconds = self._promised_seconds()
        if promised_seconds is None:
            return None
        # A header's duration counts from 0 or from the first packet; the longer reading is the safe one.
        reached_seconds = self._reached_seconds - min(0, self._container.start_time or 0) / av.time_base
        if promised_seconds - reached_seconds <= _SLACK_SECONDS + _SLACK_FRACTION * promised_seconds:
            return None
        return f"the file is cut off: it should last {promised_seconds:.1f} s and ends at {reached_seconds:.1f} s"

    def _file_is_shorter_than_it_says(self) -> bool:
        kind, promised = self._container.format.name, 0
        if kind.startswith("mov") and len(self._stream.index_entries) > 0:
            last = self._stream.index_entries[len(self._stream.index_entries) - 1]
            promised = last.pos + last.size
        elif kind.startswith("matroska") and self._path is not None:
            promised = promised_bytes(self._path) or 0
        return 0 < self._container.size < promised

    def _promised_seconds(self) -> float | None:
        if not self._container.format.name.startswith(_FORMATS_WITH_DURATION):
            return None
        container_seconds = (self._container.duration or 0) / av.time_base
        stream_seconds = float((self._stream.duration or 0) * (self._stream.time_base or 0))
        return max(container_seconds, stream_seconds) or None
