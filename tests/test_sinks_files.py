"""Pictures, sidecars and reports: what stands in them, and the rules for every file that is written."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from media_clips import numbered_image, result_of

from live_cam.errors import SinkError
from live_cam.frame import Explanation, Prediction
from live_cam.sinks.image import ImageSink, is_picture_name
from live_cam.sinks.partial import check_output, partial_path, put_in_place, refuse_same_file
from live_cam.sinks.report import write_report
from live_cam.sinks.sidecar import SidecarSink, heatmap_summary

CAT = Prediction(281, "tabby", 0.75, 3.0)
DOG = Prediction(207, "golden retriever", 0.125, 1.0)


def explanation_of(heatmap, region_xywh=(0.0, 0.0, 1.0, 1.0)) -> Explanation:
    return Explanation((CAT, DOG), DOG, np.float32(heatmap), region_xywh)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_unfinished_name_keeps_the_ending():
    assert partial_path(Path("a/out.mp4")) == Path("a/out.partial.mp4")
    assert partial_path(Path("a/b.c.jsonl")) == Path("a/b.c.partial.jsonl")
    assert partial_path(Path("report")) == Path("report.partial")


def test_an_output_that_can_be_made_leaves_nothing_behind(tmp_path):
    check_output(tmp_path / "out.mp4", overwrite=False)
    assert names_in(tmp_path) == []


def test_an_unfinished_file_of_an_earlier_run_is_not_touched_by_the_check(tmp_path):
    (tmp_path / "out.partial.mp4").write_text("earlier")
    check_output(tmp_path / "out.mp4", overwrite=False)
    assert (tmp_path / "out.partial.mp4").read_text() == "earlier"


def test_existing_files_are_refused_without_overwrite(tmp_path):
    (tmp_path / "out.mp4").write_text("before")
    with pytest.raises(SinkError, match=r"out.mp4 exists; give another name, or --overwrite"):
        check_output(tmp_path / "out.mp4", overwrite=False)
    check_output(tmp_path / "out.mp4", overwrite=True)
    assert (tmp_path / "out.mp4").read_text() == "before"
    assert names_in(tmp_path) == ["out.mp4"]


@pytest.mark.parametrize(("name", "reason"), [
    ("none/out.mp4", "there is no directory .*none; make it first"),
    ("file/out.mp4", "there is no directory .*file"),
    ("folder", "it is a directory; give a file in it"),
    ("x" * 250 + ".mp4", "File name too long"),
    ("pipe", "it is a device or a pipe"),
])  # fmt: skip
def test_outputs_that_cannot_be_made_are_told_in_one_line(tmp_path, name, reason):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    for overwrite in (False, True):
        with pytest.raises(SinkError, match=reason) as raised:
            check_output(tmp_path / name, overwrite)
        assert "\n" not in str(raised.value)
    assert names_in(tmp_path) == ["file", "folder", "pipe"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a folder in which even root cannot write")
def test_a_folder_in_which_nothing_can_be_made_is_refused():
    with pytest.raises(SinkError, match=r"cannot write /proc/out.mp4: "):
        check_output(Path("/proc/out.mp4"), overwrite=False)


def test_an_output_that_is_the_input_is_refused_by_every_name(tmp_path):
    source = tmp_path / "in.mp4"
    source.write_text("film")
    (tmp_path / "soft.mp4").symlink_to(source)
    (tmp_path / "hard.mp4").hardlink_to(source)
    (tmp_path / "folder").mkdir()
    for name in ("in.mp4", "soft.mp4", "hard.mp4", "folder/../in.mp4"):
        with pytest.raises(SinkError, match=r"would be written over the input .*in.mp4"):
            refuse_same_file(source, tmp_path / name)
    refuse_same_file(source, tmp_path / "out.mp4")
    refuse_same_file(tmp_path / "none.mp4", tmp_path / "none.mp4")


def test_an_output_whose_unfinished_file_is_the_input_is_refused(tmp_path):
    source = tmp_path / "out.partial.mp4"
    source.write_text("film")
    with pytest.raises(SinkError, match="would be written over the input"):
        refuse_same_file(source, tmp_path / "out.mp4")


def test_a_finished_file_is_put_in_place_in_one_step(tmp_path):
    (tmp_path / "out.partial.txt").write_text("new")
    (tmp_path / "out.txt").write_text("old")
    with pytest.raises(SinkError, match=r"made by someone else meanwhile; this output stays in .*out.partial.txt"):
        put_in_place(tmp_path / "out.partial.txt", tmp_path / "out.txt", overwrite=False)
    assert (tmp_path / "out.txt").read_text() == "old"
    put_in_place(tmp_path / "out.partial.txt", tmp_path / "out.txt", overwrite=True)
    assert (tmp_path / "out.txt").read_text() == "new"
    assert names_in(tmp_path) == ["out.txt"]


@pytest.mark.parametrize(("name", "loss"), [("bild é.png", 0), ("out.bmp", 0), ("out.JPG", 3), ("out.webp", 3)])
def test_a_picture_is_written_under_its_name_when_finished(tmp_path, name, loss):
    image = numbered_image(5)
    with ImageSink(tmp_path / name) as sink:
        sink.write(result_of(image))
        assert names_in(tmp_path) == [sink.partial_path.name]
        sink.finish()
    assert names_in(tmp_path) == [name]
    read = cv2.imdecode(np.fromfile(tmp_path / name, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(read.astype(int) - image).max() <= loss


def test_a_picture_that_was_not_finished_stays_under_the_partial_name(tmp_path):
    with ImageSink(tmp_path / "out.png") as sink:
        sink.write(result_of(numbered_image(5)))
    assert names_in(tmp_path) == ["out.partial.png"]
    with ImageSink(tmp_path / "none.png") as sink:
        sink.finish()
    assert names_in(tmp_path) == ["out.partial.png"]


@pytest.mark.parametrize("name", ["out.mp4", "out", "out.xyz", "out."])
def test_a_name_that_is_no_picture_is_refused(tmp_path, name):
    assert not is_picture_name(Path(name))
    with pytest.raises(SinkError, match=r"its name must end in \.jpg, \.png"):
        ImageSink(tmp_path / name)
    assert names_in(tmp_path) == []


def test_a_picture_file_takes_one_picture(tmp_path):
    with ImageSink(tmp_path / "out.png") as sink:
        sink.write(result_of(numbered_image(0)))
        with pytest.raises(SinkError, match=r"holds one picture only; for several give a name that ends in .mp4"):
            sink.write(result_of(numbered_image(1)))


def test_a_picture_too_large_for_its_format_is_told(tmp_path):
    wide = np.zeros((1, 20_000, 3), np.uint8)  # WebP ends at 16383
    with ImageSink(tmp_path / "out.webp") as sink, pytest.raises(SinkError, match=".webp cannot hold .* 20000x1"):
        sink.write(result_of(wide))
    assert names_in(tmp_path) == []


def test_a_sidecar_line_has_what_the_design_says(tmp_path):
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


def test_pictures_with_heat_of_an_earlier_frame_add_no_line(tmp_path):
    own, later = result_of(numbered_image(3, (32, 24)), 3, 0.3), result_of(numbered_image(4, (32, 24)), 4, 0.4)
    behind = replace(later, earlier_frame=own.frame)
    catching_up = replace(result_of(numbered_image(6, (32, 24)), 6, 0.6), earlier_frame=later.frame)
    assert behind.heat_age_seconds == pytest.approx(0.1)
    assert own.heat_age_seconds == 0
    with SidecarSink(tmp_path / "out.jsonl") as sink:
        for result in (own, behind, catching_up):
            sink.write(result)
        sink.finish()
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(line["index"], line["time_seconds"]) for line in lines] == [(3, 0.3), (4, 0.4)]


def test_area_counts_the_cells_with_at_least_half_the_peak():
    summary = heatmap_summary(explanation_of([[4, 2], [1.9, 0]]))
    assert (summary["peak"], summary["area_above_half"]) == (4, 0.5)


def test_centroids_by_hand():
    even = np.ones((3, 5))
    assert heatmap_summary(explanation_of(even))["centroid_xy"] == [0.5, 0.5]
    # Cells 1 and 3 of 4 have their centres at 0.375 and 0.875; the weights are 1 and 3.
    assert heatmap_summary(explanation_of([[0, 1, 0, 3]]))["centroid_xy"] == [0.75, 0.5]


def test_centroids_lie_where_the_network_looked():
    one_cell = [[0, 0], [0, 5]]
    # A crop of the middle half: 0.25 + 0.75 * 0.5 = 0.625 of the width; its whole height.
    assert heatmap_summary(explanation_of(one_cell, (0.25, 0, 0.5, 1)))["centroid_xy"] == [0.625, 0.75]
    # Padding above and below makes the seen square twice as high as the frame: the lower cells cover its lower half.
    assert heatmap_summary(explanation_of(one_cell, (0, -0.5, 1, 2)))["centroid_xy"] == [0.75, 0.75]


def test_heat_in_the_padding_is_not_in_the_frame():
    only_above = np.zeros((4, 4))
    only_above[0, 1] = 5  # the uppermost quarter of a square that reaches from -0.5 to 1.5
    summary = heatmap_summary(explanation_of(only_above, (0, -0.5, 1, 2)))
    assert (summary["peak"], summary["centroid_xy"]) == (5, None)


def test_no_positive_evidence_is_null_not_nan():
    summary = heatmap_summary(explanation_of(np.zeros((7, 7))))
    assert summary == {"peak": 0.0, "area_above_half": 0.0, "centroid_xy": None}


def test_sidecars_are_valid_json_whatever_comes(tmp_path):
    regression = Prediction(0, 'größe\n"km"', None, 3.0)
    odd = Prediction(1, "b", float("nan"), float("inf"))
    with SidecarSink(tmp_path / "out.jsonl") as sink:
        sink.write(
            result_of(numbered_image(0), 0, 0.0, Explanation((regression, odd), odd, np.float32([[np.nan, np.inf]])))
        )
        sink.finish()

    def refuse(constant):
        raise ValueError(constant)

    (line,) = sink.path.read_text(encoding="utf-8").splitlines()
    parsed = json.loads(line, parse_constant=refuse)
    assert [one["probability"] for one in parsed["predictions"]] == [None, None]
    assert parsed["predictions"][0]["value"] == 3.0
    assert parsed["predictions"][0]["label"] == 'größe\n"km"'
    assert parsed["heatmap"]["centroid_xy"] is None


def test_a_killed_run_keeps_its_lines(tmp_path):
    sink = SidecarSink(tmp_path / "out.jsonl")
    assert names_in(tmp_path) == []
    for index in range(3):
        sink.write(result_of(numbered_image(0), index, index / 25))
        lines = sink.partial_path.read_text(encoding="utf-8").splitlines()  # while the sink still has it open
        assert [json.loads(line)["index"] for line in lines] == list(range(index + 1))
    sink.close()
    sink.close()
    assert names_in(tmp_path) == ["out.partial.jsonl"]


def test_a_sidecar_without_a_line_leaves_nothing(tmp_path):
    with SidecarSink(tmp_path / "out.jsonl") as sink:
        sink.finish()
    assert names_in(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_sidecar_on_a_full_disk_is_told(tmp_path):
    with SidecarSink(tmp_path / "out.jsonl") as sink:
        sink.partial_path.symlink_to("/dev/full")
        with pytest.raises(SinkError, match=r"cannot write .*out.jsonl: No space left on device"):
            sink.write(result_of(numbered_image(0)))


def test_a_report_is_json_under_the_same_rules(tmp_path):
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
