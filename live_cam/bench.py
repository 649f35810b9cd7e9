"""How fast livecam is on this machine: the bare network, the one pass, and the whole pipeline over decoded frames."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from live_cam.errors import SettingError, SourceError
from live_cam.explainer import Explainer, NetworkInput
from live_cam.frame import Explanation, Frame, Prediction, Result
from live_cam.lifetime import ClosedByWith
from live_cam.loading import load_explainer
from live_cam.measuring import Progress, Timings, interleaved, machine, timed, versions
from live_cam.render.views import Renderer, RenderSettings
from live_cam.run.pipeline import Pipeline
from live_cam.run.running import run
from live_cam.sources import Source, open_source
from live_cam.sources.loop import LoopedSource
from live_cam.timing import peak_rss_mb, rounded, seconds_since_process_creation

DEMO_SIZE_WH = (640, 480)
_ROUNDS = 10
# Different pictures, so that no branch and no cache knows them; few, so that they take little memory.
_KEPT_INPUTS = 32


@dataclass(frozen=True)
class BenchSettings:
    """What is measured.

    Attributes:
        webcam: Index of a camera.
        video: Path or address; without either, the demo's frames are measured.
        size_wh: Size the frames are brought to; None for the source's own, of the demo ``DEMO_SIZE_WH``.
        frame_count: How many frames each figure is taken from.
        explainer: Arguments of ``load_explainer``.
    """

    webcam: int | None = None
    video: str | None = None
    size_wh: tuple[int, int] | None = None
    frame_count: int = 200
    explainer: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.webcam is not None and self.video is not None:
            raise SettingError("two sources; give a camera or a video, or neither for the demo's frames")
        if self.frame_count < 2:
            raise SettingError(f"{self.frame_count} frames give no rate; give 2 or more")
        if self.size_wh is not None and not all(16 <= side <= 8192 for side in self.size_wh):
            raise SettingError(f"size {self.size_wh} is out of range; give 16 to 8192 pixels a side")


@dataclass(frozen=True)
class BenchResult:
    """What was measured.

    Attributes:
        report: The figures of ``--json``.
        forward: The bare network.
        explain: The one pass, predictions included.
    """

    report: dict[str, Any]
    forward: Timings
    explain: Timings


def run_bench(
    settings: BenchSettings,
    on_line: Callable[[str], None] = lambda line: None,
    on_progress: Progress = lambda what, done, total: None,
) -> BenchResult:
    """Measures a model on a source, without a window and without a file.

    Args:
        settings: What is measured.
        on_line: Called with a line about what is being built.
        on_progress: See ``measuring.Progress``.

    Raises:
        LiveCamError: The source or the model cannot be used.
    """
    renderer = Renderer(RenderSettings())
    with ExitStack() as stack:
        source = stack.enter_context(_opened(settings))
        first = _read(source)
        explainer = load_explainer(**settings.explainer, check_image=first.image, on_build=on_line)
        renderer.draw(first, explainer.explain(first.image))
        first_frame_seconds = seconds_since_process_creation()
        if settings.webcam is None and settings.video is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="livecam-")))
            recording = recorded_demo(folder, settings.size_wh or DEMO_SIZE_WH, on_progress)
            source = stack.enter_context(LoopedSource(lambda: open_source(video=recording)))
        inputs = _network_inputs(explainer, first, source, min(settings.frame_count, _KEPT_INPUTS))
        passes = {
            "plain forward": timed(lambda index: explainer.forward_input(inputs[index % len(inputs)])),
            "forward + heatmap": timed(lambda index: explainer.explain_input(inputs[index % len(inputs)])),
        }
        forward, explain = interleaved(passes, settings.frame_count, _ROUNDS, on_progress).values()
        end_to_end = _end_to_end(source, explainer, renderer, settings.frame_count, on_progress)
    report = {
        **_about(explainer, settings, source),
        "forward_ms": forward.summary_ms(),
        "explain_ms": explain.summary_ms(),
        "end_to_end": end_to_end,
        "first_frame_seconds": rounded(first_frame_seconds),
        "peak_rss_mb": rounded(peak_rss_mb(), 1),
        "tensorflow_imported": "tensorflow" in sys.modules,
    }
    return BenchResult(report, forward, explain)


def recorded_demo(
    folder: Path,
    size_wh: tuple[int, int],
    on_progress: Progress = lambda what, done, total: None,
    rounds: int = 1,
) -> Path:
    """The demo's frames at that size, so many times over, as an H.264 file: reading them means decoding."""
    from live_cam.sinks.video import VideoSink
    from live_cam.sources.demo import FRAME_COUNT, DemoSource

    path = folder / "demo.mp4"
    nothing = Explanation((), Prediction(0, "", None, 0.0), np.zeros((1, 1), np.float32))
    with _Resized(LoopedSource(DemoSource), size_wh) as demo, VideoSink(path, size_wh, demo.rate) as sink:
        for number in range(rounds * FRAME_COUNT):
            frame = _read(demo)
            sink.write(Result(frame, nothing, frame))
            on_progress("recording the demo", number + 1, rounds * FRAME_COUNT)
        sink.finish()
    return path


