"""Measures ``livecam archive``: against bare loops, two workers against one, Ray against processes, and its size."""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
from measuring import conditions, demo_images, markdown_table, ratio_text, write_section

from live_cam import load_explainer
from live_cam.archive.archive import run_archive
from live_cam.archive.outcome import ArchiveOutcome, ArchiveProgress
from live_cam.engines.protocol import usable_cores
from live_cam.jobs.outcome import JobContext
from live_cam.settings import ArchiveSettings
from live_cam.sources.video import VideoSource

_SIZE_WH = (640, 480)
_FPS = 25
_SEGMENTS = 4
# What starts slowly is over when this share of the film is explained.
_WARM_SHARE = 0.25


def write_film(path: Path, seconds: float) -> Path:
    """Writes a film of the demo's photographs in motion: H.264, 640x480, 25 frames per second."""
    images = demo_images(_SIZE_WH, 250)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=_FPS, options={"preset": "veryfast", "g": "50"})
        stream.width, stream.height = _SIZE_WH
        for number in range(round(seconds * _FPS)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(images[number % len(images)], format="bgr24")))
        container.mux(stream.encode())
    return path


def archived(films: list[Path], **settings: object) -> tuple[float, ArchiveOutcome, Path]:
    """Archives films; returns seconds of video per second when all workers run, the outcome, and the index."""
    output = Path(tempfile.mkdtemp(dir=films[0].parent)) / "index"
    points = [(time.monotonic(), 0.0)]

    def note(progress: ArchiveProgress) -> None:
        points.append((time.monotonic(), progress.media_seconds_done))

    outcome = run_archive(
        ArchiveSettings(tuple(map(str, films)), output, **settings),  # type: ignore[arg-type]
        JobContext(),
        note,
    )
    total = points[-1][1]
    first = next(point for point in points if point[1] > _WARM_SHARE * total)
    last = next(point for point in points if point[1] >= total - 1e-6)
    if last is first:  # So short a film was done between two reports.
        first = points[0]
    return (last[1] - first[1]) / (last[0] - first[0]), outcome, output


def _loop(film: str, seconds: float, connection: multiprocessing.connection.Connection) -> None:
    """Decodes and explains a film on one thread; sends seconds of video per second when it is warm."""
    cv2.setNumThreads(1)
    explainer = load_explainer(threads=1, top_k=5)
    count = 0
    with VideoSource(film, decoder_threads=1) as source:
        while (frame := source.read()) is not None:
            explainer.explain_input(explainer.preprocess(frame.image))
            count += 1
            if count == round(_WARM_SHARE * seconds * _FPS):
                started_seconds, started_count = time.monotonic(), count
    connection.send((count - started_count) / _FPS / (time.monotonic() - started_seconds))


def bare_loops(film: Path, seconds: float, count: int) -> float:
    """Runs that many independent loops at the same time; returns the sum of their seconds of video per second."""
    context = multiprocessing.get_context("spawn")
    pairs = [context.Pipe() for _ in range(count)]
    processes = [context.Process(target=_loop, args=(str(film), seconds, theirs)) for _, theirs in pairs]
    for process in processes:
        process.start()
    speeds = [ours.recv() for ours, _ in pairs]
    for process in processes:
        process.join()
    return sum(speeds)


@contextlib.contextmanager
def ray_nodes(count: int) -> Iterator[tuple[str, float, float]]:
    """Starts a Ray cluster of one-core nodes on this machine; yields address, start-up seconds, and memory in MB."""
    from ray.cluster_utils import Cluster

    before = _ray_memory_mb()
    started_seconds = time.monotonic()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        for _ in range(count - 1):
            cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        yield cluster.address, time.monotonic() - started_seconds, _ray_memory_mb() - before
    finally:
        cluster.shutdown()


def _ray_memory_mb() -> float:
    """Returns the proportional memory of all processes of Ray, in MB; on Linux only."""
    total_kb = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (folder / "cmdline").read_bytes()
            if b"raylet" in command or b"gcs_server" in command or b"/ray/" in command or command.startswith(b"ray::"):
                lines = (folder / "smaps_rollup").read_text().splitlines()
                total_kb += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total_kb / 1024


