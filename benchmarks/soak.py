"""Runs the pipeline for many frames; memory, threads, open files, traces and the age of live images must not grow."""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from camera import CameraProcess, number_of
from measuring import MemorySource, conditions, demo_images, markdown_table, run_feed, write_section

from live_cam import Explainer, load_explainer
from live_cam.frame import Result
from live_cam.jobs.outcome import JobContext, Progress
from live_cam.pipeline.feed import Feed, Subscription
from live_cam.pipeline.queues import LatestQueue
from live_cam.settings import SourceSettings
from live_cam.sources.open import open_source

_SIZE_WH = (160, 120)
_CAMERA_FPS = 30
_LIVE_SAMPLES = 20


@dataclass(frozen=True)
class Usage:
    """What the process holds.

    Attributes:
        memory_mb: Resident memory in MB (10^6 bytes).
        threads: Number of Python threads.
        files: Number of open files.
    """

    memory_mb: float
    threads: int
    files: int


@dataclass
class _LiveWatch:
    """Notes the usage and the age of the images at regular intervals of a live run.

    Attributes:
        sent_first_seconds: The monotonic clock's reading when the camera's first image was due.
        duration_seconds: Length of the run.
        camera_fps: Images a second.
        usages: One at the end of each interval.
        ages_ms: The ages of the results in each interval.
    """

    sent_first_seconds: float
    duration_seconds: float
    camera_fps: float
    usages: list[Usage] = field(default_factory=list)
    ages_ms: list[list[float]] = field(default_factory=lambda: [[]])
    _started_seconds: float = 0.0

    def add(self, result: Result) -> None:
        """Notes a result."""
        now_seconds = time.monotonic()
        self._started_seconds = self._started_seconds or now_seconds
        sent_seconds = self.sent_first_seconds + number_of(result.frame.image) / self.camera_fps
        self.ages_ms[-1].append(1e3 * (now_seconds - sent_seconds))
        if now_seconds - self._started_seconds > (len(self.usages) + 1) * self.duration_seconds / _LIVE_SAMPLES:
            self.usages.append(usage())
            self.ages_ms.append([])

    @property
    def is_over(self) -> bool:
        """Whether all intervals have ended."""
        return len(self.usages) >= _LIVE_SAMPLES


def usage() -> Usage:
    """Returns what this process holds now; on Linux only."""
    gc.collect()
    resident_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    memory_mb = resident_pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    return Usage(memory_mb, threading.active_count(), len(list(Path("/proc/self/fd").iterdir())))