class _Resized(ClosedByWith):
    """Another source with its images brought to one size."""

    def __init__(self, source: Source, size_wh: tuple[int, int]) -> None:
        self._source = source
        self.name, self.rate = source.name, source.rate
        self.size_wh = size_wh
        self.frame_count_estimate, self.duration_seconds = source.frame_count_estimate, source.duration_seconds
        self.is_live, self.is_still = source.is_live, source.is_still

    def read(self) -> Frame | None:
        frame = self._source.read()
        if frame is None or (frame.image.shape[1], frame.image.shape[0]) == self.size_wh:
            return frame
        return replace(frame, image=cv2.resize(frame.image, self.size_wh, interpolation=cv2.INTER_LINEAR))

    def close(self) -> None:
        self._source.close()


def _opened(settings: BenchSettings) -> Source:
    def open_again() -> Source:
        return open_source(webcam=settings.webcam, video=settings.video)

    source = LoopedSource(open_again)
    is_demo = settings.webcam is None and settings.video is None
    size_wh = settings.size_wh or (DEMO_SIZE_WH if is_demo else None)
    return source if size_wh is None else _Resized(source, size_wh)


def _read(source: Source) -> Frame:
    frame = source.read()
    if frame is None:
        raise SourceError(f"{source.name} gave no frame; is it in use elsewhere?")
    return frame


def _network_inputs(explainer: Explainer, first: Frame, source: Source, count: int) -> list[NetworkInput]:
    def frames() -> Iterator[Frame]:
        yield first
        for _ in range(count - 1):
            yield _read(source)

    fitted = (explainer.preprocess(frame.image) for frame in frames())
    # Copied: the fitter writes the next frame into the same memory.
    return [replace(one, pixels=one.pixels.copy()) for one in fitted]


def _end_to_end(
    source: Source,
    explainer: Explainer,
    renderer: Renderer,
    frame_count: int,
    on_progress: Progress,
) -> dict[str, Any]:
    pipeline = Pipeline(
        source,
        lambda frame: explainer,
        renderer,
        sinks=[],
        max_frames=frame_count,
        explains_ahead=not source.is_live,
    )

    def tell(running: Pipeline) -> None:
        on_progress("end to end", running.meter.frames_explained, frame_count)

    run(pipeline, source, sinks=[], on_progress=tell)
    report = pipeline.meter.report()
    stages = {name: times for name, times in report["stage_ms"].items() if times["p50"] is not None}
    return {
        "fps": report["fps"],
        "latency_ms": report["latency_ms"],
        "stage_ms": stages,
        "cpu_ms_per_frame": rounded(1e3 * report["cpu_seconds"] / max(1, report["frames_explained"])),
    }


def _about(explainer: Explainer, settings: BenchSettings, source: Source) -> dict[str, Any]:
    threads = None
    if explainer.engine_name == "litert":
        from live_cam.engines.litert import usable_cores

        threads = settings.explainer.get("threads") or usable_cores()
    return {
        "machine": machine(),
        "versions": versions(),
        "model": explainer.model_name,
        "engine": explainer.engine_name,
        "threads": threads,
        "size_wh": list(source.size_wh),
    }
