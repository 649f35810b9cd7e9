"""Measures what livecam adds to the work that cannot be avoided: decoding, the bare network, encoding, one blend."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2  # before PyAV: Qt, which comes with it, hangs in its first window when PyAV's libraries were there first

# isort: split
import numpy as np
from camera import CameraProcess, LoopbackCamera, number_of
from measuring import (
    MemorySource,
    conditions,
    demo_images,
    markdown_table,
    median_ms,
    ratio_text,
    run_feed,
    write_section,
)

from live_cam import ModelExplainer, load_explainer
from live_cam.bench import record_demo
from live_cam.frame import Result
from live_cam.jobs.main_loop import MainLoop
from live_cam.jobs.outcome import JobContext, Progress
from live_cam.pipeline.feed import Feed, Subscription
from live_cam.pipeline.pipeline import Pipeline
from live_cam.pipeline.queues import LatestQueue
from live_cam.render.hud import Status
from live_cam.render.renderer import Renderer
from live_cam.settings import (
    FeedSettings,
    RenderSettings,
    RetrySettings,
    SourceSettings,
)
from live_cam.sinks.video.sink import VideoSink
from live_cam.sources.open import open_source
from live_cam.sources.protocol import Source
from live_cam.timing_harness import interleaved, timed
from live_cam.viewers.commands import Command
from live_cam.viewers.controls import Controls
from live_cam.viewers.explainer_switch import ExplainerSwitch
from live_cam.viewers.recorder import Recorder
from live_cam.viewers.screen import Screen
from live_cam.viewers.window import Window, display_problem

Row = tuple[str, str, str, str]
_CAMERA_FPS = 30
# So faint that black stays dark and white light: the number is read from the annotated image.
_FAINT = RenderSettings(opacity=0.3)
_LARGER_MODELS = {"VGG16": "caffe", "MobileNetV3Large": "raw", "ConvNeXtTiny": "raw"}


def end_to_end(options: argparse.Namespace, folder: Path) -> list[Row]:
    """Frames per second of the pipeline over those of the bare float network, with and without decoding H.264."""
    explainers = {precision: load_explainer(options.model, precision=precision) for precision in ("float", "int8")}
    images, video = demo_images((640, 480), 32), record_demo(folder, (640, 480))
    bare = explainers["float"]
    network_input = bare.preprocess(images[0])
    count = options.frames
    cpu_ms: dict[str, list[float]] = {}
    encoded = partial(open_source, SourceSettings(video=str(video), loop=True))

    def runs(name: str, explainer: ModelExplainer, open_frames: Callable[[], Source]) -> Callable[[int], float]:
        def run(index: int) -> float:
            started_seconds = time.process_time()
            seconds = count / _pipeline_fps(explainer, open_frames(), count)
            cpu_ms.setdefault(name, []).append(1e3 * (time.process_time() - started_seconds) / count)
            return seconds

        return run

    actions = {"bare": timed(lambda index: [bare.forward_input(network_input) for _ in range(count)])}
    for precision, explainer in explainers.items():
        actions[precision] = runs(precision, explainer, lambda: MemorySource(images, count))
        actions[f"{precision}, decoding"] = runs(f"{precision}, decoding", explainer, encoded)
    timings = interleaved(actions, options.rounds, options.rounds)
    fps = {name: f"{1e3 * count / median_ms(timing):.0f} fps" for name, timing in timings.items()}

    def row(figure: str, name: str, other: str, goal: str) -> Row:
        return figure, ratio_text(timings[other].ratios_to(timings[name])), goal, f"{fps[name]} over {fps[other]}"

    # A file's frames are explained by a thread each.
    alone = load_explainer(options.model, threads=1)
    alone.explain_input(network_input)
    network_ms = median_ms(interleaved({"": timed(lambda index: alone.explain_input(network_input))}, 60, 1)[""])
    beside_ms = float(np.median(cpu_ms["float, decoding"])) - network_ms
    return [
        row("640x480 with decoding: fps over the bare network's", "float, decoding", "bare", ">= 0.74"),
        row("the same, int8, over the bare float network's", "int8, decoding", "bare", ">= 1.0"),
        row("640x480 without decoding: fps over the bare network's", "float", "bare", ">= 0.85"),
        row("the same, int8 over float", "int8", "float", ">= 1.15"),
        ("CPU ms a frame beside the network, with decoding", f"{beside_ms:.1f}", "<= 2.6", f"network {network_ms:.1f}"),
    ]


def _pipeline_fps(explainer: ModelExplainer, source: Source, count: int) -> float:
    feed = Feed(source, max_frames=count)
    run_feed(feed, explainer)
    return feed.stats.report()["fps_drawn"] or float("nan")


class _WatchedWindow(Window):
    """A window that notes when each numbered image was painted: when its events had been handled."""

    def __init__(self) -> None:
        super().__init__("livecam", os.environ)
        self.seconds: dict[int, float] = {}
        self._unpainted: int | None = None

    def show(self, image: np.ndarray, status: Status) -> None:
        super().show(image, status)
        self._unpainted = number_of(image)

    def poll(self, seconds: float) -> list[Command]:
        commands = super().poll(seconds)
        if self._unpainted is not None:
            self.seconds.setdefault(self._unpainted, time.monotonic())
            self._unpainted = None
        return commands


def camera(options: argparse.Namespace, folder: Path) -> list[Row]:
    """Time from when a camera sends an image until it is drawn with its heatmap, and until it is shown."""
    window = None if display_problem(os.environ) else _WatchedWindow()
    explainer = load_explainer(options.model)
    # Many more than are explained: a busy machine leaves some out.
    sender = LoopbackCamera.of_images(4 * demo_images((640, 480), options.frames), _CAMERA_FPS)
    drawn_seconds: dict[int, float] = {}

    def note(result: Result) -> None:
        drawn_seconds.setdefault(number_of(result.image), time.monotonic())

    pipeline = Pipeline(lambda frame: explainer)
    try:
        source = open_source(SourceSettings(video=sender.url, retry=RetrySettings(0)))
        feed = Feed(source, FeedSettings(render=_FAINT), max_frames=max(1, options.frames * 3 // 4))
        feed.subscribe(Subscription(LatestQueue(), note))
        screen = None
        if window is not None:
            switch = ExplainerSwitch(pipeline, lambda choice: explainer)
            controls = Controls(pipeline, feed, window, Recorder(feed, folder), switch)
            screen = Screen(pipeline, feed, window, controls, is_paced=False)
        MainLoop(pipeline, feed, screen, JobContext(), Progress).run()
    finally:
        pipeline.close()
        sender.close()
        if window is not None:
            window.close()
    rows = [_delay("camera to overlay", "-", sender, drawn_seconds)]
    if window is not None:
        rows.append(_delay("camera to shown frame", "p95 60 ms", sender, window.seconds))
    return rows


def rtsp(options: argparse.Namespace, folder: Path) -> list[Row]:
    """Time from when a frame of a camera (H.264 over RTSP) was decoded until its annotated frame is written as MP4."""
    explainer = load_explainer(options.model)
    ages_ms: list[float] = []
    delays_ms: list[float] = []
    count = max(2 * _CAMERA_FPS, options.frames)
    with CameraProcess(_CAMERA_FPS, "--rtsp") as sender:
        feed = Feed(open_source(SourceSettings(video=sender.url, retry=RetrySettings(0))), max_frames=count)
        sink = VideoSink(folder / "camera.mp4", feed.source.size_wh, None)

        def note(result: Result) -> None:
            taken_seconds = sender.first_seconds + number_of(result.explained_frame.image) / _CAMERA_FPS
            ages_ms.append(1e3 * (time.monotonic() - taken_seconds))
            delays_ms.append(1e3 * (time.monotonic() - result.frame.captured_seconds))

        feed.add_writer([sink], note)
        pipeline = Pipeline(lambda frame: explainer)
        try:
            pipeline.add(feed)
            feed.join()
        finally:
            pipeline.close()
    # In the first second the stream is opened.
    p50, p95 = np.percentile(delays_ms[_CAMERA_FPS:], [50, 95])
    age_ms = np.median(ages_ms[_CAMERA_FPS:])
    detail = f"p50 {p50:.1f} ms (goal 7); from the camera on {age_ms:.1f} ms, because ffmpeg waits for the next frame"
    return [("30 fps RTSP, 640x480: frame to written frame, p95", f"{p95:.1f} ms", "<= 11 ms", detail)]


def _delay(name: str, goal: str, sender: LoopbackCamera, seconds: dict[int, float]) -> Row:
    # In the first second the stream is opened.
    delays_ms = [
        1e3 * (seen - sender.sent_seconds[number])
        for number, seen in seconds.items()
        if number >= _CAMERA_FPS and number in sender.sent_seconds
    ]
    p50, p95 = np.percentile(delays_ms, [50, 95])
    detail = f"p95 {p95:.0f} ms; JPEG over HTTP on loopback, {_CAMERA_FPS} fps, 640x480, {len(delays_ms)} frames"
    return (name, f"{p50:.0f} ms", goal, detail)


def drawing(options: argparse.Namespace, folder: Path) -> list[Row]:
    """Time of overlay and caption at 1080p over that of one ``cv2.addWeighted`` of two frames of that size."""
    explainer = load_explainer(options.model)
    images = demo_images((1920, 1080), 8)
    renderer = Renderer(RenderSettings())
    explanations = [explainer.explain(image) for image in images]
    other = images[-1].copy()
    actions = {
        "addWeighted": timed(lambda index: cv2.addWeighted(images[index % 8], 0.6, other, 0.4, 0)),
        "livecam": timed(
            # As for a file, whose frames nobody needs afterwards.
            lambda index: renderer.draw(images[index % 8], explanations[index % 8], in_place=True),
        ),
    }
    timings = interleaved(actions, options.frames, options.rounds)
    ratio = ratio_text(timings["livecam"].ratios_to(timings["addWeighted"]))
    detail = f"{median_ms(timings['livecam']):.1f} ms over {median_ms(timings['addWeighted']):.1f} ms"
    return [("1080p overlay and caption over cv2.addWeighted", ratio, "<= 1.5", detail)]


def start(options: argparse.Namespace, folder: Path) -> list[Row]:
    """Start and memory of whole runs in fresh processes, with a warm cache."""
    photograph = folder / "photograph.png"
    cv2.imwrite(str(photograph), demo_images((640, 480), 1)[0])
    video = record_demo(folder, (640, 480))
    first_seconds, video_mb, tensorflow = _fresh_runs(options, folder, video, "--max-frames", "60")
    _, photograph_mb, _ = _fresh_runs(options, folder, photograph)
    bench_mb = [_bench_peak_mb(options, folder / "bench.json") for _ in range(options.rounds)]
    spread = f"{min(first_seconds):.2f} to {max(first_seconds):.2f} s in {len(first_seconds)} runs; "
    spread += f"TensorFlow {'' if tensorflow else 'not '}imported"
    return [
        ("first annotated frame from process start", f"{np.median(first_seconds):.2f} s", "<= 0.45 s", spread),
        ("peak memory, photograph into a file", f"{np.median(photograph_mb):.0f} MB", "<= 140 MB", "-"),
        ("peak memory, 640x480 into a file", f"{np.median(video_mb):.0f} MB", "<= 200 MB", "-"),
        ("peak memory, bench", f"{np.median(bench_mb):.0f} MB", "<= 250 MB", "-"),
    ]


def _fresh_runs(
    options: argparse.Namespace, folder: Path, source: Path, *arguments: str
) -> tuple[list[float], list[float], bool]:
    """Annotates a file several times; returns seconds to the first frame, peak MB, whether TensorFlow was loaded."""
    report = folder / "report.json"
    command = [sys.executable, "-m", "live_cam", source, "--output", folder / f"annotated{source.suffix}"]
    command += ["--overwrite", "--quiet", "--report", report, "--model", options.model, *arguments]
    reports = []
    for _ in range(options.rounds + 1):
        subprocess.run(command, check=True)
        reports.append(json.loads(report.read_text(encoding="utf-8")))
    # The first run fills livecam's cache and the disk's.
    reports = reports[1:]
    return (
        [report["first_frame_seconds"] for report in reports],
        [report["peak_rss_mb"] or float("nan") for report in reports],
        any(report["tensorflow_imported"] for report in reports),
    )


def _bench_peak_mb(options: argparse.Namespace, report: Path) -> float:
    command = [sys.executable, "-m", "live_cam", "bench", "--json", report, "--overwrite", "--model", options.model]
    subprocess.run(command, check=True, capture_output=True)
    return json.loads(report.read_text(encoding="utf-8"))["peak_rss_mb"] or float("nan")


def heatmap(options: argparse.Namespace, folder: Path) -> list[Row]:
    """Time of forward pass and heatmap in one call over that of the plain forward pass, without preprocessing."""
    rows = []
    for name in [options.model, "mobilenetv2", *(_LARGER_MODELS if options.all else ())]:
        print(f"heatmap of {name}", file=sys.stderr)
        explainer = _explainer(name)
        network_input = explainer.preprocess(demo_images((640, 480), 1)[0])
        actions = {
            "forward": timed(lambda index: explainer.forward_input(network_input)),  # noqa: B023 - called in this iteration
            "explain": timed(lambda index: explainer.explain_input(network_input)),  # noqa: B023
        }
        timings = interleaved(actions, options.frames, options.rounds)
        detail = f"{median_ms(timings['explain']):.1f} ms over {median_ms(timings['forward']):.1f} ms"
        detail += f", {explainer.engine_name}, {explainer.info.layer}"
        ratio = ratio_text(timings["explain"].ratios_to(timings["forward"]))
        rows.append(
            (
                f"{name}: forward and heatmap over plain forward",
                ratio,
                "1.25" if name in _LARGER_MODELS else "1.05",
                detail,
            )
        )
    return rows


def _explainer(name: str) -> ModelExplainer:
    if name not in _LARGER_MODELS and name != "mobilenetv2":
        return load_explainer(name)
    # With random weights the time is the same, and nothing is downloaded.
    import keras

    keras.utils.set_random_seed(0)
    preprocess = _LARGER_MODELS.get(name, "tf")
    build = getattr(keras.applications, _BUILDERS.get(name, name))
    return load_explainer(build(weights=None, input_shape=(224, 224, 3)), preprocess=preprocess)


_BUILDERS = {"mobilenetv2": "MobileNetV2"}
# "heatmap" is last, because it loads TensorFlow; the others run without it.
PARTS = {
    "start": start,
    "end-to-end": end_to_end,
    "camera": camera,
    "rtsp": rtsp,
    "drawing": drawing,
    "heatmap": heatmap,
}


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--all", action="store_true", help="also measure larger models; VGG16 takes minutes to convert")
    parser.add_argument("--no-write", action="store_true", help="do not change RESULTS.md")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; give one of {', '.join(PARTS)}")
    return options


def main() -> None:
    """Prints the table of each part and writes it into the results."""
    options = _parsed()
    for name in PARTS:
        if options.parts and name not in options.parts:
            continue
        print(f"measuring {name}", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="livecam-") as folder:
            rows = PARTS[name](options, Path(folder))
        table = markdown_table(["figure", "measured", "goal", "detail"], rows)
        print(table, flush=True)
        if not options.no_write:
            write_section(
                f"pipeline.py {name}", f"## {name} (pipeline.py)\n\n{PARTS[name].__doc__}\n\n{table}\n\n{conditions()}"
            )


if __name__ == "__main__":
    main()
