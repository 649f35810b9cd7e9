"""The main job on the command line."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import typer

from live_cam.cli.console import Console
from live_cam.cli.json_progress import JsonProgress
from live_cam.render.caption import score_text
from live_cam.run.accounts import Outcome
from live_cam.run.session import SessionSettings, run_session
from live_cam.sinks.codecs import CONTAINERS

if TYPE_CHECKING:
    from live_cam.explainer import Explainer
    from live_cam.frame import Frame
    from live_cam.run.pipeline import Pipeline

    Load = Callable[[Frame], Explainer]


def watch_source(settings: SessionSettings, quiet: bool, json_progress: bool = False, load: Load | None = None) -> None:
    """Runs the job, shows its progress, and says in one line what came of it.

    Args:
        settings: The job.
        quiet: Whether errors alone are said.
        json_progress: Whether stdout is for a program; what is for people then goes to stderr.
        load: See ``run_session``.

    Raises:
        LiveCamError: As ``run_session``.
        KeyboardInterrupt: The user, or SIGTERM, ended it; what was made is named before.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    with Console(quiet) as console:
        outcome = _run(settings, console, json_progress, load)
    _say(summary(outcome), console, quiet, json_progress)
    if outcome.was_interrupted:
        raise KeyboardInterrupt


def watch_batch(settings: SessionSettings, quiet: bool, json_progress: bool = False) -> None:
    """Runs the job for each of several videos; a failing one takes a line, and the others go on.

    Raises:
        LiveCamError: Something that concerns all of them.
        KeyboardInterrupt: The user, or SIGTERM, ended it.
        typer.Exit: With code 1, where one failed.
    """
    from live_cam.loading import load_explainer, referenced
    from live_cam.run.batch import planned, run_batch

    signal.signal(signal.SIGTERM, _interrupt)
    jobs = planned(settings)
    referenced(settings.explainer.get("model", ""), settings.explainer.get("weights"))

    with Console(quiet) as console:

        def load(frame: Frame) -> Explainer:
            return load_explainer(
                **settings.explainer, check_image=frame.image, on_build=console.building, on_warning=console.line
            )

        def run(job: SessionSettings, shared: Load) -> Outcome:
            console.begin(f"[{jobs.index(job) + 1}/{len(jobs)}] {job.source.video}")
            outcome = _run(job, console, json_progress, shared)
            _say(f"{Path(str(job.source.video)).name}: {summary(outcome)}", console, quiet, json_progress)
            return outcome

        def skip(job: SessionSettings) -> None:
            made = ", ".join(map(str, job.output.paths))
            console.line(f"skipped {job.source.video}: there is {made}; --overwrite makes it again")

        outcome = run_batch(jobs, load, run, lambda error: console.error(f"livecam: {error}"), skip)
    counts = [f"{outcome.done} of {outcome.total} videos done"]
    counts += [f"{outcome.skipped} skipped"] * bool(outcome.skipped) + [f"{outcome.failed} failed"] * bool(
        outcome.failed
    )
    _say(", ".join(counts), console, quiet, json_progress)
    if outcome.was_interrupted:
        raise KeyboardInterrupt
    if outcome.failed:
        raise typer.Exit(1)


def _run(settings: SessionSettings, console: Console, json_progress: bool, load: Load | None) -> Outcome:
    with ExitStack() as stack:
        programs = stack.enter_context(JsonProgress()) if json_progress else None

        def progress(pipeline: Pipeline, total: int | None) -> None:
            console.frames(pipeline, total)
            if programs is not None:
                programs.frames(pipeline, total)

        return run_session(settings, console.line, console.building, progress, load)


def _say(text: str, console: Console, quiet: bool, json_progress: bool) -> None:
    """On stdout, unless that is for a program."""
    if json_progress:
        console.line(text)
    elif not quiet:
        print(text, flush=True)


def summary(outcome: Outcome) -> str:
    """One line: how many frames, how fast, and where the output is."""
    parts = [f"{outcome.frames_explained} frame{'' if outcome.frames_explained == 1 else 's'}"]
    if outcome.frames_explained == 1 and outcome.last_explanation is not None:
        explained = outcome.last_explanation.explained
        parts.append(f"{explained.label} {score_text(explained)}")
    if outcome.fps is not None:
        parts.append(f"{outcome.fps:.1f} fps")
    parts.append(f"{outcome.wall_seconds:.1f} s in all")
    files = [str(path) for path in outcome.made] + [f"{path} (not whole{_use_of(path)})" for path in outcome.kept]
    return ", ".join(parts) + (f" -> {', '.join(files)}" if files else "")


def _use_of(unfinished: Path) -> str:
    return "; it plays" if unfinished.suffix.lower() in CONTAINERS else ""


def _interrupt(signal_number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
