"""Each kind of job, killed and interrupted as a real process: resumed, its files are those of an uninterrupted run."""

from __future__ import annotations

import itertools
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import environment_with, line_count, wait_until
from recordings import assert_same, moving_clip
from standin import run_standin

from live_cam.errors import SettingError, SinkError
from live_cam.jobs.checkpoints import checkpoint_path
from live_cam.sinks.atomic_file import partial_path
from live_cam.sinks.heatmap_reader import RecordedHeatmaps

pytestmark = pytest.mark.slow

STANDIN = Path(__file__).with_name("standin.py")
FRAME_COUNT = 150  # of moving_clip, at 25 per second
ALL = ("out.mp4", "s.jsonl", "m.npz")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return moving_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", "-c:a", "aac")


@pytest.fixture(scope="module")
def whole_of(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Path]]:
    """Returns a folder with the files of an uninterrupted run; each is made once."""
    made: dict[object, Path] = {}

    def whole(names: tuple[str, ...], **options: int) -> Path:
        key = (names, *options.items())
        if key not in made:
            made[key] = tmp_path_factory.mktemp("whole")
            run_in(made[key], clip, names, **options)
        return made[key]

    return whole


def run_in(folder: Path, clip: Path, names: tuple[str, ...], **options: object) -> list[str]:
    """Runs a job in this process, with files of these names; returns the lines that the user gets."""
    lines: list[str] = []
    output, sidecar, heatmaps = paths_in(folder, names)
    run_standin(clip, output, sidecar, lines=lines, heatmaps=heatmaps, **quality_for(names), **options)
    return lines


def quality_for(names: tuple[str, ...]) -> dict[str, int]:
    """Two VP9 encodings of the same frames differ more, unless the quality is high."""
    return {"quality": 95} if "out.webm" in names else {}


def paths_in(folder: Path, names: tuple[str, ...]) -> tuple[Path | None, Path | None, Path | None]:
    by_suffix = {Path(name).suffix: folder / name for name in names}
    sidecar, heatmaps = by_suffix.pop(".jsonl", by_suffix.pop(".csv", None)), by_suffix.pop(".npz", None)
    return next(iter(by_suffix.values()), None), sidecar, heatmaps


def start(clip: Path, folder: Path, names: tuple[str, ...], *options: str) -> subprocess.Popen[str]:
    """Starts a slow job as a program of its own."""
    output, sidecar, heatmaps = paths_in(folder, names)
    command = [sys.executable, STANDIN, clip, output or "-", sidecar or "-", 0.012, *options]
    command += [] if heatmaps is None else [f"heatmaps={heatmaps}"]
    command += [f"{name}={value}" for name, value in quality_for(names).items()]
    return subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment_with()
    )


def written_count(folder: Path, names: tuple[str, ...]) -> int:
    """Number of frames that an unfinished run can be seen to have written."""
    _, sidecar, heatmaps = paths_in(folder, names)
    if sidecar is not None:
        return line_count(partial_path(sidecar))
    try:
        return len(np.load(partial_path(heatmaps), allow_pickle=False))
    except (OSError, ValueError, EOFError):
        return 0


def end_with(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """Ends a process with a signal; returns what it printed."""
    process.send_signal(number)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 130), errors
    return printed


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def assert_same_files(folder: Path, whole: Path) -> None:
    assert names_in(folder) == names_in(whole)
    for path in whole.iterdir():
        made = folder / path.name
        if path.suffix == ".npz":
            assert_same_arrays(made, path)
        elif path.suffix in (".jsonl", ".csv"):
            assert made.read_text() == path.read_text()
        else:
            assert_same(made, path)


def assert_same_arrays(made: Path, expected: Path) -> None:
    with np.load(made, allow_pickle=False) as arrays, np.load(expected, allow_pickle=False) as expected_arrays:
        assert sorted(arrays.files) == sorted(expected_arrays.files)
        for name in arrays.files:
            np.testing.assert_array_equal(arrays[name], expected_arrays[name], err_msg=name)


