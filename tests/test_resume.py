"""A killed run: its unfinished output can be played, and ``--resume`` completes it as an uninterrupted run would."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest
from conftest import RunLivecam, line_count, livecam_command, wait_until
from media_clips import numbered_image, probe, result_of, write_clip
from recordings import assert_same, moving_clip, packets_of, times_of
from standin import run_standin

from live_cam.errors import SettingError, SinkError, SourceError
from live_cam.frame import Result
from live_cam.jobs.checkpoints import checkpoint_path
from live_cam.jobs.job import run_job
from live_cam.jobs.outcome import Progress
from live_cam.settings import JobSettings, OutputSettings, SourceSettings
from live_cam.sinks.atomic_file import OutputLock, earlier_path, partial_path
from live_cam.sinks.video.sink import VideoSink

MOST_LOST_SECONDS = 2.0
RATE, FRAME_COUNT = 25, 150  # of moving_clip
LAST_SECONDS = (FRAME_COUNT - 1) / RATE


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return moving_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", "-c:a", "aac")


@pytest.fixture(scope="module")
def whole(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    run_standin(clip, folder / "out.mp4", folder / "s.jsonl")
    return folder


def assert_resumes(clip: Path, folder: Path, whole: Path, **options: object) -> str:
    """Resumes in the folder and compares with the uninterrupted run; returns the lines that the user gets."""
    lines: list[str] = []
    output = folder / next(whole.glob("out.*")).name
    run_standin(clip, output, folder / "s.jsonl", lines=lines, resume=True, **options)
    assert sorted(path.name for path in folder.iterdir()) == [output.name, "s.jsonl"]
    assert (folder / "s.jsonl").read_text() == (whole / "s.jsonl").read_text()
    assert_same(output, whole / output.name)
    return "\n".join(lines)


class Snapshots:
    """Copies all files at some counts of written frames, as a process that is killed then leaves them."""

    def __init__(self, folder: Path, *frame_counts: int) -> None:
        self.folder, self._frame_counts = folder, list(frame_counts)
        self.made: list[Path] = []

    def __call__(self, progress: Progress) -> None:
        if self._frame_counts and progress.frames_written >= self._frame_counts[0]:
            copy = self.folder.with_name(f"{self.folder.name}-at-{self._frame_counts.pop(0)}")
            copy.mkdir()
            # The checkpoint first: what is written while the files are copied is behind the bytes that it counts.
            for path in sorted(self.folder.iterdir(), key=lambda path: path.suffix != ".npz"):
                with contextlib.suppress(FileNotFoundError):  # A temporary file got its final name meanwhile.
                    shutil.copy(path, copy)
            self.made.append(copy)


def killed(clip: Path, folder: Path, name: str, *frame_counts: int, **options: object) -> list[Path]:
    folder.mkdir()
    snapshots = Snapshots(folder, *frame_counts)
    run_standin(clip, folder / name, folder / "s.jsonl", 0.006, snapshots, **options)
    assert len(snapshots.made) == len(frame_counts)
    return snapshots.made


KINDS = [
    ("out.mp4", "h264"), ("out.mp4", "h265"), ("out.mp4", "av1"), ("out.mov", "mjpeg"), ("out.mkv", "h264"),
    ("out.webm", "vp9"),
]  # fmt: skip
AVI = [("out.avi", "mjpeg"), ("out.avi", "h264")]


@pytest.mark.parametrize(("name", "codec"), KINDS)
def test_every_container_and_codec_is_resumed(clip: Path, tmp_path: Path, name: str, codec: str):
    folder = tmp_path / "run"
    # At the default quality, two encodings of the same frames differ by 38 dB (H.265) and more.
    options = {"codec": codec, "quality": 95}
    for snapshot in killed(clip, folder, name, 60, 120, **options):
        assert "at frame" in assert_resumes(clip, snapshot, folder, **options)


@pytest.mark.parametrize(("name", "codec", "is_variable"), [(*kind, False) for kind in KINDS] + [(*KINDS[0], True)])
def test_an_interrupted_video_is_resumed_at_its_last_frame(
    clip: Path, tmp_path: Path, name: str, codec: str, is_variable: bool
):
    if is_variable:
        clip = write_clip(tmp_path / "clip.mp4", 150, pts=[index * 40 + index * index % 23 for index in range(150)])
    options = {"codec": codec, "quality": 95}
    for folder in (tmp_path / "whole", tmp_path / "run"):
        folder.mkdir()
    run_standin(clip, tmp_path / "whole" / name, tmp_path / "whole" / "s.jsonl", **options)
    stop = threading.Event()
    output, sidecar = tmp_path / "run" / name, tmp_path / "run" / "s.jsonl"
    outcome = run_standin(clip, output, sidecar, 0.004, at_frame(37, stop.set), stop=stop, **options)
    assert outcome.can_resume
    assert 37 <= outcome.frame_count < 150
    lines = assert_resumes(clip, tmp_path / "run", tmp_path / "whole", **options)
    assert f"at frame {outcome.frame_count} ({sorted(times_of(clip))[outcome.frame_count][0]:.2f} s)" in lines


@pytest.mark.parametrize("rate", [25, 5])
@pytest.mark.parametrize(("name", "codec"), KINDS + AVI)
def test_the_unfinished_file_plays_and_lacks_two_seconds_at_most(tmp_path: Path, name: str, codec: str, rate: int):
    clip = write_clip(tmp_path / "clip.mp4", 6 * rate, Fraction(rate))
    folder = tmp_path / "run"
    (snapshot,) = killed(clip, folder, name, 4 * rate, codec=codec)
    with av.open(str(snapshot / partial_path(Path(name)))) as container:
        decoded_count = sum(1 for _ in container.decode(video=0))
    assert (4 * rate - decoded_count) / rate <= MOST_LOST_SECONDS


def test_an_unfinished_gif_plays(tmp_path: Path):
    clip = write_clip(tmp_path / "clip.mp4", 60, Fraction(10))
    (snapshot,) = killed(clip, tmp_path / "run", "out.gif", 40)
    with av.open(str(snapshot / "out.partial.gif")) as container:
        assert sum(1 for _ in container.decode(video=0)) >= 20


# --- SIGKILL


def run_and_kill(clip: Path, folder: Path, frame_count: int) -> int:
    """Kills a slow run once its sidecar has so many lines; returns how many it has in the end."""
    sidecar = folder / "s.partial.jsonl"
    with subprocess.Popen(standin_command(clip, folder, 0.012), stdout=subprocess.DEVNULL) as process:
        wait_for_lines(process, sidecar, frame_count)
        process.kill()
    return line_count(sidecar)


def standin_command(clip: Path, folder: Path, pause_seconds: float) -> list[str]:
    program = Path(__file__).with_name("standin.py")
    return [*map(str, [sys.executable, program, clip, folder / "out.mp4", folder / "s.jsonl", pause_seconds])]


def wait_for_lines(process: subprocess.Popen[bytes], sidecar: Path, count: int) -> None:
    wait_until(lambda: line_count(sidecar) >= count, 60, process=process)


def assert_survives_a_kill(clip: Path, folder: Path, whole: Path, frame_count: int) -> None:
    folder.mkdir()
    written_count = run_and_kill(clip, folder, frame_count)
    assert not (folder / "out.mp4").exists()
    decoded_count = len(decodable(folder / "out.partial.mp4"))
    assert (written_count - decoded_count) / RATE <= MOST_LOST_SECONDS
    assert_resumes(clip, folder, whole)


def decodable(path: Path) -> list[object]:
    """Returns the frames of a file; none of one that is still too short to be opened."""
    try:
        with av.open(str(path)) as container:
            return list(container.decode(video=0))
    except (av.FFmpegError, FileNotFoundError):
        return []


def test_killed_at_three_random_moments(clip: Path, whole: Path, tmp_path: Path):
    for number, moment in enumerate(random.Random(3).sample(range(5, FRAME_COUNT - 15), 3)):
        assert_survives_a_kill(clip, tmp_path / str(number), whole, moment)


@pytest.mark.slow
def test_killed_at_ten_random_moments(clip: Path, whole: Path, tmp_path: Path):
    for number, moment in enumerate(random.Random(10).sample(range(1, FRAME_COUNT - 8), 10)):
        assert_survives_a_kill(clip, tmp_path / str(number), whole, moment)


def test_killed_again_and_again(clip: Path, whole: Path, tmp_path: Path):
    """Each run continues what the one before left."""
    folder = tmp_path / "run"
    (snapshot,) = killed(clip, folder, "out.mp4", 60)
    snapshots = Snapshots(snapshot, 55)
    run_standin(clip, snapshot / "out.mp4", snapshot / "s.jsonl", 0.006, snapshots, resume=True)
    (again,) = snapshots.made
    lines = assert_resumes(clip, again, whole)
    assert int(lines.split("at frame ")[1].split()[0]) >= 50


def test_killed_while_it_copies_the_earlier_runs_file(clip: Path, whole: Path, tmp_path: Path):
    (snapshot,) = killed(clip, tmp_path / "run", "out.mp4", 80)
    partial = snapshot / "out.partial.mp4"
    partial.rename(earlier_path(snapshot / "out.mp4"))
    partial.write_bytes(earlier_path(snapshot / "out.mp4").read_bytes()[:5000])
    assert "at frame" in assert_resumes(clip, snapshot, whole)


def test_the_command_line_resumes_with_the_real_network(
    run_livecam: RunLivecam, warm_cache: None, clip: Path, tmp_path: Path
):
    options = ["--video", clip, "--sidecar"]
    assert run_livecam(*options, tmp_path / "w.jsonl", "--output", tmp_path / "w.mp4").returncode == 0
    options += [tmp_path / "s.jsonl", "--output", tmp_path / "out.mp4", "--resume"]
    with subprocess.Popen(livecam_command(*options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: line_count(tmp_path / "s.partial.jsonl") >= 75, 60, process=process)
        process.kill()
    done = run_livecam(*options)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(f"resuming {tmp_path / 'out.mp4'} at frame ")
    resumed_count = int(done.stderr.split(" at frame ")[1].split()[0])
    assert done.stdout.startswith(f"{FRAME_COUNT} frames ({FRAME_COUNT - resumed_count} of them now), ")
    assert (tmp_path / "s.jsonl").read_text() == (tmp_path / "w.jsonl").read_text()
    assert_same(tmp_path / "out.mp4", tmp_path / "w.mp4")
    done = run_livecam(*options)
    assert (done.returncode, done.stderr) == (0, f"{tmp_path / 'out.mp4'} is finished\n")


# --- what must be the same


@pytest.mark.parametrize("kind", ["variable rate", "interlaced", "cut", "transport stream"])
def test_each_image_is_the_same_before_it_is_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str):
    name, options = "clip.mp4", {}
    if kind == "variable rate":
        clip = write_clip(tmp_path / name, 150, pts=[index * 40 + index * index % 23 for index in range(150)])
    elif kind == "interlaced":
        clip = moving_clip(tmp_path / name, "-flags", "+ildct+ilme", "-vf", "setfield=tff", "-c:v", "mpeg2video")
    else:
        clip = moving_clip(tmp_path / ("clip.ts" if kind == "transport stream" else name))
        options = {"start_seconds": 0.5, "max_frames": 120} if kind == "cut" else {}
    drawn: dict[int, bytes] = {}
    write = VideoSink.write

    def recording_write(sink: VideoSink, result: Result) -> None:
        pixels = result.image.tobytes()
        # Each run must draw this frame alike.
        assert drawn.setdefault(result.frame.index, pixels) == pixels
        write(sink, result)

    monkeypatch.setattr(VideoSink, "write", recording_write)
    folder = tmp_path / "run"
    for snapshot in killed(clip, folder, "out.mp4", 70, 110, **options):
        first_count = len(drawn)
        assert "at frame" in assert_resumes(clip, snapshot, folder, **options)
        assert len(drawn) == first_count == (120 if kind == "cut" else 150)


def test_a_table_is_resumed_too(clip: Path, tmp_path: Path):
    folder = tmp_path / "run"
    folder.mkdir()
    snapshots = Snapshots(folder, 90)
    run_standin(clip, folder / "out.mkv", folder / "s.csv", 0.006, snapshots)
    (snapshot,) = snapshots.made
    run_standin(clip, snapshot / "out.mkv", snapshot / "s.csv", resume=True)
    assert (snapshot / "s.csv").read_text() == (folder / "s.csv").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"quality": 30},
            r"cannot resume .*out.mp4: quality was 80 and is 30 now; use what it was, or give overwrite=True instead",
        ),
        ({"max_frames": 10}, r"it has \d+ frames already, and max_frames is 10 now; give a larger max_frames, or"),
        ({"end_seconds": 0.5}, r"it has frames up to \d\.\d\d s already, and end is 0\.5 s now; give a later end"),
        ({"start_seconds": 1.0}, r"start was not given and is 1\.0 now"),
        ({"heatmaps": Path("h.npz")}, r"heatmaps was not given and is h\.npz now"),
        ({"audio": False}, r"audio was true and is false now"),
    ],
)
def test_other_settings_are_refused(clip: Path, tmp_path: Path, change: dict[str, object], message: str):
    (snapshot,) = killed(clip, tmp_path / "run", "out.mp4", 90)
    before = contents(snapshot)
    with pytest.raises(SettingError, match=message):
        run_standin(clip, snapshot / "out.mp4", snapshot / "s.jsonl", resume=True, **change)
    assert contents(snapshot) == before


def test_another_video_under_the_same_name_is_refused_and_a_copy_is_not(clip: Path, whole: Path, tmp_path: Path):
    first, second = killed(clip, tmp_path / "run", "out.mp4", 80, 100)
    copy, other = shutil.copy(clip, tmp_path / "copy.mp4"), write_clip(tmp_path / "other.mp4", 150)
    assert "at frame" in assert_resumes(copy, first, whole)
    with pytest.raises(SettingError, match=r"video is another file now"):
        run_standin(other, second / "out.mp4", second / "s.jsonl", resume=True)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("out.gif", {}, r"^cannot resume: \.gif cannot be resumed; use another format, such as \.mp4$"),
        ("out.avi", {}, r"^cannot resume: \.avi cannot be resumed; use another"),
    ],
)
def test_a_job_that_cannot_be_resumed_is_refused_before_any_work(clip: Path, tmp_path: Path, name, options, message):
    with pytest.raises(SettingError, match=message):
        run_standin(clip, tmp_path / name, resume=True, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_job_with_nothing_to_resume_starts_at_the_beginning(clip: Path, whole: Path, tmp_path: Path):
    lines = assert_resumes(clip, tmp_path, whole)
    assert lines == f"nothing to resume for {tmp_path / 'out.mp4'}: starting at the beginning"


def test_a_finished_video_keeps_its_name_if_its_report_cannot_be_written(clip: Path, tmp_path: Path):
    output = tmp_path / "out.mp4"
    run_standin(clip, output, max_frames=5)
    before = output.read_bytes()
    with pytest.raises(SinkError, match=r"cannot write .*r\.json: there is no directory"):
        run_standin(clip, output, max_frames=9, resume=True, report=tmp_path / "missing" / "r.json")
    assert output.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_a_damaged_checkpoint_is_reported(clip: Path, tmp_path: Path):
    (snapshot,) = killed(clip, tmp_path / "run", "out.mp4", 90)
    checkpoint = checkpoint_path(snapshot / "out.mp4")
    checkpoint.write_bytes(checkpoint.read_bytes()[:700])
    message = r"out.mp4.livecam-checkpoint.npz is damaged; give overwrite=True instead of resume=True to start again"
    with pytest.raises(SinkError, match=message):
        run_standin(clip, snapshot / "out.mp4", snapshot / "s.jsonl", resume=True)


# --- nothing is lost by accident


def contents(folder: Path) -> dict[str, bytes]:
    """Returns all files but the locks of killed runs, which the next run removes."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".lock"}


