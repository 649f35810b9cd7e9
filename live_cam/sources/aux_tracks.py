"""Reads what a video has besides its frames: sound, subtitles, chapters and tags, as packets that are not decoded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
from av.packet import Packet
from av.stream import Stream

from live_cam.closing import Closing
from live_cam.sources.container import open_container, packets_of

# Seeking goes to a keyframe of the video, in some formats behind the target. Sound from there on would be missing.
_SEEK_EARLIER_SECONDS = 10.0
# Tags about the container itself, which are wrong for another one.
_CONTAINER_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}


class AuxTracks(Closing):
    """Opens a video a second time, beside the ``VideoSource`` that reads its frames, for all its other tracks.

    Args:
        path_or_url: The same as the ``VideoSource``'s.
        zero_seconds: The container's time of the video's first frame; media times count from it.
        start_seconds: First media time that is wanted.
        end_seconds: First media time that is no longer wanted. Default: none; everything to the end is wanted.
        ends_with_frames: Whether sound behind the last frame is cut off, because the recording is.

    Attributes:
        streams: All streams but the video's, in the container's order.
        tags: Title, artist, date, ...
        chapters: As PyAV returns them; their times count from the container's zero.

    Raises:
        SourceError: The video cannot be opened.
    """

    def __init__(
        self,
        path_or_url: str | Path,
        zero_seconds: float,
        start_seconds: float = 0.0,
        end_seconds: float | None = None,
        ends_with_frames: bool = False,
    ) -> None:
        self.zero_seconds, self.ends_with_frames = zero_seconds, ends_with_frames
        self._start_seconds, self.end_seconds = start_seconds, end_seconds
        self._has_been_read = False
        self._container = open_container(path_or_url)
        best = self._container.streams.best("video")
        self.streams = tuple(stream for stream in self._container.streams if stream.index != getattr(best, "index", -1))
        tags = self._container.metadata.items()
        self.tags = {key: value for key, value in tags if key.lower() not in _CONTAINER_TAGS}
        self.chapters = self._container.chapters()

    def packets(self, streams: list[Stream]) -> Iterator[Packet]:
        """Yields the packets of some streams, in the file's order, from shortly before the start on."""
        try:
            self._seek_to_start()
            for packet in packets_of(self._container, streams):
                if packet.pts is not None and packet.size > 0:
                    yield packet
        except (av.FFmpegError, OSError):
            # The VideoSource meets the same break and reports it.
            return

    def _seek_to_start(self) -> None:
        seconds = max(0.0, self._start_seconds - _SEEK_EARLIER_SECONDS)
        if seconds > 0 or self._has_been_read:
            self._container.seek(round((self.zero_seconds + seconds) * av.time_base))
        self._has_been_read = True

    def close(self) -> None:
        """Closes the file."""
        self._container.close()
