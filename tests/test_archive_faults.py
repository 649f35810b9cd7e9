"""What goes wrong while an index is made: the rest is made all the same, and the same command completes it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from archives import archive, ignore, standin_merge, table, tables_of, videos_in
from conftest import RunLivecam, StartLivecam, wait_until
from damaged import damaged_clips, good_clips
from media_clips import write_clip, write_heavy_clip
from recordings import assert_same
from standin import StandIn

from live_cam.archive import tasks
from live_cam.archive.archive import run_archive
from live_cam.archive.outcome import ArchiveOutcome, ArchiveProgress
from live_cam.archive.pool import ProcessPool
from live_cam.archive.tasks import AnnotateTask, Failure, ProbeTask, Worker
from live_cam.errors import SourceError
from live_cam.jobs.outcome import JobContext, Progress
from live_cam.settings import ArchiveSettings, JobSettings

SEGMENT = ("--segment-minutes", 0.02)  # 1.2 seconds


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds: five segments of 1.2 seconds, with 30 frames each."""
    return write_clip(tmp_path_factory.mktemp("faults") / "clip.mp4", 150, options={"g": "20"})


@pytest.fixture(scope="session")
def undisturbed(clip: Path, warm_cache: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The tables of an index of this clip."""
    folder = tmp_path_factory.mktemp("undisturbed") / "INDEX"
    assert archive(folder, clip, workers=2, segment_minutes=0.02).failures == ()
    return tables_of(folder)


def children_of(pid: int) -> list[int]:
    """Returns the worker processes of an archive; multiprocessing's resource tracker does not count."""
    children = [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [child for child in children if b"spawn_main" in _command_of(child)]


def _command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def segments_in(index: Path) -> dict[Path, int]:
    """Returns when each finished segment was written, in nanoseconds."""
    return {path: path.stat().st_mtime_ns for path in index.glob("segments/*/*.frames.parquet")}


def signalled_run(number: signal.Signals, settings: ArchiveSettings) -> ArchiveOutcome:
    """Runs an archive in this process, and sends a signal to one worker as soon as a segment is finished."""
    sent: list[int] = []

    def disturb(progress: ArchiveProgress) -> None:
        if not sent and segments_in(settings.output):
            sent.append(children_of(os.getpid())[0])
            os.kill(sent[0], number)

    outcome = run_archive(settings, JobContext(), disturb)
    assert sent
    return outcome


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.slow)])
def test_a_worker_that_is_killed_or_stopped_costs_one_more_try(
    number: signal.Signals, clip: Path, undisturbed: dict[str, Any], tmp_path: Path
):
    settings = ArchiveSettings((str(clip),), tmp_path / "INDEX", workers=2, segment_minutes=0.02, stall_seconds=3)
    outcome = signalled_run(number, settings)
    assert (outcome.done, outcome.failures) == (1, ())
    assert tables_of(tmp_path / "INDEX") == undisturbed


def test_a_segment_that_fails_again_and_again_is_recorded_and_the_others_are_explained(
    clip: Path, undisturbed: dict[str, Any], tmp_path: Path
):
    settings = ArchiveSettings((str(clip),), tmp_path / "INDEX", workers=2, segment_minutes=0.02, retries=0)
    outcome = signalled_run(signal.SIGKILL, settings)
    assert (outcome.done, outcome.failures) == (0, (f"{clip}: its worker was ended by signal 9 (SIGKILL)",))
    row = videos_in(settings.output)["clip.mp4"]
    assert (row["state"], row["row_count"], row["frame_count"]) == ("partial", 120, None)
    indices = table(settings.output, "frames", clip)["index"].to_pylist()
    known = [index for index in indices if index is not None]
    assert known == list(range(len(known)))  # nobody knows how many frames the lost part has
    # None is lost if the worker died between writing its table and saying so.
    lost_count = 5 - len(segments_in(settings.output))
    assert lost_count in (0, 1)
    # The same command again repeats only what failed.
    again = run_archive(settings, JobContext())
    assert (again.done, again.failures) == (1, ())
    assert again.media_seconds == pytest.approx(1.2 * lost_count, abs=0.1)
    assert tables_of(settings.output) == undisturbed


