"""Images, snapshots, sidecars and reports: their content, and the rules for every file that is written."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from media_clips import noise_image, numbered_image, result_of

from live_cam.errors import SinkError
from live_cam.frame import Explanation, Prediction
from live_cam.sinks.atomic_file import (
    OutputLock,
    check_output,
    lock_path,
    name_by_time,
    partial_path,
    put_in_place,
    refuse_same_file,
)
from live_cam.sinks.heatmaps import HeatmapSink
from live_cam.sinks.image import ImageSink, write_snapshot
from live_cam.sinks.report import write_report
from live_cam.sinks.sidecar import SidecarSink, heatmap_summary
from live_cam.sinks.video.sink import VideoSink

CAT = Prediction(281, "tabby", 0.75, 3.0)
DOG = Prediction(207, "golden retriever", 0.125, 1.0)
NOON = datetime(2026, 7, 23, 12, 0, 1)


def explanation_of(heatmap, region_xywh=(0.0, 0.0, 1.0, 1.0)) -> Explanation:
    return Explanation((CAT, DOG), DOG, np.float32(heatmap), region_xywh)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- the rules for every file


def test_partial_name_keeps_the_suffix():
    assert partial_path(Path("a/out.mp4")) == Path("a/out.partial.mp4")
    assert partial_path(Path("a/b.c.jsonl")) == Path("a/b.c.partial.jsonl")
    assert partial_path(Path("report")) == Path("report.partial")


def test_names_contain_the_time_and_are_free(tmp_path):
    assert name_by_time(tmp_path, NOON, ".mp4").name == "livecam-20260723-120001"
    (tmp_path / "livecam-20260723-120001.mp4").touch()
    assert name_by_time(tmp_path, NOON, ".mp4").name == "livecam-20260723-120001-2"
    (tmp_path / "livecam-20260723-120001-2.partial.mp4").touch()  # is being written
    assert name_by_time(tmp_path, NOON, ".mp4").name == "livecam-20260723-120001-3"
    assert name_by_time(tmp_path, NOON, ".png", ".json").name == "livecam-20260723-120001"


def test_check_of_a_possible_output_leaves_no_file(tmp_path):
    check_output(tmp_path / "out.mp4", overwrite=False)
    assert names_in(tmp_path) == []


def test_check_does_not_touch_a_partial_file(tmp_path):
    (tmp_path / "out.partial.mp4").write_text("earlier")
    check_output(tmp_path / "out.mp4", overwrite=False)
    assert (tmp_path / "out.partial.mp4").read_text() == "earlier"


def test_existing_file_is_refused_without_overwrite(tmp_path):
    (tmp_path / "out.mp4").write_text("before")
    with pytest.raises(SinkError, match=r"out.mp4 exists; give another name, or replace it with overwrite=True"):
        check_output(tmp_path / "out.mp4", overwrite=False)
    check_output(tmp_path / "out.mp4", overwrite=True)
    assert (tmp_path / "out.mp4").read_text() == "before"
    assert names_in(tmp_path) == ["out.mp4"]


@pytest.mark.parametrize(("name", "reason"), [
    ("none/out.mp4", "there is no directory .*none; create it first"),
    ("file/out.mp4", "there is no directory .*file"),
    ("folder", "it is a directory; give the path of a file"),
    ("x" * 250 + ".mp4", "File name too long"),
    ("pipe", "it is a device or a pipe"),
])  # fmt: skip
def test_impossible_output_is_reported_in_one_line(tmp_path, name, reason):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    for overwrite in (False, True):
        with pytest.raises(SinkError, match=reason) as raised:
            check_output(tmp_path / name, overwrite)
        assert "\n" not in str(raised.value)
    assert names_in(tmp_path) == ["file", "folder", "pipe"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a folder in which even root cannot write")
def test_read_only_folder_is_refused():
    with pytest.raises(SinkError, match=r"cannot write /proc/out.mp4: "):
        check_output(Path("/proc/out.mp4"), overwrite=False)


def test_output_that_is_the_input_is_refused_under_every_name(tmp_path):
    source = tmp_path / "in.mp4"
    source.write_text("video")
    (tmp_path / "soft.mp4").symlink_to(source)
    (tmp_path / "hard.mp4").hardlink_to(source)
    (tmp_path / "folder").mkdir()
    for name in ("in.mp4", "soft.mp4", "hard.mp4", "folder/../in.mp4"):
        with pytest.raises(SinkError, match=r"would be written over the input .*in.mp4"):
            refuse_same_file(source, tmp_path / name)
    refuse_same_file(source, tmp_path / "out.mp4")
    refuse_same_file(tmp_path / "none.mp4", tmp_path / "none.mp4")


def test_output_whose_partial_file_is_the_input_is_refused(tmp_path):
    source = tmp_path / "out.partial.mp4"
    source.write_text("video")
    with pytest.raises(SinkError, match="would be written over the input"):
        refuse_same_file(source, tmp_path / "out.mp4")


def test_finished_file_is_renamed_in_one_step(tmp_path):
    (tmp_path / "out.partial.txt").write_text("new")
    (tmp_path / "out.txt").write_text("old")
    message = r"created by another program meanwhile; this output stays in .*out.partial.txt"
    with pytest.raises(SinkError, match=message):
        put_in_place(tmp_path / "out.partial.txt", tmp_path / "out.txt", overwrite=False)
    assert (tmp_path / "out.txt").read_text() == "old"
    put_in_place(tmp_path / "out.partial.txt", tmp_path / "out.txt", overwrite=True)
    assert (tmp_path / "out.txt").read_text() == "new"
    assert names_in(tmp_path) == ["out.txt"]


# --- two processes


HOLD = """
import sys
from media_clips import numbered_image, result_of
from {module} import {kind}
with {kind}(*{arguments}) as sink:
    for index in range({count}):
        sink.write(result_of(numbered_image(index), index, index / 25))
    print("written", flush=True)
    sys.stdin.readline()
    sink.finish()
