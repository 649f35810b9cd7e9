"""The command line as a user meets it: usage, one-line errors, exit codes, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import RunLivecam, environment_with, line_count, livecam_command
from media_clips import probe, write_clip, write_heavy_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """25 frames of 64x48 in a second."""
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", frame_count=25)


def assert_one_line(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Exit code 1, nothing on stdout, and one line on stderr with these parts."""
    assert done.returncode == 1, done
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("livecam: ")
    for part in parts:
        assert part in lines[0]


# --- usage


def test_livecam_alone_prints_the_help(run_livecam: RunLivecam):
    done = run_livecam()
    assert done.returncode == 0
    assert done.stderr == ""
    for option in ("--webcam", "--video", "--image", "--demo", "models", "doctor"):
        assert option in done.stdout


def test_the_version_is_the_package_s(run_livecam: RunLivecam):
    import live_cam

    assert run_livecam("--version").stdout == f"livecam {live_cam.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--demo", "--image", "cat.jpg"],
        ["--webcam", "0", "--video", "clip.mp4"],
        ["--output", "out.mp4"],
        ["--no-such-option"],
        ["--webcam", "zero"],
        ["--demo", "--max-frames", "0"],
        ["nonsense"],
    ],
)
def test_wrong_usage_exits_with_2_and_shows_the_usage(run_livecam: RunLivecam, tmp_path: Path, arguments: list[str]):
    done = run_livecam(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "Usage:" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_list_of_models_begins_with_the_default(run_livecam: RunLivecam):
    done = run_livecam("models")
    assert done.returncode == 0
    rows = [re.split(r"  +", line) for line in done.stdout.splitlines()]
    assert rows[0] == ["name", "input", "target layer", "weights"]
    assert rows[1] == ["efficientnet-lite0", "224", "top_activation", "bundled"]
    assert ["mobilenetv2", "224", "out_relu", "downloaded on first use"] in rows


def test_a_reader_that_stops_reading_is_no_error():
    for arguments in (["models"], ["--help"], ["--version"]):
        with subprocess.Popen(
            livecam_command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment_with()
        ) as process:
            process.stdout.close()  # before livecam writes its first byte
            assert process.stderr.read() == b""


def test_it_runs_without_any_standard_output(
    run_livecam: RunLivecam, warm_cache: None, photograph_path: Path, tmp_path: Path
):
    command = livecam_command("--image", photograph_path, "--output", tmp_path / "cat.png", "--quiet")
    quoted = " ".join(f"'{part}'" for part in command)
    assert subprocess.run(["/bin/sh", "-c", f"{quoted} >&- 2>&-"], env=environment_with(), check=False).returncode == 0
    assert (tmp_path / "cat.png").stat().st_size > 0


# --- bad input


@pytest.mark.parametrize("option", ["--video", "--image"])
def test_bad_files_take_one_line(run_livecam: RunLivecam, tmp_path: Path, option: str):
    inputs = tmp_path / "in"
    inputs.mkdir()
    (inputs / "folder.mp4").mkdir()
    (inputs / "empty.mp4").touch()
    (inputs / "text.mp4").write_text("This is no video and no picture either.\n" * 50)
    outputs = tmp_path / "out"
    outputs.mkdir()
    output = outputs / ("a.mp4" if option == "--video" else "a.png")
    for name, words in (
        ("missing.mp4", "no such file"),
        ("folder.mp4", "directory"),
        ("empty.mp4", "empty"),
        ("text.mp4", "not"),
    ):
        done = run_livecam(option, inputs / name, "--output", output)
        assert_one_line(done, str(inputs / name), words)
    assert not list(outputs.iterdir())


def test_a_video_without_a_frame_that_can_be_decoded(run_livecam: RunLivecam, tmp_path: Path):
    clip = write_heavy_clip(tmp_path / "clip.mp4", frame_count=12)
    data = bytearray(clip.read_bytes())
    start = data.index(b"mdat") + 4
    data[start:] = bytes(len(data) - start)  # with "faststart" the pictures come last: the index stays whole
    clip.write_bytes(data)
    done = run_livecam("--video", clip, "--output", tmp_path / "out.mp4")
    assert_one_line(done, str(clip), "no frame")
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--model", "mobilnet", "mobilenet"),
        ("--model", "nowhere/model.keras", "nowhere/model.keras"),
        ("--layer", "top_activaton", "top_activation"),
        ("--method", "grad-can", "grad-cam"),
        ("--target", "Egyptian cad", "Egyptian cat"),
        ("--target", "1000", "1000"),
        ("--contrast", "tabbi", "tabby"),
        ("--colormap", "turbp", "turbo"),
        ("--fit", "strech", "stretch"),
        ("--preprocess", "cafe", "caffe"),
        ("--engine", "litertt", "litert"),
        ("--view", "overlai", "overlay"),
        ("--blend", "heet", "heat"),
        ("--score", "logits", "logit"),
        ("--opacity", "1.5", "1.5"),
        ("--opacity", "nan", "nan"),
        ("--input-size", "2", "16"),
        ("--labels", "nowhere.txt", "nowhere.txt"),
        ("--weights", "nowhere.h5", "nowhere.h5"),
    ],
)
def test_values_that_make_no_sense_take_one_line_with_what_does(
    run_livecam: RunLivecam, warm_cache: None, clip: Path, tmp_path: Path, option: str, value: str, words: str
):
    done = run_livecam("--video", clip, "--output", "out.mp4", "--quiet", option, value, cwd=tmp_path)
    assert_one_line(done, words)
    assert not list(tmp_path.iterdir())


