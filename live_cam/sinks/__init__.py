"""Where results go: files that carry their final name only when they are whole."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing_extensions import Self

    from live_cam.frame import Result


class Sink(Protocol):
    """One file that is made from results.

    It is written under ``partial_path`` and gets its name in ``finish``. Without ``finish`` what was made stays under
    the partial name and can be played or read; where nothing was written, nothing stays.

    Attributes:
        path: The final name.
        partial_path: The name until ``finish``.
    """

    path: Path
    partial_path: Path

    def write(self, result: Result) -> None:
        """Takes one result; its arrays are neither changed nor kept.

        Raises:
            SinkError: It cannot be written; the message names what was kept.
        """

    def finish(self) -> None:
        """Completes the file and gives it its name.

        Raises:
            SinkError: That failed; the message names what was kept.
        """

    def close(self) -> None:
        """Frees what is held; always called, may be called twice."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
