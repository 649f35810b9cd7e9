"""Recorded heatmaps: what numpy reads from the file, and what a killed run leaves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import RunLivecam
from media_clips import numbered_image, result_of

from live_cam.errors import SinkError, SourceError
from live_cam.frame import Explanation, Prediction
from live_cam.sinks.heatmap_reader import RecordedHeatmaps
from live_cam.sinks.heatmaps import HeatmapSink

CAT = Prediction(281, "tabby", 0.75, 3.0)
DOG = Prediction(207, "chien doré", 0.125, -1.0)
LYNX = Prediction(287, "lynx", 0.0625, -2.0)
NUMBER = Prediction(0, "up", None, 17.5)
REGION = (-0.25, 0.0, 1.5, 1.0)
METADATA = {
    "layer": "top", "model": "m", "method": "grad-cam", "input_size_wh": np.array([8, 8]), "fit": "stretch",
    "smooth_seconds": 0.15, "start_seconds": 0.0, "end_seconds": np.inf, "max_frames": -1,
}  # fmt: skip


def explanation_of(heatmap, explained: Prediction = DOG, other_maps=()) -> Explanation:
    return Explanation((CAT, DOG), explained, np.float32(heatmap), REGION, other_maps)


def write_maps(path: Path, explanations: list[Explanation], first_index: int = 0) -> Path:
    with HeatmapSink(path, metadata=lambda: METADATA) as sink:
        for index, explanation in enumerate(explanations, first_index):
            sink.write(result_of(numbered_image(0), index, index / 25, explanation))
        sink.finish()
    return path


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_numpy_reads_the_heatmap_of_every_frame(tmp_path):
    path = write_maps(
        tmp_path / "m.npz", [explanation_of([[0, 1], [2, 4]]), explanation_of([[0, 0], [0, 3]], explained=CAT)]
    )
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays["maps"].dtype == np.float16
        assert arrays["maps"].tolist() == [[[0, 0.25], [0.5, 1]], [[0, 0], [0, 1]]]
        assert arrays["peaks"].tolist() == [4, 3]
        assert arrays["times_seconds"].tolist() == [0, 0.04]
        assert arrays["frame_indexes"].tolist() == [0, 1]
        assert arrays["explained_index"].tolist() == [207, 281]
        assert arrays["explained_label"].tolist() == ["chien doré", "tabby"]
        assert arrays["explained_probability"].tolist() == [0.125, 0.75]
        assert dict(zip(arrays["class_label_indexes"].tolist(), arrays["labels"].tolist(), strict=True)) == {
            207: "chien doré",
            281: "tabby",
        }
        assert arrays["region_xywh"].tolist() == list(REGION)
        assert arrays["frame_size_wh"].tolist() == [64, 48]
        assert str(arrays["layer"]) == "top"
    assert names_in(tmp_path) == ["m.npz"]


@pytest.mark.parametrize("peak", [1e-30, 1e-9, 1.0, 1e6, 1e30])
def test_heatmaps_beyond_the_range_of_float16_are_kept(tmp_path, peak):
    heatmap = np.linspace(0, 1, 49, dtype=np.float32).reshape(7, 7) * np.float32(peak)
    maps = RecordedHeatmaps(write_maps(tmp_path / "m.npz", [explanation_of(heatmap)]))
    # float16 has 11 bits: rounding to the last one changes 1 / 2048 at most.
    np.testing.assert_allclose(maps.explanation(0).heatmap, heatmap, rtol=1 / 2048, atol=peak * 1e-7)


def test_explanation_is_read_back_completely(tmp_path):
    before = Explanation(
        (NUMBER, CAT),
        NUMBER,
        np.zeros((2, 2), np.float32),
        REGION,
        ((CAT, np.float32([[1, 0], [0, 2]])),),
        contrast=(LYNX, DOG),
    )
    maps = RecordedHeatmaps(write_maps(tmp_path / "m.npz", [replace(before, contrast=()), before]))
    assert maps.explanation(0).contrast == ()
    after = maps.explanation(1)
    assert after.contrast == (LYNX, DOG)
    assert (after.predictions, after.explained, after.region_xywh) == (before.predictions, before.explained, REGION)
    assert not after.heatmap.any()
    ((prediction, heatmap),) = after.other_maps
    assert prediction == CAT
    assert heatmap.tolist() == [[1, 0], [0, 2]]


def test_a_file_of_an_earlier_version_has_no_contrast(tmp_path):
    path = write_maps(tmp_path / "m.npz", [replace(explanation_of([[1]]), contrast=(CAT,))])
    with np.load(path) as arrays:
        kept = {name: arrays[name] for name in arrays.files if not name.startswith("contrast")}
    np.savez(path, **kept)
    assert RecordedHeatmaps(path).explanation(0).contrast == ()


def test_explanation_that_is_shown_again_is_written_once(tmp_path):
    with HeatmapSink(tmp_path / "m.npz", metadata=lambda: METADATA) as sink:
        for index in (0, 0, 1, 1, 1):
            sink.write(result_of(numbered_image(0), index, index / 25, explanation_of([[1]])))
        sink.finish()
    assert np.load(sink.path)["frame_indexes"].tolist() == [0, 1]
    assert sink.frame_count == 2


def test_heatmaps_of_another_shape_are_left_out(tmp_path):
    path = write_maps(tmp_path / "m.npz", [explanation_of([[1, 1]]), explanation_of([[1]]), explanation_of([[2, 1]])])
    assert np.load(path)["frame_indexes"].tolist() == [0, 2]
    with pytest.raises(SourceError, match="does not hold every frame"):
        RecordedHeatmaps(path)


def test_numpy_reads_the_growing_file(tmp_path):
    sink = HeatmapSink(tmp_path / "m.npz", metadata=lambda: METADATA)
    for index in range(40):
        sink.write(result_of(numbered_image(0), index, index / 25, explanation_of([[index, 0]])))
    # As after a kill: nothing is closed.
    records = np.load(tmp_path / "m.partial.npz", allow_pickle=False)
    assert 24 < len(records) <= 40
    assert records["frame_indexes"].tolist() == list(range(len(records)))
    assert records["peaks"].tolist() == list(range(len(records)))
    with pytest.raises(SourceError, match="of a finished job"):
        RecordedHeatmaps(tmp_path / "m.partial.npz")
    sink.close()


def test_without_finish_a_complete_npz_stays_under_the_partial_name(tmp_path):
    sink = HeatmapSink(tmp_path / "m.npz", metadata=lambda: METADATA)
    for index in range(3):
        sink.write(result_of(numbered_image(0), index, index / 25, explanation_of([[1]])))
    sink.close()
    sink.close()
    assert names_in(tmp_path) == ["m.partial.npz"]
    assert len(RecordedHeatmaps(tmp_path / "m.partial.npz")) == 3


FINISH_AND_DIE = """
import os, signal, sys
import numpy as np
from media_clips import numbered_image, result_of
from live_cam.sinks.heatmaps import HeatmapSink
sink = HeatmapSink(sys.argv[1])
for index in range(20):
    sink.write(result_of(numbered_image(index), index, index / 25))