def run_refused(video: Path, output: Path, sidecar: Path | None = None, **options: object) -> str:
    """Returns why a run is refused; it touches no file and loads no model."""
    before = contents(output.parent)
    if output.suffix != ".gif":
        options.setdefault("quality", 80)  # as run_standin has it
    settings = JobSettings(
        SourceSettings(video=str(video)),
        output=OutputSettings(output=output, sidecar=sidecar, show=False, **options),
    )
    with pytest.raises(SinkError) as raised:
        run_job(settings, load=lambda frame: pytest.fail("a model is loaded"))
    assert contents(output.parent) == before
    return str(raised.value)


def test_a_killed_run_is_not_overwritten_without_being_asked(clip: Path, whole: Path, tmp_path: Path):
    (snapshot,) = killed(clip, tmp_path / "run", "out.mp4", 80)
    output, partial = snapshot / "out.mp4", snapshot / "out.partial.mp4"
    count = len(packets_of(partial, "video"))
    assert count >= 50
    message = run_refused(clip, output, snapshot / "s.jsonl")
    assert message == (
        f"{partial} holds {count} frames of an unfinished run; "
        "continue with resume=True, or start again with overwrite=True"
    )
    lines: list[str] = []
    run_standin(clip, output, snapshot / "s.jsonl", lines=lines, overwrite=True)
    assert lines == []
    assert sorted(contents(snapshot)) == ["out.mp4", "s.jsonl"]
    assert_same(output, whole / "out.mp4")