def _size_bytes(index: Path) -> int:
    files = [path for kind in ("frames", "scenes") for path in (index / kind).iterdir()]
    return sum(path.stat().st_size for path in [*files, index / "videos.parquet"])


def main() -> None:
    """Prints the table and writes it into the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="length of the film (default: 60)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-ray", action="store_true", help="leave out Ray")
    parser.add_argument("--no-write", action="store_true", help="do not change RESULTS.md")
    options = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    load_explainer(threads=1, top_k=5)
    folder = Path(tempfile.mkdtemp())
    try:
        table = _measured(folder, options.seconds, options.rounds, not options.no_ray)
    finally:
        shutil.rmtree(folder)
    print(f"\n{table}")
    if not options.no_write:
        heading = (
            "## livecam archive (archive.py)\n\nOf films of the demo, H.264, 640x480, 25 frames per second, on all "
            "cores; seconds of video per second once all workers run; the same film in each round."
        )
        write_section("archive.py", f"{heading}\n\n{table}\n\n{conditions()}")


def _measured(folder: Path, seconds: float, rounds: int, with_ray: bool) -> str:
    cores = usable_cores()
    film = write_film(folder / "film.mp4", seconds)
    films = [Path(shutil.copy(film, folder / f"film{number}.mp4")) for number in range(cores)]
    # Short segments would measure the second or two that is decoded before each; five minutes are the default.
    segment_minutes = seconds / 60 / _SEGMENTS
    loops, pools, singles, doubles, rays = [], [], [], [], []
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        loops.append(bare_loops(film, seconds, cores))
        pools.append(archived(films, segment_minutes=segment_minutes))
        singles.append(archived([film], segment_minutes=segment_minutes, workers=1)[0])
        doubles.append(archived([film], segment_minutes=segment_minutes, workers=2)[0])
        if with_ray:
            with ray_nodes(2) as (address, start_seconds, memory_mb):
                rays.append(
                    (archived(films, segment_minutes=segment_minutes, ray=address)[0], start_seconds, memory_mb)
                )
    _, outcome, index = archived(films)  # with the default segments: each has a thumbnail
    size = _size_bytes(index) / outcome.row_count
    tasks = _SEGMENTS * cores
    driver_ms = 1e3 * _driver_seconds(films, segment_minutes) / tasks
    rows = [
        [
            f"archive on {cores} cores over {cores} bare loops of decoding and explaining",
            ratio_text(pool[0] / loop for pool, loop in zip(pools, loops, strict=True)),
            ">= 0.9",
            f"{statistics.median(pool[0] for pool in pools):.1f} h of video per hour",
        ],
        [
            "one film on 2 workers over 1",
            ratio_text(double / single for double, single in zip(doubles, singles, strict=True)),
            ">= 1.8",
            f"{statistics.median(doubles):.1f} over {statistics.median(singles):.1f} h per hour",
        ],
        [
            "index without maps, bytes a frame",
            f"{size:.0f}",
            "<= 100",
            "tables of frames, scenes and videos",
        ],
    ]
    if rays:
        speeds = [ray[0] for ray in rays]
        start = statistics.median(ray[1] for ray in rays)
        memory = statistics.median(ray[2] for ray in rays)
        rows.append(
            [
                "two one-core Ray nodes over the process pool",
                ratio_text(speed / pool[0] for speed, pool in zip(speeds, pools, strict=True)),
                ">= 0.9",
                f"the nodes start in {start:.1f} s and use {memory:.0f} MB without workers",
            ]
        )
    rows.append(["driver's CPU ms a segment", f"{driver_ms:.1f}", "-", "with all that it does at its start and end"])
    return markdown_table(["figure", "measured", "goal", "detail"], rows)


def _driver_seconds(films: list[Path], segment_minutes: float) -> float:
    """Returns the CPU time of the driver alone for an archive."""
    started_seconds = time.process_time()
    archived(films, segment_minutes=segment_minutes)
    return time.process_time() - started_seconds


if __name__ == "__main__":
    main()
