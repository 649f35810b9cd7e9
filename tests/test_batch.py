"""Several videos in one run, and progress for programs."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import RunLivecam, environment_with, livecam_command
from media_clips import probe, write_clip
from standin import StandIn

from live_cam.cli.options import folders_among, path_of
from live_cam.errors import SettingError, SourceError
from live_cam.jobs.batch import BatchEvents, BatchOutcome, is_batch, plan_batch, run_batch
from live_cam.jobs.job import run_job
from live_cam.jobs.outcome import JobContext, Outcome, Progress
from live_cam.settings import JobSettings, OutputSettings, SourceSettings
from live_cam.sinks.atomic_file import OutputLock
from live_cam.sinks.video import sink
from live_cam.sinks.video.remux import copy_for_fast_start

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


def settings_of(video: object, output: OutputSettings) -> JobSettings:
    return JobSettings(SourceSettings(video=str(video)), output=output)


# --- which videos become what


def test_a_pattern_or_a_folder_makes_a_batch_and_a_file_named_like_a_pattern_does_not(clips: Path, tmp_path: Path):
    to_file, to_folder = OutputSettings(tmp_path / "o.mp4"), OutputSettings(tmp_path)
    assert is_batch(settings_of(f"{clips}/*.mp4", to_file))
    assert is_batch(settings_of(f"{clips}/a.mp4", to_folder))
    assert not is_batch(settings_of(f"{clips}/a.mp4", to_file))
    assert not is_batch(settings_of(f"{clips}/b[1].mkv", to_file))
    assert not is_batch(settings_of("http://camera/stream?*", to_file))
    assert not is_batch(JobSettings(SourceSettings(image="a.png"), output=to_folder))


def test_an_output_that_ends_in_a_slash_is_a_folder_whatever_its_name(clips: Path, tmp_path: Path):
    named = tmp_path / "results.2024"
    video = clips / "a.mp4"
    for names in ((f"{named}/", None), (None, f"{named}/"), (f"{named}{os.sep}", str(named))):
        settings = settings_of(video, OutputSettings(*map(path_of, names), folders=folders_among(*names)))
        assert is_batch(settings)
        (job,) = plan_batch(settings)
        assert job.output.paths == [
            named / name for given, name in zip(names, ("a.mp4", "a.jsonl"), strict=True) if given is not None
        ]
        # The planned outputs are files, even if a folder has the name of one of them.
        assert not any(map(job.output.is_folder, job.output.paths))
    assert folders_among(str(named), None, "a/b.mp4") == ()
    named.mkdir()
    settings = settings_of(video, OutputSettings(named))
    assert is_batch(settings)
    assert plan_batch(settings)[0].output.output == named / "a.mp4"


def test_each_video_gets_files_with_its_name(clips: Path, tmp_path: Path):
    output = OutputSettings(tmp_path / "new", sidecar=tmp_path, heatmaps=tmp_path, report=tmp_path)
    jobs = plan_batch(settings_of(f"{clips}/*", output))
    assert [Path(str(job.source.video)).name for job in jobs] == ["a.mp4", "b[1].mkv", "no.mp4"]
    assert jobs[1].output.paths == [
        tmp_path / "new" / "b[1].mp4", tmp_path / "b[1].jsonl", tmp_path / "b[1].npz", tmp_path / "b[1].json",
    ]  # fmt: skip
    assert names_in(tmp_path) == []


def test_impossible_plans_are_refused(clips: Path, tmp_path: Path):
    with pytest.raises(SourceError, match=r"z\*\.mp4: no file matches"):
        plan_batch(settings_of(f"{clips}/z*.mp4", OutputSettings(tmp_path)))
    with pytest.raises(SettingError, match=r"3 videos cannot all become .*one\.mp4; give a folder"):
        plan_batch(settings_of(f"{clips}/*", OutputSettings(tmp_path / "one.mp4")))
    with pytest.raises(SettingError, match="nothing to do"):
        plan_batch(settings_of(f"{clips}/*", OutputSettings()))
    twins = tmp_path / "twins"
    twins.mkdir()
    for name in ("a.mp4", "a.mov"):
        (twins / name).touch()
    with pytest.raises(SettingError, match=r"2 videos would become a\.mp4"):
        plan_batch(settings_of(f"{twins}/*", OutputSettings(tmp_path)))


# --- whole runs


def test_the_command_line_makes_folders_whose_names_have_a_dot(
    run_livecam: RunLivecam, warm_cache: None, clips: Path, tmp_path: Path
):
    options = [part for name in ("output", "sidecar", "report") for part in (f"--{name}", f"{tmp_path}/{name}.2024/")]
    for video in ("a.mp4", "[ab]*.m*"):  # one file, and a pattern
        done = run_livecam("--video", f"{clips}/{video}", *options)
        assert done.returncode == 0, done.stderr
    assert names_in(tmp_path) == ["output.2024", "report.2024", "sidecar.2024"]
    for name, ending in (("output", "mp4"), ("sidecar", "jsonl"), ("report", "json")):
        assert names_in(tmp_path / f"{name}.2024") == [f"a.{ending}", f"b[1].{ending}"]


def test_a_failing_video_is_reported_and_the_others_are_made_and_skipped_the_next_time(
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
    made_of_a = ", ".join(str(out / name) for name in ("a.mp4", "a.jsonl", "a.json"))
    assert f"skipped {clips}/a.mp4: {made_of_a} exist; --overwrite makes them again\n" in second.stderr
    assert second.stdout == "0 of 3 videos done, 2 skipped, 1 failed\n"
    assert {name: (out / name).stat().st_mtime_ns for name in made} == before

    third = run_livecam(*arguments, "--overwrite", "--quiet")
    assert third.returncode == 1
    assert third.stdout == ""
    assert third.stderr == failure + "\n"
    assert all((out / name).stat().st_mtime_ns > before[name] for name in made)


def standin_batch(
    videos: object,
    out: Path,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    stop: threading.Event | None = None,
    max_frames: int | None = None,
    **options: object,
) -> tuple[BatchOutcome, list[str]]:
    """Runs a batch without a network; returns its outcome and the lines that the user gets."""
    lines: list[str] = []
    output = OutputSettings(out, sidecar=out, folders=(out,), **options)
    source = SourceSettings(video=str(videos), max_frames=max_frames)
    jobs = plan_batch(JobSettings(source, output=output))
    context = JobContext(lines.append, on_progress=on_progress, stop=stop or threading.Event())

    def run(job: JobSettings, load: object) -> Outcome:
        return run_job(job, context, lambda frame: StandIn(0.005))

    def skip(job: JobSettings) -> None:
        lines.append(f"skipped {Path(str(job.source.video)).name}")

    events = BatchEvents(run, skip, lambda error: lines.append(str(error)))
    return run_batch(jobs, context, events), lines


@pytest.fixture(scope="module")
def killed_batch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with clips/, whole/ and killed/: the same batch, uninterrupted and killed in the second video."""
    folder = tmp_path_factory.mktemp("killed")
    (folder / "clips").mkdir()
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        write_clip(folder / "clips" / name, frame_count=120)
    standin_batch(folder / "clips" / "*.mp4", folder / "whole")
    copied: list[Path] = []

    def copy(progress: Progress) -> None:
        if (folder / "run" / "b.partial.jsonl").exists() and progress.frames_written >= 90 and not copied:
            # The checkpoint first: what is written while the files are copied is behind the bytes that it counts.
            names = sorted((folder / "run").iterdir(), key=lambda path: path.suffix != ".npz")
            (folder / "killed").mkdir()
            copied.extend(Path(shutil.copy(path, folder / "killed")) for path in names)

    standin_batch(folder / "clips" / "*.mp4", folder / "run", copy)
    assert {"a.mp4", "b.partial.mp4", "b.mp4.livecam-checkpoint.npz"} <= {path.name for path in copied}
    return folder