KINDS = [
    ALL, ("out.mkv", "s.csv", "m.npz"), ("out.webm", "s.jsonl", "m.npz"), ("s.jsonl",), ("s.csv",), ("m.npz",),
    ("s.jsonl", "m.npz"),
]  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("names", KINDS, ids="+".join)
def test_every_kind_of_job_is_resumed(
    clip: Path, whole_of: Callable[..., Path], tmp_path: Path, names: tuple[str, ...], number: signal.Signals
):
    with start(clip, tmp_path, names) as process:
        wait_until(lambda: written_count(tmp_path, names) >= 70, 60, process=process)
        printed = end_with(process, number)
    assert checkpoint_path(tmp_path / names[0]).name in names_in(tmp_path)
    assert ("--resume" in printed) == (number != signal.SIGKILL)
    lines = run_in(tmp_path, clip, names, resume=True)
    assert lines[0].startswith(f"resuming {tmp_path / names[0]} at frame ")
    # Every frame is kept if the job could end in order; else, those up to the last checkpoint, once a second.
    assert int(lines[0].split()[4]) >= (1 if number == signal.SIGKILL else 69)
    assert_same_files(tmp_path, whole_of(names))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_part_of_a_video_is_continued_to_a_later_end(
    clip: Path, whole_of: Callable[..., Path], tmp_path: Path, number: signal.Signals
):
    with start(clip, tmp_path, ALL, "start_seconds=1", "end_seconds=4") as process:
        wait_until(lambda: written_count(tmp_path, ALL) >= 60, 60, process=process)
        end_with(process, number)
    lines = run_in(tmp_path, clip, ALL, resume=True, start_seconds=1, end_seconds=5)
    assert "at frame" in lines[0]
    assert_same_files(tmp_path, whole_of(ALL, start_seconds=1, end_seconds=5))


@pytest.mark.parametrize("names", [ALL, ("out.mkv", "s.jsonl"), ("out.webm",), ("s.csv",), ("m.npz",)], ids="+".join)
@pytest.mark.parametrize(
    ("first", "later"),
    [({"max_frames": 70}, {"max_frames": 130}), ({"end_seconds": 3}, {}), ({"end_seconds": 2, "max_frames": 99}, {})],
)
def test_a_finished_part_is_continued_to_a_later_end(
    clip: Path, whole_of: Callable[..., Path], tmp_path: Path, names: tuple[str, ...], first: dict, later: dict
):
    run_in(tmp_path, clip, names, **first)
    lines = run_in(tmp_path, clip, names, resume=True, **later)
    assert lines[0].startswith(f"resuming {tmp_path / names[0]} at frame ")
    assert_same_files(tmp_path, whole_of(names, **later))
    assert run_in(tmp_path, clip, names, resume=True, **later) == [f"{tmp_path / names[0]} is finished"]


def test_a_video_that_is_finished_is_so_whatever_later_end_is_asked_for(clip: Path, tmp_path: Path):
    run_in(tmp_path, clip, ALL, end_seconds=60)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for later in ({"end_seconds": 60}, {"end_seconds": 90}, {}, {"max_frames": FRAME_COUNT}, {"max_frames": 500}):
        assert run_in(tmp_path, clip, ALL, resume=True, **later) == [f"{tmp_path / 'out.mp4'} is finished"]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quality": 30}, r"out\.mp4: quality was 80 and is 30 now; use what it was, or give overwrite=True instead"),
        ({"start_seconds": 1.0}, r"out\.mp4: start was not given and is 1\.0 now"),
        ({"max_frames": 20}, r"out\.mp4: it has 30 frames already, and max_frames is 20 now; give a larger max_frames"),
        ({"end_seconds": 1}, r"out\.mp4: it has frames up to 1\.16 s already, and end is 1 s now; give a later end"),
    ],
)
def test_finished_files_of_other_settings_are_not_called_finished(
    clip: Path, tmp_path: Path, change: dict[str, object], message: str
):
    run_in(tmp_path, clip, ALL, max_frames=30)
    before = names_in(tmp_path)
    with pytest.raises(SettingError, match=message):
        run_in(tmp_path, clip, ALL, resume=True, **change)
    assert names_in(tmp_path) == before


