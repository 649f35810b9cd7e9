"""A recording that is watched can be played from any place, and again."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import wait_until
from media_clips import number_of, result_of, write_clip

from live_cam.frame import Frame
from live_cam.jobs.background_open import open_for_job
from live_cam.jobs.outcome import JobContext
from live_cam.render.seek_bar import clock_text, share_at
from live_cam.settings import JobSettings, OutputSettings, SourceSettings
from live_cam.sources.demo import DemoSource
from live_cam.sources.open import open_played
from live_cam.sources.protocol import Source
from live_cam.viewers.playback import Playback

FRAMES, RATE = 75, 25


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of numbered frames."""
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", frame_count=FRAMES, size_wh=(320, 240))


@pytest.fixture
def played(clip: Path) -> Iterator[Source]:
    with open_played(SourceSettings(video=str(clip))) as source:
        yield source


def numbers(source: Source, count: int) -> list[int]:
    return [number_of(source.read().image) for _ in range(count)]


@pytest.mark.parametrize("number", [0, 1, 40, 74])
def test_after_a_jump_the_first_frame_is_the_one_of_that_time(played: Source, number: int):
    before = [played.read() for _ in range(10)]
    first_index = played.seek(number / RATE)
    frame = played.read()
    assert number_of(frame.image) == number
    assert frame.time_seconds == pytest.approx(number / RATE, abs=1e-3)
    assert frame.index == first_index == before[-1].index + 1


def test_jumps_lead_back_and_forth(played: Source):
    for seconds, expected in ((2.0, [50, 51]), (0.4, [10, 11]), (1.0, [25, 26])):
        played.seek(seconds)
        assert numbers(played, 2) == expected


def test_a_jump_behind_the_last_frame_leads_into_the_last_second(played: Source):
    played.seek(played.duration_seconds)
    assert 49 <= number_of(played.read().image) <= 74


def test_the_end_of_a_part_and_of_a_longer_sound_can_be_jumped_to(clip: Path, tmp_path: Path):
    with open_played(SourceSettings(video=str(clip), end_seconds=1.0)) as source:
        source.seek(1.0)
        assert number_of(source.read().image) < 25
    long = tmp_path / "long.mkv"
    command = ["ffmpeg", "-v", "error", "-i", clip, "-f", "lavfi", "-i", "sine=duration=20", "-c:v", "copy", long]
    subprocess.run(list(map(str, command)), check=True)
    with open_played(SourceSettings(video=str(long))) as source:
        source.seek(source.duration_seconds)
        assert number_of(source.read().image) < FRAMES


def test_without_a_known_duration_jumps_are_not_cut_off():
    class Endless(Source):
        name, size_wh, can_seek, sought = "endless", (4, 4), True, ()

        def seek(self, seconds: float) -> int:
            self.sought = (*self.sought, seconds)
            return 7

    source = Endless()
    playback = Playback(source)
    playback.jump_by(result_of(np.zeros((4, 4, 3), np.uint8), 3, 20.0), 5.0)
    assert source.sought == pytest.approx((25.0,), abs=2e-3)


def test_at_its_end_it_waits_and_a_jump_plays_it_again(played: Source):
    assert numbers(played, FRAMES) == list(range(FRAMES))
    read: list[Frame | None] = []
    reader = threading.Thread(target=lambda: read.append(played.read()))
    reader.start()
    wait_until(lambda: played.last_index == FRAMES - 1)
    assert read == []
    played.seek(0.0)
    reader.join(10)
    assert number_of(read[0].image) == 0
    assert (read[0].index, played.last_index) == (FRAMES, None)


def test_closing_it_wakes_a_reader_that_waits_at_the_end(clip: Path):
    played = open_played(SourceSettings(video=str(clip), start_seconds=2.9))
    read: list[Frame | None] = []

    def read_all() -> None:
        while (frame := played.read()) is not None:
            read.append(frame)

    reader = threading.Thread(target=read_all)
    reader.start()
    wait_until(lambda: played.last_index is not None)
    played.close()
    reader.join(10)
    assert not reader.is_alive()
    assert [number_of(frame.image) for frame in read] == [73, 74]


def test_a_part_of_a_video_begins_again_at_its_own_beginning(clip: Path):
    with open_played(SourceSettings(video=str(clip), start_seconds=1.0, end_seconds=1.2, loop=True)) as source:
        assert numbers(source, 8) == [25, 26, 27, 28, 29, 25, 26, 27]
        source.seek(0.0)
        assert numbers(source, 2) == [25, 26]


def test_the_demo_can_be_played_from_any_place():
    with DemoSource() as whole, open_played(SourceSettings()) as played:
        expected = [whole.read() for _ in range(120)][100]
        played.seek(4.0)
        frame = played.read()
    assert frame.time_seconds == expected.time_seconds == 4.0
    assert (frame.image == expected.image).all()


@pytest.mark.parametrize(
    ("output", "can_seek"),
    [({}, True), ({"report": "r.json"}, True), ({"output": "o.mp4"}, False), ({"sidecar": "s.jsonl"}, False)],
)
def test_only_a_recording_that_is_watched_and_not_written_can_be_jumped_in(
    clip: Path, tmp_path: Path, output: dict, can_seek: bool
):
    paths = {name: tmp_path / file for name, file in output.items()}
    settings = JobSettings(SourceSettings(video=str(clip)), output=OutputSettings(show=True, **paths))
    with open_for_job(settings, JobContext(), None) as source:
        assert source.can_seek == can_seek


def test_a_place_in_the_seek_bar_stands_for_a_share_of_the_duration():
    shares = [share_at(x, 640, 15, 65.0) for x in (0, 12, 200, 400, 639)]
    assert shares[:2] == [0, 0]
    assert 0 < shares[2] < shares[3] < 1 == shares[4]


def test_times_are_written_as_on_a_clock():
    assert [clock_text(seconds) for seconds in (0, 7.9, 65, 3723)] == ["0:00", "0:07", "1:05", "1:02:03"]


def test_one_frame_back_is_the_one_before_also_after_a_pause(tmp_path: Path):
    milliseconds = [0, 40, 80, 120, 1500, 1540, 1580, 1620, 1660, 1700]
    clip = write_clip(tmp_path / "clip.mkv", len(milliseconds), pts=milliseconds, size_wh=(320, 240))
    with open_played(SourceSettings(video=str(clip))) as source:
        playback, shown = Playback(source), None

        def show_next() -> int:
            nonlocal shown
            frame = source.read()
            result = result_of(frame.image, frame.index, frame.time_seconds)
            if playback.accepts(result):
                shown = result
            return number_of(frame.image)

        for _ in range(6):
            show_next()
        seen = []
        for _ in range(4):
            playback.step(shown, -1)
            seen.append(show_next())
        assert seen == [4, 3, 2, 1]
