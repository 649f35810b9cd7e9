"""The command line as users see it: usage, one-line errors, exit codes, and no files left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import RunLivecam, StartLivecam, environment_with, line_count, livecam_command, running, wait_until
from media_clips import probe, write_clip, write_heavy_clip

from live_cam.cli.options import with_option_names
from live_cam.cli.sources import named_sources
from live_cam.errors import SettingError


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One second: 25 frames of 64x48."""
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", frame_count=25)


def assert_one_line(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Checks for exit code 1, nothing on stdout, and one line on stderr with these parts."""
    assert done.returncode == 1, done
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("livecam: ")
    for part in parts:
        assert part in lines[0]


# --- usage


def test_messages_have_options_instead_of_arguments():
    text = "max_frames is 9 now; give a larger max_frames, or overwrite=True; a/max_frames, max_frames.mp4, unsafe=True"
    assert with_option_names(text) == (
        "--max-frames is 9 now; give a larger --max-frames, or --overwrite; a/max_frames, max_frames.mp4, "
        "--unsafe-model"
    )


def test_livecam_alone_prints_the_help(run_livecam: RunLivecam):
    done = run_livecam()
    assert done.returncode == 0
    assert done.stderr == ""
    for option in ("--webcam", "--video", "--image", "--demo", "models", "doctor"):
        assert option in done.stdout


def test_the_version_is_that_of_the_package(run_livecam: RunLivecam):
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
    ],
)
def test_wrong_usage_exits_with_2_and_shows_the_usage(run_livecam: RunLivecam, tmp_path: Path, arguments: list[str]):
    done = run_livecam(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "Usage:" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


# --- sources as words


@pytest.mark.parametrize("kind", ["image", "video"])
def test_a_source_may_stand_before_between_and_behind_the_options(
    run_livecam: RunLivecam, warm_cache: None, clip: Path, photograph_path: Path, tmp_path: Path, kind: str
):
    source, suffix = (photograph_path, ".png") if kind == "image" else (clip, ".mp4")
    outputs = [tmp_path / f"{number}{suffix}" for number in range(3)]
    orders = [
        [source, "--output", outputs[0], "--quiet"],
        ["--quiet", source, "--output", outputs[1]],
        ["--quiet", "--output", outputs[2], "--", source],
    ]
    for arguments in orders:
        done = run_livecam(*arguments)
        assert done.returncode == 0, done.stderr
    by_option = tmp_path / f"option{suffix}"
    assert run_livecam(f"--{kind}", source, "--output", by_option, "--quiet").returncode == 0
    assert {output.read_bytes() for output in outputs} == {by_option.read_bytes()}


def test_a_file_named_like_a_command_needs_a_path(
    run_livecam: RunLivecam, warm_cache: None, photograph_path: Path, tmp_path: Path
):
    (tmp_path / "bench").write_bytes(photograph_path.read_bytes())
    done = run_livecam("./bench", "--output", "heat.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Egyptian cat" in done.stdout
    assert "Usage: python -m live_cam bench" in run_livecam("bench", "--help", cwd=tmp_path).stdout


def test_several_videos_at_once(run_livecam: RunLivecam, warm_cache: None, clip: Path, tmp_path: Path):
    other = tmp_path / "other.mkv"
    other.write_bytes(clip.read_bytes())
    done = run_livecam(clip, other, "--output", f"{tmp_path}/out/")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "2 of 2 videos done"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["clip.mp4", "other.mp4"]


def test_the_usage_line_has_sources_and_commands(run_livecam: RunLivecam):
    assert "Usage: python -m live_cam [OPTIONS] [SOURCE]... | COMMAND [ARGS]..." in run_livecam("--help").stdout


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["photo.jpg"], ["no such file: photo.jpg"]),
        (["clips/a.mp4"], ["no such file: clips/a.mp4"]),
        (["bnech"], ["no such file: bnech", "did you mean the command bench?"]),
        (["nonsense"], ["no such file: nonsense", "livecam --help"]),
        (["*.jpg"], ["*.jpg: no file matches"]),
        (["0", "1"], ["2 cameras", "start it once for each"]),
        (["rtsp://a/b", "rtsp://c/d", "--output", "o/"], ["give one URL at a time"]),
        (["0", "."], ["0 is a camera and . an image or a folder; give sources of one kind"]),
        (["0", "--demo"], ["given twice, as 0 and by --demo"]),
        (["clip.mp4", "--webcam", "0"], ["given twice, as clip.mp4 and by --webcam"]),
        (["."], ["no image in ."]),
        (["http://me:secret@a/x.jpg?size=9", "--output", "u.jpg"], ["http://***@a/x.jpg", "download the image first"]),
    ],
)
def test_wrong_sources_take_one_line(run_livecam: RunLivecam, tmp_path: Path, words: list[str], parts: list[str]):
    done = run_livecam(*words, *(["--html", "page.html"] if words == ["."] else []), cwd=tmp_path)
    assert_one_line(done, *parts)
    assert not list(tmp_path.iterdir())


def test_the_list_of_models_begins_with_the_default(run_livecam: RunLivecam):
    done = run_livecam("models")
    assert done.returncode == 0
    rows = [re.split(r"  +", line) for line in done.stdout.splitlines()]
    assert rows[0] == ["name", "input", "target layer", "weights"]
    assert rows[1] == ["efficientnet-lite0", "224", "top_activation", "bundled"]
    assert ["mobilenetv2", "224", "out_relu", "downloaded on first use"] in rows


def test_a_closed_pipe_is_no_error():
    for arguments in (["models"], ["--help"], ["--version"]):
        with subprocess.Popen(
            livecam_command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment_with()
        ) as process:
            process.stdout.close()  # before livecam writes its first byte
            assert process.stderr.read() == b""


def test_it_runs_without_stdout_and_stderr(
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
    (inputs / "text.mp4").write_text("This is neither a video nor an image.\n" * 50)
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
    data[start:] = bytes(len(data) - start)  # with "faststart" the frames come last: the index stays whole
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
def test_the_error_for_an_invalid_value_is_one_line_with_valid_ones(
    run_livecam: RunLivecam, warm_cache: None, clip: Path, tmp_path: Path, option: str, value: str, words: str
):
    done = run_livecam("--video", clip, "--output", "out.mp4", "--quiet", option, value, cwd=tmp_path)
    assert_one_line(done, words)
    assert not list(tmp_path.iterdir())


def test_start_and_end_must_leave_some_frames(run_livecam: RunLivecam, clip: Path, tmp_path: Path):
    assert_one_line(
        run_livecam("--video", clip, "--start", "0.5", "--end", "0.2", "--output", tmp_path / "o.mp4"), "end"
    )
    assert_one_line(
        run_livecam("--video", clip, "--start", "5", "--output", tmp_path / "o.mp4"), "choose an earlier start"
    )
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
def test_an_existing_file_is_not_replaced_without_overwrite(
    run_livecam: RunLivecam, clip: Path, tmp_path: Path, option: str
):
    existing = tmp_path / "existing.mp4"
    existing.write_text("precious")
    assert_one_line(run_livecam("--video", clip, option, existing), str(existing), "exists", "--overwrite")
    assert existing.read_text() == "precious"


def test_overwrite_replaces(run_livecam: RunLivecam, warm_cache: None, photograph_path: Path, tmp_path: Path):
    existing = tmp_path / "existing.png"
    existing.write_text("old")
    done = run_livecam("--image", photograph_path, "--output", existing, "--overwrite", "--quiet")
    assert done.returncode == 0
    assert existing.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [existing]


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


def test_two_outputs_with_the_same_name_are_refused(run_livecam: RunLivecam, clip: Path, tmp_path: Path):
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
def test_the_suffix_of_the_output_must_fit_the_source(
    run_livecam: RunLivecam, clip: Path, photograph_path: Path, tmp_path: Path, source: str, name: str, words: str
):
    source_path = clip if source == "--video" else photograph_path
    assert_one_line(run_livecam(source, source_path, "--output", tmp_path / name), name, words)
    assert not list(tmp_path.iterdir())


def test_a_run_without_outputs_and_window_is_refused(run_livecam: RunLivecam, clip: Path):
    assert_one_line(
        run_livecam("--video", clip, "--no-show"), "nothing to do", "output", "sidecar", "heatmaps", "report"
    )


def test_an_endless_loop_into_a_file_is_refused(run_livecam: RunLivecam, clip: Path, tmp_path: Path):
    assert_one_line(run_livecam("--video", clip, "--loop", "--output", tmp_path / "o.mp4"), "--loop", "--max-frames")
    assert_one_line(run_livecam("--video", clip, "--loop", "--sidecar", tmp_path / "o.jsonl"), "--loop", "--max-frames")
    assert not list(tmp_path.iterdir())


def test_a_class_that_is_its_own_contrast_is_refused(run_livecam: RunLivecam, photograph_path: Path, tmp_path: Path):
    arguments = ("--image", photograph_path, "--output", tmp_path / "a.png", "--target", "tabby", "--contrast", "tabby")
    assert_one_line(run_livecam(*arguments), "the class and its contrast are both tabby; give two different classes")


# --- the machine


def test_without_a_screen_one_line_says_what_to_use_instead(run_livecam: RunLivecam, clip: Path):
    for arguments in (["--demo"], ["--video", clip]):
        assert_one_line(run_livecam(*arguments), "no screen", "--output")
    assert_one_line(run_livecam("--demo", env={"DISPLAY": ":4711"}), "no screen answers at DISPLAY=:4711", "--output")


def test_a_camera_that_does_not_exist(run_livecam: RunLivecam, tmp_path: Path):
    done = run_livecam("--webcam", "63", "--no-show", "--output", tmp_path / "out.mp4")
    assert_one_line(done, "camera 63", "demo")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("library", "package"), [("libGL.so.1", "apt-get install libgl1"), ("libodd.so.3", "install the package")]
)
def test_a_missing_system_library_takes_one_line_with_its_package(
    run_livecam: RunLivecam, tmp_path: Path, library: str, package: str
):
    # The dynamic linker's message if OpenCV's wheel is used in a container without the library.
    message = f"{library}: cannot open shared object file: No such file or directory"
    (tmp_path / "cv2").mkdir()
    (tmp_path / "cv2" / "__init__.py").write_text(f"raise ImportError({message!r})\n")
    done = run_livecam("--demo", "--output", tmp_path / "o.mp4", env={"PYTHONPATH": str(tmp_path)})
    assert_one_line(done, library, package)


def test_an_import_error_of_another_kind_keeps_its_traceback(run_livecam: RunLivecam, tmp_path: Path):
    (tmp_path / "cv2.py").write_text("raise ImportError('a bug')\n")
    done = run_livecam("--demo", "--output", tmp_path / "o.mp4", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "a bug" in done.stderr


# --- models that cannot be used

MAKE_MODELS = """
import sys
import numpy as np
import keras
folder = sys.argv[1]
inputs = keras.Input((32, 32, 3))
maps = keras.layers.Conv2D(4, 3, name="maps")(inputs)
outputs = keras.layers.Dense(3, activation="softmax", name="head")(keras.layers.GlobalAveragePooling2D()(maps))
model = keras.Model(inputs, outputs)
model.save(folder + "/good.keras")
model.save_weights(folder + "/small.weights.h5")
model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
model.save(folder + "/nan.keras")
"""


@pytest.fixture(scope="module")
def models_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model, the same with NaN in its weights, and the weights of the first alone."""
    folder = tmp_path_factory.mktemp("models")
    subprocess.run([sys.executable, "-c", MAKE_MODELS, str(folder)], env=environment_with(), check=True)
    return folder


def test_a_model_file_with_labels_runs(run_livecam: RunLivecam, models_folder: Path, clip: Path, tmp_path: Path):
    (tmp_path / "labels.txt").write_text("Cat\nDog\nNeither\n")
    done = run_livecam(
        "--video", clip, "--model", models_folder / "good.keras", "--labels", tmp_path / "labels.txt",
        "--preprocess", "unit", "--sidecar", tmp_path / "s.jsonl",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert {prediction["label"] for prediction in lines[0]["predictions"]} == {"Cat", "Dog", "Neither"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "nan.keras", "--preprocess", "unit"], "NaN"),
        pytest.param(["--weights", "small.weights.h5"], "weights", marks=pytest.mark.slow),
        pytest.param(["--model", "mobilenetv2", "--weights", "small.weights.h5"], "weights", marks=pytest.mark.slow),
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


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_a_playable_file_and_names_it_last(
    start_livecam: StartLivecam, warm_cache: None, clip: Path, tmp_path: Path, signal_number: int
):
    output, partial = tmp_path / "out.mp4", tmp_path / "out.partial.mp4"
    sidecar = tmp_path / "s.jsonl"
    # Eleven hours of video: no machine explains them before the signal.
    endless = ["--loop", "--max-frames", "1000000"]
    process = start_livecam("--video", clip, *endless, "--output", output, "--sidecar", sidecar)
    partial_sidecar = tmp_path / "s.partial.jsonl"
    wait_until(lambda: line_count(partial_sidecar) > 20, 60, process=process)
    process.send_signal(signal_number)
    printed, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in errors
    closing_line = printed.splitlines()[-1]
    assert f"{partial} (unfinished, can be played)" in closing_line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.partial.mp4", "s.partial.jsonl"]
    lines = partial_sidecar.read_text().splitlines()
    assert [json.loads(line)["index"] for line in lines] == list(range(len(lines)))
    assert int(probe(partial)["nb_read_packets"]) == len(lines)
    assert closing_line.startswith(f"{len(lines)} frames, ")


def test_ctrl_c_that_is_ignored_from_the_start_stays_ignored(warm_cache: None, clip: Path, tmp_path: Path):
    """As in a shell's background job, or under nohup."""
    partial_sidecar = tmp_path / "s.partial.jsonl"
    endless = ["--loop", "--max-frames", "1000000"]
    command = livecam_command("--video", clip, *endless, "--sidecar", tmp_path / "s.jsonl")
    ignoring = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command]
    with running(ignoring, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment_with()) as process:
        wait_until(lambda: line_count(partial_sidecar) > 5, 60, process=process)
        process.send_signal(signal.SIGINT)
        before = line_count(partial_sidecar)
        wait_until(lambda: line_count(partial_sidecar) > before + 20, 60, process=process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 130


@pytest.mark.parametrize("arguments", [("--method", "layercam", "bench"), ("--model", "mobilenetv2", "serve", "0")])
def test_options_of_a_command_before_its_name_are_refused(run_livecam: RunLivecam, arguments: tuple[str, ...]):
    done = run_livecam(*arguments)
    assert done.returncode == 2
    assert f"give the options behind the command {arguments[2]}" in done.stderr


def test_outputs_that_a_pattern_matches_once_they_exist_are_no_sources(tmp_path: Path):
    clips, photos = tmp_path / "clips", tmp_path / "photos"
    for folder, name in ((clips, "a.mp4"), (photos, "a.png")):
        folder.mkdir()
        (folder / name).write_bytes(b"x")
    made = [clips / "made", photos / "report.html"]
    made[0].mkdir()
    made[1].write_text("page")
    assert named_sources([f"{clips}/*"], [], made).kind == "video"
    assert named_sources([f"{photos}/*"], [], made).kind == "images"
    assert named_sources([str(made[0])], [], made).kind == "images"


def test_passwords_are_hidden_where_sources_are_of_several_kinds(tmp_path: Path):
    with pytest.raises(SettingError) as raised:
        named_sources(["rtsp://me:secret@host/stream", str(tmp_path)], [])
    assert "secret" not in str(raised.value)


def test_a_signal_while_a_stream_is_opened_ends_as_interrupted(start_livecam: StartLivecam, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as server:  # It takes the request and says nothing.
        url = f"http://127.0.0.1:{server.getsockname()[1]}/live.ts"
        process = start_livecam(url, "--no-show", "--output", tmp_path / "out.mp4")
        server.settimeout(60)
        with server.accept()[0]:
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux lists the files that a process has loaded")
def test_ctrl_c_while_the_model_is_loaded_ends_within_seconds(start_livecam: StartLivecam, clip: Path, tmp_path: Path):
    cold = tmp_path / "cache"
    process = start_livecam("--video", clip, "--output", tmp_path / "out.mp4", env={"XDG_CACHE_HOME": str(cold)})
    assert "efficientnet-lite0" in process.stderr.readline()  # "loading TensorFlow and ..."
    # During TensorFlow's import, which no signal interrupts.
    loaded = Path(f"/proc/{process.pid}/maps")
    wait_until(lambda: "/tensorflow/" in loaded.read_text(), 60, process=process)
    process.send_signal(signal.SIGINT)
    started_seconds = time.monotonic()
    printed, errors = process.communicate(timeout=30)
    assert time.monotonic() - started_seconds < 10
    assert process.returncode == 130
    assert "Traceback" not in printed + errors
    assert not [path for path in tmp_path.iterdir() if path != cold]


# --- doctor


def test_doctor_lists_its_checks_with_a_hint_for_what_is_missing(run_livecam: RunLivecam, warm_cache: None):
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


def test_a_failed_start_leaves_nothing_in_the_cache(run_livecam: RunLivecam, clip: Path, tmp_path: Path):
    done = run_livecam(
        "--video", clip, "--method", "nonsense", "--sidecar", tmp_path / "s", env={"XDG_CACHE_HOME": str(tmp_path)}
    )
    assert_one_line(done, "nonsense")
    assert not list(tmp_path.iterdir())
    assert os.environ["XDG_CACHE_HOME"] != str(tmp_path)