def test_a_refusal_offers_only_what_works(clip: Path, tmp_path: Path):
    (snapshot,) = killed(clip, tmp_path / "run", "out.mp4", 80)
    output, sidecar = snapshot / "out.mp4", snapshot / "s.jsonl"
    again = "; start again with overwrite=True, or give another name"
    assert run_refused(clip, output, sidecar, quality=30).endswith(
        f" of an unfinished run, but quality was 80 and is 30 now{again}"
    )
    assert run_refused(clip, output, sidecar, heatmaps=tmp_path / "h.npz").endswith(
        f" of an unfinished run, but heatmaps was not given and is h.npz now{again}"
    )
    checkpoint_path(output).write_bytes(b"damaged")
    assert run_refused(clip, output, sidecar).endswith(f" of an unfinished run{again}")
    for path in (snapshot / "out.partial.mp4", snapshot / "s.partial.jsonl"):
        path.unlink()
    assert run_refused(clip, output) == f"{checkpoint_path(output)} is left from an unfinished run{again}"


@pytest.mark.parametrize("name", ["out.avi", "out.gif"])
def test_output_that_cannot_be_resumed_is_not_overwritten_either(clip: Path, tmp_path: Path, name: str):
    (snapshot,) = killed(clip, tmp_path / "run", name, 110)
    message = run_refused(clip, snapshot / name)
    assert message.startswith(f"{snapshot / partial_path(Path(name))} holds ")
    assert message.endswith(" frames of an unfinished run; start again with overwrite=True, or give another name")
    run_standin(clip, snapshot / name, overwrite=True)
    assert times_of(snapshot / name) == times_of(tmp_path / "run" / name)


