"""Measures livecam's speed on this machine: the bare network, with the heatmap, a whole file, and a camera's frames."""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from live_cam.errors import SourceError
from live_cam.explain.load import build_explainer
from live_cam.frame import Frame
from live_cam.pipeline.feed import Feed, Subscription
from live_cam.pipeline.pipeline import Pipeline
from live_cam.pipeline.queues import LatestQueue
from live_cam.pipeline.stats import peak_rss_mb, rounded, seconds_since_process_creation
from live_cam.render.renderer import Renderer
from live_cam.settings import BenchSettings, RenderSettings, SourceSettings
from live_cam.sources.open import open_source
from live_cam.sources.push import PushSource
from live_cam.sources.wrappers import ResizedSource
from live_cam.timing_harness import Progress, Timings, interleaved, machine, timed, versions

if TYPE_CHECKING:
    from live_cam.explain.explainer import ModelExplainer, NetworkInput
    from live_cam.sources.protocol import Source

DEMO_SIZE_WH = (640, 480)
# A usual webcam's.
CAMERA_FPS = 30
# Fewer frames give no rate; a slow network explains few of those that a camera gives.
_LEAST_EXPLAINED = 2
_ROUNDS = 10
# Different inputs, so that no branch and no cache knows them; few, so that they take little memory.
_KEPT_INPUTS = 32


@dataclass(frozen=True)
class BenchResult:
    """Results of a benchmark.

    Attributes:
        report: The figures of ``--json``.
        forward: Timings of the bare network.
        explain: Timings of predictions and heatmap in one call.
        int8: How int8 compares with float, in one line; empty if it was not tried.
    """

    report: dict[str, Any]
    forward: Timings
    explain: Timings
    int8: str = ""


def run_bench(
    settings: BenchSettings,
    on_line: Callable[[str], None] = lambda line: None,
    on_progress: Progress = lambda what, done, total: None,
) -> BenchResult:
    """Measures a model on a source, without a window and without files.

    Args:
        settings: What is measured.
        on_line: Called with a line before anything takes long.
        on_progress: See ``timing_harness.Progress``.

    Raises:
        LiveCamError: The source or the model cannot be used.
    """
    renderer = Renderer(RenderSettings())
    with ExitStack() as stack:
        source = stack.enter_context(_open(settings))
        first = _read(source)
        explainer = build_explainer(settings.explainer, first.image, on_line, on_line)
        explanation = explainer.explain_input(explainer.preprocess(first.image))
        renderer.draw(first.image, explanation)
        first_frame_seconds = seconds_since_process_creation()
        if settings.source.is_demo:
            source.close()
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="livecam-")))
            recording = record_demo(folder, settings.size_wh or DEMO_SIZE_WH, on_progress)
            source = stack.enter_context(open_source(SourceSettings(video=str(recording), loop=True)))
        inputs = _network_inputs(explainer, first, source, min(settings.frame_count, _KEPT_INPUTS))
        calls = {
            "plain forward": timed(lambda index: explainer.forward_input(inputs[index % len(inputs)])),
            "forward + heatmap": timed(lambda index: explainer.explain_input(inputs[index % len(inputs)])),
        }
        forward, explain = interleaved(calls, settings.frame_count, _ROUNDS, on_progress).values()
        # What is measured from a camera is live already.
        live = None if source.is_live else _live(source, explainer, settings.frame_count, on_progress)
        end_to_end = _end_to_end(source, explainer, settings.frame_count, on_progress)
    report = {
        **_metadata(explainer, settings, source),
        "forward_ms": forward.summary_ms(),
        "explain_ms": explain.summary_ms(),
        "end_to_end": end_to_end,
        "live": live or {"camera_fps": None, **end_to_end},
        "first_frame_seconds": rounded(first_frame_seconds),
        "peak_rss_mb": rounded(peak_rss_mb(), 1),
        "tensorflow_imported": "tensorflow" in sys.modules,
        "int8": explainer.info.int8_figures(),
    }
    return BenchResult(report, forward, explain, explainer.info.int8_summary)


