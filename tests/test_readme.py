"""What the README promises is what happens: its commands and its Python example are run as they stand there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import av
import cv2
import pytest

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)
COMMANDS_BY_BLOCK = [
    [
        part.strip()
        for line in block.splitlines()
        for part in line.partition("#")[0].split("&&")
        if part.strip().startswith("livecam")
    ]
    for kind, block in BLOCKS
    if kind == "sh"
]
COMMANDS = [command for block in COMMANDS_BY_BLOCK for command in block]
# Each with those before it, whose files it may need.
SERIES = [[one for one in block if "--output" in one] for block in COMMANDS_BY_BLOCK]
# Where the command of this package was installed.
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


@pytest.fixture
def folder(tmp_path, photograph_path):
    """A folder with the files that README's commands name."""
    for name in ("cat.jpg", "photo.jpg"):
        cv2.imwrite(str(tmp_path / name), cv2.imread(str(photograph_path)))
    with av.open(str(tmp_path / "clip.mp4"), "w") as clip:
        stream = clip.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        image = cv2.resize(cv2.imread(str(photograph_path)), (320, 240))
        for _ in range(10):
            clip.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        clip.mux(stream.encode())
    (tmp_path / "clips").mkdir()
    shutil.copy(tmp_path / "clip.mp4", tmp_path / "clips" / "a.mp4")
    return tmp_path


def run(command, folder):
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"} | {"PATH": PATH}
    return subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_there_are_the_commands_that_people_come_for():
    assert [command.split()[1] for command in COMMANDS[:4]] == ["--demo", "--webcam", "--video", "--image"]


@pytest.mark.parametrize("series", [one for one in SERIES if one], ids=lambda series: series[0])
def test_commands_that_make_a_file_make_it(folder, series):
    for command in series:
        done = run(command, folder)
        assert done.returncode == 0, done.stderr
        for name in re.findall(r"--(?:output|heatmaps|sidecar) (\S+)", command):
            made = folder / name
            assert (next(made.iterdir()) if made.is_dir() else made).stat().st_size > 1000
        assert re.search(r"--output (\S+)", command)[1] in done.stdout


def help_of(*command):
    done = subprocess.run(
        [sys.executable, "-m", "live_cam", *command, "--help"],
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_options_and_subcommands_exist():
    shown = help_of() + help_of("evaluate") + help_of("render") + help_of("plot")
    named = set(re.findall(r"--[a-z][a-z-]+", README)) | set(re.findall(r"livecam ([a-z]+)`", README))
    assert len(named) > 6
    assert [name for name in named if name not in shown] == []


def test_python_example_prints_what_it_says(folder):
    (example,) = [block for kind, block in BLOCKS if kind == "python"]
    done = subprocess.run([sys.executable, "-c", example], cwd=folder, capture_output=True, text=True, timeout=300)
    promised = re.search(r"this prints `([^`]+)`", README)[1]
    assert (done.stdout.strip(), done.returncode) == (promised, 0)
    assert cv2.imread(str(folder / "heat.jpg")).shape == cv2.imread(str(folder / "cat.jpg")).shape


def test_it_is_short_and_its_picture_is_there():
    assert README.count("\n") <= 150
    picture = Path(__file__).resolve().parents[1] / re.search(r"!\[[^]]*\]\(([^)]+)\)", README)[1]
    assert picture.stat().st_size < 300_000