@pytest.mark.parametrize("name", ["s.partial.jsonl", "h.partial.npz"])
def test_an_unfinished_sidecar_or_unfinished_heatmaps_are_not_overwritten(clip: Path, tmp_path: Path, name: str):
    left = tmp_path / name
    left.write_text("hours of work")
    message = run_refused(clip, tmp_path / "out.mp4", tmp_path / "s.jsonl", heatmaps=tmp_path / "h.npz")
    assert message == f"{left} is left from an unfinished run; start again with overwrite=True, or give another name"


def test_an_empty_unfinished_file_is_overwritten(clip: Path, tmp_path: Path):
    for name in ("out.partial.mp4", "s.partial.jsonl"):
        (tmp_path / name).touch()
    run_standin(clip, tmp_path / "out.mp4", tmp_path / "s.jsonl", max_frames=2)
    assert sorted(contents(tmp_path)) == ["out.mp4", "s.jsonl"]


def test_an_unfinished_recording_of_a_camera_is_not_overwritten(tmp_path: Path):
    with VideoSink(tmp_path / "out.mp4", (64, 48), None) as sink:
        for index in range(30):
            sink.write(result_of(numbered_image(index), index, index / 25))
    before = contents(tmp_path)
    settings = JobSettings(SourceSettings(webcam=0), output=OutputSettings(tmp_path / "out.mp4", show=False))
    with pytest.raises(SinkError) as raised:
        run_job(settings, load=lambda frame: pytest.fail("a model is loaded"))
    assert str(raised.value) == (
        f"{sink.partial_path} holds 30 frames of an unfinished run; "
        "start again with overwrite=True, or give another name"
    )
    assert contents(tmp_path) == before