"""
KINDS = [
    ("live_cam.sinks.video.sink", "VideoSink", "out.mkv", ", (64, 48), None"),
    ("live_cam.sinks.sidecar", "SidecarSink", "out.jsonl", ""),
    ("live_cam.sinks.heatmaps", "HeatmapSink", "out.npz", ""),
    ("live_cam.sinks.image", "ImageSink", "out.png", ""),
]


def start_writing(module: str, kind: str, path: Path, others: str) -> subprocess.Popen[str]:
    """Starts a process that writes part of a file and waits for a line before it finishes it."""
    count = 1 if kind == "ImageSink" else 60
    program = HOLD.format(module=module, kind=kind, arguments=f"({str(path)!r}{others},)", count=count)
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "written\n"
    return process


@pytest.mark.parametrize(("module", "kind", "name", "others"), KINDS)
def test_output_that_another_process_writes_is_refused_and_left_alone(tmp_path, module, kind, name, others):
    path = tmp_path / name
    open_sink: dict[str, Callable[[], object]] = {
        "VideoSink": lambda: VideoSink(path, (64, 48), None, overwrite=True),
        "SidecarSink": lambda: SidecarSink(path, overwrite=True),
        "HeatmapSink": lambda: HeatmapSink(path, overwrite=True),
        "ImageSink": lambda: ImageSink(path, overwrite=True),
    }
    with start_writing(module, kind, path, others) as process:
        before = (names_in(tmp_path), partial_path(path).stat().st_ino, partial_path(path).read_bytes())
        for refused in (open_sink[kind], lambda: check_output(path, overwrite=True)):
            with pytest.raises(SinkError, match=rf"^{path} is being written by another livecam process$"):
                refused()
        assert (names_in(tmp_path), partial_path(path).stat().st_ino, partial_path(path).read_bytes()) == before
        process.communicate("\n", timeout=30)
    assert process.returncode == 0
    assert names_in(tmp_path) == [name]
    check_output(path, overwrite=True)


@pytest.mark.parametrize(("module", "kind", "name", "others"), KINDS)
def test_killed_process_releases_its_output(tmp_path, module, kind, name, others):
    with start_writing(module, kind, tmp_path / name, others) as process:
        process.send_signal(signal.SIGKILL)
    check_output(tmp_path / name, overwrite=False)
    assert names_in(tmp_path) == [partial_path(Path(name)).name]


def test_sink_waits_for_a_check_by_another_process(tmp_path):
    lock = OutputLock(tmp_path / "out.jsonl")  # a check holds it for an instant
    threading.Timer(0.1, lock.close).start()
    with SidecarSink(tmp_path / "out.jsonl") as sink:
        sink.write(result_of(numbered_image(0)))
        sink.finish()
    assert names_in(tmp_path) == ["out.jsonl"]


def test_a_file_system_without_locks_takes_files_all_the_same(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def refuse(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with SidecarSink(tmp_path / "out.jsonl") as sink:
        sink.write(result_of(numbered_image(0)))
        sink.finish()
    assert names_in(tmp_path) == ["out.jsonl"]


TAKE_TURNS = """
import os, sys
from pathlib import Path
from live_cam.errors import SinkError
from live_cam.sinks.atomic_file import OutputLock
path, inside, turns = Path(sys.argv[1]), Path(sys.argv[1] + ".inside"), 0
while turns < 300:
    try:
        lock = OutputLock(path)
    except SinkError:
        continue
    os.close(os.open(inside, os.O_CREAT | os.O_EXCL))  # fails if another process is inside
    turns += 1
    inside.unlink()
    lock.close()
