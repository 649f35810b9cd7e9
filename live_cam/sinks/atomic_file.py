"""The rules for every file that livecam writes, and the base of the file sinks.

A file is written under a partial name and renamed when it is complete, so nothing incomplete ever has the final name.
An existing file is only replaced if the user says so, and a lock keeps a second process from writing the same file.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from io import BufferedWriter
from itertools import count
from pathlib import Path

from live_cam.closing import Closing
from live_cam.errors import SinkError
from live_cam.sinks.protocol import FileSink

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

# A process that only checks its output holds the lock for an instant.
_LOCK_WAIT_SECONDS = 0.5
_LOCK_POLL_SECONDS = 0.01


def partial_path(path: Path) -> Path:
    """Returns the name of an unfinished file: ``out.partial.mp4`` for ``out.mp4``; programs still know its type."""
    return path.with_name(f"{path.stem}.partial{path.suffix}")


def earlier_path(path: Path) -> Path:
    """Returns the name of a killed run's file while it is copied into a new one: ``out.partial.earlier.mp4``."""
    return path.with_name(f"{path.stem}.partial.earlier{path.suffix}")


def finishing_path(path: Path) -> Path:
    """Returns the name of the complete file while it is made from the partial one: ``out.partial.finishing.mp4``."""
    return path.with_name(f"{path.stem}.partial.finishing{path.suffix}")


def lock_path(path: Path) -> Path:
    """Returns the name of the lock file, ``out.partial.mp4.lock``; a killed process leaves it behind."""
    return path.with_name(f"{partial_path(path).name}.lock")


def name_by_time(folder: Path, now: datetime, *suffixes: str) -> Path:
    """Returns a free path without a suffix, such as ``livecam-20260723-140509``.

    Args:
        folder: The folder of the file.
        now: The time in the name.
        suffixes: Suffixes that will be added; with none of them do the file, its partial file or its lock exist.
    """
    stem = f"livecam-{now:%Y%m%d-%H%M%S}"
    for number in count(1):
        base = folder / (stem if number == 1 else f"{stem}-{number}")
        paths = [base.with_name(base.name + suffix) for suffix in suffixes]
        if not any(taken.exists() for path in paths for taken in (path, partial_path(path), lock_path(path))):
            break
    return base


def check_output(path: Path, overwrite: bool) -> None:
    """Checks that a file can be created at a path; leaves no file behind.

    Raises:
        SinkError: The file exists and may not be replaced, another process writes it, or no file can be created there.
    """
    locked_output(path, overwrite).close()


def locked_output(path: Path, overwrite: bool) -> OutputLock:
    """Checks as ``check_output`` does, and keeps other processes from the file until the lock is closed.

    Raises:
        SinkError: As ``check_output``.
    """
    try:
        _check_target(path, overwrite)
        lock = OutputLock(path)
        try:
            _try_to_create(partial_path(path))
        except BaseException:
            lock.close()
            raise
    except (OSError, ValueError) as error:
        raise SinkError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from None
    return lock