def test_resume_does_not_overwrite_what_it_cannot_resume(clip: Path, tmp_path: Path):
    """A camera's recording or another program's file has the same name: no checkpoint tells where it stopped."""
    with VideoSink(tmp_path / "out.mp4", (64, 48), None) as sink:
        for index in range(30):
            sink.write(result_of(numbered_image(index), index, index / 25))
    message = run_refused(clip, tmp_path / "out.mp4", resume=True)
    assert message == (
        f"{sink.partial_path} holds 30 frames of an unfinished run that cannot be resumed; "
        "give overwrite=True instead of resume=True to start again"
    )
    sink.partial_path.unlink()
    (tmp_path / "s.partial.jsonl").write_text("a line\n" * 3)
    message = run_refused(clip, tmp_path / "out.mp4", tmp_path / "s.jsonl", resume=True)
    assert message.startswith(f"{tmp_path / 's.partial.jsonl'} is left from an unfinished run that cannot be")


def test_a_run_killed_at_its_very_beginning_starts_again_with_resume(clip: Path, whole: Path, tmp_path: Path):
    (snapshot,) = killed(clip, tmp_path / "run", "out.mp4", 1)
    lines: list[str] = []
    run_standin(clip, snapshot / "out.mp4", snapshot / "s.jsonl", lines=lines, resume=True)
    assert [line.split(":")[0] for line in lines] == ["starting again"]
    assert (snapshot / "s.jsonl").read_text() == (whole / "s.jsonl").read_text()


