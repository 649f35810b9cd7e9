"""The progress bar of the commands that measure."""

from __future__ import annotations

from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from live_cam.cli.stderr import own_stderr


class StepBar:
    """How far something with many steps is, on stderr: a bar where that is a terminal, and lines."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        # soft_wrap below keeps a line whole where no terminal says how wide it is.
        self._console = RichConsole(file=own_stderr())
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn())
        self._progress = Progress(
            *columns,
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=quiet or not self._console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> StepBar:
        return self

    def __exit__(self, *raised: object) -> None:
        self._progress.stop()

    def line(self, text: str) -> None:
        """Says what is built or left out."""
        if not self._quiet:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def move(self, what: str, done: int, total: int) -> None:
        """Starts the bar at the first call: what is built before says so in lines of its own."""
        if self._task is None:
            self._progress.start()
            self._task = self._progress.add_task(what, total=total)
        self._progress.update(self._task, description=what, completed=done, total=total)
