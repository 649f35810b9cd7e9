"""What the user reads while livecam works: lines, a progress bar, and the one line an error takes."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType

from rich.console import Console as RichConsole
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from live_cam.cli.stderr import own_stderr
from live_cam.run.pipeline import Pipeline


class Console:
    """Talks on stderr; a bar where that is a terminal, plain lines elsewhere, nothing when quiet."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._stream = own_stderr()
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._building_since_seconds: float | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Console:
        if not self._quiet and sys.stderr.isatty():
            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=30),
                MofNCompleteColumn(),
                TextColumn("{task.fields[speed]}"),
                TimeRemainingColumn(),
                console=RichConsole(file=self._stream, force_terminal=True),
                transient=True,
                # Else what libraries log would get past the silence they are put under.
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def line(self, text: str) -> None:
        """Says what goes on; from any thread."""
        if not self._quiet:
            self.error(text)

    def error(self, text: str) -> None:
        """Says what failed where the run goes on; also when quiet."""
        with self._lock:
            if self._progress is not None:
                self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)
            else:
                print(text, file=self._stream, flush=True)

    def begin(self, text: str) -> None:
        """Says which of several runs begins, and starts the bar anew."""
        self.line(text)
        if self._progress is not None and self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None

    def building(self, text: str) -> None:
        """Says what is being built; ``built`` says how long it took."""
        if self._building_since_seconds is None:
            self._building_since_seconds = time.monotonic()
        self.line(text)

    def frames(self, pipeline: Pipeline, total: int | None) -> None:
        """Moves the bar on."""
        if pipeline.explainer is not None and self._building_since_seconds is not None:
            seconds = time.monotonic() - self._building_since_seconds
            self._building_since_seconds = None
            self.line(f"ready after {seconds:.1f} s ({pipeline.explainer.engine_name})")
        if self._progress is None:
            return
        if self._task is None:
            self._task = self._progress.add_task("", total=total, speed="")
        fps = pipeline.meter.recent_fps
        self._progress.update(
            self._task,
            completed=pipeline.meter.frames_explained,
            description="preparing the model" if pipeline.explainer is None else "explaining",
            speed="" if fps is None else f"{fps:.0f} fps",
        )