def test_the_command_line_refuses_in_one_line_before_it_loads_anything(
    run_livecam: RunLivecam, clip: Path, tmp_path: Path
):
    left = tmp_path / "out.partial.mp4"
    left.write_text("hours of work")
    options = ["--video", clip, "--output", tmp_path / "out.mp4"]
    done = run_livecam(*options, env={"XDG_CACHE_HOME": str(tmp_path / "cache")})
    expected = f"livecam: {left} is left from an unfinished run; start again with --overwrite, or give another name\n"
    assert (done.returncode, done.stderr, done.stdout) == (1, expected, "")
    assert contents(tmp_path) == {left.name: b"hours of work"}


# --- two processes


def test_a_second_run_on_the_same_output_is_refused_until_the_first_ends(
    run_livecam: RunLivecam, clip: Path, whole: Path, tmp_path: Path
):
    output, sidecar = tmp_path / "out.mp4", tmp_path / "s.jsonl"
    refusal = f"{output} is being written by another livecam process"
    with subprocess.Popen(standin_command(clip, tmp_path, 0.05), stdout=subprocess.DEVNULL) as first:
        wait_for_lines(first, tmp_path / "s.partial.jsonl", 60)
        first.send_signal(signal.SIGSTOP)  # It must not end before the others have tried.
        for options in ({}, {"overwrite": True}, {"resume": True}):
            with pytest.raises(SinkError, match=f"^{refusal}$"):
                run_standin(clip, output, sidecar, **options)
        with pytest.raises(SinkError, match=r"s\.jsonl is being written by another livecam process$"):
            run_standin(clip, tmp_path / "other.mp4", sidecar, overwrite=True)
        done = run_livecam("--video", clip, "--output", output, "--overwrite")
        assert (done.returncode, done.stderr) == (1, f"livecam: {refusal}\n")
        first.send_signal(signal.SIGCONT)
        first.wait(timeout=60)
    assert first.returncode == 0
    assert sorted(contents(tmp_path)) == ["out.mp4", "s.jsonl"]
    assert sidecar.read_text() == (whole / "s.jsonl").read_text()
    assert_same(output, whole / "out.mp4")