def test_a_file_that_cannot_be_read_to_an_end_does_not_hold_up_the_others(tmp_path: Path, warm_cache: None):
    good = write_clip(tmp_path / "good.mp4", 10)
    endless = tmp_path / "endless.gif"
    endless.touch()
    os.truncate(endless, 1 << 40)  # of zeros, which no disk has to hold
    outcome = archive(tmp_path / "INDEX", good, endless, workers=1, stall_seconds=5, retries=0)
    assert outcome.failures == (f"{endless}: no frame could be read for 5 s",)
    assert (outcome.done, outcome.row_count) == (1, 10)
    assert videos_in(tmp_path / "INDEX")["endless.gif"]["state"] == "failed"


def test_a_video_that_cannot_be_annotated_fails_alone(tmp_path: Path, warm_cache: None):
    """H.264 has no pictures of 17000 pixels."""
    good = write_clip(tmp_path / "good.mp4", 10)
    wide = write_clip(tmp_path / "a wide one.mkv", 5, size_wh=(17_000, 16), codec="ffv1")
    options = {"annotate": True, "workers": 1, "retries": 0}
    outcome = archive(tmp_path / "INDEX", wide, good, **options)
    (failure,) = outcome.failures
    assert failure.startswith(f"{wide}: cannot write ")
    assert [path.name[:5] for path in (tmp_path / "INDEX" / "annotated").iterdir()] == ["good-"]
    assert (outcome.done, outcome.row_count) == (1, 15)  # the frames of both are explained
    row = videos_in(tmp_path / "INDEX")["a wide one.mkv"]
    assert (row["state"], row["row_count"], f"{wide}: {row['error']}") == ("failed", 5, failure)


