"""The protocols of everything that results are written to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from live_cam.closing import Closing

if TYPE_CHECKING:
    from live_cam.frame import Result


class Sink(Closing, Protocol):
    """Takes results one after the other; written, finished and closed by one thread.

    Attributes:
        needs_image: Whether ``write`` uses ``result.image``: images are drawn only for sinks that do.
    """

    needs_image: bool = False

    def write(self, result: Result) -> None:
        """Takes one result; its arrays are neither changed nor kept.

        Raises:
            SinkError: It cannot be written; the message names what is kept.
        """
        ...

    def close(self) -> None:
        """Frees what it holds; always called, may be called twice."""


class FileSink(Sink, Protocol):
    """Writes one file under ``partial_path`` and renames it in ``finish``.

    Without ``finish``, what was written stays under the partial name and can be played or read; if nothing was written,
    no file stays.

    Attributes:
        path: The final name.
        partial_path: The name until ``finish``.
        frame_count: Number of frames in the file so far, including those of a resumed run.
    """

    path: Path
    partial_path: Path
    frame_count: int

    def finish(self) -> None:
        """Completes the file and gives it its final name.

        Raises:
            SinkError: That failed; the message names what is kept.
        """
        ...
