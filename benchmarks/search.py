"""Measures ``livecam search`` on a large index: ``python search.py [FOLDER]``.

The index is made of random scenes: each has eight classes whose probabilities drift. It stays in FOLDER for the next
run if one is given. Every search runs in a process of its own, after one that is not counted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from measuring import conditions, markdown_table, write_section

from live_cam.archive.dataset import TOP_COUNT, Dataset, TableWriter, file_name_of, frame_schema
from live_cam.models.labels import imagenet_labels

_ROUNDS = 5
_ROWS_PER_SECOND = 10
_ROWS_PER_SCENE = 100
_CLASSES_PER_SCENE = 8
_SEARCHES = {
    "one class": ["zebra > 0.5"],
    "several": ["(zebra > 0.3 or 'tiger cat' > 0.3) and area > 0.2 and not explained = lion", "--for", "1s"],
    "almost all rows": ["not zebra > 0.5"],
    "`--summary`": ["--summary"],
}
# A small process in between: a child inherits the peak of the one that started it.
_LAUNCHER = """
import json, resource, subprocess, sys, time
begin = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
seconds = time.perf_counter() - begin
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6]))
"""
_QUERY = """
import json, resource, sys, time
from pathlib import Path
from live_cam.archive.condition import parse_condition
from live_cam.archive.search import Index
from live_cam.settings import SearchSettings
begin = time.perf_counter()
with Index(Path(sys.argv[1])) as index:
    index.search(parse_condition(sys.argv[2], index.labels, index.score), SearchSettings())
seconds = time.perf_counter() - begin
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6]))
"""


def write_index(folder: Path, video_count: int, row_count: int) -> None:
    """Writes an index of random scenes.

    Args:
        folder: The index.
        video_count: Number of videos.
        row_count: Rows of each video.
    """
    dataset, labels = Dataset(folder), imagenet_labels()
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(video_count):
        video = f"/videos/{number // 100:02}/clip{number:04}.mp4"
        path = dataset.table("frames", file_name_of(video))
        with TableWriter(path, frame_schema("probability")) as table:
            table.write(_random_rows(video, row_count, np.random.default_rng(number), labels))
            table.finish({})
    # Last, so that an index that was interrupted is made again.
    dataset.write_info({"model": "efficientnet-lite0", "score": "probability", "labels": labels})


def _random_rows(video: str, count: int, random: np.random.Generator, labels: tuple[str, ...]) -> pa.Table:
    scenes = np.cumsum(random.random(count) < 1 / _ROWS_PER_SCENE)
    size = (scenes[-1] + 1, _CLASSES_PER_SCENE)
    classes = np.stack([random.choice(len(labels), _CLASSES_PER_SCENE, replace=False) for _ in range(size[0])])[scenes]
    drift = np.cumsum(random.normal(0, 0.02, (count, _CLASSES_PER_SCENE)), axis=0)
    logits = random.normal(0, 2, size)[scenes] + drift + random.normal(0, 0.3, (count, _CLASSES_PER_SCENE))
    shares = np.exp(logits) / (1.1 * np.exp(logits).sum(axis=1, keepdims=True))
    order = np.argsort(-shares, axis=1)[:, :TOP_COUNT]
    best, probabilities = (np.take_along_axis(values, order, axis=1) for values in (classes, shares))
    columns: dict[str, Any] = {
        "video": np.full(count, video),
        "index": np.arange(count),
        "time_seconds": np.arange(count) / _ROWS_PER_SECOND,
        "duration_seconds": np.full(count, 1 / _ROWS_PER_SECOND),
    }
    columns |= {name: random.random(count) for name in ("peak", "area_above_half", "centroid_x", "centroid_y")}
    names = np.array(labels)[best]
    for rank, suffix in enumerate(map(str, range(1, TOP_COUNT + 1))):
        columns |= {f"class_index_{suffix}": best[:, rank], f"label_{suffix}": names[:, rank]}
        columns[f"probability_{suffix}"] = probabilities[:, rank]
    for figure in ("index", "label", "probability"):
        columns[f"explained_{figure}"] = columns["class_index_1" if figure == "index" else f"{figure}_1"]
    schema = frame_schema("probability")
    arrays = [pa.array(columns[field.name]).cast(_plain(field.type)).cast(field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def measured(command: list[str]) -> tuple[str, str]:
    """Returns the seconds and the peak MB that a command prints: median, with the lowest and the highest."""
    runs = []
    for number in range(_ROUNDS + 1):
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        if number:
            runs.append(json.loads(done.stdout))
    seconds, megabytes = zip(*runs, strict=True)
    return (
        f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})",
        f"{max(megabytes):.0f}",
    )


def report(folder: Path, video_count: int, row_count: int) -> str:
    """Returns the section of the results."""
    if not Dataset(folder).info.exists():
        print(f"writing {video_count * row_count} rows to {folder}", file=sys.stderr)
        write_index(folder, video_count, row_count)
    lines = []
    for name, arguments in _SEARCHES.items():
        livecam = [sys.executable, "-m", "live_cam", "search", str(folder), *arguments]
        figures = measured([sys.executable, "-c", _LAUNCHER, *livecam])
        alone = ("-", "-")
        if not arguments[0].startswith("--"):
            alone = measured([sys.executable, "-c", _QUERY, str(folder), arguments[0]])
        lines.append([name, f"`{arguments[0]}`", *figures, *alone])
    size = sum(path.stat().st_size for path in folder.rglob("*.parquet")) / 1e6
    headings = ["search", "condition", "process, s", "peak MB", "query alone, s", "peak MB"]
    return (
        "## livecam search (search.py)\n\n"
        f"{video_count * row_count} rows of {video_count} videos, {size:.0f} MB, in the file system's cache; median of "
        f"{_ROUNDS} runs, lowest to highest. A process also starts Python and loads its modules.\n\n"
        f"{markdown_table(headings, lines)}\n\n{conditions()}"
    )


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="keep the index here (default: removed)")
    parser.add_argument("--videos", type=int, default=1000, help="number of videos (default: 1000)")
    parser.add_argument("--rows", type=int, default=10_000, help="rows of each video (default: 10000)")
    parser.add_argument("--no-write", action="store_true", help="do not change RESULTS.md")
    return parser.parse_args()


def main() -> None:
    """Prints the section and writes it into the results."""
    options = _parsed()
    with tempfile.TemporaryDirectory() as temporary:
        text = report(options.folder or Path(temporary), options.videos, options.rows)
    print(text)
    if not options.no_write:
        write_section("search.py", text)


if __name__ == "__main__":
    main()