def test_an_annotated_video_of_which_no_frame_comes_any_more_does_not_look_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A job reports its progress all the time, also while its source hangs."""
    heard: list[float] = []
    states = [Progress("explaining", frames_explained=count) for count in (1, 2, 2, 2, 3)]

    def run_job(settings: JobSettings, context: JobContext, load: object) -> None:
        for state in states:
            context.on_progress(state)

    monkeypatch.setattr(tasks, "run_job", run_job)
    worker = Worker(ArchiveSettings(("clip.mp4",), tmp_path))
    worker._explainer = StandIn()
    AnnotateTask("clip.mp4", "clip", "float").run(worker, heard.append)
    assert len(heard) == 3


def test_a_worker_that_dies_while_it_is_idle_fails_no_task(clip: Path, tmp_path: Path):
    settings = ArchiveSettings((str(clip),), tmp_path / "INDEX", retries=0)
    task = ProbeTask(str(clip), "clip")
    with ProcessPool(settings, 1) as pool:
        for _ in range(2):
            pool.submit(task)
            events = wait_until(lambda: [event for event in pool.events(0.1) if event.result is not None])
            assert not isinstance(events[0].result, Failure)
            (child,) = children_of(os.getpid())
            os.kill(child, signal.SIGKILL)
            os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # has ended, and the pool has not heard of it


def test_a_video_that_is_damaged_in_the_middle_has_the_rows_before_and_after(tmp_path: Path, warm_cache: None):
    """Two segments of two seconds with a keyframe every ten frames; a part of the first one cannot be decoded."""
    video = write_heavy_clip(tmp_path / "noise.mp4", 100)
    content = bytearray(video.read_bytes())
    start, end = int(len(content) * 0.13), int(len(content) * 0.18)
    content[start:end] = bytes(end - start)
    video.write_bytes(content)
    settings = {"segment_minutes": 2 / 60, "workers": 1, "every_seconds": 0.2}
    outcome = archive(tmp_path / "INDEX", video, **settings)
    (failure,) = outcome.failures
    assert failure.startswith(f"{video}: damaged after 0.")
    row = videos_in(tmp_path / "INDEX")["noise.mp4"]
    assert (row["state"], row["frame_count"], row["error"]) == ("partial", None, failure)
    frames = table(tmp_path / "INDEX", "frames", video).to_pylist()
    # Nobody knows how many frames the damaged part has, so that frames behind it have no number.
    assert [frame["index"] for frame in frames] == [0, 5, 10, *[None] * 10]
    times = [frame["time_seconds"] for frame in frames]
    assert times == pytest.approx([0, 0.2, 0.4, 2, 2.2, 2.4, 2.6, 2.8, 3, 3.2, 3.4, 3.6, 3.8])
    # Another run tries the damaged part again, and nothing else; it is the same as before.
    tables, times = tables_of(tmp_path / "INDEX"), segments_in(tmp_path / "INDEX")
    again = archive(tmp_path / "INDEX", video, **settings)
    assert again.failures == outcome.failures
    assert tables_of(tmp_path / "INDEX") == tables
    repeated = [path.name for path, time in segments_in(tmp_path / "INDEX").items() if times[path] != time]
    assert repeated == ["000000.frames.parquet"]


def test_a_video_that_is_cut_off_is_told_once_and_keeps_what_it_has(tmp_path: Path, warm_cache: None):
    """Four seconds in four segments, of which the last two are missing."""
    whole = write_heavy_clip(tmp_path / "whole.mp4", 100)
    video = tmp_path / "cut.mp4"
    video.write_bytes(whole.read_bytes()[: whole.stat().st_size * 45 // 100])
    options = {"segment_minutes": 1 / 60, "workers": 1, "every_seconds": 0.2, "retries": 0}
    outcome = archive(tmp_path / "INDEX", video, **options)
    assert len(outcome.failures) == 1
    assert outcome.failures[0].startswith(f"{video}: damaged after 1.")
    assert outcome.failures[0].endswith(": the file is cut off")
    times = table(tmp_path / "INDEX", "frames", video)["time_seconds"].to_pylist()
    assert times == pytest.approx([0.2 * number for number in range(len(times))])
    assert 5 < len(times) < 10


def test_a_damaged_table_of_a_segment_is_removed_so_that_its_segment_is_repeated(tmp_path: Path):
    task, worker = standin_merge(write_clip(tmp_path / "clip.mp4", 100), tmp_path / "INDEX", 1.0)
    damaged = worker.dataset.segments(task.file_name) / "000002.frames.parquet"
    content = bytearray(damaged.read_bytes())
    content[4:1000] = bytes(996)  # the end, which says what the table holds, is whole
    damaged.write_bytes(content)
    with pytest.raises(SourceError, match="000002.frames.parquet was damaged and is removed: "):
        task.run(worker, ignore)
    assert not damaged.exists()
    assert list((tmp_path / "INDEX" / "frames").iterdir()) == []


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mounts a file system of 100 KB at a folder; yields whether that worked."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=100k", "livecam-test", str(folder)]
    is_mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_ends_the_run_with_a_line_and_the_same_command_continues(
    clip: Path, undisturbed: dict[str, Any], run_livecam: RunLivecam, tmp_path: Path
):
    disk = tmp_path / "disk"
    with small_disk(disk) as is_mounted:
        if not is_mounted:
            pytest.skip("no file system can be mounted here")
        command = ("archive", clip, "--output", disk / "INDEX", "--workers", 1, *SEGMENT)
        done = run_livecam(*command)
        assert (done.returncode, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"livecam: cannot write {disk / 'INDEX'}")
        assert line.endswith("No space left on device")
        subprocess.run(["mount", "-o", "remount,size=2m", str(disk)], check=True)
        done = run_livecam(*command)
        assert done.returncode == 0, done.stderr
        assert tables_of(disk / "INDEX") == undisturbed


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_ctrl_c_and_sigterm_end_a_run_and_the_same_command_continues(
    number: signal.Signals, clip: Path, undisturbed: dict[str, Any], start_livecam: StartLivecam, tmp_path: Path
):
    index = tmp_path / "INDEX"
    process = start_livecam("archive", clip, "--output", index, "--workers", 1, *SEGMENT)
    wait_until(lambda: segments_in(index), process=process)
    process.send_signal(number)
    printed, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "")
    assert printed.endswith("interrupted, the same command continues\n")
    assert not list(index.rglob("*.partial*"))
    kept = len(segments_in(index))
    assert 1 <= kept < 5
    outcome = archive(index, clip, workers=1, segment_minutes=0.02)
    assert (outcome.done, outcome.failures) == (1, ())
    assert outcome.media_seconds == pytest.approx(6 - 1.2 * kept, abs=0.1)  # what was finished is not explained again
    assert tables_of(index) == undisturbed


def test_a_run_that_is_stopped_before_it_begins_leaves_the_table_of_videos_alone(
    clip: Path, warm_cache: None, tmp_path: Path
):
    archive(tmp_path / "INDEX", clip, workers=1, every_seconds=2.0)
    before = tables_of(tmp_path / "INDEX")
    stop = threading.Event()
    stop.set()
    settings = ArchiveSettings((str(clip),), tmp_path / "INDEX", workers=1, every_seconds=2.0)
    assert run_archive(settings, JobContext(stop=stop)).was_interrupted
    assert tables_of(tmp_path / "INDEX") == before


@pytest.mark.slow
def test_killed_at_random_moments_the_same_command_completes_the_same_index(
    clip: Path, undisturbed: dict[str, Any], start_livecam: StartLivecam, tmp_path: Path
):
    """SIGKILL of the archive itself, when it has worked for a random time; now and then, also of a worker."""
    rng, index = random.Random(7), tmp_path / "INDEX"
    command = ("archive", clip, "--output", index, "--workers", 2, *SEGMENT, "--quiet")
    for _ in range(10):
        process = start_livecam(*command)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(1, 5))
        workers = children_of(process.pid) if process.poll() is None else []
        if workers and rng.random() < 0.5:
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(workers), signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0, 1))
        process.kill()
        process.communicate()
        # Its workers notice that and end; the next run need not wait for it.
        wait_until(lambda: not any(map(_is_worker, workers)))  # noqa: B023 - called at once
    outcome = archive(index, clip, workers=2, segment_minutes=0.02)
    assert outcome.failures == ()
    assert tables_of(index) == undisturbed
    assert not list(index.rglob(".*"))


def _is_worker(pid: int) -> bool:
    return b"spawn_main" in _command_of(pid)


@pytest.mark.slow
def test_fifty_damaged_files_among_a_hundred_good_ones(warm_cache: None, start_livecam: StartLivecam, tmp_path: Path):
    """Nothing in the good ones' rows tells that there were others, and each bad one has a reason."""
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.mkdir()
    bad.mkdir()
    first = good_clips(good)
    for number in range(9):
        for path in first:
            (good / f"{path.stem} ü {number}{path.suffix}").symlink_to(path.name)
    damaged = [path for path in damaged_clips(bad, 60, seed=3) if path.name[0].isdigit()][:50]
    for path in bad.iterdir():
        if path not in damaged:
            path.unlink()
    options = {"every_seconds": 0.5, "segment_minutes": 0.0125, "workers": 2}
    lines: list[str] = []
    outcome = archive(tmp_path / "INDEX", good, bad, lines=lines, **options)
    assert outcome.done + len(outcome.failures) == 150
    assert all("\n" not in line for line in (*lines, *outcome.failures))
    rows = videos_in(tmp_path / "INDEX").values()
    assert all(row["error"] for row in rows if row["state"] != "done")
    assert all(Path(row["video"]).parent == bad for row in rows if row["state"] != "done")
    archive(tmp_path / "GOOD", good, **options)
    alone = tables_of(tmp_path / "GOOD")
    together = tables_of(tmp_path / "INDEX")
    assert {name: together[name] for name in alone if name != "videos.parquet"} == {
        name: table for name, table in alone.items() if name != "videos.parquet"
    }


@pytest.mark.slow
def test_what_killed_workers_wrote_of_an_annotated_video_is_completed(
    clip: Path, warm_cache: None, start_livecam: StartLivecam, run_livecam: RunLivecam, tmp_path: Path
):
    command = ("archive", clip, "--output", tmp_path / "INDEX", "--workers", 1, "--every", 3, "--annotate")
    process = start_livecam(*command)
    partial = wait_until(lambda: list(tmp_path.glob("INDEX/annotated/*.partial.mp4")), process=process)
    wait_until(lambda: partial[0].stat().st_size > 3000, process=process)
    process.kill()
    process.communicate()
    done = run_livecam(*command)
    assert done.returncode == 0, done.stderr
    single = run_livecam(clip, "--output", tmp_path / "single.mp4")
    assert single.returncode == 0, single.stderr
    (annotated,) = (tmp_path / "INDEX" / "annotated").iterdir()
    assert_same(annotated, tmp_path / "single.mp4")
