"""Runs jobs for the command line: progress, signals, and one line about the result."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from live_cam.cli.console import Console
from live_cam.cli.interrupts import Interrupts
from live_cam.errors import SettingError
from live_cam.jobs.job import run_job
from live_cam.jobs.outcome import JobContext, Outcome
from live_cam.render.caption import score_text
from live_cam.sinks.video.codecs import CONTAINERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from live_cam.cli.sources import NamedSources
    from live_cam.jobs.images import ImagesOutcome
    from live_cam.jobs.job import Load
    from live_cam.settings import JobSettings, OutputSettings
    from live_cam.sources.wrappers import ExpectedFrames

_INTERRUPTED_CODE = 130


def watch(
    settings: JobSettings, sources: NamedSources | None, console: Console, environment: Mapping[str, str]
) -> None:
    """Runs the job or jobs that the sources and outputs ask for.

    Args:
        settings: The job; of several sources, with the first one.
        sources: All sources; None for the demo.
        console: Shows the progress.
        environment: The process's environment variables.

    Raises:
        LiveCamError: As ``run_job``.
        typer.Exit: With code 130 if a signal ended it, 1 if one of several files failed.
    """
    from live_cam.jobs.batch import is_batch

    output = settings.output
    kind = None if sources is None else sources.kind
    if kind != "images" and output.html is not None:
        raise SettingError("--html is a page about images; for a video, use --sidecar and livecam plot")
    if (
        sources is not None
        and kind == "images"
        and (sources.are_several or output.html is not None or any(map(output.is_folder, output.paths)))
    ):
        watch_images(settings, sources.names, console, environment)
    elif sources is not None and ((kind == "video" and sources.are_several) or is_batch(settings)):
        watch_batch(settings, console, environment, sources.names)
    else:
        watch_source(settings, console, environment)


def watch_source(
    settings: JobSettings,
    console: Console,
    environment: Mapping[str, str],
    load: Load | None = None,
    expected: ExpectedFrames | None = None,
) -> None:
    """Runs a job, shows its progress and prints one line about its result.

    Args:
        settings: The job.
        console: Shows the progress.
        environment: The process's environment variables.
        load: See ``run_job``.
        expected: See ``run_job``.

    Raises:
        LiveCamError: As ``run_job``.
        typer.Exit: With code 130 if a signal ended the job.
    """
    context = _context(console, environment)
    with console:
        try:
            outcome = run_job(settings, context, load, expected)
        finally:
            console.end_job()
    if not outcome.was_finished:
        console.result(summary(outcome))
    if outcome.was_interrupted:
        raise typer.Exit(_INTERRUPTED_CODE)


def watch_batch(
    settings: JobSettings, console: Console, environment: Mapping[str, str], names: Sequence[str] = ()
) -> None:
    """Runs a job for each of several videos; one that fails takes a line, and the others go on.

    Args:
        settings: What is done with each.
        console: Shows the progress.
        environment: The process's environment variables.
        names: The videos and patterns. Default: the settings' video.

    Raises:
        LiveCamError: About all of them, such as a model that cannot be used.
        typer.Exit: With code 130 if a signal ended the batch, 1 if a video failed.
    """
    from live_cam.jobs.batch import BatchEvents, plan_batch, run_batch

    jobs = plan_batch(settings, names)
    context = _context(console, environment)

    def run(job: JobSettings, load: Load) -> Outcome:
        console.line(f"[{jobs.index(job) + 1}/{len(jobs)}] {job.source.video}")
        try:
            outcome = run_job(job, context, load)
        finally:
            console.end_job()
        if not outcome.was_finished:
            console.result(f"{Path(str(job.source.video)).name}: {summary(outcome)}")
        return outcome

    def skip(job: JobSettings) -> None:
        made, are_several = ", ".join(map(str, job.output.paths)), len(job.output.paths) > 1
        exist = "exist; --overwrite makes them again" if are_several else "exists; --overwrite makes it again"
        console.line(f"skipped {job.source.video}: {made} {exist}")

    with console:
        outcome = run_batch(jobs, context, BatchEvents(run, skip, lambda error: console.error(f"livecam: {error}")))
    counts = [f"{outcome.done} of {outcome.total} videos done"]
    counts += [f"{outcome.skipped} skipped"] if outcome.skipped else []
    counts += [f"{outcome.failed} failed"] if outcome.failed else []
    console.result(", ".join(counts))
    if outcome.was_interrupted:
        raise typer.Exit(_INTERRUPTED_CODE)
    if outcome.failed:
        raise typer.Exit(1)


def watch_images(settings: JobSettings, names: Sequence[str], console: Console, environment: Mapping[str, str]) -> None:
    """Explains image files and folders; each image that fails takes a line, and the others go on.

    Raises:
        LiveCamError: About all of them, such as a model that cannot be used.
        typer.Exit: With code 130 if a signal ended the job, 1 if an image failed.
    """
    import cv2

    from live_cam.jobs.image_plan import plan_images
    from live_cam.jobs.images import run_images

    # Every core reads, explains and draws an image of its own; OpenCV's threads would only wait for each other.
    cv2.setNumThreads(1)
    plan = plan_images(settings, names)
    context = _context(console, environment)
    with console:
        try:
            outcome = run_images(plan, settings, context, lambda error: console.error(f"livecam: {error}"))
        finally:
            console.end_job()
    console.result(images_summary(outcome, settings.output))
    if outcome.was_interrupted:
        raise typer.Exit(_INTERRUPTED_CODE)
    if outcome.failed:
        raise typer.Exit(1)


def images_summary(outcome: ImagesOutcome, output: OutputSettings) -> str:
    """Returns one line: how many images are done, where they are and, if not all, how to go on."""
    # After an interrupt, the user wants to know what is there, whichever run made it.
    done = outcome.done + (outcome.skipped if outcome.was_interrupted else 0)
    parts = [f"{'interrupted: ' if outcome.was_interrupted else ''}{done} of {outcome.total} images done"]
    parts += [f"{outcome.skipped} skipped"] if outcome.skipped and not outcome.was_interrupted else []
    parts += [f"{outcome.failed} failed"] if outcome.failed else []
    parts += [f"{outcome.wall_seconds:.1f} s in all"] if outcome.done else []
    made = [f"{path}{os.sep}" if path.is_dir() else str(path) for path in outcome.made]
    line = ", ".join(parts) + (f" -> {', '.join(made)}" if made else "")
    if not outcome.was_interrupted:
        return line
    if output.output is not None:
        line += f"; the same command{' without --overwrite' if output.overwrite else ''} continues"
    return f"{line}; {output.html} is written at the end" if output.html is not None else line


def _context(console: Console, environment: Mapping[str, str]) -> JobContext:
    interrupts = Interrupts(sys.stderr)
    interrupts.install()
    return JobContext(console.line, console.building, console.progress, interrupts.stop, environment)


def summary(outcome: Outcome) -> str:
    """Returns one line: how many frames, how fast, and where the output is."""
    now = f" ({outcome.frame_count - outcome.frames_resumed} of them now)" if outcome.frames_resumed else ""
    parts = [f"{outcome.frame_count} frame{'' if outcome.frame_count == 1 else 's'}{now}"]
    if outcome.frame_count == 1 and outcome.last_explanation is not None:
        explained = outcome.last_explanation.explained
        parts.append(f"{explained.label} {score_text(explained)}")
    if outcome.fps is not None:
        parts.append(f"{outcome.fps:.1f} fps")
    parts.append(f"{outcome.wall_seconds:.1f} s in all")
    files = [str(path) for path in outcome.made] + [f"{path} (unfinished{_use_of(path)})" for path in outcome.kept]
    line = ", ".join(parts) + (f" -> {', '.join(files)}" if files else "")
    return f"{line}; --resume continues it" if outcome.can_resume else line


def _use_of(unfinished: Path) -> str:
    return ", can be played" if unfinished.suffix.lower() in CONTAINERS else ""
