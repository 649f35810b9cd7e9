"""Compares the CPU time of an annotated video with that of a transcode by ffmpeg and one bare ``explain`` per frame."""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import av
from measuring import conditions, demo_images, markdown_table, ratio_text, write_section

from live_cam import load_explainer
from live_cam.sinks.video.codecs import video_format

_SIZES = ("640x480", "1920x1080", "3840x2160")
_FPS = 25
_GOALS = {(640, 480): "<= 1.15", (1920, 1080): "<= 1.25"}
_MEMORY_GOALS = {(640, 480): "<= 200", (1920, 1080): "<= 300"}


def write_clip(path: Path, size_wh: tuple[int, ...], frame_count: int) -> Path:
    """Writes a clip of the demo's photographs in motion: H.264, 25 frames per second."""
    images = demo_images(size_wh, 50)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=_FPS, options={"preset": "veryfast", "g": "50"})
        stream.width, stream.height = size_wh
        for number in range(frame_count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(images[number % len(images)], format="bgr24")))
        container.mux(stream.encode())
    return path


def cpu_seconds(command: Sequence[str]) -> float:
    """Runs a program to its end and returns its CPU time, that of all its threads."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def transcode(clip: Path, output: Path) -> list[str]:
    """Returns ffmpeg's command line for the same encoder with the same options as livecam's."""
    options = video_format(output).encoder_options
    encoder = [part for name, value in options.items() for part in (f"-{name}", value)]
    return ["ffmpeg", "-v", "error", "-y", "-i", str(clip), "-an", "-c:v", "libx264", *encoder, str(output)]


def livecam(clip: Path, output: Path, frame_count: int, *options: str) -> list[str]:
    """Returns livecam's command line for the first frames of a clip."""
    return [
        *(sys.executable, "-m", "live_cam", str(clip), "--output", str(output), "--overwrite", "--quiet", "--no-audio"),
        *("--max-frames", str(frame_count), *options),
    ]


def explain_cpu_ms(clip: Path) -> float:
    """Returns the CPU time of one explanation, fitting included, as a file job runs it: on one thread."""
    with av.open(str(clip)) as container:
        image = next(container.decode(video=0)).to_ndarray(format="bgr24")
    explainer = load_explainer(threads=1)
    explainer.explain(image)
    started_seconds = time.process_time()
    for _ in range(60):
        explainer.explain(image)
    return 1e3 * (time.process_time() - started_seconds) / 60


def row(folder: Path, size_wh: tuple[int, ...], frame_count: int, rounds: int) -> list[str]:
    """Measures one size; returns its row of the table."""
    clip = write_clip(folder / "clip.mp4", size_wh, frame_count)
    output = folder / "output.mp4"
    ratios, ours, theirs = [], [], []
    # Start-up is left out: a run over few frames is subtracted.
    few = frame_count // 5
    for number in range(rounds):
        print(f"{size_wh[0]}x{size_wh[1]}, round {number + 1} of {rounds}", file=sys.stderr)
        bare = explain_cpu_ms(clip)
        encoded = cpu_seconds(transcode(clip, output)) / frame_count
        whole = cpu_seconds(livecam(clip, output, frame_count)) - cpu_seconds(livecam(clip, output, few))
        ours.append(1e3 * whole / (frame_count - few))
        theirs.append(1e3 * encoded + bare)
        ratios.append(ours[-1] / theirs[-1])
    report = folder / "report.json"
    cpu_seconds(livecam(clip, output, frame_count, "--report", str(report)))
    memory = json.loads(report.read_text())["peak_rss_mb"]
    name = f"{size_wh[0]}x{size_wh[1]}"
    return [
        name,
        ratio_text(ratios),
        _GOALS.get(size_wh, "-"),
        f"{statistics.median(ours):.1f}",
        f"{statistics.median(theirs):.1f}",
        f"{memory:.0f}",
        _MEMORY_GOALS.get(size_wh, "-"),
    ]


def main() -> None:
    """Prints the table and writes it into the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", nargs="+", default=_SIZES, metavar="WxH", help=f"default: {', '.join(_SIZES)}")
    parser.add_argument("--no-write", action="store_true", help="do not change RESULTS.md")
    options = parser.parse_args()
    rows = []
    for size in options.sizes:
        size_wh = tuple(map(int, size.split("x")))
        folder = Path(tempfile.mkdtemp())
        try:
            # As many pixels as make a run of similar length.
            frame_count = max(60, round(options.frames * min(1.0, 640 * 480 * 3 / (size_wh[0] * size_wh[1]))))
            rows.append(row(folder, size_wh, frame_count, options.rounds))
        finally:
            shutil.rmtree(folder)
    header = ["size", "CPU over bare", "goal", "livecam, CPU ms a frame", "bare, CPU ms", "peak MB", "goal"]
    table = markdown_table(header, rows)
    print(f"\n{table}")
    if not options.no_write:
        heading = (
            "## File to file (file_to_file.py)\n\nCPU time of a frame that is decoded, explained, drawn and encoded, "
            "over that of ffmpeg's transcode with the same encoder options plus one bare explanation, without start-up."
        )
        write_section("file_to_file.py", f"{heading}\n\n{table}\n\n{conditions()}")


if __name__ == "__main__":
    main()
