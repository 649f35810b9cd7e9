"""Several videos in one go, and progress for programs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import RunLivecam, environment_with, livecam_command
from media_clips import probe, write_clip

from live_cam.errors import SettingError, SourceError
from live_cam.run.batch import is_batch, planned
from live_cam.run.session import OutputSettings, SessionSettings, SourceSettings

PROGRESS_NAMES = ["frames_written", "frames_total_estimate", "time_seconds", "fps"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a.mp4, b[1].mkv and no.mp4, which is no video."""
    folder = tmp_path_factory.mktemp("clips")
    write_clip(folder / "a.mp4", frame_count=5)
    write_clip(folder / "b[1].mkv", frame_count=7)
    (folder / "no.mp4").write_text("no video")
    return folder


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def settings_of(video: str, output: OutputSettings) -> SessionSettings:
    return SessionSettings(SourceSettings(video=video), output=output)


# --- which videos become what


def test_a_pattern_or_a_folder_makes_a_batch_and_a_file_called_like_a_pattern_does_not(clips: Path, tmp_path: Path):
    to_file, to_folder = OutputSettings(tmp_path / "o.mp4"), OutputSettings(tmp_path)
    assert is_batch(SourceSettings(video=f"{clips}/*.mp4"), to_file)
    assert is_batch(SourceSettings(video=f"{clips}/a.mp4"), to_folder)
    assert not is_batch(SourceSettings(video=f"{clips}/a.mp4"), to_file)
    assert not is_batch(SourceSettings(video=f"{clips}/b[1].mkv"), to_file)
    assert not is_batch(SourceSettings(video="http://camera/stream?*"), to_file)
    assert not is_batch(SourceSettings(image="a.png"), to_folder)


def test_each_video_gets_files_of_its_name(clips: Path, tmp_path: Path):
    output = OutputSettings(tmp_path / "new", sidecar=tmp_path, heatmaps=tmp_path, report=tmp_path)
    jobs = planned(settings_of(f"{clips}/*", output))
    assert [Path(str(job.source.video)).name for job in jobs] == ["a.mp4", "b[1].mkv", "no.mp4"]
    assert jobs[1].output.paths == [
        tmp_path / "new" / "b[1].mp4", tmp_path / "b[1].jsonl", tmp_path / "b[1].npz", tmp_path / "b[1].json",
    ]  # fmt: skip
    assert names_in(tmp_path) == []


def test_plans_that_cannot_be_are_refused(clips: Path, tmp_path: Path):
    with pytest.raises(SourceError, match=r"z\*\.mp4: no file matches"):
        planned(settings_of(f"{clips}/z*.mp4", OutputSettings(tmp_path)))
    with pytest.raises(SettingError, match=r"3 videos cannot all become .*one\.mp4; give a folder"):
        planned(settings_of(f"{clips}/*", OutputSettings(tmp_path / "one.mp4")))
    with pytest.raises(SettingError, match="nothing to do"):
        planned(settings_of(f"{clips}/*", OutputSettings()))
    twins = tmp_path / "twins"
    twins.mkdir()
    for name in ("a.mp4", "a.mov"):
        (twins / name).touch()
    with pytest.raises(SettingError, match=r"2 videos would become a\.mp4"):
        planned(settings_of(f"{twins}/*", OutputSettings(tmp_path)))


# --- whole runs


def test_a_failing_one_is_told_and_the_others_go_on_and_are_skipped_the_next_time(
    run_livecam: RunLivecam, warm_cache: None, clips: Path, tmp_path: Path
):
    out = tmp_path / "deep" / "out"
    arguments = ["--video", f"{clips}/*", "--output", f"{out}/", "--sidecar", out, "--report", out]
    first = run_livecam(*arguments)
    assert first.returncode == 1
    (failure,) = [line for line in first.stderr.splitlines() if line.startswith("livecam: ")]
    assert str(clips / "no.mp4") in failure
    assert first.stdout.splitlines()[-1] == "2 of 3 videos done, 1 failed"
    made = ["a.json", "a.jsonl", "a.mp4", "b[1].json", "b[1].jsonl", "b[1].mp4"]
    assert names_in(out) == made
    assert [probe(out / name)["nb_read_packets"] for name in ("a.mp4", "b[1].mp4")] == ["5", "7"]
    assert [json.loads((out / name).read_text())["frames_written"] for name in ("a.json", "b[1].json")] == [5, 7]

    before = {name: (out / name).stat().st_mtime_ns for name in made}
    second = run_livecam(*arguments)
    assert second.returncode == 1
    assert second.stderr.count("skipped ") == 2
    assert second.stdout == "0 of 3 videos done, 2 skipped, 1 failed\n"
    assert {name: (out / name).stat().st_mtime_ns for name in made} == before

    third = run_livecam(*arguments, "--overwrite", "--quiet")
    assert third.returncode == 1
    assert third.stdout == ""
    assert third.stderr == failure + "\n"
    assert all((out / name).stat().st_mtime_ns > before[name] for name in made)


