"""Sidecars are written as CSV, read back from JSON lines and CSV, and drawn over time."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import RunLivecam
from media_clips import numbered_image, result_of, write_clip

from live_cam.errors import SourceError
from live_cam.evaluation.timeline import Timeline, read_timeline
from live_cam.evaluation.timeline_plot import steps_of
from live_cam.frame import Explanation, Prediction
from live_cam.sinks.sidecar import SidecarSink

CAT, DOG, COW = (
    Prediction(281, 'tabby, "cat"', 0.75, 3.0),
    Prediction(207, "dog", 0.125, 1.0),
    Prediction(345, "Ochse — ox\nor cow", 0.5, 2.0),
)
HALF_HOT = [[0, 0], [2, 2]]


def write_sidecar(path: Path, explanations: list[Explanation]) -> Path:
    with SidecarSink(path) as sink:
        for index, explanation in enumerate(explanations):
            sink.write(result_of(numbered_image(0), index, index / 4, explanation))
        sink.finish()
    return path


def explanation_of(*predictions: Prediction, heatmap=HALF_HOT) -> Explanation:
    return Explanation(predictions, predictions[-1], np.float32(heatmap))


# --- the table


def test_a_name_that_ends_in_csv_gives_a_table(tmp_path: Path):
    path = write_sidecar(tmp_path / "s.CSV", [explanation_of(CAT, DOG), explanation_of(CAT, COW, heatmap=[[0, 0]])])
    assert path.read_bytes().count(b"\r\n") == 3  # RFC 4180
    first, second = csv.DictReader(path.open(encoding="utf-8", newline=""))
    assert list(first) == [
        "index", "time_seconds", "explained_index", "explained_label", "explained_probability",
        "class_index_1", "label_1", "probability_1", "class_index_2", "label_2", "probability_2",
        "peak", "area_above_half", "centroid_x", "centroid_y",
    ]  # fmt: skip
    assert list(first.values()) == [
        "0", "0.0", "207", "dog", "0.125", "281", 'tabby, "cat"', "0.75", "207", "dog", "0.125",
        "2.0", "0.5", "0.5", "0.75",
    ]  # fmt: skip
    assert second["explained_label"] == "Ochse — ox\nor cow"
    assert (second["peak"], second["centroid_x"], second["centroid_y"]) == ("0.0", "", "")


def test_a_model_without_probabilities_gives_columns_of_values(tmp_path: Path):
    path = write_sidecar(tmp_path / "s.csv", [explanation_of(Prediction(0, "up", None, 17.5))])
    (row,) = csv.DictReader(path.open(encoding="utf-8", newline=""))
    assert (row["explained_value"], row["value_1"]) == ("17.5", "17.5")
    assert not any("probability" in name for name in row)


# --- read back


@pytest.mark.parametrize("name", ["s.jsonl", "s.csv"])
def test_json_lines_and_csv_give_the_same_timeline(tmp_path: Path, name: str):
    frames = [explanation_of(CAT, DOG), explanation_of(COW, DOG), explanation_of(CAT, COW, heatmap=[[0, 0]])]
    timeline = read_timeline(write_sidecar(tmp_path / name, frames))
    assert timeline.times_seconds.tolist() == [0, 0.25, 0.5]
    assert timeline.are_probabilities
    assert timeline.leading_classes(2) == [281, 345]  # sums 1.5 and 1.0
    assert timeline.scores_of(207).tolist()[:2] == [0.125, 0.125]
    assert np.isnan(timeline.scores_of(207)[2])
    assert list(timeline.explained_runs()) == [(0, 2, 207), (2, 3, 345)]
    assert timeline.labels[281] == 'tabby, "cat"'
    assert timeline.centroids_xy[:2].tolist() == [[0.5, 0.75]] * 2
    assert np.isnan(timeline.centroids_xy[2]).all()


@pytest.mark.parametrize("name", ["s.jsonl", "s.csv"])
def test_labels_with_any_characters_are_read_back(tmp_path: Path, name: str):
    # Line ends of Unicode, of which JSON lines use "\n" only; and characters that CSV must quote.
    labels = ["a\u2028b", "a\u2029b", "a\x85b", "a\x0bb\x0cc\x1cd", "a\nb", "a\r\nb", "a\rb", '"a", b', " a;\t", "'"]
    predictions = [Prediction(index, label, 0.5, 0.5) for index, label in enumerate(labels)]
    timeline = read_timeline(write_sidecar(tmp_path / name, [explanation_of(*predictions)] * 2))
    assert timeline.labels == dict(enumerate(labels))
    assert timeline.class_indices.tolist() == [list(range(len(labels)))] * 2


def test_half_a_line_after_a_killed_process_is_left_out(tmp_path: Path):
    path = write_sidecar(tmp_path / "s.jsonl", [explanation_of(CAT, DOG)] * 3)
    path.write_bytes(path.read_bytes()[:-20])
    assert len(read_timeline(path).times_seconds) == 2


@pytest.mark.parametrize(
    "text", ["", "no json\n", '{"index": 0}\n', "[]\n", "3\n", pytest.param(200_000 * "x" + "\n", id="a long line")]
)
@pytest.mark.parametrize("name", ["s.jsonl", "s.csv"])
def test_other_files_are_a_one_line_error(tmp_path: Path, name: str, text: str):
    (tmp_path / name).write_text(text)
    with pytest.raises(SourceError, match=f"{name} is not a sidecar of livecam; write one with the sidecar option"):
        read_timeline(tmp_path / name)


def test_many_frames_are_reduced_to_medians_and_a_band():
    times = np.arange(24_000) / 100
    values = np.where(np.arange(24_000) % 100 == 0, 1.0, 0.25)  # one frame in a hundred flashes
    values[:12_000] = np.nan
    steps = steps_of(times, values)
    assert len(steps.middle) == 240
    assert np.isnan(steps.middle[:120]).all()
    assert set(steps.middle[120:]) == set(steps.low[120:]) == set(steps.high[120:]) == {0.25}
    assert steps.times_seconds[0] == pytest.approx(0.495)  # the middle of the first 100 frames


# --- drawn


def write_long_sidecar(path: Path) -> Path:
    """Writes two seconds of a cat, then a cow, whose evidence moves from left to right."""
    frames = []
    for index in range(50):
        heatmap = np.zeros((2, 8))
        heatmap[0, index * 8 // 50] = 1
        frames.append(explanation_of(DOG, CAT if index < 25 else COW, heatmap=heatmap))
    with SidecarSink(path) as sink:
        for index, explanation in enumerate(frames):
            sink.write(result_of(numbered_image(0), index, index / 25, explanation))
        sink.finish()
    return path


def test_the_figure_has_300_dots_per_inch_and_thumbnails(run_livecam: RunLivecam, tmp_path: Path):
    pytest.importorskip("matplotlib")
    write_long_sidecar(tmp_path / "s.jsonl")
    write_clip(tmp_path / "clip.mp4", frame_count=50)
    made = run_livecam("plot", "--sidecar", "s.jsonl", "--output", "t.png", "--video", "clip.mp4", cwd=tmp_path)
    assert (made.returncode, made.stderr, made.stdout) == (0, "", "t.png\n")
    figure = cv2.imread(str(tmp_path / "t.png"))
    assert figure.shape[1] == 2100  # 7 inches
    assert 0.5 < (figure == 255).mean() < 0.95
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "s.jsonl", "t.png"]


def test_the_thumbnails_show_the_frames_at_their_times(tmp_path: Path):
    pytest.importorskip("matplotlib")
    from media_clips import number_of

    from live_cam.evaluation.timeline_plot import thumbnails_of

    timeline = read_timeline(write_long_sidecar(tmp_path / "s.jsonl"))
    thumbnails = thumbnails_of(timeline, write_clip(tmp_path / "clip.mp4", frame_count=50))
    assert [index for index, _ in thumbnails] == [number_of(image) for _, image in thumbnails]
    # In the middles of seven equal parts of 50 frames.
    assert [index for index, _ in thumbnails] == [3, 10, 17, 24, 31, 38, 45]


@pytest.mark.parametrize(("labels", "shown", "row_count"), [
    (['tabby, "cat"', "one $ or\ntwo $"], ['tabby, "cat"', "one $ or two $"], 1),
    (["_background", "cat", "dog", "cow", "ox"], ["_background", "cat", "dog", "cow", "ox"], 1),
    *[(["nnnn", *["n" * length] * 4], ["nnnn", *["n" * length] * 4], None) for length in range(12, 20)],
    (["espresso maker, cup"] * 5, ["espresso maker, cup"] * 5, 2),
    (["W" * 20] * 5, ["W" * 20] * 5, 3),  # two of these fit next to each other
    (["a very long name, of which the end is left out"], ["a very long name, of whic…"], 1),
])  # fmt: skip
def test_the_legend_names_every_curve_and_hides_nothing(
    tmp_path: Path, labels: list[str], shown: list[str], row_count: int | None
):
    pytest.importorskip("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from live_cam.evaluation.plot_style import COLORS, figure_style
    from live_cam.evaluation.timeline_plot import timeline_figure

    classes = [Prediction(index, label, 0.5, 1.0) for index, label in enumerate(labels)]
    with figure_style():
        figure = timeline_figure(read_timeline(write_sidecar(tmp_path / "s.jsonl", [explanation_of(*classes)] * 50)))
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        legend, renderer = figure.axes[0].get_legend(), canvas.get_renderer()
        box, axes_box = (artist.get_window_extent(renderer) for artist in (legend, figure.axes[0]))
        rows = {round(text.get_window_extent(renderer).y0) for text in legend.get_texts()}
    assert [text.get_text() for text in legend.get_texts()] == shown
    assert [line.get_color() for line in legend.get_lines()] == list(COLORS[: len(labels)])
    assert [line.get_color() for line in figure.axes[0].get_lines()] == list(COLORS[: len(labels)])
    assert row_count in (None, len(rows))
    assert box.y0 > axes_box.y1
    assert all(figure.bbox.contains(*corner) for corner in (box.min, box.max))
    assert axes_box.x1 > 0.98 * figure.bbox.x1  # the legend did not make the axes narrower


@pytest.mark.parametrize("name", ["t.pdf", "t.svg"])
def test_pdf_and_svg_figures_of_one_frame_of_a_regression(run_livecam: RunLivecam, tmp_path: Path, name: str):
    pytest.importorskip("matplotlib")
    write_sidecar(tmp_path / "s.csv", [explanation_of(Prediction(0, "up", None, 17.5), heatmap=[[0]])])
    made = run_livecam("plot", "--sidecar", "s.csv", "--output", name, "--quiet", cwd=tmp_path)
    assert (made.returncode, made.stderr, made.stdout) == (0, "", "")
    assert (tmp_path / name).read_bytes()[:5] in (b"%PDF-", b"<?xml")


def test_errors_of_plot_take_one_line_and_leave_no_file(run_livecam: RunLivecam, tmp_path: Path):
    pytest.importorskip("matplotlib")
    sidecar = tmp_path / "s.jsonl"
    sidecar.write_text(json.dumps({"index": 0}) + "\n")
    for arguments, words in (
        (["--sidecar", sidecar, "--output", tmp_path / "t.png"], "not a sidecar"),
        (["--sidecar", tmp_path / "none.jsonl", "--output", tmp_path / "t.png"], "cannot read"),
        (["--sidecar", sidecar, "--output", tmp_path / "t.docx"], ".png, .pdf, .svg"),
        (["--sidecar", sidecar, "--output", sidecar.with_suffix(".png"), "--video", "none.mp4"], "not a sidecar"),
    ):
        done = run_livecam("plot", *arguments)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert words in line
    assert sorted(tmp_path.iterdir()) == [sidecar]


def test_without_matplotlib_the_error_says_what_to_install(run_livecam: RunLivecam, tmp_path: Path):
    program = "import sys, runpy; sys.modules['matplotlib'] = None; runpy.run_module('live_cam', run_name='__main__')"
    import subprocess
    import sys

    write_long_sidecar(tmp_path / "s.jsonl")
    done = subprocess.run(
        [sys.executable, "-c", program, "plot", "--sidecar", tmp_path / "s.jsonl", "--output", tmp_path / "t.png"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "plots need matplotlib" in line
    assert "pip install" in line


def test_a_timeline_of_frames_without_evidence_can_be_drawn(tmp_path: Path):
    pytest.importorskip("matplotlib")
    from live_cam.evaluation.timeline_plot import plot_timeline

    nothing = write_sidecar(tmp_path / "s.jsonl", [explanation_of(CAT, DOG, heatmap=[[0, 0]])] * 5)
    assert isinstance(read_timeline(nothing), Timeline)
    plot_timeline(nothing, tmp_path / "t.png")
    assert cv2.imread(str(tmp_path / "t.png")) is not None