def run_many_frames(explainer: Explainer, frame_count: int) -> tuple[Usage, Usage, float]:
    """Explains and draws many frames; returns the usage early and at the end, and the frames per second."""
    at_counts = (min(1000, frame_count // 4), frame_count)
    usages: list[Usage] = []
    feed = Feed(MemorySource(demo_images(_SIZE_WH, 32), frame_count))

    def watch(result: Result) -> None:
        if result.frame.index + 1 in at_counts:
            usages.append(usage())

    def show(progress: Progress) -> None:
        if sys.stderr.isatty():
            print(f"\r{feed.stats.frames_explained} of {frame_count}", end="", file=sys.stderr)

    feed.subscribe(Subscription(LatestQueue(), watch))
    run_feed(feed, explainer, JobContext(on_progress=show))
    early, late = usages
    return early, late, feed.stats.fps or 0.0


def run_camera(
    explainer: Explainer, seconds: float, camera_fps: float = _CAMERA_FPS
) -> tuple[list[Usage], list[float], Feed]:
    """Explains and draws a camera, which runs in its own process, for that long.

    Returns:
        For each twentieth of the time the usage, and the median age of the results in milliseconds; and the feed.
    """
    with CameraProcess(camera_fps) as camera:
        watch = _LiveWatch(camera.first_seconds, seconds, camera_fps)
        feed = Feed(open_source(SourceSettings(video=camera.url)))
        feed.subscribe(Subscription(LatestQueue(), watch.add))
        stop = threading.Event()

        def stop_in_time(progress: Progress) -> None:
            if watch.is_over:
                stop.set()

        run_feed(feed, explainer, JobContext(on_progress=stop_in_time, stop=stop))
    return watch.usages[:_LIVE_SAMPLES], [statistics.median(ages) for ages in watch.ages_ms[:_LIVE_SAMPLES]], feed


def _live_table(seconds: float, measured: tuple[list[Usage], list[float], Feed]) -> str:
    # The first tenth is the warm-up.
    (_, _, early, *_, late), ages_ms, feed = measured
    growth = 100 * (late.memory_mb / early.memory_mb - 1)
    row = [
        f"{seconds / 60:.1f} min, {feed.stats.fps or 0:.1f} fps, {feed.stats.frames_dropped} dropped",
        f"{early.memory_mb:.1f} to {late.memory_mb:.1f} MB ({growth:+.2f} %)",
        f"{early.threads} to {late.threads}",
        f"{early.files} to {late.files}",
        f"{ages_ms[2]:.1f} to {ages_ms[-1]:.1f} ms (at most {max(ages_ms[2:]):.1f})",
    ]
    return markdown_table(["frames", "memory", "threads", "open files", "median age of an annotated image"], [row])


def _soak_live(options: argparse.Namespace) -> None:
    table = _live_table(options.live, run_camera(load_explainer(options.model), options.live))
    print(f"\n{table}")
    if not options.no_write:
        heading = (
            f"## A camera for a long time (soak.py --live)\n\nMJPEG over HTTP, 640x480, {_CAMERA_FPS} fps, drawn but "
            "not written; from the third twentieth of the time to the last. Goal: memory grows by less than 1 %, the "
            "rest does not grow."
        )
        write_section("soak.py --live", f"{heading}\n\n{table}\n\n{conditions()}")


def _row(engine: str, frame_count: int, traces: str, measured: tuple[Usage, Usage, float]) -> list[str]:
    early, late, fps = measured
    growth = 100 * (late.memory_mb / early.memory_mb - 1)
    return [
        engine,
        f"{frame_count}, {fps:.0f} fps",
        f"{early.memory_mb:.1f} to {late.memory_mb:.1f} MB ({growth:+.2f} %)",
        f"{early.threads} to {late.threads}",
        f"{early.files} to {late.files}",
        traces,
    ]


def _traced_explainer(model: str) -> tuple[Explainer, list]:
    """Returns an explainer on TensorFlow, and the grad-models that were made for it."""
    from live_cam.gradmodel import grad_model

    made: list[grad_model.GradModel] = []

    class NotedGradModel(grad_model.GradModel):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)
            made.append(self)

    original, grad_model.GradModel = grad_model.GradModel, NotedGradModel
    try:
        return load_explainer(model, engine="tensorflow"), made
    finally:
        grad_model.GradModel = original


def main() -> None:
    """Prints the table and writes it into the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument(
        "--tensorflow-frames",
        type=int,
        default=2_000,
        help="frames for the TensorFlow engine (default: 2000; 0: it is not measured)",
    )
    parser.add_argument("--live", type=float, metavar="SECONDS", help="run a camera for that long instead")
    parser.add_argument("--no-write", action="store_true", help="do not change RESULTS.md")
    options = parser.parse_args()
    if options.live is not None:
        _soak_live(options)
        return
    rows = [_row("LiteRT", options.frames, "-", run_many_frames(load_explainer(options.model), options.frames))]
    if options.tensorflow_frames:
        explainer, grad_models = _traced_explainer(options.model)
        measured = run_many_frames(explainer, options.tensorflow_frames)
        traces = str(sum(grad_model.trace_count for grad_model in grad_models))
        rows.append(_row("TensorFlow", options.tensorflow_frames, traces, measured))
    header = ["engine", "frames", "memory, from frame 1000 to the end", "threads", "open files", "traces"]
    table = markdown_table(header, rows)
    print(f"\n{table}")
    if not options.no_write:
        width, height = _SIZE_WH
        heading = (
            f"## Many frames (soak.py)\n\nAt {width}x{height}, drawn but not written. Goal: memory grows by less than "
            "1 %, one trace."
        )
        write_section("soak.py", f"{heading}\n\n{table}\n\n{conditions()}")


if __name__ == "__main__":
    main()
