"""What livecam adds to the work that must be done anyway: decoding, the bare network, encoding, one blend."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2  # before PyAV: Qt, which comes with it, hangs in its first window when PyAV's libraries were there first

# isort: split
import av
import numpy as np
from camera import LoopbackCamera, number_of
from measuring import MemorySource, conditions, demo_images, markdown_table, median_ms, ratio_text, write_section

from live_cam import Explainer, load_explainer
from live_cam.bench import recorded_demo
from live_cam.commands import Command
from live_cam.frame import Frame, Result
from live_cam.measuring import interleaved, timed
from live_cam.render.hud import Status
from live_cam.render.views import Renderer, RenderSettings
from live_cam.run.controls import Controls
from live_cam.run.pipeline import Pipeline
from live_cam.run.running import run
from live_cam.run.session import OutputSettings, SessionSettings, SourceSettings, run_session
from live_cam.sinks.codecs import CODECS, DEFAULT_QUALITY
from live_cam.sinks.recorder import Recorder
from live_cam.sinks.window import Window, display_problem
from live_cam.sources import Source, open_source
from live_cam.sources.live import Retry

Row = tuple[str, str, str, str]
_CAMERA_FPS = 30
# So little that black and white stay what they are: the number is read from the picture that is shown.
_FAINT = RenderSettings(opacity=0.3)
_LARGER_MODELS = {"VGG16": "caffe", "MobileNetV3Large": "raw", "ConvNeXtTiny": "raw"}


def file_to_file(options: argparse.Namespace, folder: Path) -> list[Row]:
    """CPU seconds of a whole run over those of its three bare parts, each in a minimal loop of its own."""
    video = options.video or recorded_demo(folder, (640, 360), rounds=max(1, options.frames // 75))
    output = folder / "annotated.mp4"
    settings = SessionSettings(
        source=SourceSettings(video=str(video)),
        explainer={"model": options.model},
        output=OutputSettings(output=output, overwrite=True),
    )
    outcome = run_session(settings)
    count = outcome.frames_explained
    explainer = load_explainer(options.model)
    network_input = explainer.preprocess(demo_images((640, 360), 1)[0])
    pictures = [frame.reformat(format="yuv420p") for frame in _decoded(output)]
    parts: dict[str, Callable[[], object]] = {
        "decode": lambda: sum(1 for _ in _decoded(video)),
        "forward": lambda: [explainer.forward_input(network_input) for _ in range(count)],
        "encode": lambda: _encoded(pictures, folder / "bare.mp4"),
        "livecam": lambda: run_session(settings),
    }
    cpu: dict[str, list[float]] = {name: [] for name in parts}
    wall: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(options.rounds):
        for name, part in parts.items():
            started = time.process_time(), time.perf_counter()
            part()
            cpu[name].append(time.process_time() - started[0])
            wall[name].append(time.perf_counter() - started[1])
    bare = np.sum([cpu[name] for name in ("decode", "forward", "encode")], axis=0)
    ms = {name: 1e3 * float(np.median(cpu[name])) / count for name in parts}
    detail = ", ".join(f"{name} {ms[name]:.1f}" for name in parts)
    fps = count / float(np.median(wall["livecam"]))
    return [
        (
            "file to file: CPU over bare decode + forward + encode",
            ratio_text(np.array(cpu["livecam"]) / bare),
            "1.25",
            f"{count} frames, {fps:.0f} fps; CPU ms a frame: {detail}",
        )
    ]


def _decoded(path: Path):
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        yield from container.decode(video=0)


def _encoded(pictures: list[av.VideoFrame], path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options=CODECS["h264"].options_at(DEFAULT_QUALITY))
        stream.width, stream.height, stream.pix_fmt = pictures[0].width, pictures[0].height, "yuv420p"
        for number, picture in enumerate(pictures):
            picture.pts, picture.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def end_to_end(options: argparse.Namespace, folder: Path) -> list[Row]:
    """Frames a second of the pipeline, decoded frames in and drawn frames out, over those of the bare network."""
    explainer = load_explainer(options.model)
    images = demo_images((640, 480), 32)
    network_input = explainer.preprocess(images[0])
    count = max(20, options.frames // options.rounds)
    actions = {
        "forward": timed(lambda index: [explainer.forward_input(network_input) for _ in range(count)]),
        "pipeline": lambda index: count / _pipeline_fps(explainer, MemorySource(images, count)),
    }
    timings = interleaved(actions, options.rounds, options.rounds)
    fps = {name: 1e3 * count / median_ms(one) for name, one in timings.items()}
    ratios = timings["forward"].ratios_to(timings["pipeline"])
    detail = f"pipeline {fps['pipeline']:.0f} fps, bare network {fps['forward']:.0f}"
    return [("end to end at 640x480: fps over the bare network's", ratio_text(ratios), ">= 0.85", detail)]


def _pipeline_fps(explainer: Explainer, source: Source) -> float:
    pipeline = Pipeline(source, lambda frame: explainer, Renderer(RenderSettings()), sinks=[], explains_ahead=True)
    run(pipeline, source, sinks=[])
    return pipeline.meter.fps or float("nan")


class _Arrivals:
    """A sink that notes when each numbered picture was drawn."""

    path = partial_path = Path("arrivals")

    def __init__(self) -> None:
        self.seconds: dict[int, float] = {}

    def write(self, result: Result) -> None:
        self.seconds.setdefault(number_of(result.drawn.image), time.monotonic())

    def finish(self) -> None:
        """Nothing is kept."""

    close = finish


class _WatchedWindow(Window):
    """A window that notes when each numbered picture was painted, which is when its events were seen to."""

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
    """From the moment a camera sends a picture to the moment it is drawn with its heatmap, and to when it is shown."""
    window = None if display_problem(os.environ) else _WatchedWindow()
    explainer = load_explainer(options.model)
    sender = LoopbackCamera.of_images(demo_images((640, 480), options.frames), _CAMERA_FPS)
    drawn = _Arrivals()
    try:
        source = open_source(video=sender.url, retry=Retry(0))
        pipeline = Pipeline(
            source, lambda frame: explainer, Renderer(_FAINT), [drawn], max_frames=max(1, options.frames * 3 // 4)
        )
        controls = None
        if window is not None:
            controls = Controls(pipeline, window, Recorder(folder), lambda wish: explainer, folder, "camera")
        run(pipeline, source, [drawn], controls)
    finally:
        sender.close()
    rows = [_lateness("camera to overlay", "-", sender, drawn.seconds)]
    if window is not None:
        rows.append(_lateness("camera to shown frame", "p95 60 ms", sender, window.seconds))
    return rows


def _lateness(name: str, goal: str, sender: LoopbackCamera, seconds: dict[int, float]) -> Row:
    # The first second is the opening of the stream.
    late = [
        1e3 * (seen - sender.sent_seconds[number])
        for number, seen in seconds.items()
        if number >= _CAMERA_FPS and number in sender.sent_seconds
    ]
    p50, p95 = np.percentile(late, [50, 95])
    detail = f"p95 {p95:.0f} ms; JPEG over HTTP on loopback, {_CAMERA_FPS} fps, 640x480, {len(late)} frames"
    return (name, f"{p50:.0f} ms", goal, detail)


def drawing(options: argparse.Namespace, folder: Path) -> list[Row]:
    """Overlay and caption at 1080p over one ``cv2.addWeighted`` of two frames of that size."""
    explainer = load_explainer(options.model)
    images = demo_images((1920, 1080), 8)
    renderer = Renderer(RenderSettings())
    explanations = [explainer.explain(image) for image in images]
    other = images[-1].copy()
    actions = {
        "addWeighted": timed(lambda index: cv2.addWeighted(images[index % 8], 0.6, other, 0.4, 0)),
        "livecam": timed(
            lambda index: renderer.draw(Frame(images[index % 8], index, 0.0), explanations[index % 8]),
        ),
    }
    timings = interleaved(actions, options.frames, options.rounds)
    ratio = ratio_text(timings["livecam"].ratios_to(timings["addWeighted"]))
    detail = f"{median_ms(timings['livecam']):.1f} ms over {median_ms(timings['addWeighted']):.1f} ms"
    return [("1080p overlay and caption over cv2.addWeighted", ratio, "3", detail)]


def start(options: argparse.Namespace, folder: Path) -> list[Row]:
    """A whole run in a fresh process with a warm cache: its first frame and its memory."""
    video = recorded_demo(folder, (640, 480))
    report = folder / "report.json"
    command = [sys.executable, "-m", "live_cam", "--video", video, "--output", folder / "start.mp4", "--overwrite"]
    command += ["--report", report, "--max-frames", "60", "--quiet", "--model", options.model]
    reports = []
    for _ in range(options.rounds + 1):
        subprocess.run(command, check=True)
        reports.append(json.loads(report.read_text(encoding="utf-8")))
    # The first run warms the cache, livecam's and the disk's.
    seconds = [one["first_frame_seconds"] for one in reports[1:]]
    memory_mb = [one["peak_rss_mb"] or float("nan") for one in reports[1:]]
    tensorflow = "imported" if any(one["tensorflow_imported"] for one in reports[1:]) else "not imported"
    spread = f"{min(seconds):.2f} to {max(seconds):.2f} s in {len(seconds)} runs; TensorFlow {tensorflow}"
    return [
        ("first annotated frame from process start", f"{np.median(seconds):.2f} s", "1.0 s", spread),
        ("peak memory, 640x480 into a file", f"{np.median(memory_mb):.0f} MB", "250 MB", "-"),
    ]


def one_pass(options: argparse.Namespace, folder: Path) -> list[Row]:
    """Forward and heatmap over forward, both on LiteRT, pixels ready."""
    rows = []
    for name in [options.model, "mobilenetv2", *(_LARGER_MODELS if options.all else ())]:
        print(f"one pass of {name}", file=sys.stderr)
        explainer = _explainer(name)
        network_input = explainer.preprocess(demo_images((640, 480), 1)[0])
        actions = {
            "forward": timed(lambda index: explainer.forward_input(network_input)),  # noqa: B023 — called in this turn
            "explain": timed(lambda index: explainer.explain_input(network_input)),  # noqa: B023
        }
        timings = interleaved(actions, options.frames, options.rounds)
        detail = f"{median_ms(timings['explain']):.1f} ms over {median_ms(timings['forward']):.1f} ms"
        detail += f", {explainer.engine_name}, {explainer.facts.layer}"
        ratio = ratio_text(timings["explain"].ratios_to(timings["forward"]))
        rows.append(
            (f"{name}: one pass over plain forward", ratio, "1.25" if name in _LARGER_MODELS else "1.05", detail)
        )
    return rows


def _explainer(name: str) -> Explainer:
    if name not in _LARGER_MODELS and name != "mobilenetv2":
        return load_explainer(name)
    # Random weights: the time is the same, and nothing is downloaded.
    import keras

    keras.utils.set_random_seed(0)
    preprocess = _LARGER_MODELS.get(name, "tf")
    build = getattr(keras.applications, _BUILDERS.get(name, name))
    return load_explainer(build(weights=None, input_shape=(224, 224, 3)), preprocess=preprocess)


_BUILDERS = {"mobilenetv2": "MobileNetV2"}
# TensorFlow, which `one_pass` loads, is last: the others run without it.
PARTS = {
    "start": start,
    "file-to-file": file_to_file,
    "end-to-end": end_to_end,
    "camera": camera,
    "drawing": drawing,
    "one-pass": one_pass,
}


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all if none is named")
    parser.add_argument("--video", type=Path, help="for file-to-file; the demo if not given")
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--all", action="store_true", help="larger models too; VGG16 takes minutes to convert")
    parser.add_argument("--no-write", action="store_true", help="leave RESULTS.md alone")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return options


def main() -> None:
    """Prints the table of the parts and writes each into the results."""
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
