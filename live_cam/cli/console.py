"""Output for the user while livecam works: lines, progress bars, and progress for programs."""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from live_cam.cli.options import with_option_names

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from live_cam.archive.outcome import ArchiveProgress
    from live_cam.jobs.outcome import Progress

_JSON_INTERVAL_SECONDS = 0.5
# Where there is no terminal, for which there is a bar.
_LINE_INTERVAL_SECONDS = 30.0


class Console:
    """Writes to stderr: a progress bar if that is a terminal, plain lines otherwise, nothing if quiet.

    Args:
        quiet: Whether only errors are written.
        json_progress: Whether progress goes to stdout, a JSON object per line, about twice per second and at the end
            of each job: ``frames_written``, ``frames_total_estimate`` (null if unknown), ``time_seconds`` of the last
            written frame, and ``fps`` (recent; in the last line, of the whole job). Results then go to stderr.
    """

    def __init__(self, quiet: bool = False, json_progress: bool = False) -> None:
        self._quiet, self._json_progress = quiet, json_progress
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None
        self._building_since_seconds: float | None = None
        self._last: Progress | None = None
        self._next_json_seconds = 0.0
        self._next_line_seconds = time.monotonic() + _LINE_INTERVAL_SECONDS
        self._lock = threading.Lock()

    def __enter__(self) -> Console:
        if not self._quiet and sys.stderr.isatty():
            self._bar = _new_bar()
            self._bar.start()
        return self

    def __exit__(self, *raised: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def line(self, text: str) -> None:
        """Writes a line unless quiet; from any thread."""
        if not self._quiet:
            self.error(text)

    def error(self, text: str) -> None:
        """Writes a line, also if quiet; from any thread."""
        text = with_option_names(text)
        with self._lock:
            if self._bar is not None:
                self._bar.console.print(text, highlight=False, markup=False, soft_wrap=True)
            else:
                print(text, file=sys.stderr, flush=True)

    def result(self, text: str) -> None:
        """Writes a result to stdout, or to stderr if stdout is for programs."""
        if self._json_progress:
            self.line(text)
        elif not self._quiet:
            encoding = sys.stdout.encoding or "utf-8"
            print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)

    def building(self, text: str) -> None:
        """Writes what is being built; ``progress`` says later how long it took."""
        if self._building_since_seconds is None:
            self._building_since_seconds = time.monotonic()
        self.line(text)

    def progress(self, progress: Progress) -> None:
        """Shows how far a job is."""
        self._last = progress
        if progress.stage != "preparing" and self._building_since_seconds is not None:
            seconds = time.monotonic() - self._building_since_seconds
            self._building_since_seconds = None
            self.line(f"ready after {seconds:.1f} s ({progress.engine_name})")
        if self._json_progress and time.monotonic() >= self._next_json_seconds:
            self._next_json_seconds = time.monotonic() + _JSON_INTERVAL_SECONDS
            _print_json(progress, progress.fps)
        description = "preparing the model" if progress.stage == "preparing" else progress.stage
        speed = "" if progress.fps is None else f"{progress.fps:.0f} fps"
        self._move(description, progress.frames_explained, progress.frames_total, speed)

    def step(self, what: str, done: int, total: int) -> None:
        """Shows how far something with a known number of steps is."""
        self._move(what, done, total, "")

    def archive_progress(self, progress: ArchiveProgress) -> None:
        """Shows how far an archive is."""
        is_due = progress.videos_done == progress.videos_total or time.monotonic() >= self._next_json_seconds
        if self._json_progress and is_due:
            self._next_json_seconds = time.monotonic() + _JSON_INTERVAL_SECONDS
            print(json.dumps({name: _rounded(value) for name, value in asdict(progress).items()}), flush=True)
        speed = "" if progress.media_per_second is None else f"{progress.media_per_second:.1f} h of video per hour"
        failed = f", {progress.failed} failed" if progress.failed else ""
        text = f"{progress.videos_done} of {progress.videos_total} videos{failed}"
        done_seconds, total_seconds = round(progress.media_seconds_done), round(progress.media_seconds_total)
        self._move(f"{text}, seconds of video", done_seconds, total_seconds, speed)
        if self._bar is None and not self._json_progress and time.monotonic() >= self._next_line_seconds:
            self._next_line_seconds = time.monotonic() + _LINE_INTERVAL_SECONDS
            self.line(f"{text}, {done_seconds} of {total_seconds} s" + (f", {speed}" if speed else ""))

    def end_job(self) -> None:
        """Ends the bar of a job, and its progress for programs, however the job ended."""
        if self._json_progress and self._last is not None:
            _print_json(self._last, self._last.mean_fps)
        self._last = None
        if self._bar is not None and self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None

    def _move(self, description: str, done: int, total: int | None, speed: str) -> None:
        if self._bar is None:
            return
        if self._task is None:
            self._task = self._bar.add_task("", total=total, speed="")
        self._bar.update(self._task, description=description, completed=done, total=total, speed=speed)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _print_json(progress: Progress, fps: float | None) -> None:
    state = {
        "frames_written": progress.frames_written,
        "frames_total_estimate": progress.frames_total,
        "time_seconds": None if progress.time_seconds is None else round(progress.time_seconds, 3),
        "fps": None if fps is None else round(fps, 3),
    }
    print(json.dumps(state), flush=True)


def _new_bar() -> RichProgress:
    """Returns a progress bar; only where one is shown is rich loaded, which takes 30 ms."""
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
        console=RichConsole(file=sys.stderr, force_terminal=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