steps_left = int(sys.argv[2])
def die_before_a_step(event, arguments):
    global steps_left
    if event in ("os.rename", "os.remove"):
        if steps_left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        steps_left -= 1
sys.addaudithook(die_before_a_step)
sink.finish()
"""


def test_process_killed_at_any_step_of_finishing_leaves_all_heatmaps(tmp_path):
    path = tmp_path / "m.npz"
    for step in range(10):
        command = [sys.executable, "-c", FINISH_AND_DIE, str(path), str(step)]
        path.unlink(missing_ok=True)
        done = subprocess.run(command, cwd=Path(__file__).parent, check=False)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        assert set(names_in(tmp_path)) <= {"m.npz", "m.partial.npz", "m.partial.finishing.npz", "m.partial.npz.lock"}
        records = np.load(path if path.exists() else tmp_path / "m.partial.npz", allow_pickle=False)
        assert records["frame_indexes"].tolist() == list(range(20))
    assert step >= 2  # the complete file gets the partial name, then the final one
    assert names_in(tmp_path) == ["m.npz"]
    assert len(RecordedHeatmaps(path)) == 20


def test_without_a_heatmap_no_file_stays(tmp_path):
    with HeatmapSink(tmp_path / "m.npz") as sink:
        sink.finish()
    assert names_in(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_is_reported(tmp_path):
    with HeatmapSink(tmp_path / "m.npz", metadata=lambda: METADATA) as sink:
        sink.partial_path.symlink_to("/dev/full")
        with pytest.raises(SinkError, match=r"cannot write .*m.npz: "):
            sink.write(result_of(numbered_image(0), explanation=explanation_of([[1]])))


def test_name_must_end_in_npz(tmp_path):
    with pytest.raises(SinkError, match=r"must end in \.npz"):
        HeatmapSink(tmp_path / "m.npy")


def test_file_without_heatmaps_is_reported_in_one_line(tmp_path):
    (tmp_path / "text.npz").write_text("not a zip file")
    np.savez(tmp_path / "other.npz", maps=np.zeros(3))
    whole = write_maps(tmp_path / "m.npz", [explanation_of([[1]])]).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    for name in ("text.npz", "other.npz", "cut.npz"):
        with pytest.raises(SourceError, match=f"{name} holds no heatmaps of a finished job"):
            RecordedHeatmaps(tmp_path / name)
    with pytest.raises(SourceError, match="no such file"):
        RecordedHeatmaps(tmp_path / "none.npz")


def test_image_has_a_heatmap_too(run_livecam: RunLivecam, photograph_path: Path, warm_cache: None, tmp_path: Path):
    done = run_livecam("--image", photograph_path, "--heatmaps", tmp_path / "m.npz", "--sidecar", tmp_path / "s.jsonl")
    assert done.returncode == 0, done.stderr
    line = json.loads((tmp_path / "s.jsonl").read_text())
    with np.load(tmp_path / "m.npz", allow_pickle=False) as arrays:
        assert arrays["explained_label"].tolist() == [line["explained"]["label"]]
        assert arrays["peaks"][0] == pytest.approx(line["heatmap"]["peak"], rel=1e-5)
        assert (arrays["maps"][0] >= 0.5).mean() == pytest.approx(line["heatmap"]["area_above_half"], abs=0.03)
        assert str(arrays["model"]) == "efficientnet-lite0"
        assert str(arrays["layer"]) == "top_activation"