def test_a_killed_run_frees_its_output_and_its_file_is_whole_so_far(clip: Path, whole: Path, tmp_path: Path):
    with subprocess.Popen(standin_command(clip, tmp_path, 0.02), stdout=subprocess.DEVNULL) as first:
        wait_for_lines(first, tmp_path / "s.partial.jsonl", 80)
        with pytest.raises(SinkError, match="is being written by another livecam process"):
            run_standin(clip, tmp_path / "out.mp4", tmp_path / "s.jsonl", resume=True)
        first.kill()
    assert int(probe(tmp_path / "out.partial.mp4")["nb_read_packets"]) >= 50
    assert "at frame" in assert_resumes(clip, tmp_path, whole)


def test_two_processes_do_not_complete_the_same_finished_run(clip: Path, tmp_path: Path):
    """A run is killed after the video got its final name and before the sidecar got its own."""
    (snapshot,) = killed(clip, tmp_path / "run", "out.mp4", 80)
    (snapshot / "out.partial.mp4").rename(snapshot / "out.mp4")
    with OutputLock(snapshot / "s.jsonl"), pytest.raises(SinkError, match=r"s.jsonl is being written by another"):
        run_standin(clip, snapshot / "out.mp4", snapshot / "s.jsonl", resume=True)
    assert (snapshot / "s.partial.jsonl").exists()
    run_standin(clip, snapshot / "out.mp4", snapshot / "s.jsonl", resume=True)
    assert sorted(contents(snapshot)) == ["out.mp4", "s.jsonl"]


# --- files that change during a run


def at_frame(count: int, action: Callable[[], object]) -> Callable[[Progress], None]:
    """Calls ``action`` once, when so many frames are written."""
    waiting = [action]

    def on_progress(progress: Progress) -> None:
        if waiting and progress.frames_written >= count:
            waiting.pop()()

    return on_progress


def test_an_output_folder_that_is_moved_ends_the_job_with_one_line(clip: Path, tmp_path: Path):
    folder = tmp_path / "folder"
    folder.mkdir()
    away = at_frame(50, lambda: folder.rename(tmp_path / "away"))
    with pytest.raises(SinkError, match=rf"^cannot write {folder}/out.mp4: No such file or directory$"):
        run_standin(clip, folder / "out.mp4", None, 0.004, away)
    assert len(decodable(tmp_path / "away" / "out.partial.mp4")) == FRAME_COUNT


@pytest.mark.parametrize("how", ["another file", "another content", "truncated"])
def test_an_input_that_is_replaced_ends_the_job_with_one_line_and_the_output_is_kept(
    clip: Path, tmp_path: Path, how: str
):
    video, other = Path(shutil.copy(clip, tmp_path / "in.mp4")), write_clip(tmp_path / "other.mp4", 150)

    def replace() -> None:
        if how == "another file":
            other.replace(video)
        elif how == "another content":
            video.write_bytes(other.read_bytes())
        else:
            video.write_bytes(b"")

    with pytest.raises(SourceError) as caught:
        run_standin(video, tmp_path / "out.mp4", None, 0.004, at_frame(50, replace))
    message = str(caught.value)
    assert message.startswith(f"{video}: replaced or changed after frame ")
    assert message.endswith(f"; what was written so far is in {tmp_path / 'out.partial.mp4'}")
    assert "\n" not in message
    assert len(decodable(tmp_path / "out.partial.mp4")) >= 50
