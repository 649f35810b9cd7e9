"""A run that was killed: what it leaves plays, and ``--resume`` makes of it what the whole run would have made."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import RunLivecam, line_count, livecam_command
from media_clips import write_clip
from recordings import contents_of, ffmpeg, frames_of, packets_of
from standin import run_standin

from live_cam.errors import SettingError, SinkError, SourceError
from live_cam.run.checkpoints import checkpoint_path
from live_cam.sinks.partial import earlier_path, partial_path
from live_cam.sinks.video import VideoSink

LEAST_PSNR_DB = 40.0
MOST_LOST_SECONDS = 2.0
RATE, FRAME_COUNT = 25, 150
LAST_SECONDS = (FRAME_COUNT - 1) / RATE


def moving_clip(path: Path, *options: object, rate: object = RATE) -> Path:
    """Six seconds of a light that goes round, with a tone."""
    picture = f"gradients=s=96x64:r={rate}:d=6:n=2:c0=black:c1=white:x0=0:y0=0:x1=95:y1=63:speed=0.08,format=yuv420p"
    ffmpeg("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", "sine=f=300:d=6", "-g", "40", *options, path)
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return moving_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", "-c:a", "aac")


@pytest.fixture(scope="module")
def whole(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a run leaves that nobody stops."""
    folder = tmp_path_factory.mktemp("whole")
    run_standin(clip, folder / "out.mp4", folder / "s.jsonl")
    return folder


def psnr_db(one: Path, other: Path) -> float:
    errors = [
        np.square(a.astype(float) - b).mean() for (_, a), (_, b) in zip(frames_of(one), frames_of(other), strict=True)
    ]
    return float(10 * np.log10(255**2 / max(float(np.mean(errors)), 1e-9)))


def times_of(path: Path) -> list[tuple[float, float]]:
    return [(seconds, duration) for _, seconds, duration in packets_of(path, "video")]


def sound_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return contents_of(path, "audio") if container.streams.audio else []


def assert_same(made: Path, expected: Path) -> None:
    assert times_of(made) == times_of(expected)
    assert sound_packets(made) == sound_packets(expected)
    assert psnr_db(made, expected) >= LEAST_PSNR_DB


def assert_goes_on(clip: Path, folder: Path, whole: Path, **options: object) -> str:
    """Resumes in the folder and compares; returns what was said."""
    lines: list[str] = []
    output = folder / next(whole.glob("out.*")).name
    run_standin(clip, output, folder / "s.jsonl", lines=lines, resume=True, **options)
    assert sorted(path.name for path in folder.iterdir()) == [output.name, "s.jsonl"]
    assert (folder / "s.jsonl").read_text() == (whole / "s.jsonl").read_text()
    assert_same(output, whole / output.name)
    return "\n".join(lines)


class Snapshots:
    """Copies all files at some counts of written frames: what a process leaves that is killed then."""

    def __init__(self, folder: Path, *frame_counts: int) -> None:
        self.folder, self._frame_counts = folder, list(frame_counts)
        self.made: list[Path] = []

    def __call__(self, pipeline, total) -> None:
        if self._frame_counts and pipeline.meter.frames_written >= self._frame_counts[0]:
            copy = self.folder.with_name(f"{self.folder.name}-at-{self._frame_counts.pop(0)}")
            copy.mkdir()
            # In this order as if at one moment: what is written meanwhile comes behind what the checkpoint counts.
            for path in sorted(self.folder.iterdir(), key=lambda one: one.suffix != ".npz"):
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
def test_every_container_and_codec_goes_on(clip: Path, tmp_path: Path, name: str, codec: str):
    folder = tmp_path / "run"
    # At the usual quality two encodings of the same pictures differ by 38 dB (H.265) and more.
    options = {"codec": codec, "quality": 95}
    for snapshot in killed(clip, folder, name, 60, 120, **options):
        assert "at frame" in assert_goes_on(clip, snapshot, folder, **options)


@pytest.mark.parametrize("rate", [25, 5])
@pytest.mark.parametrize(("name", "codec"), KINDS + AVI)
def test_what_is_on_the_disk_plays_and_is_two_seconds_short_at_most(tmp_path: Path, name: str, codec: str, rate: int):
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
    """Kills a paced run once its sidecar has so many lines; how many it has in the end."""
    sidecar = folder / "s.partial.jsonl"
    command = [sys.executable, Path(__file__).with_name("standin.py"), clip, folder / "out.mp4", folder / "s.jsonl"]
    with subprocess.Popen([*map(str, command), "0.012"], stdout=subprocess.DEVNULL) as process:
        deadline_seconds = time.monotonic() + 60
        while line_count(sidecar) < frame_count and time.monotonic() < deadline_seconds:
            assert process.poll() is None
            time.sleep(0.002)
        process.kill()
    return line_count(sidecar)