def test_a_killed_batch_is_resumed_where_it_was(killed_batch: Path, tmp_path: Path):
    out = Path(shutil.copytree(killed_batch / "killed", tmp_path / "out"))
    outcome, lines = standin_batch(killed_batch / "clips" / "*.mp4", out)
    assert (outcome.done, outcome.skipped, outcome.failed) == (2, 1, 0)
    assert lines[0] == "skipped a.mp4"
    assert re.fullmatch(rf"resuming {re.escape(str(out / 'b.mp4'))} at frame \d+ \(.*\)", lines[1])
    assert len(lines) == 2
    assert names_in(out) == names_in(killed_batch / "whole")
    for name in ("a", "b", "c"):
        assert (out / f"{name}.jsonl").read_text() == (killed_batch / "whole" / f"{name}.jsonl").read_text()
        assert probe(out / f"{name}.mp4")["nb_read_packets"] == "120"


def test_a_batch_starts_a_video_again_that_it_cannot_resume(killed_batch: Path, tmp_path: Path):
    for number, options in enumerate(({"quality": 30}, {"overwrite": True}, {"codec": "h265"})):
        out = Path(shutil.copytree(killed_batch / "killed", tmp_path / str(number)))
        outcome, lines = standin_batch(killed_batch / "clips" / "*.mp4", out, **options)
        assert outcome.failed == 0
        assert not any("resuming" in line for line in lines)
        assert names_in(out) == names_in(killed_batch / "whole")
        for name in ("a", "b", "c"):
            assert probe(out / f"{name}.mp4")["nb_read_packets"] == "120"


