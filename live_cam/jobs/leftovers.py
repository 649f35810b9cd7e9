"""Finds the unfinished files that an earlier run left under the names of a job's files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from live_cam.errors import SinkError
from live_cam.jobs.checkpoints import Checkpoint, checkpoint_path, load_checkpoints
from live_cam.jobs.job_identity import change_since
from live_cam.sinks.atomic_file import earlier_path, is_empty, partial_path
from live_cam.sinks.heatmaps import saved_heatmap_count

if TYPE_CHECKING:
    from live_cam.settings import OutputSettings

# The first checkpoint follows the first frame: a header and a row of a table.
_LINES_BEFORE_CHECKPOINT = 2


@dataclass(frozen=True, eq=False)
class Leftovers:
    """Unfinished files of a killed, interrupted or failed run with the output names of a job.

    Attributes:
        path: The file that holds most of it.
        output: The names of the job's files.
        frame_count: Number of video frames that can be read.
        line_count: Number of sidecar lines.
        identity: The run's identity; None if no checkpoint tells it.
        checkpoints: Oldest first.
    """

    path: Path
    output: OutputSettings
    frame_count: int
    line_count: int
    identity: dict[str, str] | None
    checkpoints: list[Checkpoint]

    @staticmethod
    def of(output: OutputSettings, is_image: bool = False) -> Leftovers | None:
        """Returns what is left under the names of a job's files; None if nothing is.

        Args:
            output: The names.
            is_image: Whether the output is an image, which is never left unfinished.

        Raises:
            SinkError: The job is to be resumed, and its checkpoints are damaged.
        """
        video = None if is_image else output.output
        names = [] if video is None else [partial_path(video), earlier_path(video)]
        names += [partial_path(path) for path in (output.sidecar, output.heatmaps) if path is not None]
        saved = None if is_image or not output.frame_files else checkpoint_path(output.frame_files[0])
        names += [] if saved is None else [saved]
        left = [path for path in names if path.is_file() and not is_empty(path)]
        if not left:
            return None
        frame_count = 0
        identity: dict[str, str] | None = None
        checkpoints: list[Checkpoint] = []
        if video is not None:
            from live_cam.sinks.video.sink import saved_frame_count

            frame_count = saved_frame_count(video)
        if saved is not None and saved.exists():
            try:
                identity, checkpoints = load_checkpoints(saved)
            except SinkError:
                if output.resume:
                    raise
        return Leftovers(left[0], output, frame_count, _line_count(output.sidecar), identity, checkpoints)

    def __str__(self) -> str:
        if self.frame_count == 0:
            return f"{self.path} is left from an unfinished run"
        return f"{self.path} holds {self.frame_count} frame{'s' * (self.frame_count > 1)} of an unfinished run"

    @property
    def is_unknown(self) -> bool:
        """Whether it holds work that its checkpoints do not account for, such as a camera's or another program's."""
        heatmaps = self.output.heatmaps
        has_heatmaps = heatmaps is not None and saved_heatmap_count(heatmaps) > 1
        has_work = self.frame_count > 0 or self.line_count > _LINES_BEFORE_CHECKPOINT or has_heatmaps
        return has_work and (self.identity is None or bool(self.checkpoints))

    def change(self, identity: dict[str, str] | None) -> str | None:
        """Returns how it differs from a job, such as "quality was 80 and is 30 now"; None if it does not."""
        return None if identity is None or self.identity is None else change_since(self.identity, identity)

    def reached_checkpoints(self, identity: dict[str, str] | None) -> list[Checkpoint]:
        """Returns the checkpoints that the files reach, the last one first; none if this job cannot resume them."""
        if identity is None or self.change(identity) is not None:
            return []
        return [checkpoint for checkpoint in reversed(self.checkpoints) if self._reaches(checkpoint)]

    def _reaches(self, checkpoint: Checkpoint) -> bool:
        output = self.output
        if output.output is not None and self.frame_count < checkpoint.index:
            return False
        if output.heatmaps is not None and saved_heatmap_count(output.heatmaps) < checkpoint.heatmaps.count:
            return False
        return output.sidecar is None or _size_of(partial_path(output.sidecar)) >= checkpoint.sidecar_bytes


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _line_count(sidecar: Path | None) -> int:
    if sidecar is None or not partial_path(sidecar).is_file():
        return 0
    with partial_path(sidecar).open("rb") as file:
        return sum(1 for _ in file)
