"""Heatmaps in a file: what numpy reads back, what a broken run leaves, and drawing again without the network."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from conftest import RunLivecam, environment_with
from media_clips import numbered_image, packet_times, probe, result_of, write_clip

from live_cam.errors import SinkError, SourceError
from live_cam.frame import Explanation, Prediction
from live_cam.recorded import RecordedExplainer, RecordedMaps
from live_cam.sinks.heatmaps import HeatmapSink

CAT = Prediction(281, "tabby", 0.75, 3.0)
DOG = Prediction(207, "chien doré", 0.125, -1.0)
NUMBER = Prediction(0, "up", None, 17.5)
REGION = (-0.25, 0.0, 1.5, 1.0)
ABOUT = {
    "layer": "top", "model": "m", "method": "grad-cam", "input_size_wh": np.array([8, 8]), "fit": "stretch",
    "smooth_seconds": 0.15, "start_seconds": 0.0, "end_seconds": np.inf, "max_frames": -1,
}  # fmt: skip


def explanation_of(heatmap, explained: Prediction = DOG, other_maps=()) -> Explanation:
    return Explanation((CAT, DOG), explained, np.float32(heatmap), REGION, other_maps)


def write_maps(path: Path, explanations: list[Explanation], first_index: int = 0) -> Path:
    with HeatmapSink(path, about=lambda: ABOUT) as sink:
        for index, explanation in enumerate(explanations, first_index):
            sink.write(result_of(numbered_image(0), index, index / 25, explanation))
        sink.finish()
    return path


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- the file


def test_numpy_reads_what_was_seen_in_every_frame(tmp_path):
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
def test_maps_that_float16_could_not_hold_come_back(tmp_path, peak):
    heatmap = np.linspace(0, 1, 49, dtype=np.float32).reshape(7, 7) * np.float32(peak)
    maps = RecordedMaps(write_maps(tmp_path / "m.npz", [explanation_of(heatmap)]))
    # float16 has 11 bits: rounding to the last one changes 1 / 2048 at most.
    np.testing.assert_allclose(maps.explanation(0).heatmap, heatmap, rtol=1 / 2048, atol=peak * 1e-7)


def test_an_explanation_comes_back_whole(tmp_path):
    before = Explanation(
        (NUMBER, CAT), NUMBER, np.zeros((2, 2), np.float32), REGION, ((CAT, np.float32([[1, 0], [0, 2]])),)
    )
    after = RecordedMaps(write_maps(tmp_path / "m.npz", [before])).explanation(0)
    assert (after.predictions, after.explained, after.region_xywh) == (before.predictions, before.explained, REGION)
    assert not after.heatmap.any()
    ((prediction, heatmap),) = after.other_maps
    assert prediction == CAT
    assert heatmap.tolist() == [[1, 0], [0, 2]]


def test_of_a_frame_that_is_shown_again_there_is_one_map(tmp_path):
    with HeatmapSink(tmp_path / "m.npz", about=lambda: ABOUT) as sink:
        for index in (0, 0, 1, 1, 1):
            sink.write(result_of(numbered_image(0), index, index / 25, explanation_of([[1]])))
        sink.finish()
    assert np.load(sink.path)["frame_indexes"].tolist() == [0, 1]


def test_maps_of_another_layer_are_left_out(tmp_path):
    path = write_maps(tmp_path / "m.npz", [explanation_of([[1, 1]]), explanation_of([[1]]), explanation_of([[2, 1]])])
    assert np.load(path)["frame_indexes"].tolist() == [0, 2]
    with pytest.raises(SourceError, match="does not hold every frame"):
        RecordedMaps(path)


def test_while_it_is_written_numpy_reads_the_unfinished_file(tmp_path):
    sink = HeatmapSink(tmp_path / "m.npz", about=lambda: ABOUT)
    for index in range(40):
        sink.write(result_of(numbered_image(0), index, index / 25, explanation_of([[index, 0]])))
    # As after a kill: nothing was closed.
    records = np.load(tmp_path / "m.partial.npz", allow_pickle=False)
    assert 24 < len(records) <= 40
    assert records["frame_indexes"].tolist() == list(range(len(records)))
    assert records["peaks"].tolist() == list(range(len(records)))
    with pytest.raises(SourceError, match="of a finished run"):
        RecordedMaps(tmp_path / "m.partial.npz")
    sink.close()


def test_a_run_that_is_broken_off_leaves_a_whole_npz_under_the_partial_name(tmp_path):
    sink = HeatmapSink(tmp_path / "m.npz", about=lambda: ABOUT)
    for index in range(3):
        sink.write(result_of(numbered_image(0), index, index / 25, explanation_of([[1]])))
    sink.close()
    sink.close()
    assert names_in(tmp_path) == ["m.partial.npz"]
    assert len(RecordedMaps(tmp_path / "m.partial.npz")) == 3


def test_without_a_map_nothing_is_left(tmp_path):
    with HeatmapSink(tmp_path / "m.npz") as sink:
        sink.finish()
    assert names_in(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told(tmp_path):
    with HeatmapSink(tmp_path / "m.npz", about=lambda: ABOUT) as sink:
        sink.partial_path.symlink_to("/dev/full")
        with pytest.raises(SinkError, match=r"cannot write .*m.npz: "):
            sink.write(result_of(numbered_image(0), explanation=explanation_of([[1]])))


def test_the_name_must_end_in_npz(tmp_path):
    with pytest.raises(SinkError, match=r"must end in \.npz"):
        HeatmapSink(tmp_path / "m.npy")


def test_what_is_no_file_of_heatmaps_takes_one_line(tmp_path):
    (tmp_path / "text.npz").write_text("no zip at all")
    np.savez(tmp_path / "other.npz", maps=np.zeros(3))
    whole = write_maps(tmp_path / "m.npz", [explanation_of([[1]])]).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    for name in ("text.npz", "other.npz", "cut.npz"):
        with pytest.raises(SourceError, match=f"{name} holds no heatmaps of a finished run"):
            RecordedMaps(tmp_path / name)
    with pytest.raises(SourceError, match="no such file"):
        RecordedMaps(tmp_path / "none.npz")


def test_each_frame_gets_its_own_explanation_in_any_order(tmp_path):
    maps = RecordedMaps(write_maps(tmp_path / "m.npz", [explanation_of([[peak]]) for peak in (1, 2, 3)]))
    explainer = RecordedExplainer(maps)
    inputs = [explainer.preprocess(numbered_image(0)) for _ in range(3)]
    assert [float(explainer.explain_input(one).heatmap.max()) for one in reversed(inputs)] == [3, 2, 1]


# --- drawing again


# Each frame coded by itself, and well: two runs of an encoder over frames that hardly differ may differ by far more.
PICTURES = ("--codec", "mjpeg", "--quality", "100")


def write_film(path: Path, photograph: np.ndarray) -> Path:
    """Eight frames of a photograph in motion, a cut, and eight of bars."""
    moving = [photograph[4 * shift : 4 * shift + 240, 8 * shift : 8 * shift + 320] for shift in range(8)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for image in [*moving, *(numbered_image(index, (320, 240)) for index in range(8))]:
            pixels = np.ascontiguousarray(image)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="bgr24")))
        container.mux(stream.encode(None))
    return path


def images_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)])


def psnr_db(one: np.ndarray, other: np.ndarray) -> float:
    error = np.square(one.astype(np.float64) - other).mean()
    return float(10 * np.log10(255**2 / error)) if error else np.inf


@pytest.fixture(scope="module")
def recorded(
    run_livecam: RunLivecam, warm_cache: None, photograph_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with film.mp4, and drawn.avi and maps.npz made of it."""
    folder = tmp_path_factory.mktemp("recorded")
    write_film(folder / "film.mp4", cv2.imread(str(photograph_path)))
    done = run_livecam("--video", "film.mp4", "--output", "drawn.avi", *PICTURES, "--heatmaps", "maps.npz", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "maps.npz" in done.stdout
    return folder


def test_what_is_drawn_again_is_the_same_picture_at_the_same_times(
    run_livecam: RunLivecam, recorded: Path, tmp_path: Path
):
    again = tmp_path / "again.avi"
    maps = ["--heatmaps", recorded / "maps.npz"]
    done = run_livecam("render", "--video", recorded / "film.mp4", *maps, "--output", again, *PICTURES)
    assert done.returncode == 0, done.stderr
    before, after, film = (images_of(path) for path in (recorded / "drawn.avi", again, recorded / "film.mp4"))
    assert len(before) == len(after) == 16
    assert packet_times(again) == packet_times(recorded / "drawn.avi")
    assert min(psnr_db(one, other) for one, other in zip(before, after, strict=True)) > 50
    # The heat is far more than that difference.
    assert max(psnr_db(one, other) for one, other in zip(before, film, strict=True)) < 30


def test_other_colours_views_and_smoothing_make_other_pictures(run_livecam: RunLivecam, recorded: Path, tmp_path: Path):
    sources = ["--video", recorded / "film.mp4", "--heatmaps", recorded / "maps.npz"]
    for number, (options, width) in enumerate(
        [(["--colormap", "viridis", "--smooth", "0"], 320), (["--view", "split", "--mirror"], 640)]
    ):
        made = tmp_path / f"{number}.mp4"
        done = run_livecam("render", *sources, "--output", made, *options)
        assert done.returncode == 0, done.stderr
        assert (probe(made)["width"], probe(made)["nb_read_packets"]) == (width, "16")
    drawn, viridis = images_of(recorded / "drawn.avi"), images_of(tmp_path / "0.mp4")
    assert psnr_db(drawn, viridis) < 30
    # Of a pair, the left half is the film turned left to right.
    left = images_of(tmp_path / "1.mp4")[:, :, :316]
    assert psnr_db(left, images_of(recorded / "film.mp4")[:, :, ::-1][:, :, :316]) > 35


def test_drawing_again_loads_no_network(recorded: Path, tmp_path: Path):
    program = (
        "import sys\nfrom live_cam.cli import main\nsys.argv = ['livecam', *sys.argv[1:]]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    arguments = ["--video", "film.mp4", "--heatmaps", "maps.npz", "--output", str(tmp_path / "o.mp4"), "--quiet"]
    done = subprocess.run(
        [sys.executable, "-c", program, "render", *arguments],
        cwd=recorded, env=environment_with(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded = set(done.stdout.split())
    assert {"live_cam", "av", "cv2"} <= loaded
    assert not loaded & {"tensorflow", "keras", "ai_edge_litert"}


def test_a_part_of_a_video_is_drawn_again_as_that_part(run_livecam: RunLivecam, recorded: Path, tmp_path: Path):
    film, maps = recorded / "film.mp4", tmp_path / "m.npz"
    for number, part in enumerate((["--start", "0.2", "--end", "0.4"], ["--max-frames", "5"])):
        made, again = tmp_path / f"{number}.avi", tmp_path / f"{number}-again.avi"
        done = run_livecam("--video", film, "--output", made, "--heatmaps", maps, "--overwrite", *PICTURES, *part)
        assert done.returncode == 0, done.stderr
        done = run_livecam("render", "--video", film, "--heatmaps", maps, "--output", again, *PICTURES)
        assert done.returncode == 0, done.stderr
        assert packet_times(again) == packet_times(made)
        assert len(packet_times(again)) == 5
        assert psnr_db(images_of(again), images_of(made)) > 50


def test_maps_of_another_video_take_one_line(run_livecam: RunLivecam, recorded: Path, tmp_path: Path):
    film = images_of(recorded / "film.mp4")
    size_wh = (film.shape[2], film.shape[1])
    others = {
        "small.mp4": (write_clip(tmp_path / "small.mp4", frame_count=16), "64x48, not 320x240"),
        "short.mp4": (write_clip(tmp_path / "short.mp4", 12, size_wh=size_wh), "ends after 12 frames, not 16"),
        "long.mp4": (write_clip(tmp_path / "long.mp4", 20, size_wh=size_wh), "more than 16 frames"),
        "slow.mp4": (
            write_clip(tmp_path / "slow.mp4", 16, size_wh=size_wh, rate=Fraction(20)),
            "frame 1 is at 0.050 s, not 0.040",
        ),
    }
    for name, (video, words) in others.items():
        done = run_livecam(
            "render", "--video", video, "--heatmaps", recorded / "maps.npz", "--output", tmp_path / f"out-{name}"
        )
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert f"was not made of {video}" in line
        assert words in line
        assert not (tmp_path / f"out-{name}").exists()


def test_a_picture_has_a_map_too(run_livecam: RunLivecam, photograph_path: Path, warm_cache: None, tmp_path: Path):
    done = run_livecam("--image", photograph_path, "--heatmaps", tmp_path / "m.npz", "--sidecar", tmp_path / "s.jsonl")
    assert done.returncode == 0, done.stderr
    line = json.loads((tmp_path / "s.jsonl").read_text())
    with np.load(tmp_path / "m.npz", allow_pickle=False) as arrays:
        assert arrays["explained_label"].tolist() == [line["explained"]["label"]]
        assert arrays["peaks"][0] == pytest.approx(line["heatmap"]["peak"], rel=1e-5)
        assert (arrays["maps"][0] >= 0.5).mean() == pytest.approx(line["heatmap"]["area_above_half"], abs=0.03)
        assert str(arrays["model"]) == "efficientnet-lite0"
        assert str(arrays["layer"]) == "top_activation"
