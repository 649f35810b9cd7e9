"""Runs one job: a source with its outputs, from settings to an outcome."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from live_cam.errors import SourceError
from live_cam.explain.explainer import engine_title
from live_cam.jobs.background_open import open_for_job
from live_cam.jobs.main_loop import MainLoop
from live_cam.jobs.outcome import JobContext, Outcome, Progress, heatmap_metadata, job_report
from live_cam.jobs.outputs import Outputs, check_outputs, open_outputs
from live_cam.jobs.resume import Resumption, finished_files, has_checkpoint, resumption_of
from live_cam.models.reference import resolve_settings
from live_cam.pipeline.feed import Feed
from live_cam.pipeline.pipeline import Pipeline
from live_cam.render.renderer import Renderer
from live_cam.sinks.atomic_file import check_output
from live_cam.viewers.explainer_switch import ExplainerLoader

if TYPE_CHECKING:
    from live_cam.explain.explainer import Explainer
    from live_cam.frame import Frame
    from live_cam.jobs.checkpoints import Checkpointer
    from live_cam.pipeline.writer import SinkWriter
    from live_cam.settings import JobSettings
    from live_cam.sources.protocol import Source
    from live_cam.sources.wrappers import ExpectedFrames
    from live_cam.viewers.protocol import Viewer
    from live_cam.viewers.recorder import Recorder
    from live_cam.viewers.screen import Screen

    Load = Callable[[Frame], Explainer]


def run_job(
    settings: JobSettings,
    context: JobContext | None = None,
    load: Load | None = None,
    expected: ExpectedFrames | None = None,
) -> Outcome:
    """Runs a job to its end.

    Args:
        settings: The job.
        context: How it reports and is stopped.
        load: Makes the explainer from the first frame. Default: as ``settings.explainer`` says.
        expected: The frames that the video must have. Default: any.

    Raises:
        LiveCamError: The job failed. The message is one line and names the files that are kept.
    """
    context = context or JobContext()
    Renderer(settings.feed.render)
    if load is None:
        resolve_settings(settings.explainer)
    if settings.output.report is not None:  # Before finished files may become unfinished ones again.
        check_output(settings.output.report, overwrite=True)
    finished = finished_files(settings)
    if finished is not None:
        context.on_line(f"{finished[0]} is finished")
        return Outcome(made=finished, was_finished=True)
    replaces_report = has_checkpoint(settings)
    check_outputs(settings, replaces_report)
    resumption = resumption_of(settings, context.on_line)
    if expected is not None:  # Drawing again is quick and needs no resuming.
        resumption = Resumption(None)
    with ExitStack() as stack:
        window = _early_window(settings, context, stack)
        source = open_for_job(settings, context, window, resumption.resume_at, expected)
        if source is None:
            return Outcome(was_interrupted=context.stop.is_set())
        stack.enter_context(source)
        if window is None and settings.output.wants_window(source.is_live):
            window = _new_window(context, stack)
        job = _Job(settings, context, source, resumption, replaces_report, load)
        return job.run(window)


def _early_window(settings: JobSettings, context: JobContext, stack: ExitStack) -> Viewer | None:
    """Opens the window before there is a picture, if it is certain by now that there will be one."""
    source = settings.source
    if not source.is_remote_or_camera or not settings.output.wants_window(source.is_known_live):
        return None
    return _new_window(context, stack)


def _new_window(context: JobContext, stack: ExitStack) -> Viewer:
    from live_cam.viewers.window import Window

    window = Window("livecam", context.environment)
    stack.callback(window.close)
    return window


@dataclass(frozen=True, eq=False)
class _Job:
    """A job whose source is open.

    Attributes:
        settings: What is to be done.
        context: How it reports and is stopped.
        source: Open; belongs to the caller.
        resumption: Where it starts, and what lets a later run resume it.
        replaces_report: Whether an existing report may be replaced: that of an unfinished run.
        load: See ``run_job``.
    """

    settings: JobSettings
    context: JobContext
    source: Source
    resumption: Resumption
    replaces_report: bool
    load: Load | None

    def run(self, window: Viewer | None) -> Outcome:
        settings, context, source = self.settings, self.context, self.source
        for line in self._notices():
            context.on_line(line)
        loader = ExplainerLoader(settings.explainer, context.on_build, context.on_line)
        # A viewer needs low latency; a recording needs high throughput.
        is_speculative = window is None and not source.is_live
        pipeline = Pipeline(self.load or loader.first, is_speculative)
        feed = Feed(source, settings.feed, self._max_frames())
        outputs = open_outputs(
            settings, source, lambda: heatmap_metadata(settings, source.name, pipeline.explainer), context.on_line
        )
        checkpointer, writer = self._begin_writing(outputs, feed)
        total = self._expected_frames()
        with ExitStack() as stack:
            stack.callback(pipeline.close)
            screen, recorder = (None, None) if window is None else _screen(pipeline, feed, window, loader, settings)
            if recorder is not None:
                stack.callback(recorder.close)
            progress = _progress_of(pipeline, feed, total)
            try:
                was_interrupted = MainLoop(pipeline, feed, screen, context, progress).run()
            except SourceError as error:
                raise _with_kept_files(error, outputs) from error
            finally:
                if checkpointer is not None:
                    checkpointer.save()
        is_complete = writer is None or writer.is_finished
        if checkpointer is not None and is_complete:
            checkpointer.finish()
        elif checkpointer is not None:
            checkpointer.end()
        if not source.is_live and writer is not None and is_complete:
            was_interrupted = False  # It came while the files were being completed.
        outcome = _outcome(feed, outputs, is_complete)
        outcome = replace(
            outcome,
            frames_resumed=self.resumption.done_count,
            frames_total=total,
            made=(*outcome.made, *(() if recorder is None else recorder.made)),
            can_resume=checkpointer is not None and checkpointer.has_checkpoint and bool(outcome.kept),
            was_interrupted=was_interrupted,
        )
        return self._with_report(outcome, feed, pipeline)

    def _notices(self) -> list[str]:
        lines = list(self.source.notices)
        if self.settings.feed.limits.explanations_per_second is not None and not self.source.is_live:
            lines.append(
                f"a limit of explanations per second is for live sources; all of {self.source.name} is explained"
            )
        return lines

    def _max_frames(self) -> int | None:
        limit = self.settings.source.max_frames
        return None if limit is None else limit - self.resumption.done_count

    def _begin_writing(self, outputs: Outputs, feed: Feed) -> tuple[Checkpointer | None, SinkWriter | None]:
        """Continues or begins the outputs, and hands them to a writer, which closes them."""
        if not outputs.sinks:
            return None, None
        with ExitStack() as on_failure:
            for sink in outputs.sinks:
                on_failure.enter_context(sink)
            checkpointer = self.resumption.begin(outputs, feed.temporal)
            on_failure.pop_all()
        on_written = (lambda result: None) if checkpointer is None else checkpointer.add
        return checkpointer, feed.add_writer(outputs.sinks, on_written)

    def _expected_frames(self) -> int | None:
        limits = (self.source.frame_count_estimate, self.settings.source.max_frames)
        known = [count for count in limits if count is not None]
        return max(1, min(known) - self.resumption.done_count) if known else None

    def _with_report(self, outcome: Outcome, feed: Feed, pipeline: Pipeline) -> Outcome:
        path = self.settings.output.report
        if path is None:
            return outcome
        from live_cam.sinks.report import write_report

        may_replace = self.settings.output.overwrite or self.replaces_report
        write_report(path, job_report(feed, pipeline.explainer), may_replace)
        return replace(outcome, made=(*outcome.made, path))


def _screen(
    pipeline: Pipeline, feed: Feed, window: Viewer, loader: ExplainerLoader, settings: JobSettings
) -> tuple[Screen, Recorder]:
    from live_cam.viewers.controls import Controls
    from live_cam.viewers.explainer_switch import ExplainerSwitch
    from live_cam.viewers.recorder import Recorder
    from live_cam.viewers.screen import Screen

    recorder = Recorder(feed, Path())
    controls = Controls(pipeline, feed, window, recorder, ExplainerSwitch(pipeline, loader.other))
    is_paced = not feed.source.is_live and settings.output.output is None
    return Screen(pipeline, feed, window, controls, is_paced), recorder


def _progress_of(pipeline: Pipeline, feed: Feed, total: int | None) -> Callable[[], Progress]:
    def progress() -> Progress:
        stats, explainer = feed.stats, pipeline.explainer
        return Progress(
            stage="finishing" if feed.is_finishing else "preparing" if explainer is None else "explaining",
            engine_name="" if explainer is None else engine_title(explainer),
            frames_explained=stats.frames_explained,
            frames_written=stats.frames_written,
            frames_total=total,
            time_seconds=stats.last_time_seconds,
            fps=stats.recent_fps,
            mean_fps=stats.fps,
        )

    return progress


def _outcome(feed: Feed, outputs: Outputs, is_complete: bool) -> Outcome:
    return Outcome(
        frames_explained=feed.stats.frames_explained,
        frame_count=outputs.sinks[0].frame_count if outputs.sinks else feed.stats.frames_explained,
        fps=feed.stats.fps,
        wall_seconds=feed.stats.wall_seconds,
        made=tuple(sink.path for sink in outputs.sinks if is_complete and sink.path.exists()),
        kept=tuple(sink.partial_path for sink in outputs.sinks if not is_complete and sink.partial_path.exists()),
        last_explanation=None if feed.last_result is None else feed.last_result.explanation,
    )


def _with_kept_files(error: SourceError, outputs: Outputs) -> SourceError:
    kept = [str(sink.partial_path) for sink in outputs.sinks if sink.partial_path.exists()]
    return SourceError(f"{error}; what was written so far is in {' and '.join(kept)}") if kept else error
