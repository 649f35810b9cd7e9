"""Many frames through the pipeline: memory, threads, file handles, traces, age of live pictures: none may grow."""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from camera import number_of
from measuring import MemorySource, conditions, demo_images, markdown_table, write_section

from live_cam import Explainer, load_explainer
from live_cam.frame import Result
from live_cam.render.views import Renderer, RenderSettings
from live_cam.run.pipeline import Pipeline
from live_cam.run.running import run
from live_cam.sources import open_source

_SIZE_WH = (160, 120)
_CAMERA_FPS = 30
_LIVE_SAMPLES = 20


@dataclass(frozen=True)
class Usage:
    """What the process holds: memory in MB, threads, open files."""

    memory_mb: float
    threads: int
    files: int


@dataclass
class _Watch:
    """A sink that looks at the process at some frames."""

    at_frames: tuple[int, ...]
    seen: list[Usage] = field(default_factory=list)
    path: Path = Path("watch")
    partial_path: Path = Path("watch")

    def write(self, result: Result) -> None:
        if result.frame.index + 1 in self.at_frames:
            self.seen.append(usage())

    def finish(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing is held."""


@dataclass
class _LiveWatch:
    """A sink that looks at the process, and at the age of the pictures, at even distances; it ends the run."""

    sent_first_seconds: float
    lasts_seconds: float
    seen: list[Usage] = field(default_factory=list)
    ages_ms: list[list[float]] = field(default_factory=lambda: [[]])
    path: Path = Path("watch")
    partial_path: Path = Path("watch")
    started_seconds: float = 0.0

    def write(self, result: Result) -> None:
        now_seconds = time.monotonic()
        self.started_seconds = self.started_seconds or now_seconds
        sent_seconds = self.sent_first_seconds + number_of(result.frame.image) / _CAMERA_FPS
        self.ages_ms[-1].append(1e3 * (now_seconds - sent_seconds))
        if now_seconds - self.started_seconds > (len(self.seen) + 1) * self.lasts_seconds / _LIVE_SAMPLES:
            self.seen.append(usage())
            self.ages_ms.append([])

    @property
    def is_over(self) -> bool:
        return len(self.seen) == _LIVE_SAMPLES

    def finish(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing is held."""


def usage() -> Usage:
    """Of this process, now; Linux only."""
    gc.collect()
    resident_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    memory_mb = resident_pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    return Usage(memory_mb, threading.active_count(), len(list(Path("/proc/self/fd").iterdir())))


def soaked(explainer: Explainer, frame_count: int) -> tuple[Usage, Usage, float]:
    """Usage early and at the end, and the frames a second between the first and the last."""
    early = min(1000, frame_count // 4)
    watch = _Watch((early, frame_count))
    source = MemorySource(demo_images(_SIZE_WH, 32), frame_count)
    pipeline = Pipeline(source, lambda frame: explainer, Renderer(RenderSettings()), [watch], explains_ahead=True)
    run(pipeline, source, [watch], on_progress=lambda running: _tell(running, frame_count))
    return watch.seen[0], watch.seen[1], pipeline.meter.fps or 0.0


def soaked_live(explainer: Explainer, seconds: float) -> tuple[list[Usage], list[float], Pipeline]:
    """A camera, in a process of its own, for so long.

    Returns:
        Usage, and the median age of the drawn pictures in ms, in each twentieth of the time; and the pipeline.
    """
    command = [sys.executable, str(Path(__file__).with_name("camera.py")), str(_CAMERA_FPS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as camera:
        url, sent_first_seconds = camera.stdout.readline().split()  # type: ignore[union-attr]
        watch = _LiveWatch(float(sent_first_seconds), seconds)
        source = open_source(video=url)
        pipeline = Pipeline(source, lambda frame: explainer, Renderer(RenderSettings()), [watch])

        def end_in_time(running: Pipeline) -> None:
            if watch.is_over:
                raise KeyboardInterrupt

        run(pipeline, source, [watch], on_progress=end_in_time)
        camera.stdin.close()  # type: ignore[union-attr]
    return watch.seen, [statistics.median(ages) for ages in watch.ages_ms[:_LIVE_SAMPLES]], pipeline


def _live_table(seconds: float, measured: tuple[list[Usage], list[float], Pipeline]) -> str:
    # The first tenth warms up.
    (_, _, early, *_, late), ages_ms, pipeline = measured
    growth = 100 * (late.memory_mb / early.memory_mb - 1)
    row = [
        f"{seconds / 60:.1f} min, {pipeline.meter.fps or 0:.1f} fps, {pipeline.meter.frames_dropped} dropped",
        f"{early.memory_mb:.1f} to {late.memory_mb:.1f} MB ({growth:+.2f} %)",
        f"{early.threads} to {late.threads}",
        f"{early.files} to {late.files}",
        f"{ages_ms[2]:.1f} to {ages_ms[-1]:.1f} ms (most {max(ages_ms[2:]):.1f})",
    ]
    return markdown_table(["frames", "memory", "threads", "open files", "age of a drawn picture, median"], [row])


def _soak_live(options: argparse.Namespace) -> None:
    table = _live_table(options.live, soaked_live(load_explainer(options.model), options.live))
    print(f"\n{table}")
    if not options.no_write:
        heading = (
            f"## A camera for long (soak.py --live)\n\nMJPEG over HTTP, 640x480, {_CAMERA_FPS} fps, drawn, not "
            "written; from the third twentieth of the time to the last. Goal: memory within 1 %, the rest constant."
        )
        write_section("soak.py --live", f"{heading}\n\n{table}\n\n{conditions()}")


def _tell(pipeline: Pipeline, frame_count: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{pipeline.meter.frames_explained} of {frame_count}", end="", file=sys.stderr)


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
    """An explainer on TensorFlow, and the list of the grad-models that were made for it."""
    from live_cam.one_pass import gradmodel

    made: list[gradmodel.GradModel] = []

    class Kept(gradmodel.GradModel):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)
            made.append(self)

    original, gradmodel.GradModel = gradmodel.GradModel, Kept
    try:
        return load_explainer(model, engine="tensorflow"), made
    finally:
        gradmodel.GradModel = original


def main() -> None:
    """Prints the table and writes it into the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--tensorflow-frames", type=int, default=2_000, help="0: leave that engine out")
    parser.add_argument(
        "--live", type=float, metavar="SECONDS", help="instead: a camera for so long; 1800 is the half hour"
    )
    parser.add_argument("--no-write", action="store_true", help="leave RESULTS.md alone")
    options = parser.parse_args()
    if options.live is not None:
        _soak_live(options)
        return
    rows = [_row("LiteRT", options.frames, "-", soaked(load_explainer(options.model), options.frames))]
    if options.tensorflow_frames:
        explainer, grad_models = _traced_explainer(options.model)
        measured = soaked(explainer, options.tensorflow_frames)
        traces = str(sum(one.trace_count for one in grad_models))
        rows.append(_row("TensorFlow", options.tensorflow_frames, traces, measured))
    header = ["engine", "frames", "memory, frame 1000 to the end", "threads", "open files", "traces"]
    table = markdown_table(header, rows)
    print(f"\n{table}")
    if not options.no_write:
        width, height = _SIZE_WH
        heading = (
            f"## Many frames (soak.py)\n\nAt {width}x{height}, drawn, not written. Goal: less than 1 %, one trace."
        )
        write_section("soak.py", f"{heading}\n\n{table}\n\n{conditions()}")


if __name__ == "__main__":
    main()
