"""What the README promises is what happens: its commands and its Python example are run as they stand there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import av
import cv2
import httpx
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
SERIES = [[command for command in block if re.search(r"--output|--html", command)] for block in COMMANDS_BY_BLOCK]
# They convert the model twice more.
IS_SLOW = ["--contrast" in " ".join(series) for series in SERIES]
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
    for name in ("clips", "photos"):
        (tmp_path / name).mkdir()
    shutil.copy(tmp_path / "cat.jpg", tmp_path / "photos")
    shutil.copy(tmp_path / "clip.mp4", tmp_path / "clips" / "a.mp4")
    return tmp_path


def run(command, folder):
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"} | {"PATH": PATH}
    return subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_there_are_the_commands_that_people_come_for():
    assert [command.split()[1] for command in COMMANDS[:4]] == ["--demo", "0", "clip.mp4", "photo.jpg"]


@pytest.mark.parametrize(
    "series",
    [
        pytest.param(series, marks=[pytest.mark.slow] * is_slow, id=series[0])
        for series, is_slow in zip(SERIES, IS_SLOW, strict=True)
        if series
    ],
)
def test_commands_that_make_a_file_make_it(folder, series):
    for command in series:
        done = run(command, folder)
        assert done.returncode == 0, done.stderr
        for name in re.findall(r"--(?:output|heatmaps|sidecar|html) (\S+)", command):
            made = folder / name
            assert (next(made.iterdir()) if made.is_dir() else made).stat().st_size > 1000
        output = re.search(r"--output (\S+)", command)
        assert output is None or output[1].rstrip("/") in done.stdout


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
    shown = "".join(map(help_of, ("evaluate", "render", "plot", "serve", "archive", "search"))) + help_of()
    named = set(re.findall(r"--[a-z][a-z-]+", README)) | set(re.findall(r"livecam ([a-z]+)`", README))
    assert len(named) > 6
    assert [name for name in named if name not in shown] == []


def test_the_python_example_prints_what_it_says(folder):
    (example,) = [block for kind, block in BLOCKS if kind == "python"]
    done = subprocess.run([sys.executable, "-c", example], cwd=folder, capture_output=True, text=True, timeout=300)
    promised = re.findall(r"# prints: (.*)", example)
    assert len(promised) == 3
    assert (done.stdout.splitlines(), done.returncode) == (promised, 0)
    assert cv2.imread(str(folder / "heat.jpg")).shape == cv2.imread(str(folder / "cat.jpg")).shape
    assert len((folder / "frames.jsonl").read_text().splitlines()) == 10


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("livecam serve")])
def test_servers_print_an_address_that_answers(folder, warm_cache, command):
    # Some of their sources are not there, which a server takes as offline.
    environment = os.environ | {"PATH": PATH, "XDG_DATA_HOME": str(folder)}
    words = [*shlex.split(command), "--port", "0"]
    sources = command.partition(" --host")[0].split()[2:]
    with subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            base, _, token = server.stdout.readline().strip().partition("#")
            answer = httpx.get(f"{base}api/sources", headers={"Authorization": f"Bearer {token}"}, verify=False)
            assert (answer.status_code, base.startswith("https")) == (200, "--host" in command)
            assert len(answer.json()) == len(sources)
        finally:
            server.terminate()


def test_it_is_short_and_its_pictures_are_there():
    assert README.count("\n") < 180
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", README)
    assert len(pictures) == 4
    for picture in pictures:
        assert (Path(__file__).resolve().parents[1] / picture).stat().st_size < 300_000
