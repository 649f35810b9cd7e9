"""Files and folders without permission: one line, and what else was asked for is done."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import environment_with, livecam_command
from media_clips import write_clip
from test_cli import assert_one_line
from test_images import files_below, write

# Root may read everything, unless it gives up these rights.
RIGHTS = "-dac_override,-dac_read_search"
PREFIX = ["setpriv", f"--bounding-set={RIGHTS}", f"--inh-caps={RIGHTS}"] if os.geteuid() == 0 else []


def run_as_user(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PREFIX, *livecam_command(*arguments)],
        capture_output=True, text=True, env=environment_with({"DISPLAY": None}), timeout=120, cwd=folder, check=False,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with photos/a.png, photos/lock/b.png, photos/z.png and lock/c.png; no folder "lock" can be entered."""
    for name in ("photos/a.png", "photos/lock/b.png", "photos/z.png", "lock/c.png"):
        write(tmp_path / name)
    locked = [tmp_path / "photos" / "lock", tmp_path / "lock"]
    for path in locked:
        path.chmod(0)
    yield tmp_path
    for path in locked:
        path.chmod(0o700)


@pytest.mark.parametrize(
    "source", [["lock/*.png"], ["lock/c.png"], ["lock/c.mp4"], ["--image", "lock/c.png"], ["--video", "lock/*.mp4"]]
)
def test_a_source_in_a_folder_that_cannot_be_entered(folder: Path, source: list[str]):
    done = run_as_user(folder, *source, "--output", "out/")
    assert_one_line(done, f"cannot open {source[-1]}: Permission denied")


def test_an_unreadable_subfolder_is_reported_and_the_rest_is_done(folder: Path, warm_cache: None):
    done = run_as_user(folder, "photos", "--output", "out/", "--html", "page.html")
    assert done.returncode == 1
    assert done.stderr == (
        "livecam: cannot open the folder photos/lock: Permission denied; check the path and its permissions\n"
    )
    assert done.stdout.startswith("2 of 3 images done, 1 failed, ")
    assert files_below(folder / "out") == ["a.png", "z.png"]
    assert "cannot open the folder photos/lock" in (folder / "page.html").read_text()
    # Once it can be opened, the page is about its images, too.
    assert "page.html is up to date" in run_as_user(folder, "photos", "--output", "out/", "--html", "page.html").stderr
    (folder / "photos" / "lock").chmod(0o700)
    done = run_as_user(folder, "photos", "--output", "out/", "--html", "page.html")
    assert done.returncode == 0, done.stderr
    assert files_below(folder / "out") == ["a.png", "lock/b.png", "z.png"]
    assert "lock/b.png" in (folder / "page.html").read_text()


@pytest.mark.parametrize("name", ["lock", "photos/lock"])
def test_a_folder_that_is_named_must_be_readable(folder: Path, name: str):
    done = run_as_user(folder, "photos", name, "--output", "out/")
    assert_one_line(done, f"cannot open the folder {name}: Permission denied")


@pytest.mark.parametrize("output", ["lock/", "lock/new/"])
def test_an_output_folder_that_cannot_be_written_to_takes_one_line(folder: Path, output: str):
    done = run_as_user(folder, "photos/a.png", "photos/z.png", "--output", output)
    assert_one_line(done, "cannot write to the folder lock: Permission denied; give another one")


@pytest.mark.parametrize("options", [[], ["--resume"]])
def test_an_output_file_in_a_folder_that_cannot_be_entered_takes_one_line(folder: Path, options: list[str]):
    write_clip(folder / "clip.mp4", frame_count=5)
    done = run_as_user(folder, "clip.mp4", "--output", "lock/out.mp4", *options)
    assert_one_line(done, "cannot write lock/out.mp4: Permission denied")


def test_a_name_that_is_too_long(folder: Path):
    name = "a" * 300
    assert_one_line(run_as_user(folder, f"{name}.jpg", "--output", "out/"), f"cannot open {name}.jpg: File name too")
    assert_one_line(run_as_user(folder, f"{name}*.jpg", "--output", "out/"), f"{name}*.jpg: no file matches")


def test_an_unreadable_subfolder_of_videos_is_reported_and_the_rest_is_explained(folder: Path, warm_cache: None):
    write_clip(folder / "photos" / "a.mp4", 3)
    done = run_as_user(folder, "archive", "photos", "--output", "index")
    assert done.returncode == 1
    assert f"cannot open the folder {folder}/photos/lock; check its permissions" in done.stderr
    assert "1 video explained" in done.stdout
