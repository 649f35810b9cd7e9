"""A video is drawn again from its recorded heatmaps, without the network."""

from __future__ import annotations

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

from live_cam.frame import Explanation, Prediction
from live_cam.jobs.redraw import RecordedExplainer
from live_cam.sinks.heatmap_reader import RecordedHeatmaps
from live_cam.sinks.heatmaps import HeatmapSink

CAT = Prediction(281, "tabby", 0.75, 3.0)
METADATA = {
    "layer": "top", "model": "m", "method": "grad-cam", "input_size_wh": np.array([8, 8]), "fit": "stretch",
    "smooth_seconds": 0.15, "start_seconds": 0.0, "end_seconds": np.inf, "max_frames": -1,
}  # fmt: skip


def test_each_frame_gets_its_own_explanation_in_any_order(tmp_path):
    with HeatmapSink(tmp_path / "m.npz", metadata=lambda: METADATA) as sink:
        for index in range(3):
            explanation = Explanation((CAT,), CAT, np.float32([[index + 1]]))
            sink.write(result_of(numbered_image(0), index, index / 25, explanation))
        sink.finish()
    explainer = RecordedExplainer(RecordedHeatmaps(sink.path))
    inputs = [explainer.preprocess(numbered_image(0)) for _ in range(3)]
    explanations = [explainer.explain_input(network_input) for network_input in reversed(inputs)]
    assert [float(explanation.heatmap.max()) for explanation in explanations] == [3, 2, 1]


# Each frame is encoded for itself, at high quality: other codecs may turn small differences into large ones.
MJPEG = ("--codec", "mjpeg", "--quality", "100")


def write_video(path: Path, photograph: np.ndarray) -> Path:
    """Writes eight frames of a moving photograph and, after a cut, eight of bars."""
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


def psnr_db(first: np.ndarray, second: np.ndarray) -> float:
    error = np.square(first.astype(np.float64) - second).mean()
    return float(10 * np.log10(255**2 / error)) if error else np.inf


@pytest.fixture(scope="module")
def recorded(
    run_livecam: RunLivecam, warm_cache: None, photograph_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Returns a folder with video.mp4, and with drawn.avi and maps.npz that were made from it."""
    folder = tmp_path_factory.mktemp("recorded")
    write_video(folder / "video.mp4", cv2.imread(str(photograph_path)))
    done = run_livecam("--video", "video.mp4", "--output", "drawn.avi", *MJPEG, "--heatmaps", "maps.npz", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "maps.npz" in done.stdout
    return folder


def test_drawing_again_gives_the_same_images_at_the_same_times(run_livecam: RunLivecam, recorded: Path, tmp_path: Path):
    again = tmp_path / "again.avi"
    maps = ["--heatmaps", recorded / "maps.npz"]
    done = run_livecam("render", "--video", recorded / "video.mp4", *maps, "--output", again, *MJPEG)
    assert done.returncode == 0, done.stderr
    before, after, video = (images_of(path) for path in (recorded / "drawn.avi", again, recorded / "video.mp4"))
    assert len(before) == len(after) == 16
    assert packet_times(again) == packet_times(recorded / "drawn.avi")
    assert min(psnr_db(*pair) for pair in zip(before, after, strict=True)) > 50
    # The heat changes the images far more than that.
    assert max(psnr_db(*pair) for pair in zip(before, video, strict=True)) < 30


def test_other_colors_views_and_smoothing_give_other_images(run_livecam: RunLivecam, recorded: Path, tmp_path: Path):
    sources = ["--video", recorded / "video.mp4", "--heatmaps", recorded / "maps.npz"]
    for number, (options, width) in enumerate(
        [
            (["--colormap", "viridis", "--smooth", "0"], 320),
            (["--view", "split", "--mirror"], 640),
            (["--view", "grid"], 320),
            (["--panel"], 320),
        ]
    ):
        made = tmp_path / f"{number}.mp4"
        done = run_livecam("render", *sources, "--output", made, *options)
        assert done.returncode == 0, done.stderr
        assert (probe(made)["width"], probe(made)["nb_read_packets"]) == (width, "16")
    drawn, viridis = images_of(recorded / "drawn.avi"), images_of(tmp_path / "0.mp4")
    assert psnr_db(drawn, viridis) < 30
    # The panel is drawn bottom left, and changes nothing else.
    panel, height = images_of(tmp_path / "3.mp4"), drawn.shape[1]
    assert psnr_db(drawn[:, : height // 2], panel[:, : height // 2]) > 35
    assert psnr_db(drawn[:, height * 2 // 3 :, :160], panel[:, height * 2 // 3 :, :160]) < 25
    # In the split view, the left half is the mirrored video.
    left = images_of(tmp_path / "1.mp4")[:, :, :316]
    assert psnr_db(left, images_of(recorded / "video.mp4")[:, :, ::-1][:, :, :316]) > 35


def test_drawing_again_loads_no_network(recorded: Path, tmp_path: Path):
    program = (
        "import sys\nfrom live_cam.cli import main\nsys.argv = ['livecam', *sys.argv[1:]]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    arguments = ["--video", "video.mp4", "--heatmaps", "maps.npz", "--output", str(tmp_path / "o.mp4"), "--quiet"]
    done = subprocess.run(
        [sys.executable, "-c", program, "render", *arguments],
        cwd=recorded, env=environment_with(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded = set(done.stdout.split())
    assert {"live_cam", "av", "cv2"} <= loaded
    assert not loaded & {"tensorflow", "keras", "ai_edge_litert"}


def test_the_same_part_of_a_video_is_drawn_again(run_livecam: RunLivecam, recorded: Path, tmp_path: Path):
    video, maps = recorded / "video.mp4", tmp_path / "m.npz"
    for number, part in enumerate((["--start", "0.2", "--end", "0.4"], ["--max-frames", "5"])):
        made, again = tmp_path / f"{number}.avi", tmp_path / f"{number}-again.avi"
        done = run_livecam("--video", video, "--output", made, "--heatmaps", maps, "--overwrite", *MJPEG, *part)
        assert done.returncode == 0, done.stderr
        done = run_livecam("render", "--video", video, "--heatmaps", maps, "--output", again, *MJPEG)
        assert done.returncode == 0, done.stderr
        assert packet_times(again) == packet_times(made)
        assert len(packet_times(again)) == 5
        assert psnr_db(images_of(again), images_of(made)) > 50


def test_heatmaps_of_another_video_are_an_error_of_one_line(run_livecam: RunLivecam, recorded: Path, tmp_path: Path):
    video = images_of(recorded / "video.mp4")
    size_wh = (video.shape[2], video.shape[1])
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
        assert line.startswith(f"livecam: {recorded / 'maps.npz'} was not made from {video}: ")
        assert words in line
        assert not (tmp_path / f"out-{name}").exists()


def test_unfinished_work_of_another_job_is_not_written_over(run_livecam: RunLivecam, recorded: Path, tmp_path: Path):
    unfinished = tmp_path / "out.partial.avi"
    unfinished.write_bytes((recorded / "drawn.avi").read_bytes())
    command = ["render", "--video", recorded / "video.mp4", "--heatmaps", recorded / "maps.npz"]
    done = run_livecam(*command, "--output", tmp_path / "out.avi")
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"livecam: {unfinished} holds 16 frames of an unfinished run; start again with --overwrite"
    )
    assert unfinished.read_bytes() == (recorded / "drawn.avi").read_bytes()
    assert run_livecam(*command, "--output", tmp_path / "out.avi", "--overwrite").returncode == 0
    assert int(probe(tmp_path / "out.avi")["nb_read_packets"]) == 16