@pytest.mark.parametrize("what", ["another file", "no record"])
def test_files_of_which_nothing_is_known_are_not_called_finished(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
):
    run_in(tmp_path, clip, ALL, max_frames=5)
    if what == "another file":
        (tmp_path / "s.jsonl").write_text("mine")
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    with pytest.raises(SinkError, match=r"out\.mp4 exists, and nothing tells how it was made; start again with overw"):
        run_in(tmp_path, clip, ALL, resume=True, max_frames=5)


@pytest.mark.parametrize("finished", [1, 2, 3])
def test_a_run_killed_while_it_renames_its_files_is_completed(
    clip: Path, whole_of: Callable[..., Path], tmp_path: Path, finished: int
):
    """Its first files have their final names, the others not yet."""
    whole = whole_of(ALL)
    with start(clip, tmp_path, ALL) as process:
        wait_until(lambda: written_count(tmp_path, ALL) >= 70, 60, process=process)
        end_with(process, signal.SIGKILL)
    for name in ALL:
        partial_path(tmp_path / name).unlink()
        shutil.copy(whole / name, tmp_path / name if name in ALL[:finished] else partial_path(tmp_path / name))
    assert "resuming" in run_in(tmp_path, clip, ALL, resume=True)[0]
    assert_same_files(tmp_path, whole)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_resumed_run_that_ends_before_its_first_frame_loses_nothing(
    clip: Path, whole_of: Callable[..., Path], tmp_path: Path, number: signal.Signals
):
    with start(clip, tmp_path, ALL) as process:
        wait_until(lambda: written_count(tmp_path, ALL) >= 70, 60, process=process)
        end_with(process, signal.SIGINT)
    counts = []
    for _ in range(2):  # the explainer hangs
        command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(STANDIN.parent)!r}); {HANGING}"]
        command += [str(clip), *(str(tmp_path / name) for name in ALL)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            wait_until((tmp_path / "explaining").exists, 60, process=process)
            end_with(process, number)
        (tmp_path / "explaining").unlink()
        counts.append(np.load(tmp_path / "m.partial.npz")["frame_indexes"].size)
    assert counts[0] == counts[1] >= 70
    lines = run_in(tmp_path, clip, ALL, resume=True)
    assert int(lines[0].split()[4]) == counts[0]
    assert_same_files(tmp_path, whole_of(ALL))


HANGING = """
import os, pathlib, time, typer, standin
class Hanging(standin.StandIn):
    def explain_input(self, *arguments):
        (pathlib.Path(sys.argv[2]).parent / "explaining").touch()
        while not interrupts.stop.is_set():
            time.sleep(0.01)
        return super().explain_input(*arguments)
from live_cam.cli import watch
class Noted(watch.Interrupts):
    def __init__(self, stderr):
        global interrupts
        super().__init__(stderr)
        interrupts = self
watch.Interrupts = Noted
settings = standin.job_settings(sys.argv[1], *map(pathlib.Path, sys.argv[2:4]), heatmaps=pathlib.Path(sys.argv[4]),
    resume=True)
try:
    watch.watch_source(settings, standin.Console(), os.environ, lambda frame: Hanging())
except typer.Exit as end:
    os._exit(end.exit_code)
"""


def test_an_interrupt_before_the_first_second_is_resumed_at_its_frame(
    clip: Path, whole_of: Callable[..., Path], tmp_path: Path
):
    with start(clip, tmp_path, ALL) as process:
        wait_until(lambda: written_count(tmp_path, ALL) >= 3, 60, process=process)
        printed = end_with(process, signal.SIGINT)
    assert "--resume continues it" in printed
    frame_count = int(printed.splitlines()[-1].split()[0])
    assert frame_count < 40  # no checkpoint was due before the interrupt
    lines = run_in(tmp_path, clip, ALL, resume=True)
    assert lines[0].startswith(f"resuming {tmp_path / 'out.mp4'} at frame {frame_count} ")
    assert_same_files(tmp_path, whole_of(ALL))


def test_a_job_that_cannot_be_resumed_does_not_offer_it(clip: Path, tmp_path: Path):
    names = ("out.avi", "s.jsonl")
    with start(clip, tmp_path, names) as process:
        wait_until(lambda: written_count(tmp_path, names) >= 30, 60, process=process)
        printed = end_with(process, signal.SIGINT)
    assert "unfinished" in printed
    assert "--resume" not in printed


def test_the_report_of_the_interrupted_run_is_replaced(clip: Path, tmp_path: Path):
    report = tmp_path / "r.json"
    with start(clip, tmp_path, ALL, str(report)) as process:
        wait_until(lambda: written_count(tmp_path, ALL) >= 70, 60, process=process)
        end_with(process, signal.SIGINT)
    before = report.read_text()
    # As after a kill, when there is no report yet: the advice must not make the user lose the finished frames.
    with pytest.raises(SinkError, match=r"out\.partial\.mp4 holds \d+ frames of an unfinished run; continue"):
        run_in(tmp_path, clip, ALL, report=report)
    assert report.read_text() == before
    run_in(tmp_path, clip, ALL, resume=True, report=report)
    assert report.read_text() != before


def test_a_batch_that_starts_again_replaces_the_report_of_the_interrupted_run(clip: Path, tmp_path: Path):
    report = tmp_path / "r.json"
    with start(clip, tmp_path, ALL, str(report)) as process:
        wait_until(lambda: written_count(tmp_path, ALL) >= 70, 60, process=process)
        end_with(process, signal.SIGINT)
    before = report.read_text()
    (line,) = run_in(tmp_path, clip, ALL, resume=None, report=report, audio=False)
    assert line.startswith("starting again: ")
    assert report.read_text() != before


def test_the_next_run_removes_what_a_run_killed_while_it_completed_a_file_left(clip: Path, tmp_path: Path):
    left = [tmp_path / f"{Path(name).stem}.partial.finishing{Path(name).suffix}" for name in ("out.mkv", "m.npz")]
    for path in left:
        path.write_text("half a file")
    run_in(tmp_path, clip, ("out.mkv", "m.npz"), max_frames=3)
    assert names_in(tmp_path) == ["m.npz", "out.mkv"]


def test_interrupted_heatmaps_can_be_read_and_are_turned_back_into_records(clip: Path, tmp_path: Path):
    with start(clip, tmp_path, ("m.npz",)) as process:
        wait_until(lambda: written_count(tmp_path, ("m.npz",)) >= 40, 60, process=process)
        end_with(process, signal.SIGINT)
    unfinished = RecordedHeatmaps(tmp_path / "m.partial.npz")
    run_in(tmp_path, clip, ("m.npz",), resume=True)
    finished = RecordedHeatmaps(tmp_path / "m.npz")
    assert len(finished) == FRAME_COUNT > len(unfinished) >= 40
    for index in range(len(unfinished)):
        np.testing.assert_array_equal(unfinished.explanation(index).heatmap, finished.explanation(index).heatmap)


@pytest.mark.slow
def test_killed_again_and_again_at_random_moments(clip: Path, whole_of: Callable[..., Path], tmp_path: Path):
    random = np.random.default_rng(7)
    for round_number in range(6):
        folder = tmp_path / str(round_number)
        folder.mkdir()
        for number in itertools.cycle([signal.SIGKILL, signal.SIGINT, signal.SIGTERM]):
            with start(clip, folder, ALL, "resume=1") as process:
                target = written_count(folder, ALL) + int(random.integers(2, 60))
                if target >= FRAME_COUNT - 10:
                    assert process.wait(60) == 0
                    break
                wait_until(lambda: written_count(folder, ALL) >= target, 60, process=process)  # noqa: B023
                end_with(process, number)
        assert_same_files(folder, whole_of(ALL))


def test_sound_and_frames_of_a_continued_part_can_be_decoded(clip: Path, tmp_path: Path):
    run_in(tmp_path, clip, ("out.mp4",), max_frames=33)
    run_in(tmp_path, clip, ("out.mp4",), resume=True)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == FRAME_COUNT
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) > 5.9 * container.streams.audio[0].rate