def assert_survives_a_kill(clip: Path, folder: Path, whole: Path, frame_count: int) -> None:
    folder.mkdir()
    written_count = run_and_kill(clip, folder, frame_count)
    assert not (folder / "out.mp4").exists()
    decoded_count = len(decodable(folder / "out.partial.mp4"))
    assert (written_count - decoded_count) / RATE <= MOST_LOST_SECONDS
    assert_goes_on(clip, folder, whole)


def decodable(path: Path) -> list[object]:
    """The frames of a file, also of one that is still too short to be opened."""
    try:
        with av.open(str(path)) as container:
            return list(container.decode(video=0))
    except (av.FFmpegError, FileNotFoundError):
        return []


def test_killed_at_three_random_moments(clip: Path, whole: Path, tmp_path: Path):
    for number, moment in enumerate(random.Random(3).sample(range(5, FRAME_COUNT - 15), 3)):
        assert_survives_a_kill(clip, tmp_path / str(number), whole, moment)


@pytest.mark.slow
def test_killed_at_twenty_random_moments(clip: Path, whole: Path, tmp_path: Path):
    for number, moment in enumerate(random.Random(20).sample(range(1, FRAME_COUNT - 8), 20)):
        assert_survives_a_kill(clip, tmp_path / str(number), whole, moment)


def test_killed_again_and_again(clip: Path, whole: Path, tmp_path: Path):
    """Each run goes on from what the one before left."""
    folder = tmp_path / "run"
    (snapshot,) = killed(clip, folder, "out.mp4", 60)
    snapshots = Snapshots(snapshot, 55)
    run_standin(clip, snapshot / "out.mp4", snapshot / "s.jsonl", 0.006, snapshots, resume=True)
    (again,) = snapshots.made
    lines = assert_goes_on(clip, again, whole)
    assert int(lines.split("at frame ")[1].split()[0]) >= 50


def test_killed_while_it_takes_over_what_was_there(clip: Path, whole: Path, tmp_path: Path):
    (snapshot,) = killed(clip, tmp_path / "run", "out.mp4", 80)
    partial = snapshot / "out.partial.mp4"
    partial.rename(earlier_path(snapshot / "out.mp4"))
    partial.write_bytes(earlier_path(snapshot / "out.mp4").read_bytes()[:5000])
    assert "at frame" in assert_goes_on(clip, snapshot, whole)


def test_the_command_line_goes_on_with_the_real_network(
    run_livecam: RunLivecam, warm_cache: None, clip: Path, tmp_path: Path
):
    options = ["--video", clip, "--sidecar"]
    assert run_livecam(*options, tmp_path / "w.jsonl", "--output", tmp_path / "w.mp4").returncode == 0
    options += [tmp_path / "s.jsonl", "--output", tmp_path / "out.mp4", "--resume"]
    with subprocess.Popen(livecam_command(*options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline_seconds = time.monotonic() + 60
        while line_count(tmp_path / "s.partial.jsonl") < 75 and time.monotonic() < deadline_seconds:
            time.sleep(0.005)
        process.kill()
    done = run_livecam(*options)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(f"goes on with {tmp_path / 'out.mp4'} at frame ")
    assert (tmp_path / "s.jsonl").read_text() == (tmp_path / "w.jsonl").read_text()
    assert_same(tmp_path / "out.mp4", tmp_path / "w.mp4")
    done = run_livecam(*options)
    assert (done.returncode, done.stderr) == (0, f"{tmp_path / 'out.mp4'} is finished\n")


# --- what is the same, and what has to be


@pytest.mark.parametrize("kind", ["variable rate", "interlaced", "cut", "transport stream"])
def test_each_picture_is_the_same_before_it_is_coded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str):
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

    def noting(sink: VideoSink, result) -> None:
        pixels = result.drawn.image.tobytes()
        # Whatever was drawn of this frame before must be this.
        assert drawn.setdefault(result.frame.index, pixels) == pixels
        write(sink, result)

    monkeypatch.setattr(VideoSink, "write", noting)
    folder = tmp_path / "run"
    for snapshot in killed(clip, folder, "out.mp4", 70, 110, **options):
        first_count = len(drawn)
        assert "at frame" in assert_goes_on(clip, snapshot, folder, **options)
        assert len(drawn) == first_count == (120 if kind == "cut" else 150)


def test_a_table_goes_on_too(clip: Path, tmp_path: Path):
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
            r"cannot go on with .*out.mp4: --quality: it was 80, and is 30 now; give what it was, or le",
        ),
        ({"max_frames": 140}, r"--max-frames: it was null, and is 140 now"),
        ({"audio": False}, r"--audio: it was true, and is false now"),
    ],
)
def test_other_settings_are_refused(clip: Path, tmp_path: Path, change: dict[str, object], message: str):
    (snapshot,) = killed(clip, tmp_path / "run", "out.mp4", 90)
    before = {path.name: path.read_bytes() for path in snapshot.iterdir()}
    with pytest.raises(SettingError, match=message):
        run_standin(clip, snapshot / "out.mp4", snapshot / "s.jsonl", resume=True, **change)
    assert {path.name: path.read_bytes() for path in snapshot.iterdir()} == before