"""


def test_lock_is_never_held_twice(tmp_path):
    command = [sys.executable, "-c", TAKE_TURNS, str(tmp_path / "out.mp4")]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert errors == [""] * 4
    assert names_in(tmp_path) == []


# --- images and snapshots


@pytest.mark.parametrize(("name", "loss"), [("bild é.png", 0), ("out.bmp", 0), ("out.JPG", 3), ("out.webp", 3)])
def test_image_gets_its_name_when_finished(tmp_path, name, loss):
    image = numbered_image(5)
    with ImageSink(tmp_path / name) as sink:
        assert sink.frame_count == 0
        sink.write(result_of(image))
        assert names_in(tmp_path) == [sink.partial_path.name, lock_path(sink.path).name]
        sink.finish()
    assert sink.frame_count == 1
    assert names_in(tmp_path) == [name]
    read = cv2.imdecode(np.fromfile(tmp_path / name, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(read.astype(int) - image).max() <= loss


def test_image_that_is_not_finished_stays_under_the_partial_name(tmp_path):
    with ImageSink(tmp_path / "out.png") as sink:
        sink.write(result_of(numbered_image(5)))
    assert names_in(tmp_path) == ["out.partial.png"]
    with ImageSink(tmp_path / "none.png") as sink:
        sink.finish()
    assert names_in(tmp_path) == ["out.partial.png"]


@pytest.mark.parametrize("name", ["out.mp4", "out", "out.xyz", "out."])
def test_name_without_an_image_suffix_is_refused(tmp_path, name):
    with pytest.raises(SinkError, match=r"its name must end in \.jpg, \.png"):
        ImageSink(tmp_path / name)
    assert names_in(tmp_path) == []


def test_second_image_is_refused(tmp_path):
    with ImageSink(tmp_path / "out.png") as sink:
        sink.write(result_of(numbered_image(0)))
        with pytest.raises(SinkError, match=r"holds a single image; for several, give a name that ends in .mp4"):
            sink.write(result_of(numbered_image(1)))


def test_image_too_large_for_its_format_is_reported(tmp_path):
    wide = np.zeros((1, 20_000, 3), np.uint8)  # WebP holds at most 16383 pixels a side
    with ImageSink(tmp_path / "out.webp") as sink, pytest.raises(SinkError, match=".webp cannot hold .* 20000x1"):
        sink.write(result_of(wide))
    assert names_in(tmp_path) == []


def test_snapshot_is_the_exact_image_with_its_facts(tmp_path):
    image = noise_image(3)
    path = write_snapshot(tmp_path, NOON, image, {"method": "grad-cam"})
    assert (cv2.imread(str(path)) == image).all()
    facts = json.loads(path.with_suffix(".json").read_text())
    assert facts == {"picture": "livecam-20260723-120001.png", "method": "grad-cam"}


def test_several_snapshots_in_one_second_get_different_names(tmp_path):
    paths = [write_snapshot(tmp_path, NOON, numbered_image(index), {}) for index in range(3)]
    assert len(set(paths)) == 3
    assert len(list(tmp_path.iterdir())) == 6


def test_snapshot_that_cannot_be_written_is_reported_in_one_line(tmp_path):
    with pytest.raises(SinkError, match="cannot write .*livecam-20260723-120001.png: No such file"):
        write_snapshot(tmp_path / "nowhere", NOON, numbered_image(0), {})


# --- sidecars


def test_sidecar_line_has_the_documented_keys(tmp_path):
    heatmap = np.zeros((2, 4))
    heatmap[1, 2] = 8
    with SidecarSink(tmp_path / "out.jsonl") as sink:
        sink.write(result_of(numbered_image(0), 3, 0.12, explanation_of(heatmap)))
        sink.finish()
    (line,) = sink.path.read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {
        "index": 3,
        "time_seconds": 0.12,
        "predictions": [
            {"class_index": 281, "label": "tabby", "probability": 0.75},
            {"class_index": 207, "label": "golden retriever", "probability": 0.125},
        ],
        "explained": {"class_index": 207, "label": "golden retriever", "probability": 0.125},
        "heatmap": {"peak": 8.0, "area_above_half": 0.125, "centroid_xy": [0.625, 0.75]},
    }


def test_frame_with_the_heatmap_of_an_earlier_frame_adds_no_line(tmp_path):
    first, second = result_of(numbered_image(3, (32, 24)), 3, 0.3), result_of(numbered_image(4, (32, 24)), 4, 0.4)
    behind = replace(second, explained_frame=first.frame)
    catching_up = replace(result_of(numbered_image(6, (32, 24)), 6, 0.6), explained_frame=second.frame)
    with SidecarSink(tmp_path / "out.jsonl") as sink:
        for result in (first, behind, catching_up):
            sink.write(result)
        sink.finish()
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(line["index"], line["time_seconds"]) for line in lines] == [(3, 0.3), (4, 0.4)]
    assert sink.frame_count == 2


def test_area_counts_the_cells_with_at_least_half_the_peak():
    summary = heatmap_summary(explanation_of([[4, 2], [1.9, 0]]))
    assert (summary["peak"], summary["area_above_half"]) == (4, 0.5)


def test_centroids_by_hand():
    even = np.ones((3, 5))
    assert heatmap_summary(explanation_of(even))["centroid_xy"] == [0.5, 0.5]
    # Cells 1 and 3 of 4 have their centers at 0.375 and 0.875; the weights are 1 and 3.
    assert heatmap_summary(explanation_of([[0, 1, 0, 3]]))["centroid_xy"] == [0.75, 0.5]


def test_centroids_are_mapped_to_what_the_network_saw():
    one_cell = [[0, 0], [0, 5]]
    # A crop of the middle half: 0.25 + 0.75 * 0.5 = 0.625 of the width; its whole height.
    assert heatmap_summary(explanation_of(one_cell, (0.25, 0, 0.5, 1)))["centroid_xy"] == [0.625, 0.75]
    # Padding above and below makes the seen square twice as high as the frame: the lower cells cover its lower half.
    assert heatmap_summary(explanation_of(one_cell, (0, -0.5, 1, 2)))["centroid_xy"] == [0.75, 0.75]


def test_evidence_in_the_padding_has_no_centroid():
    only_above = np.zeros((4, 4))
    only_above[0, 1] = 5  # the uppermost quarter of a square that reaches from -0.5 to 1.5
    summary = heatmap_summary(explanation_of(only_above, (0, -0.5, 1, 2)))
    assert (summary["peak"], summary["centroid_xy"]) == (5, None)


def test_no_positive_evidence_is_null_not_nan():
    summary = heatmap_summary(explanation_of(np.zeros((7, 7))))
    assert summary == {"peak": 0.0, "area_above_half": 0.0, "centroid_xy": None}


def test_sidecar_is_valid_json_for_every_number_and_label(tmp_path):
    regression = Prediction(0, 'größe\n"km"', None, 3.0)
    odd = Prediction(1, "b", float("nan"), float("inf"))
    explanation = Explanation((regression, odd), odd, np.float32([[np.nan, np.inf]]))
    with SidecarSink(tmp_path / "out.jsonl") as sink:
        sink.write(result_of(numbered_image(0), 0, 0.0, explanation))
        sink.finish()

    def refuse(constant):
        raise ValueError(constant)

    (line,) = sink.path.read_text(encoding="utf-8").splitlines()
    parsed = json.loads(line, parse_constant=refuse)
    assert [prediction["probability"] for prediction in parsed["predictions"]] == [None, None]
    assert parsed["predictions"][0]["value"] == 3.0
    assert parsed["predictions"][0]["label"] == 'größe\n"km"'
    assert parsed["heatmap"]["centroid_xy"] is None


def test_killed_run_keeps_its_lines(tmp_path):
    sink = SidecarSink(tmp_path / "out.jsonl")
    assert names_in(tmp_path) == ["out.partial.jsonl.lock"]
    for index in range(3):
        sink.write(result_of(numbered_image(0), index, index / 25))
        lines = sink.partial_path.read_text(encoding="utf-8").splitlines()  # while the sink still has it open
        assert [json.loads(line)["index"] for line in lines] == list(range(index + 1))
    sink.close()
    sink.close()
    assert names_in(tmp_path) == ["out.partial.jsonl"]


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
def test_resumed_sidecar_keeps_and_counts_the_earlier_lines(tmp_path, name):
    tricky = Prediction(0, 'two\nlines, "quoted"', 0.5, 0.0)
    results = [
        result_of(numbered_image(0), index, index / 25, Explanation((tricky,), tricky, np.ones((1, 1), np.float32)))
        for index in range(4)
    ]
    with SidecarSink(tmp_path / f"whole-{name}") as whole:
        for result in results:
            whole.write(result)
        whole.finish()
    with SidecarSink(tmp_path / name) as killed:
        for result in results[:2]:
            killed.write(result)
        byte_count = killed.partial_path.stat().st_size
        killed.write(results[2])
    with SidecarSink(tmp_path / name) as resumed:
        resumed.resume_from(byte_count)
        assert resumed.frame_count == 2
        for result in results[2:]:
            resumed.write(result)
        resumed.finish()
    assert resumed.frame_count == 4
    assert resumed.path.read_bytes() == whole.path.read_bytes()


def test_sidecar_that_became_shorter_is_not_resumed(tmp_path):
    (tmp_path / "out.partial.jsonl").write_text("{}\n")
    with SidecarSink(tmp_path / "out.jsonl") as sink, pytest.raises(SinkError, match="cannot resume .* became shorter"):
        sink.resume_from(4)
    assert (tmp_path / "out.partial.jsonl").read_text() == "{}\n"


def test_sidecar_without_a_line_leaves_no_file(tmp_path):
    with SidecarSink(tmp_path / "out.jsonl") as sink:
        sink.finish()
    assert names_in(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_is_reported_by_the_sidecar(tmp_path):
    with SidecarSink(tmp_path / "out.jsonl") as sink:
        sink.partial_path.symlink_to("/dev/full")
        with pytest.raises(SinkError, match=r"cannot write .*out.jsonl: No space left on device"):
            sink.write(result_of(numbered_image(0)))
    assert sink.frame_count == 0


def test_image_is_not_drawn_for_sinks_that_do_not_need_it(tmp_path):
    def refuse(has_caption):
        raise AssertionError("the image was drawn")

    result = replace(result_of(numbered_image(0), explanation=explanation_of([[1]])), draw=refuse)
    for sink in (SidecarSink(tmp_path / "out.jsonl"), HeatmapSink(tmp_path / "out.npz")):
        with sink:
            assert not sink.needs_image
            sink.write(result)
            assert sink.frame_count == 1
    assert ImageSink.needs_image
    assert VideoSink.needs_image


# --- reports


def test_names_that_are_not_utf_8_are_kept_in_reports_and_snapshots(tmp_path):
    name = os.fsdecode(b"clip\xe9.mp4")
    write_report(tmp_path / "report.json", {"source": name})
    assert json.loads((tmp_path / "report.json").read_text())["source"] == name
    picture = write_snapshot(tmp_path, datetime(2026, 1, 2), np.zeros((3, 4, 3), np.uint8), {"source": name})  # noqa: DTZ001
    assert json.loads(picture.with_suffix(".json").read_text())["source"] == name


def test_report_is_json_and_follows_the_rules(tmp_path):
    report = {"fps": 25.5, "bad": float("nan"), "where": Path("a/b"), "parts": [{"p50": float("inf")}, (1, None, True)]}
    write_report(tmp_path / "report.json", report)
    assert json.loads((tmp_path / "report.json").read_text()) == {
        "fps": 25.5,
        "bad": None,
        "where": str(Path("a/b")),
        "parts": [{"p50": None}, [1, None, True]],
    }
    with pytest.raises(SinkError, match="report.json exists"):
        write_report(tmp_path / "report.json", {})
    write_report(tmp_path / "report.json", {"second": 2}, overwrite=True)
    assert json.loads((tmp_path / "report.json").read_text()) == {"second": 2}
    assert names_in(tmp_path) == ["report.json"]
