"""One job from its settings to its files: what the command line does in one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from live_cam.errors import SourceError
from live_cam.governor import Governor
from live_cam.loading import load_explainer, referenced
from live_cam.outputs import check_outputs, sinks_for, tell_of_video
from live_cam.pipeline import Pipeline
from live_cam.render.views import Renderer, RenderSettings
from live_cam.running import run
from live_cam.smoothing import DEFAULT_HALF_LIFE_SECONDS
from live_cam.sources import Source, open_source
from live_cam.steady import SteadyPass

if TYPE_CHECKING:
    from live_cam.explainer import Explainer
    from live_cam.frame import Explanation, Frame
    from live_cam.sinks import Sink
    from live_cam.sinks.window import Window


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
    """

    webcam: int | None = None
    video: str | None = None
    image: str | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    loop: bool = False
    max_frames: int | None = None

    @property
    def is_demo(self) -> bool:
        """Whether no source is named."""
        return self.webcam is None and self.video is None and self.image is None

    @property
    def input_path(self) -> Path | None:
        """The file that is read, if one is."""
        name = self.video or self.image
        return Path(name) if name and "://" not in name else None

    def open(self) -> Source:
        """Opens it; see ``open_source``."""
        return open_source(
            webcam=self.webcam,
            video=self.video,
            image=self.image,
            start_seconds=self.start_seconds,
            end_seconds=self.end_seconds,
        )


@dataclass(frozen=True)
class OutputSettings:
    """What is made.

    Attributes:
        output: The annotated video or image.
        sidecar: JSON lines, one a frame.
        report: One JSON object about the run.
        overwrite: Whether these may replace what is there.
        codec: Of a video: one of ``CODECS``; None for the container's usual one.
        quality: Of a video: 0 to 100; None for the usual one.
        audio: Of a video: whether the source's sound goes into it.
        show: Whether there is a window; None: where it is expected, see ``wants_window``.
    """

    output: Path | None = None
    sidecar: Path | None = None
    report: Path | None = None
    overwrite: bool = False
    codec: str | None = None
    quality: int | None = None
    audio: bool = True
    show: bool | None = None

    @property
    def paths(self) -> list[Path]:
        """All files that will be made."""
        return [path for path in (self.output, self.sidecar, self.report) if path is not None]

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


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of it.

    Attributes:
        frames_explained: How many.
        frame_total_estimate: How many the source promised, if it did.
        fps: Explained frames a second; None for less than two.
        wall_seconds: From opening the source to the end.
        made: The files that carry their final names.
        kept: The unfinished ones that can be played or read.
        was_interrupted: Whether Ctrl-C or SIGTERM ended it.
        last_explanation: Of the last frame.
    """

    frames_explained: int
    frame_total_estimate: int | None
    fps: float | None
    wall_seconds: float
    made: tuple[Path, ...]
    kept: tuple[Path, ...]
    was_interrupted: bool
    last_explanation: Explanation | None


def run_session(
    settings: SessionSettings,
    on_line: Callable[[str], None] = lambda line: None,
    on_build: Callable[[str], None] = lambda line: None,
    on_progress: Callable[[Pipeline, int | None], None] = lambda pipeline, total: None,
) -> Outcome:
    """Runs a job to its end.

    Args:
        settings: The job.
        on_line: Called with a line the user should know.
        on_build: Called, from any thread, with a line before anything of the model takes long.
        on_progress: Called from this thread with the pipeline and the expected number of frames.

    Raises:
        LiveCamError: One line; where something was made, it says where that is.
    """
    renderer, steady = Renderer(settings.render), SteadyPass(settings.smooth_seconds)
    referenced(settings.explainer.get("model", ""), settings.explainer.get("weights"))
    check_outputs(settings)
    with ExitStack() as stack:
        source = stack.enter_context(_opened(settings))
        if settings.source.video is not None:
            tell_of_video(source, on_line)
        window = _window(settings, source, stack)
        if settings.limits.explanations_per_second is not None and not source.is_live:
            on_line(f"--fps is for cameras and streams; of {source.name} every frame is explained")
        sinks = [stack.enter_context(sink) for sink in sinks_for(settings, source, renderer, on_line)]

        def load(frame: Frame) -> Explainer:
            return load_explainer(**settings.explainer, check_image=frame.image, on_build=on_build, on_warning=on_line)

        pipeline = Pipeline(
            source,
            load,
            renderer,
            sinks,
            settings.target,
            settings.source.max_frames,
            shows_every_frame=window is not None and not source.is_live and settings.output.output is None,
            steady=steady,
            governor=settings.limits.governor(source.is_live),
            # Who watches wants each frame soon; who records wants the last one soon.
            explains_ahead=window is None and not source.is_live,
        )
        total = _expected_frames(source, settings.source.max_frames)
        try:
            ending = run(
                pipeline,
                source,
                sinks,
                window,
                paced=settings.output.output is None,
                on_progress=lambda running: on_progress(running, total),
            )
        except SourceError as error:
            raise _naming_what_is_kept(error, sinks) from error
    outcome = _outcome(pipeline, sinks, total, ending.is_complete, ending.was_interrupted)
    if settings.output.report is None:
        return outcome
    from live_cam.sinks.report import write_report

    write_report(settings.output.report, _report(source, pipeline), settings.output.overwrite)
    return replace(outcome, made=(*outcome.made, settings.output.report))


def _opened(settings: SessionSettings) -> Source:
    is_watched = settings.output.wants_window(is_live=False) and settings.output.output is None
    if settings.source.image is None and (settings.source.loop or (settings.source.is_demo and is_watched)):
        from live_cam.sources.loop import LoopedSource

        return LoopedSource(settings.source.open)
    return settings.source.open()


def _window(settings: SessionSettings, source: Source, stack: ExitStack) -> Window | None:
    if not settings.output.wants_window(source.is_live):
        return None
    from live_cam.sinks.window import Window

    window = Window("livecam", settings.environment)
    stack.callback(window.close)
    return window


def _expected_frames(source: Source, max_frames: int | None) -> int | None:
    known = [count for count in (source.frame_count_estimate, max_frames) if count is not None]
    return min(known) if known else None


def _naming_what_is_kept(error: SourceError, sinks: Sequence[Sink]) -> SourceError:
    kept = [str(sink.partial_path) for sink in sinks if sink.partial_path.exists()]
    return SourceError(f"{error}; what was made until then is in {' and '.join(kept)}") if kept else error


def _outcome(
    pipeline: Pipeline, sinks: Sequence[Sink], total: int | None, is_complete: bool, was_interrupted: bool
) -> Outcome:
    return Outcome(
        frames_explained=pipeline.meter.frames_explained,
        frame_total_estimate=total,
        fps=pipeline.meter.fps,
        wall_seconds=pipeline.meter.wall_seconds,
        made=tuple(sink.path for sink in sinks if is_complete and sink.path.exists()),
        kept=tuple(sink.partial_path for sink in sinks if not is_complete and sink.partial_path.exists()),
        was_interrupted=was_interrupted,
        last_explanation=pipeline.last_explanation,
    )


def _report(source: Source, pipeline: Pipeline) -> dict[str, Any]:
    explainer = pipeline.explainer
    named = ("model", "engine", "engine_reason", "layer", "method")
    about: dict[str, Any] = dict.fromkeys(named)
    if explainer is not None:
        facts = explainer.facts
        about = dict(
            zip(
                named,
                (explainer.model_name, explainer.engine_name, facts.engine_reason, facts.layer, explainer.method),
                strict=True,
            )
        )
    return {"source": source.name, **about, **pipeline.meter.report()}