def test_start_and_end_must_leave_something(run_livecam: RunLivecam, clip: Path, tmp_path: Path):
    assert_one_line(
        run_livecam("--video", clip, "--start", "0.5", "--end", "0.2", "--output", tmp_path / "o.mp4"), "end"
    )
    assert_one_line(run_livecam("--video", clip, "--start", "5", "--output", tmp_path / "o.mp4"), "--start")
    assert not list(tmp_path.iterdir())


# --- outputs


@pytest.mark.parametrize("option", ["--output", "--sidecar", "--report"])
@pytest.mark.parametrize("folder", ["missing", "/proc"])
def test_a_folder_that_cannot_be_written_to(
    run_livecam: RunLivecam, clip: Path, tmp_path: Path, option: str, folder: str
):
    path = tmp_path / folder / "made.mp4"
    assert_one_line(run_livecam("--video", clip, option, path), "cannot write", str(path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--output", "--sidecar", "--report"])
def test_what_exists_is_not_replaced_unasked(run_livecam: RunLivecam, clip: Path, tmp_path: Path, option: str):
    there = tmp_path / "there.mp4"
    there.write_text("precious")
    assert_one_line(run_livecam("--video", clip, option, there), str(there), "--overwrite")
    assert there.read_text() == "precious"


def test_overwrite_replaces(run_livecam: RunLivecam, warm_cache: None, photograph_path: Path, tmp_path: Path):
    there = tmp_path / "there.png"
    there.write_text("old")
    done = run_livecam("--image", photograph_path, "--output", there, "--overwrite", "--quiet")
    assert done.returncode == 0
    assert there.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [there]


def link_itself(clip: Path, name: Path) -> Path:
    return clip


def link_by_symlink(clip: Path, name: Path) -> Path:
    name.symlink_to(clip)
    return name


def link_by_hard_link(clip: Path, name: Path) -> Path:
    name.hardlink_to(clip)
    return name


@pytest.mark.parametrize("option", ["--output", "--sidecar", "--report"])
@pytest.mark.parametrize("link", [link_itself, link_by_symlink, link_by_hard_link])
def test_an_output_that_is_the_input_is_refused(
    run_livecam: RunLivecam, clip: Path, tmp_path: Path, option: str, link: Callable[[Path, Path], Path]
):
    before = clip.read_bytes()
    output = link(clip, tmp_path / "other.mp4")
    assert_one_line(run_livecam("--video", clip, option, output, "--overwrite"), str(output), "input")
    assert clip.read_bytes() == before


def test_two_outputs_of_one_name_are_refused(run_livecam: RunLivecam, clip: Path, tmp_path: Path):
    done = run_livecam("--video", clip, "--sidecar", tmp_path / "a.json", "--report", tmp_path / "a.json")
    assert_one_line(done, "same name")


@pytest.mark.parametrize(
    ("source", "name", "words"),
    [
        ("--video", "out.xyz", ".mp4"),
        ("--video", "out.jpg", ".mp4"),
        ("--image", "out.mp4", ".png"),
        ("--image", "out", ".png"),
    ],
)
def test_the_name_s_ending_must_fit_the_source(
    run_livecam: RunLivecam, clip: Path, photograph_path: Path, tmp_path: Path, source: str, name: str, words: str
):
    made_from = clip if source == "--video" else photograph_path
    assert_one_line(run_livecam(source, made_from, "--output", tmp_path / name), name, words)
    assert not list(tmp_path.iterdir())


def test_nothing_to_make_and_no_window_is_nothing_to_do(run_livecam: RunLivecam, clip: Path):
    assert_one_line(run_livecam("--video", clip, "--no-show"), "nothing to do", "--output")


def test_an_endless_loop_into_a_file_is_refused(run_livecam: RunLivecam, clip: Path, tmp_path: Path):
    assert_one_line(run_livecam("--video", clip, "--loop", "--output", tmp_path / "o.mp4"), "--loop", "--max-frames")
    assert_one_line(run_livecam("--video", clip, "--loop", "--sidecar", tmp_path / "o.jsonl"), "--loop", "--max-frames")
    assert not list(tmp_path.iterdir())


def test_a_class_is_no_contrast_to_itself(run_livecam: RunLivecam, photograph_path: Path, tmp_path: Path):
    arguments = ("--image", photograph_path, "--output", tmp_path / "a.png", "--target", "tabby", "--contrast", "tabby")
    done = run_livecam(*arguments)
    assert done.returncode == 1
    assert "the class and its contrast are both tabby; give two classes" in done.stderr


# --- the machine


def test_without_a_screen_one_line_says_what_to_use_instead(run_livecam: RunLivecam, clip: Path):
    for arguments in (["--demo"], ["--video", clip]):
        assert_one_line(run_livecam(*arguments), "no screen", "--output")
    assert_one_line(run_livecam("--demo", env={"DISPLAY": ":4711"}), "no screen answers at DISPLAY=:4711", "--output")


def test_a_camera_that_is_not_there(run_livecam: RunLivecam, tmp_path: Path):
    done = run_livecam("--webcam", "63", "--no-show", "--output", tmp_path / "out.mp4")
    assert_one_line(done, "camera 63", "--demo")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("library", "package"), [("libGL.so.1", "apt-get install libgl1"), ("libodd.so.3", "install the package")]
)
def test_a_missing_system_library_takes_one_line_with_its_package(
    run_livecam: RunLivecam, tmp_path: Path, library: str, package: str
):
    # What the dynamic linker says through OpenCV's wheel in a container without it.
    message = f"{library}: cannot open shared object file: No such file or directory"
    (tmp_path / "cv2").mkdir()
    (tmp_path / "cv2" / "__init__.py").write_text(f"raise ImportError({message!r})\n")
    done = run_livecam("--demo", "--output", tmp_path / "o.mp4", env={"PYTHONPATH": str(tmp_path)})
    assert_one_line(done, library, package)


def test_another_failing_import_keeps_its_traceback(run_livecam: RunLivecam, tmp_path: Path):
    (tmp_path / "cv2.py").write_text("raise ImportError('a bug')\n")
    done = run_livecam("--demo", "--output", tmp_path / "o.mp4", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "a bug" in done.stderr


# --- models that cannot be used

MAKE_MODELS = """
import sys
import numpy as np
import live_cam.models.quiet_tensorflow
import keras
folder = sys.argv[1]
inputs = keras.Input((32, 32, 3))
maps = keras.layers.Conv2D(4, 3, name="maps")(inputs)
outputs = keras.layers.Dense(3, activation="softmax", name="head")(keras.layers.GlobalAveragePooling2D()(maps))
model = keras.Model(inputs, outputs)
model.save(folder + "/good.keras")
model.save_weights(folder + "/small.weights.h5")
model.set_weights([np.full_like(one, np.nan) for one in model.get_weights()])
model.save(folder + "/nan.keras")
"""


@pytest.fixture(scope="module")
def models_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that works, the same with NaN in its weights, and its weights alone."""
    folder = tmp_path_factory.mktemp("models")
    subprocess.run([sys.executable, "-c", MAKE_MODELS, str(folder)], env=environment_with(), check=True)
    return folder


def test_one_s_own_model_runs(run_livecam: RunLivecam, models_folder: Path, clip: Path, tmp_path: Path):
    (tmp_path / "labels.txt").write_text("Cat\nDog\nNeither\n")
    done = run_livecam(
        "--video", clip, "--model", models_folder / "good.keras", "--labels", tmp_path / "labels.txt",
        "--preprocess", "unit", "--sidecar", tmp_path / "s.jsonl",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert {one["label"] for one in lines[0]["predictions"]} == {"Cat", "Dog", "Neither"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "nan.keras", "--preprocess", "unit"], "NaN"),
        (["--weights", "small.weights.h5"], "weights"),
        (["--model", "mobilenetv2", "--weights", "small.weights.h5"], "weights"),
        (["--model", "good.keras", "--weights", "small.weights.h5"], "its own weights"),
        (["--model", "small.weights.h5"], "small.weights.h5"),
        (["--model", "good.keras", "--preprocess", "unit", "--labels", "five.txt"], "5 labels"),
    ],
)
def test_models_and_weights_that_do_not_fit_take_one_line(
    run_livecam: RunLivecam, models_folder: Path, clip: Path, tmp_path: Path, arguments: list[str], words: str
):
    (models_folder / "five.txt").write_text("a\nb\nc\nd\ne\n")
    output = tmp_path / "out.mp4"
    done = run_livecam("--video", clip, "--output", output, "--quiet", *arguments, cwd=models_folder)
    assert_one_line(done, words)
    assert not list(tmp_path.iterdir())


# --- Ctrl-C


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts livecam in the background, and ends it after the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: object, env: dict[str, str | None] | None = None) -> subprocess.Popen[str]:
        environment = environment_with({"DISPLAY": None, **(env or {})})
        process = subprocess.Popen(
            livecam_command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def wait_until(is_so: Callable[[], bool], timeout_seconds: float = 60) -> None:
    deadline_seconds = time.monotonic() + timeout_seconds
    while not is_so():
        assert time.monotonic() < deadline_seconds, "it did not happen"
        time.sleep(0.02)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_what_can_be_played_and_names_it_last(
    started, warm_cache: None, clip: Path, tmp_path: Path, signal_number: int
):
    output, partial = tmp_path / "out.mp4", tmp_path / "out.partial.mp4"
    sidecar = tmp_path / "s.jsonl"
    # A recording of eleven hours, more than any machine explains in the second this takes.
    endless = ["--loop", "--max-frames", "1000000"]
    process = started("--video", clip, *endless, "--output", output, "--sidecar", sidecar)
    partial_sidecar = tmp_path / "s.partial.jsonl"
    wait_until(lambda: line_count(partial_sidecar) > 20)
    process.send_signal(signal_number)
    printed, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert str(partial) in (errors + printed).splitlines()[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.partial.mp4", "s.partial.jsonl"]
    lines = partial_sidecar.read_text().splitlines()
    assert [json.loads(line)["index"] for line in lines] == list(range(len(lines)))
    assert int(probe(partial)["nb_read_packets"]) == len(lines)


@pytest.mark.slow
def test_ctrl_c_while_the_model_is_prepared_ends_within_seconds(started, clip: Path, tmp_path: Path):
    cold = tmp_path / "cache"
    process = started("--video", clip, "--output", tmp_path / "out.mp4", env={"XDG_CACHE_HOME": str(cold)})
    assert "efficientnet-lite0" in process.stderr.readline()  # "loading TensorFlow and ..."
    time.sleep(3)  # in the middle of TensorFlow's import, which no signal interrupts
    process.send_signal(signal.SIGINT)
    started_seconds = time.monotonic()
    printed, errors = process.communicate(timeout=30)
    assert time.monotonic() - started_seconds < 10
    assert process.returncode == 130
    assert "Traceback" not in printed + errors
    assert not [path for path in tmp_path.iterdir() if path != cold]


# --- doctor


def test_doctor_names_what_it_looked_at_and_a_hint_for_what_is_missing(run_livecam: RunLivecam, warm_cache: None):
    done = run_livecam("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    for name in (
        "Python",
        "tensorflow",
        "av",
        "window",
        "cameras",
        "H.264 encoder",
        "model cache",
        "test heatmap",
        "devices",
    ):
        assert re.search(rf"^ +(ok|--)  {re.escape(name)}: ", done.stdout, re.MULTILINE), name
    assert "DISPLAY is not set" in done.stdout
    assert "-> write files instead: --output FILE" in done.stdout
    assert "Traceback" not in done.stderr


def test_nothing_is_left_in_the_cache_by_a_failed_start(run_livecam: RunLivecam, clip: Path, tmp_path: Path):
    done = run_livecam(
        "--video", clip, "--method", "nonsense", "--sidecar", tmp_path / "s", env={"XDG_CACHE_HOME": str(tmp_path)}
    )
    assert_one_line(done, "nonsense")
    assert not list(tmp_path.iterdir())
    assert os.environ["XDG_CACHE_HOME"] != str(tmp_path)