def test_a_batch_completes_a_video_whose_sidecar_only_lacks_its_final_name(killed_batch: Path, tmp_path: Path):
    out = Path(shutil.copytree(killed_batch / "killed", tmp_path / "out"))
    shutil.copy(killed_batch / "whole" / "b.mp4", out)
    (out / "b.partial.mp4").unlink()
    shutil.copy(killed_batch / "whole" / "b.jsonl", out / "b.partial.jsonl")
    outcome, lines = standin_batch(killed_batch / "clips" / "*.mp4", out)
    assert (outcome.done, outcome.skipped) == (2, 1)
    assert "resuming" in lines[1]
    assert names_in(out) == names_in(killed_batch / "whole")
    assert (out / "b.jsonl").read_text() == (killed_batch / "whole" / "b.jsonl").read_text()
    assert probe(out / "b.mp4")["nb_read_packets"] == "120"


def test_a_stop_while_the_files_are_completed_counts_the_video_as_done(
    killed_batch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    stop, has_seen = threading.Event(), threading.Event()

    def copy_while_stopped(*arguments: object) -> None:
        stop.set()
        assert has_seen.wait(30)
        copy_for_fast_start(*arguments)

    def on_progress(progress: Progress) -> None:
        if stop.is_set():
            has_seen.set()

    monkeypatch.setattr(sink, "copy_for_fast_start", copy_while_stopped)
    outcome, _ = standin_batch(killed_batch / "clips" / "[ab].mp4", tmp_path, on_progress, stop)
    assert (outcome.done, outcome.total, outcome.was_interrupted) == (1, 2, True)
    assert names_in(tmp_path) == ["a.jsonl", "a.mp4"]
    stop.clear()
    outcome, lines = standin_batch(killed_batch / "clips" / "[ab].mp4", tmp_path, on_progress, stop)
    assert (outcome.done, outcome.skipped, outcome.was_interrupted) == (1, 1, False)  # it was the last one
    assert lines == ["skipped a.mp4"]


def test_a_finished_batch_is_continued_to_a_later_end(killed_batch: Path, tmp_path: Path):
    clips = killed_batch / "clips" / "*.mp4"
    standin_batch(clips, tmp_path, max_frames=30)
    outcome, lines = standin_batch(clips, tmp_path, resume=True)
    assert (outcome.done, outcome.skipped) == (3, 0)
    assert [line.split(" (")[0] for line in lines] == [f"resuming {tmp_path / name}.mp4 at frame 30" for name in "abc"]
    assert names_in(tmp_path) == names_in(killed_batch / "whole")
    for name in ("a", "b", "c"):
        assert (tmp_path / f"{name}.jsonl").read_text() == (killed_batch / "whole" / f"{name}.jsonl").read_text()
    outcome, lines = standin_batch(clips, tmp_path, resume=True)
    assert (outcome.done, outcome.skipped) == (0, 3)
    assert lines == [f"{tmp_path / name}.mp4 is finished" for name in "abc"]


def test_a_video_that_another_process_writes_fails_and_the_others_are_made(killed_batch: Path, tmp_path: Path):
    (tmp_path / "out").mkdir()
    with OutputLock(tmp_path / "out" / "b.mp4"):
        outcome, lines = standin_batch(killed_batch / "clips" / "*.mp4", tmp_path / "out")
    assert (outcome.done, outcome.failed) == (2, 1)
    assert lines == [f"{tmp_path / 'out' / 'b.mp4'} is being written by another livecam process"]
    assert names_in(tmp_path / "out") == ["a.jsonl", "a.mp4", "c.jsonl", "c.mp4"]


def test_the_model_is_loaded_once_for_all(run_livecam: RunLivecam, clips: Path, tmp_path: Path):
    # A model for TensorFlow is never cached: it is built each time it is loaded, and a line says so.
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(f"class {index}" for index in range(1000)))
    done = run_livecam(
        "--video", f"{clips}/[ab]*", "--sidecar", tmp_path, "--labels", labels, "--engine", "tensorflow", timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("ready after") == 1
    assert names_in(tmp_path) == ["a.jsonl", "b[1].jsonl", "labels.txt"]
    assert "class " in (tmp_path / "b[1].jsonl").read_text()


def test_a_wrong_model_ends_the_batch_before_a_folder_is_made(run_livecam: RunLivecam, clips: Path, tmp_path: Path):
    done = run_livecam("--video", f"{clips}/*.mp4", "--output", tmp_path / "out", "--model", "mobilnet")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "mobilenet" in done.stderr
    assert names_in(tmp_path) == []


def test_ctrl_c_ends_the_batch(warm_cache: None, tmp_path: Path):
    folder = tmp_path / "long"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        write_clip(folder / name, frame_count=3000, options={"preset": "ultrafast"})
    command = livecam_command("--video", folder / "*.mp4", "--output", tmp_path / "out", "--json-progress")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment_with({"DISPLAY": None})
    ) as process:
        while json.loads(process.stdout.readline())["frames_written"] < 10:
            pass
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "0 of 2 videos done" in errors
    assert "b.mp4" not in errors
    # A checkpoint is there if enough had been written.
    assert set(names_in(tmp_path / "out")) - {"a.mp4.livecam-checkpoint.npz"} == {"a.partial.mp4"}
    # The last line also counts all frames of an interrupted job.
    assert json.loads(rest.splitlines()[-1])["frames_written"] == int(
        probe(tmp_path / "out" / "a.partial.mp4")["nb_read_packets"]
    )