def test_another_film_under_the_same_name_is_refused_and_a_copy_is_not(clip: Path, whole: Path, tmp_path: Path):
    one, two = killed(clip, tmp_path / "run", "out.mp4", 80, 100)
    copy, other = shutil.copy(clip, tmp_path / "copy.mp4"), write_clip(tmp_path / "other.mp4", 150)
    assert "at frame" in assert_goes_on(copy, one, whole)
    with pytest.raises(SettingError, match=r"--video: it is another file now"):
        run_standin(other, two / "out.mp4", two / "s.jsonl", resume=True)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("out.gif", {}, "--resume: .gif cannot be gone on with; give another ending, as .mp4"),
        ("out.avi", {}, "--resume: .avi cannot be gone on with"),
        ("out.mp4", {"heatmaps": Path("h.npz")}, "--resume: heatmaps cannot be gone on with; leave out --heatmaps"),
    ],
)
def test_what_cannot_go_on_is_refused_before_any_work(clip: Path, tmp_path: Path, name, options, message):
    with pytest.raises(SettingError, match=message):
        run_standin(clip, tmp_path / name, resume=True, **options)
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_go_on_with_begins_at_the_start(clip: Path, whole: Path, tmp_path: Path):
    lines = assert_goes_on(clip, tmp_path, whole)
    assert lines == f"nothing to go on with for {tmp_path / 'out.mp4'}: begins at the start"


def test_a_damaged_checkpoint_is_told(clip: Path, tmp_path: Path):
    (snapshot,) = killed(clip, tmp_path / "run", "out.mp4", 90)
    checkpoint = checkpoint_path(snapshot / "out.mp4")
    checkpoint.write_bytes(checkpoint.read_bytes()[:700])
    with pytest.raises(SinkError, match=r"out.mp4.resume.npz is damaged; leave out --resume to begin anew"):
        run_standin(clip, snapshot / "out.mp4", snapshot / "s.jsonl", resume=True)


# --- what happens to the files meanwhile


def at_frame(count: int, action):
    """Does something once, when so many frames are written."""
    waiting = [action]

    def on_progress(pipeline, total) -> None:
        if waiting and pipeline.meter.frames_written >= count:
            waiting.pop()()

    return on_progress


def test_an_output_folder_that_goes_away_ends_with_one_line(clip: Path, tmp_path: Path):
    folder = tmp_path / "folder"
    folder.mkdir()
    away = at_frame(50, lambda: folder.rename(tmp_path / "away"))
    with pytest.raises(SinkError, match=rf"^cannot write {folder}/out.mp4: No such file or directory$"):
        run_standin(clip, folder / "out.mp4", None, 0.004, away)
    assert len(decodable(tmp_path / "away" / "out.partial.mp4")) == FRAME_COUNT


@pytest.mark.parametrize("how", ["another file", "another content", "truncated"])
def test_an_input_that_is_replaced_meanwhile_is_told_and_what_was_made_is_kept(clip: Path, tmp_path: Path, how: str):
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
    assert message.endswith(f"; what was made until then is in {tmp_path / 'out.partial.mp4'}")
    assert "\n" not in message
    assert len(decodable(tmp_path / "out.partial.mp4")) >= 50
