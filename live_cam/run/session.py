"""One job from its settings to its files: what the command line does in one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from live_cam.errors import SourceError
from live_cam.models.reference import referenced
from live_cam.render.views import Renderer, RenderSettings
from live_cam.run.accounts import Outcome, heatmap_facts, outcome_of, run_report
from live_cam.run.governor import Governor
from live_cam.run.opening import check_live, opened_source
from live_cam.run.outputs import check_outputs, sinks_for, tell_of_video
from live_cam.run.passes import Passes
from live_cam.run.pipeline import Pipeline
from live_cam.run.resuming import is_finished, resumption_of
from live_cam.run.running import run
from live_cam.sources import Source, open_source
from live_cam.sources.address import display_name, is_url
from live_cam.sources.camera import CameraRequest
from live_cam.sources.live import Retry
from live_cam.steady.smoothing import DEFAULT_HALF_LIFE_SECONDS
from live_cam.steady.steady_pass import SteadyPass

if TYPE_CHECKING:
    from live_cam.explainer import Explainer
    from live_cam.frame import Frame
    from live_cam.run.controls import Controls
    from live_cam.sinks import Sink
    from live_cam.sinks.recorder import Recorder
    from live_cam.sinks.window import Window
    from live_cam.sources.matched import ExpectedFrames
    from live_cam.sources.video import ResumePoint


@dataclass(frozen=True)
class SourceSettings:
    """Where frames come from: the one that is set, or the demo where none is.

    Attributes:
        webcam: Index of a camera.
        video: Path or address.
        image: Path.
        start_seconds: Of a video: the first media time that is wanted.
        end_seconds: Of a video: the first one that is no longer wanted.
        loop: Whether it starts again at its end.
        max_frames: Ends the run after so many frames.
        camera_size: Width and height wanted of the camera, as "1280x720".
        camera_fps: Frames a second wanted of the camera.
        expected: Of a video: its frames, where it must be one that is known.
        resume_at: Of a video: the first frame that an earlier run did not make.
        retry: "forever" or how many times in a row a live source is tried, at the start too; None: for ever, but not
            at the start.
    """

    webcam: int | None = None
    video: str | None = None
    image: str | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    loop: bool = False
    max_frames: int | None = None
    camera_size: str | None = None
    camera_fps: float | None = None
    retry: str | None = None
    expected: ExpectedFrames | None = None
    resume_at: ResumePoint | None = None

    @property
    def is_demo(self) -> bool:
        """Whether no source is named."""
        return self.webcam is None and self.video is None and self.image is None

    @property
    def input_path(self) -> Path | None:
        """The file that is read, if one is."""
        name = self.video or self.image
        return Path(name) if name and "://" not in name else None

    @property
    def is_elsewhere(self) -> bool:
        """Whether it is a camera or an address: it may be slow, and may be live."""
        return self.webcam is not None or (self.video is not None and is_url(self.video))

    @property
    def is_surely_live(self) -> bool:
        """Whether that is known before it is opened; at an http address there may be a recording."""
        return self.webcam is not None or (self.is_elsewhere and not str(self.video).lower().startswith("http"))

    @property
    def shown_name(self) -> str:
        """How a camera or an address is called before it is open."""
        return display_name(self.video or "") if self.webcam is None else f"camera {self.webcam}"

    def open(self) -> Source:
        """Opens it; see ``open_source``."""
        if self.video is not None and self.expected is not None:
            from live_cam.sources.matched import MatchedVideoSource

            return MatchedVideoSource(self.video, self.expected, self.start_seconds, self.end_seconds)
        if self.video is not None and self.resume_at is not None:
            from live_cam.sources.video import VideoSource

            return VideoSource(self.video, self.start_seconds, self.end_seconds, self.resume_at)
        return open_source(
            webcam=self.webcam,
            video=self.video,
            image=self.image,
            start_seconds=self.start_seconds,
            end_seconds=self.end_seconds,
            camera=CameraRequest.parsed(self.camera_size, self.camera_fps),
            retry=Retry.parsed(self.retry),
        )


@dataclass(frozen=True)
class OutputSettings:
    """What is made.

    Attributes:
        output: The annotated video or image.
        sidecar: JSON lines or rows of a table, one a frame.
        heatmaps: The maps as one ``.npz``.
        report: One JSON object about the run.
        overwrite: Whether these may replace what is there.
        codec: Of a video: one of ``CODECS``; None for the container's usual one.
        quality: Of a video: 0 to 100; None for the usual one.
        audio: Of a video: whether the source's sound goes into it.
        show: Whether there is a window; None: where it is expected, see ``wants_window``.
        resume: Whether to go on with what a killed run left.
    """

    output: Path | None = None
    sidecar: Path | None = None
    heatmaps: Path | None = None
    report: Path | None = None
    overwrite: bool = False
    codec: str | None = None
    quality: int | None = None
    audio: bool = True
    show: bool | None = None
    resume: bool = False

    @property
    def paths(self) -> list[Path]:
        """All files that will be made."""
        return [path for path in (self.output, self.sidecar, self.heatmaps, self.report) if path is not None]

    def wants_window(self, is_live: bool) -> bool:
        """A live source is watched, a file is watched unless something is made of it."""
        if self.show is not None:
            return self.show
        return is_live or not self.paths


@dataclass(frozen=True)
class Limits:
    """How much may be explained.

    Attributes:
        max_cpu_percent: Of the whole machine, for the whole process; None for all there is.
        explanations_per_second: Of a live source; None for as many as there are frames.
    """

    max_cpu_percent: float | None = None
    explanations_per_second: float | None = None

    def governor(self, is_live: bool) -> Governor:
        """Keeps these limits; of a recording, every frame is explained."""
        return Governor(self.max_cpu_percent, self.explanations_per_second if is_live else None)


@dataclass(frozen=True)
class SessionSettings:
    """A whole job.

    Attributes:
        source: Where frames come from.
        explainer: Arguments for ``load_explainer``.
        target: The class to explain, as an index or a label; None for the top class.
        render: How the picture looks.
        output: What is made.
        smooth_seconds: Half-life of the heatmaps; 0: each frame on its own.
        limits: How much may be explained.
        environment: The process's environment variables, for the window.
    """

    source: SourceSettings
    explainer: Mapping[str, Any] = field(default_factory=dict)
    target: str | None = None
    render: RenderSettings = RenderSettings()
    output: OutputSettings = OutputSettings()
    smooth_seconds: float = DEFAULT_HALF_LIFE_SECONDS
    limits: Limits = Limits()
    environment: Mapping[str, str] = field(default_factory=dict)


# Of a source that nobody waited for.
_NOTHING = Outcome(0, None, None, 0.0, (), (), was_interrupted=False, last_explanation=None)


def run_session(
    settings: SessionSettings,
    on_line: Callable[[str], None] = lambda line: None,
    on_build: Callable[[str], None] = lambda line: None,
    on_progress: Callable[[Pipeline, int | None], None] = lambda pipeline, total: None,
    load: Callable[[Frame], Explainer] | None = None,
) -> Outcome:
    """Runs a job to its end.

    Args:
        settings: The job.
        on_line: Called with a line the user should know.
        on_build: Called, from any thread, with a line before anything of the model takes long.
        on_progress: Called from this thread with the pipeline and the expected number of frames.
        load: Gives the explainer where ``settings.explainer`` is not to make one.

    Raises:
        LiveCamError: One line; where something was made, it says where that is.
    """
    renderer, steady = Renderer(settings.render), SteadyPass(settings.smooth_seconds)
    check_live(settings.source)
    if load is None:
        referenced(settings.explainer.get("model", ""), settings.explainer.get("weights"))
    if is_finished(settings):
        on_line(f"{settings.output.output} is finished")
        return replace(_NOTHING, made=tuple(path for path in settings.output.paths if path.exists()))
    check_outputs(settings)
    resumption = resumption_of(settings, on_line)
    if resumption is not None:
        settings = resumption.placed(settings)
    with ExitStack() as stack:
        window = _early_window(settings, stack)
        is_watched = settings.output.wants_window(is_live=False) and settings.output.output is None
        source = opened_source(settings.source, is_watched, window, on_line)
        if source is None:
            return _NOTHING
        stack.enter_context(source)
        if settings.source.video is not None:
            tell_of_video(source, on_line)
        window = _window(settings, source, stack, window)
        if settings.limits.explanations_per_second is not None and not source.is_live:
            on_line(f"--fps is for cameras and streams; of {source.name} every frame is explained")
        made = sinks_for(settings, source, renderer, on_line, lambda: heatmap_facts(settings, source, pipeline))
        sinks = [stack.enter_context(sink) for sink in made]
        checkpointer = None if resumption is None else resumption.begin(sinks, steady)
        if checkpointer is not None:
            stack.callback(checkpointer.save)
        passes = Passes(settings.explainer, on_build, on_line)
        done_count = 0 if resumption is None else resumption.done_count
        max_frames = settings.source.max_frames and settings.source.max_frames - done_count
        recorder = _recorder() if window is not None else None
        pipeline = Pipeline(
            source,
            load or passes.first,
            renderer,
            sinks,
            settings.target,
            max_frames,
            shows_every_frame=window is not None and not source.is_live and settings.output.output is None,
            steady=steady,
            governor=settings.limits.governor(source.is_live),
            # Who watches wants each frame soon; who records wants the last one soon.
            explains_ahead=window is None and not source.is_live,
            recorder=recorder,
            checkpointer=checkpointer,
        )
        controls = _controls(pipeline, window, recorder, passes, source)
        total = _expected_frames(source, settings.source.max_frames, done_count)
        try:
            ending = run(
                pipeline,
                source,
                sinks,
                controls,
                paced=settings.output.output is None,
                on_progress=lambda running: on_progress(running, total),
                on_line=on_line,
            )
        except SourceError as error:
            if checkpointer is not None:
                checkpointer.remove()
            raise _naming_what_is_kept(error, sinks) from error
        if checkpointer is not None and ending.is_complete:
            checkpointer.remove()
    outcome = outcome_of(pipeline, sinks, total, ending.is_complete, ending.was_interrupted)
    outcome = replace(outcome, made=(*outcome.made, *(recorder.made if recorder is not None else ())))
    if settings.output.report is None:
        return outcome
    from live_cam.sinks.report import write_report

    write_report(settings.output.report, run_report(source, pipeline), settings.output.overwrite)
    return replace(outcome, made=(*outcome.made, settings.output.report))


def _recorder() -> Recorder:
    from live_cam.sinks.recorder import Recorder

    return Recorder(Path())


def _controls(
    pipeline: Pipeline, window: Window | None, recorder: Recorder | None, passes: Passes, source: Source
) -> Controls | None:
    if window is None or recorder is None:
        return None
    from live_cam.run.controls import Controls

    return Controls(pipeline, window, recorder, passes.other, Path(), source.name)


def _early_window(settings: SessionSettings, stack: ExitStack) -> Window | None:
    """A window before there is a picture, if it is known by now that there will be one."""
    source, output = settings.source, settings.output
    if not source.is_elsewhere or not output.wants_window(source.is_surely_live):
        return None
    return _new_window(settings, stack)


def _window(settings: SessionSettings, source: Source, stack: ExitStack, early: Window | None) -> Window | None:
    if early is not None or not settings.output.wants_window(source.is_live):
        return early
    return _new_window(settings, stack)


def _new_window(settings: SessionSettings, stack: ExitStack) -> Window:
    from live_cam.sinks.window import Window

    window = Window("livecam", settings.environment)
    stack.callback(window.close)
    return window


def _expected_frames(source: Source, max_frames: int | None, done_count: int) -> int | None:
    known = [count for count in (source.frame_count_estimate, max_frames) if count is not None]
    return max(1, min(known) - done_count) if known else None


def _naming_what_is_kept(error: SourceError, sinks: Sequence[Sink]) -> SourceError:
    kept = [str(sink.partial_path) for sink in sinks if sink.partial_path.exists()]
    return SourceError(f"{error}; what was made until then is in {' and '.join(kept)}") if kept else error