class OutputLock(Closing):
    """Keeps a second process from writing the same output.

    The operating system releases the lock however the process ends. On a file system without locks, nothing is locked.

    Args:
        path: The final name of the output.

    Raises:
        SinkError: Another process writes it.
        OSError: The lock file cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self._path = lock_path(path)
        self._file: BufferedWriter | None = None
        deadline_seconds = time.monotonic() + _LOCK_WAIT_SECONDS
        while self._file is None:
            self._file = _locked_file(self._path)
            if self._file is None:
                if time.monotonic() > deadline_seconds:
                    raise SinkError(f"{path} is being written by another livecam process")
                time.sleep(_LOCK_POLL_SECONDS)

    def close(self) -> None:
        """Releases the lock and removes its file; may be called twice."""
        file, self._file = self._file, None
        if file is None:
            return
        # Removed while it is locked: afterwards, it may belong to another process.
        if sys.platform != "win32" and _is_file_at(file, self._path):
            with contextlib.suppress(OSError):
                self._path.unlink()
        file.close()
        if sys.platform == "win32":  # Windows removes no open file, so never one of another process.
            with contextlib.suppress(OSError):
                self._path.unlink()


def _locked_file(path: Path) -> BufferedWriter | None:
    """Returns the lock file, open and locked; None if another process holds it, or has just removed it."""
    file = path.open("ab")
    try:
        if sys.platform == "win32":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        file.close()
        return None
    except OSError:  # The file system has no locks.
        return file
    # Another process may have removed the file that was opened. Windows does not remove open files.
    if sys.platform != "win32" and not _is_file_at(file, path):
        file.close()
        return None
    return file


def _is_file_at(file: BufferedWriter, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _check_target(path: Path, overwrite: bool) -> None:
    if path.is_dir():
        raise SinkError(f"cannot write {path}: it is a directory; give the path of a file")
    if not path.parent.is_dir():
        raise SinkError(f"cannot write {path}: there is no directory {path.parent}; create it first")
    if path.exists() and not path.is_file():
        raise SinkError(f"cannot write {path}: it is a device or a pipe; give the path of a file")
    if path.exists() and not overwrite:
        raise SinkError(f"{path} exists; give another name, or replace it with overwrite=True")


def _try_to_create(partial: Path) -> None:
    existed = partial.exists()
    with partial.open("ab"):
        pass
    if not existed:
        partial.unlink()


def refuse_same_file(input_path: Path, output_path: Path) -> None:
    """Checks that neither an output nor its partial file is the input, under any name or link.

    Raises:
        SinkError: One of them is the input.
    """
    for written_path in (output_path, partial_path(output_path)):
        if _is_same_file(input_path, written_path):
            raise SinkError(f"{output_path} would be written over the input {input_path}; give another output name")


def _is_same_file(path: Path, other_path: Path) -> bool:
    try:
        return path.samefile(other_path)
    except (OSError, ValueError):  # One of them does not exist, or is not a valid path.
        return False


def put_in_place(finished: Path, path: Path, overwrite: bool) -> None:
    """Renames a finished file to its final name, in one step.

    Raises:
        SinkError: The final name is taken by now, or the directory was removed; the file keeps its name.
    """
    try:
        if path.exists() and not overwrite:
            raise SinkError(f"{path} was created by another program meanwhile; this output stays in {finished}")
        finished.replace(path)
    except OSError as error:
        kept = f"; the output stays in {finished}" if finished.exists() else ""
        raise SinkError(f"cannot write {path}: {error.strerror}{kept}") from None


@contextlib.contextmanager
def new_file(path: Path, overwrite: bool) -> Iterator[Path]:
    """Yields the partial name of a file that is written at once, and renames it at the end of the block.

    Raises:
        SinkError: The file cannot be written; nothing is left behind, unless the final name is taken by then.
    """
    partial = partial_path(path)
    with locked_output(path, overwrite):
        try:
            yield partial
        except BaseException as error:
            partial.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise SinkError(f"cannot write {path}: {error.strerror or error}") from None
            raise
        put_in_place(partial, path, overwrite)


def is_empty(path: Path) -> bool:
    """Returns whether the file exists and is empty, as when the disk was full from the start."""
    return path.is_file() and path.stat().st_size == 0


class AtomicFile(FileSink):
    """Base of the file sinks: checks and locks the path, names the files and reports failures.

    Args:
        path: The final name.
        overwrite: Whether an existing file may be replaced.

    Raises:
        SinkError: The file cannot be created; nothing is left behind.
    """

    def __init__(self, path: str | Path, overwrite: bool = False) -> None:
        self.path = Path(path)
        self.partial_path = partial_path(self.path)
        self.frame_count = 0
        self._overwrite = overwrite
        self._lock = locked_output(self.path, overwrite)
        with contextlib.suppress(OSError):  # of a run that was killed while it completed this file
            finishing_path(self.path).unlink(missing_ok=True)

    def close(self) -> None:
        """Lets other processes write this output; a sink closes its file before."""
        self._lock.close()

    def _put_in_place(self) -> None:
        put_in_place(self.partial_path, self.path, self._overwrite)
        self._lock.close()

    def _remove_if_empty(self) -> None:
        if is_empty(self.partial_path):
            self.partial_path.unlink()

    @contextlib.contextmanager
    def _replacing_partial(self) -> Iterator[Path]:
        """Yields a path for the complete file, which replaces the partial file at the end of the block.

        If the block fails or the process is killed in it, the partial file stays as it was.
        """
        path = finishing_path(self.path)
        try:
            yield path
            path.replace(self.partial_path)
        finally:
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _raising_sink_error(self, *failures: type[Exception]) -> Iterator[None]:
        """Turns an ``OSError`` and the given failures into a ``SinkError`` that names the partial file, if it stays."""
        kinds: tuple[type[Exception], ...] = (OSError, *failures)
        try:
            yield
        except kinds as error:
            has_content = self.partial_path.exists() and not is_empty(self.partial_path)
            kept = f"; what was written stays in {self.partial_path}" if has_content else ""
            reason = getattr(error, "strerror", None) or error
            raise SinkError(f"cannot write {self.path}: {reason}{kept}") from None
