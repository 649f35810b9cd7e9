"""What a video brings along beside its pictures: sound, subtitles, chapters and tags, read without decoding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
from av.packet import Packet
from av.stream import Stream

from live_cam.lifetime import ClosedByWith
from live_cam.sources.container import open_container, packets_of

# Seeking lands on a keyframe of the pictures, in some formats behind the target; sound there must not be missed.
_SEEK_EARLIER_SECONDS = 10.0
# Of the container itself, and wrong for another one.
_OWN_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}


class SideTracks(ClosedByWith):
    """Reads the tracks of a video that are no pictures, a second time beside whoever reads those.

    Args:
        path_or_url: The same as the ``VideoSource``'s.
        zero_seconds: The container's time of the video's first frame; all times here count from it.
        start_seconds: The first media time that is wanted.
        end_seconds: The first one that is no longer wanted; None: all to the end.
        ends_with_pictures: Whether the end of the recording is cut off, so that sound behind the last picture is too.

    Attributes:
        streams: All but those of pictures, in the container's order.
        tags: Title, artist, date, ...
        chapters: As PyAV gives them; their times still count from the container's own zero.

    Raises:
        SourceError: It cannot be opened.
    """

    def __init__(
        self,
        path_or_url: str | Path,
        zero_seconds: float,
        start_seconds: float = 0.0,
        end_seconds: float | None = None,
        ends_with_pictures: bool = False,
    ) -> None:
        self.zero_seconds, self.ends_with_pictures = zero_seconds, ends_with_pictures
        self._start_seconds, self.end_seconds = start_seconds, end_seconds
        self._has_been_read = False
        self._container = open_container(path_or_url)
        best = self._container.streams.best("video")
        self.streams = tuple(stream for stream in self._container.streams if stream.index != getattr(best, "index", -1))
        self.tags = {key: value for key, value in self._container.metadata.items() if key.lower() not in _OWN_TAGS}
        self.chapters = self._container.chapters()

    def packets(self, streams: list[Stream]) -> Iterator[Packet]:
        """The packets of some streams, in the file's order, from shortly before the start on."""
        try:
            self._go_to_start()
            for packet in packets_of(self._container, streams):
                if packet.pts is not None and packet.size > 0:
                    yield packet
        except (av.FFmpegError, OSError):
            # Whoever reads the pictures comes to the same break and tells of it.
            return

    def _go_to_start(self) -> None:
        seconds = max(0.0, self._start_seconds - _SEEK_EARLIER_SECONDS)
        if seconds > 0 or self._has_been_read:
            self._container.seek(round((self.zero_seconds + seconds) * av.time_base))
        self._has_been_read = True

    def close(self) -> None:
        """Closes the file."""
        self._container.close()