def test_the_model_is_loaded_once_for_all(run_livecam: RunLivecam, clips: Path, tmp_path: Path):
    # Of a fresh cache a model is built, and told of, each time it is loaded: TensorFlow is never kept.
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(f"class {index}" for index in range(1000)))
    done = run_livecam(
        "--video", f"{clips}/[ab]*", "--sidecar", tmp_path, "--labels", labels, "--engine", "tensorflow", timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("ready after") == 1
    assert names_in(tmp_path) == ["a.jsonl", "b[1].jsonl", "labels.txt"]
    assert "class " in (tmp_path / "b[1].jsonl").read_text()


def test_a_wrong_model_ends_it_before_a_folder_is_made(run_livecam: RunLivecam, clips: Path, tmp_path: Path):
    done = run_livecam("--video", f"{clips}/*.mp4", "--output", tmp_path / "out", "--model", "mobilnet")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "mobilenet" in done.stderr
    assert names_in(tmp_path) == []


def test_ctrl_c_ends_all_of_it(warm_cache: None, tmp_path: Path):
    folder = tmp_path / "long"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        write_clip(folder / name, frame_count=3000, options={"preset": "ultrafast"})
    command = livecam_command("--video", folder / "*.mp4", "--output", tmp_path / "out", "--json-progress")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment_with({"DISPLAY": None})
    ) as process:
        while json.loads(process.stdout.readline())["frames_written"] < 10:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "0 of 2 videos done" in errors
    assert "b.mp4" not in errors
    assert names_in(tmp_path / "out") == ["a.partial.mp4"]
    # What was written is told at the end of a run that was broken off, too.
    assert json.loads(rest.splitlines()[-1])["frames_written"] == int(
        probe(tmp_path / "out" / "a.partial.mp4")["nb_read_packets"]
    )


# --- progress for programs


def test_progress_for_programs_is_all_that_is_on_stdout(
    run_livecam: RunLivecam, warm_cache: None, clips: Path, tmp_path: Path
):
    for quiet in ([], ["--quiet"]):
        done = run_livecam(
            "--video", clips / "a.mp4", "--sidecar", tmp_path / "s.jsonl", "--json-progress", "--overwrite", *quiet
        )
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert all(list(line) == PROGRESS_NAMES for line in lines)
        last = lines[-1]
        assert (last["frames_written"], last["frames_total_estimate"], last["time_seconds"]) == (5, 5, 0.16)
        assert last["fps"] > 0
        counts = [line["frames_written"] for line in lines]
        assert counts == sorted(counts)
        assert ("5 frames" in done.stderr) == (not quiet)


def test_progress_comes_about_twice_a_second(run_livecam: RunLivecam, warm_cache: None, tmp_path: Path):
    done = run_livecam("--demo", "--sidecar", tmp_path / "s.jsonl", "--max-frames", "60", "--json-progress")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    seconds = 60 / lines[-1]["fps"]
    # Never more often, whatever the machine's speed; before the first frame it loads.
    assert 1 <= sum(line["frames_written"] > 0 for line in lines) <= 2 * seconds + 3


def test_progress_of_a_picture_is_one_frame(
    run_livecam: RunLivecam, warm_cache: None, photograph_path: Path, tmp_path: Path
):
    done = run_livecam("--image", photograph_path, "--output", tmp_path / "o.png", "--json-progress", "-q")
    last = json.loads(done.stdout.splitlines()[-1])
    assert last == {"frames_written": 1, "frames_total_estimate": 1, "time_seconds": 0.0, "fps": None}


@pytest.mark.parametrize("quiet", [False, True])
def test_the_bar_shows_frames_fps_and_the_time_left(warm_cache: None, tmp_path: Path, quiet: bool):
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    command = livecam_command(
        "--demo", "--max-frames", "80", "--output", tmp_path / "o.mp4", *(["--quiet"] if quiet else [])
    )
    environment = environment_with({"DISPLAY": None, "COLUMNS": "120", "TERM": "xterm"})
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                read = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not read:
                break
            shown += read
    os.close(ours)
    assert process.returncode == 0
    assert all((part in shown.decode()) != quiet for part in ("/80", " fps", "0:00:0"))