# --- progress for programs


def test_stdout_has_only_progress_for_programs(run_livecam: RunLivecam, warm_cache: None, clips: Path, tmp_path: Path):
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


def test_progress_comes_about_twice_per_second(run_livecam: RunLivecam, warm_cache: None, tmp_path: Path):
    done = run_livecam("--demo", "--sidecar", tmp_path / "s.jsonl", "--max-frames", "60", "--json-progress")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    seconds = 60 / lines[-1]["fps"]
    # Never more often, whatever the machine's speed; before the first frame it loads.
    assert 1 <= sum(line["frames_written"] > 0 for line in lines) <= 2 * seconds + 3


def test_progress_of_an_image_is_one_frame(
    run_livecam: RunLivecam, warm_cache: None, photograph_path: Path, tmp_path: Path
):
    done = run_livecam("--image", photograph_path, "--output", tmp_path / "o.png", "--json-progress", "-q")
    last = json.loads(done.stdout.splitlines()[-1])
    assert last == {"frames_written": 1, "frames_total_estimate": 1, "time_seconds": 0.0, "fps": None}


@pytest.mark.parametrize("quiet", [False, True])
def test_the_bar_shows_frames_fps_and_the_time_left(warm_cache: None, tmp_path: Path, quiet: bool):
    pty = pytest.importorskip("pty")
    terminal, program_end = pty.openpty()
    command = livecam_command(
        "--demo", "--max-frames", "80", "--output", tmp_path / "o.mp4", *(["--quiet"] if quiet else [])
    )
    environment = environment_with({"DISPLAY": None, "COLUMNS": "120", "TERM": "xterm"})
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=program_end, env=environment) as process:
        os.close(program_end)
        shown = b""
        while True:
            try:
                read = os.read(terminal, 65536)
            except OSError:  # the other end is closed
                break
            if not read:
                break
            shown += read
    os.close(terminal)
    assert process.returncode == 0
    assert all((part in shown.decode()) != quiet for part in ("/80", " fps", "0:00:0"))
