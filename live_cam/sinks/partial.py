"""The rules for every file livecam writes: never half a file under its final name, never over something by accident."""

from __future__ import annotations

from pathlib import Path

from live_cam.errors import SinkError
from live_cam.lifetime import ClosedByWith


def partial_path(path: Path) -> Path:
    """``out.mp4`` -> ``out.partial.mp4``: the name of an unfinished file, with which programs still know its kind."""
    return path.with_name(f"{path.stem}.partial{path.suffix}")


def earlier_path(path: Path) -> Path:
    """``out.mp4`` -> ``out.partial.earlier.mp4``: what a killed run left, while a new file is made from it."""
    return path.with_name(f"{path.stem}.partial.earlier{path.suffix}")


def check_output(path: Path, overwrite: bool) -> None:
    """Checks that a file of this name can be made; leaves nothing behind.

    Raises:
        SinkError: There is one already, or none can be made there.
    """
    try:
        _check_target(path, overwrite)
        _try_to_create(partial_path(path))
    except (OSError, ValueError) as error:
        raise SinkError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from None


def _check_target(path: Path, overwrite: bool) -> None:
    if path.is_dir():
        raise SinkError(f"cannot write {path}: it is a directory; give a file in it")
    if not path.parent.is_dir():
        raise SinkError(f"cannot write {path}: there is no directory {path.parent}; make it first")
    if path.exists() and not path.is_file():
        raise SinkError(f"cannot write {path}: it is a device or a pipe; give a file")
    if path.exists() and not overwrite:
        raise SinkError(f"{path} exists; give another name, or --overwrite to replace it")


def _try_to_create(partial: Path) -> None:
    was_there = partial.exists()
    with partial.open("ab"):
        pass
    if not was_there:
        partial.unlink()


def refuse_same_file(input_path: Path, output_path: Path) -> None:
    """Refuses an output that is the input, by whatever name or link; also if only the unfinished file would be it.

    Raises:
        SinkError: It is.
    """
    for written in (output_path, partial_path(output_path)):
        if _is_same_file(input_path, written):
            raise SinkError(f"{output_path} would be written over the input {input_path}; give another output name")


def _is_same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # one of them is not there, or no path at all
        return False


def put_in_place(finished: Path, path: Path, overwrite: bool) -> None:
    """Gives a finished file its final name, in one step.

    Raises:
        SinkError: Meanwhile something else has that name, or the directory is gone; the file keeps its name.
    """
    try:
        if path.exists() and not overwrite:
            raise SinkError(f"{path} was made by someone else meanwhile; this output stays in {finished}")
        finished.replace(path)
    except OSError as error:
        kept = f"; the output stays in {finished}" if finished.exists() else ""
        raise SinkError(f"cannot write {path}: {error.strerror}{kept}") from None


def is_empty(path: Path) -> bool:
    """Whether the file is there and holds nothing, as when the disk was full from the start."""
    return path.is_file() and path.stat().st_size == 0


def cannot_write(sink: PartialFile, error: Exception) -> SinkError:
    """The error for a file that cannot be written on, with the place of what was written before."""
    partial = sink.partial_path
    stays = f"; what was written stays in {partial}" if partial.exists() and not is_empty(partial) else ""
    return SinkError(f"cannot write {sink.path}: {getattr(error, 'strerror', None) or error}{stays}")


class PartialFile(ClosedByWith):
    """What the file sinks share: the two names, the checks when it is made, and the ``with`` block.

    Args:
        path: The final name.
        overwrite: Whether a file of that name may be replaced.

    Raises:
        SinkError: No such file can be made; nothing is left behind.
    """

    def __init__(self, path: str | Path, overwrite: bool = False) -> None:
        self.path = Path(path)
        self.partial_path = partial_path(self.path)
        self._overwrite = overwrite
        check_output(self.path, overwrite)