def record_demo(
    folder: Path,
    size_wh: tuple[int, int],
    on_progress: Progress = lambda what, done, total: None,
    rounds: int = 1,
) -> Path:
    """Records the demo as an H.264 file, so that reading its frames means decoding.

    Args:
        folder: Where ``demo.mp4`` is written.
        size_wh: Width and height of the frames; an odd side grows by one pixel, as H.264 needs.
        on_progress: See ``timing_harness.Progress``.
        rounds: How many times in a row the demo is recorded.
    """
    from live_cam.sinks.video.codecs import video_format
    from live_cam.sinks.video.encoder import VideoEncoder
    from live_cam.sources.demo import FRAME_COUNT

    path = folder / "demo.mp4"
    with ResizedSource(open_source(SourceSettings(loop=True)), size_wh) as demo:
        even_size_wh = (size_wh[0] + size_wh[0] % 2, size_wh[1] + size_wh[1] % 2)
        with closing(VideoEncoder(path, video_format(path), even_size_wh, demo.rate)) as encoder:
            for number in range(rounds * FRAME_COUNT):
                frame = _read(demo)
                encoder.add(frame.image, frame.time_seconds)
                on_progress("recording the demo", number + 1, rounds * FRAME_COUNT)
    return path


def _open(settings: BenchSettings) -> Source:
    source = open_source(replace(settings.source, loop=True) if settings.source.webcam is None else settings.source)
    size_wh = settings.size_wh or (DEMO_SIZE_WH if settings.source.is_demo else None)
    return source if size_wh is None else ResizedSource(source, size_wh)


def _read(source: Source) -> Frame:
    frame = source.read()
    if frame is None:
        raise SourceError(f"{source.name} gave no frame; does another program use it?")
    return frame


def _network_inputs(explainer: ModelExplainer, first: Frame, source: Source, count: int) -> list[NetworkInput]:
    images = [first.image, *(_read(source).image for _ in range(count - 1))]
    fitted = (explainer.preprocess(image) for image in images)
    # Copied: the next image is written into the same memory.
    return [replace(network_input, pixels=network_input.pixels.copy()) for network_input in fitted]


def _live(source: Source, explainer: ModelExplainer, frame_count: int, on_progress: Progress) -> dict[str, Any]:
    """Measures the live path: a source's frames come at a camera's pace, and only the newest is explained."""
    camera = PushSource(source.name, source.size_wh)
    feed = Feed(camera)
    feed.subscribe(Subscription(LatestQueue(), lambda result: result.image))
    pipeline = Pipeline(lambda frame: explainer)
    try:
        pipeline.add(feed)
        started_seconds = time.monotonic()
        for number in itertools.count():
            if not feed.is_running or (number >= frame_count and feed.stats.frames_explained >= _LEAST_EXPLAINED):
                break
            image = _read(source).image
            time.sleep(max(0.0, started_seconds + number / CAMERA_FPS - time.monotonic()))
            camera.push(image)
            on_progress("live", min(number + 1, frame_count), frame_count)
        pipeline.remove(feed)
        feed.raise_errors()
    finally:
        pipeline.close()
    return {"camera_fps": CAMERA_FPS, **_figures(feed)}


def _end_to_end(source: Source, explainer: ModelExplainer, frame_count: int, on_progress: Progress) -> dict[str, Any]:
    """Measures the pipeline from decoding to the annotated image; of a file, it explains several frames at once."""
    feed = Feed(source, max_frames=frame_count)
    feed.subscribe(Subscription(LatestQueue(), lambda result: result.image))
    pipeline = Pipeline(lambda frame: explainer, is_speculative=not source.is_live)
    try:
        pipeline.add(feed)
        while not feed.join(0.05):
            on_progress("end to end", feed.stats.frames_explained, frame_count)
        feed.raise_errors()
    finally:
        pipeline.close()
    return _figures(feed)


def _figures(feed: Feed) -> dict[str, Any]:
    report = feed.stats.report()
    stages = {name: times for name, times in report["stage_ms"].items() if times["p50"] is not None}
    return {
        "fps": report["fps"],
        "latency_ms": report["latency_ms"],
        "stage_ms": stages,
        "cpu_ms_per_frame": rounded(1e3 * report["cpu_seconds"] / max(1, report["frames_explained"])),
    }


def _metadata(explainer: ModelExplainer, settings: BenchSettings, source: Source) -> dict[str, Any]:
    threads = None
    if explainer.engine_name == "litert":
        from live_cam.engines.litert import usable_cores

        threads = settings.explainer.threads or usable_cores()
    return {
        "machine": machine(),
        "versions": versions(),
        "model": explainer.model_name,
        "engine": explainer.engine_name,
        "precision": explainer.precision,
        "threads": threads,
        "size_wh": list(source.size_wh),
    }
