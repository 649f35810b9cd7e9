"""Cameras that fail on command: the loss is noticed, the source opened again, and no frame comes twice."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from media_clips import number_of, write_clip
from stream_servers import MjpegServer, RtspServer, count_in, counted_image, jpeg_of, part_of

from live_cam.errors import SourceError
from live_cam.frame import Frame
from live_cam.settings import RetrySettings, SourceSettings
from live_cam.sources import live
from live_cam.sources.live import LiveSource, open_patiently, pause_seconds
from live_cam.sources.open import open_as_live, open_source
from live_cam.sources.protocol import Source

# What livecam promises, and slack for a busy machine.
NOTICED_SECONDS = RESUMED_SECONDS = 2.0
SLACK_SECONDS = 2.0


@pytest.fixture
def server() -> Iterator[MjpegServer]:
    with MjpegServer() as running:
        yield running


class Watcher:
    """Reads a source to its end in a thread, as the pipeline does, and keeps the counters in its frames."""

    def __init__(self, source: LiveSource) -> None:
        self.source = source
        self.counts: list[int] = []
        self.frames: list[Frame] = []
        self.error: SourceError | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while (frame := self.source.read()) is not None:
                self.frames.append(frame)
                self.counts.append(count_in(frame.image))
        except SourceError as error:
            self.error = error

    def __enter__(self) -> Watcher:
        wait_until(lambda: len(self.counts) > 0)  # how many of the first frames are seen depends on the machine
        return self

    def __exit__(self, *raised: object) -> None:
        self.source.close()
        self._thread.join(5)
        assert not self._thread.is_alive()

    def assert_all_once_in_order(self) -> None:
        assert self.counts == sorted(set(self.counts))
        indexes = [frame.index for frame in self.frames]
        assert indexes == sorted(set(indexes))
        times = [frame.time_seconds for frame in self.frames]
        assert times == sorted(times)


def wait_until(is_so: Callable[[], bool], seconds: float = 30.0) -> float:
    """Returns how long it took."""
    started_seconds = time.monotonic()
    while not is_so():
        assert time.monotonic() - started_seconds < seconds, "it did not happen in time"
        time.sleep(0.01)
    return time.monotonic() - started_seconds


# Readers that an earlier test of this process left behind: hanging drivers are abandoned on purpose.
_EARLIER_READERS: set[threading.Thread] = set()


@pytest.fixture(autouse=True)
def _without_earlier_readers() -> None:
    _EARLIER_READERS.update(readers())


def readers() -> list[threading.Thread]:
    return [
        thread for thread in threading.enumerate() if thread.name == "livecam-reader" and thread not in _EARLIER_READERS
    ]


def threads_and_sockets() -> tuple[int, int]:
    """Not all open files: other parts of this process, such as TensorFlow, may open some meanwhile."""
    gc.collect()
    files = list(Path("/proc/self/fd").iterdir()) if Path("/proc/self/fd").is_dir() else []
    links = [str(file.readlink()) for file in files if file.is_symlink()]
    return len(readers()), sum(link.startswith("socket:") for link in links)


def go_away(server: MjpegServer) -> None:
    server.go_offline()


def freeze(server: MjpegServer) -> None:
    server.is_stalled = True


def come_back(server: MjpegServer) -> None:
    server.is_stalled = False
    if not server.is_online:
        server.go_online()


@pytest.mark.parametrize("leave", [go_away, freeze])
def test_a_lost_source_is_noticed_and_resumed(server: MjpegServer, leave: Callable[[MjpegServer], None]):
    with Watcher(open_source(SourceSettings(video=server.url))) as watcher:
        source = watcher.source
        assert source.outage is None
        leave(server)
        wait_until(lambda: source.outage is not None, NOTICED_SECONDS + SLACK_SECONDS)
        time.sleep(1.0)
        assert source.outage is not None
        assert source.outage.since_seconds == watcher.frames[-1].time_seconds
        before = len(watcher.counts)
        come_back(server)
        wait_until(lambda: len(watcher.counts) > before + 3, RESUMED_SECONDS + SLACK_SECONDS)
        assert (source.outage, source.reconnects) == (None, 1)
        watcher.assert_all_once_in_order()
        wait_until(lambda: threads_and_sockets()[0] == 1)  # the abandoned reader has ended


def bad_part(kind: str, number: int) -> bytes:
    jpeg = jpeg_of(counted_image(number))
    half = jpeg[: len(jpeg) // 2]
    return {
        "half a JPEG": part_of(half),
        "half a JPEG that says it is whole": part_of(half, len(jpeg)),
        "garbage": bytes(range(256)) * 100,
        "garbage for a JPEG": part_of(bytes(range(256)) * 40),
        "an empty part": part_of(b""),
        "a megabyte without a boundary": part_of(b"x" * 1_000_000, 10),
    }[kind]


@pytest.mark.parametrize("kind", [
    "half a JPEG", "half a JPEG that says it is whole", "garbage", "garbage for a JPEG", "an empty part",
    "a megabyte without a boundary",
])  # fmt: skip
def test_damaged_images_are_left_out_and_the_stream_continues(server: MjpegServer, kind: str):
    with Watcher(open_source(SourceSettings(video=server.url))) as watcher:
        bad = server.count + 3
        server.part = lambda number: bad_part(kind, number) if number == bad else server.whole_part(number)
        wait_until(lambda: bool(watcher.counts) and watcher.counts[-1] > bad + 5)
        assert bad not in watcher.counts
        watcher.assert_all_once_in_order()
        for frame in watcher.frames:
            np.testing.assert_allclose(
                frame.image[20:].mean(axis=(0, 1)), counted_image(0)[20:].mean(axis=(0, 1)), atol=2
            )


def test_a_change_of_size_is_passed_on(server: MjpegServer):
    with Watcher(open_source(SourceSettings(video=server.url))) as watcher:
        server.size_wh = (480, 640)
        wait_until(lambda: watcher.frames[-1].image.shape == (640, 480, 3))
        watcher.assert_all_once_in_order()
        assert watcher.source.reconnects == 0


def test_a_source_that_is_lost_often_leaves_no_threads_and_no_sockets(
    server: MjpegServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(live, "_FIRST_PAUSES_SECONDS", (0.02, 0.04, 0.06))
    with Watcher(open_source(SourceSettings(video=server.url))) as watcher:
        before = threads_and_sockets()
        for losses in range(1, 21):
            server.go_offline()
            wait_until(lambda: watcher.source.outage is not None)
            server.go_online()
            wait_until(lambda losses=losses: watcher.source.reconnects == losses)
        wait_until(lambda: threads_and_sockets() <= before)
        watcher.assert_all_once_in_order()
    wait_until(lambda: threads_and_sockets()[0] == 0)


@pytest.mark.slow
def test_after_an_outage_of_half_a_minute_it_resumes_within_two_seconds(server: MjpegServer):
    with Watcher(open_source(SourceSettings(video=server.url))) as watcher:
        server.go_offline()
        time.sleep(30)
        before = len(watcher.counts)
        server.go_online()
        wait_until(lambda: len(watcher.counts) > before, RESUMED_SECONDS + SLACK_SECONDS)
        watcher.assert_all_once_in_order()


def test_when_retries_are_used_up_the_error_is_one_line(server: MjpegServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live, "_FIRST_PAUSES_SECONDS", (0.02, 0.04, 0.06))
    with Watcher(open_source(SourceSettings(video=server.url, retry=RetrySettings(3)))) as watcher:
        server.go_offline()
        wait_until(lambda: watcher.error is not None)
    assert "\n" not in str(watcher.error)
    assert str(watcher.error).endswith("gave up after 3 tries")


def test_pauses_grow():
    assert [pause_seconds(tries, 5.0) for tries in range(5)] == [0.5, 1.0, 1.5, 1.5, 1.5]
    assert pause_seconds(400, 599.0) == 1.5
    assert [pause_seconds(500, 60.0 * minutes) for minutes in (10, 20, 60, 70, 6000)] == [1.5, 3.0, 9.0, 10.0, 10.0]


class HangingSource(Source):
    """A driver that returns some frames and then hangs in ``read`` until it is released."""

    name, size_wh, is_live = "hanging", (320, 240), True

    def __init__(self, numbers: range, released: threading.Event, interval_seconds: float = 0.01) -> None:
        self._numbers, self._released, self._interval_seconds = iter(numbers), released, interval_seconds
        self.is_closed = False

    def read(self) -> Frame | None:
        time.sleep(self._interval_seconds)
        number = next(self._numbers, None)
        if number is None:
            self._released.wait(30)
            return None
        return Frame(counted_image(number), 0, time.monotonic())

    def close(self) -> None:
        self.is_closed = True


def test_a_reader_that_hangs_is_abandoned_and_ends_when_its_driver_returns():
    released = threading.Event()
    first, second = HangingSource(range(5), released), HangingSource(range(5, 1000), released)
    with Watcher(LiveSource(first, lambda: second, patience_seconds=0.3)) as watcher:
        wait_until(lambda: watcher.source.outage is not None)
        wait_until(lambda: len(watcher.counts) > 8)
        assert watcher.source.reconnects == 1
        watcher.assert_all_once_in_order()
        released.set()
        wait_until(lambda: threads_and_sockets()[0] == 1)


def test_drivers_that_never_return_do_not_collect_threads(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live, "_LONGEST_PATIENCE_SECONDS", 0.02)
    monkeypatch.setattr(live, "_FIRST_PAUSES_SECONDS", (0.01,))
    released, opened = threading.Event(), []

    def open_again() -> HangingSource:
        opened.append(HangingSource(range(0), released))
        return opened[-1]

    with Watcher(LiveSource(HangingSource(range(1), released), open_again, patience_seconds=0.02)):
        wait_until(lambda: len(readers()) == live.MAX_HANGING_READERS)
        time.sleep(0.5)
        assert len(readers()) == live.MAX_HANGING_READERS == len(opened) + 1  # and no more
        released.set()
        wait_until(lambda: len(opened) > live.MAX_HANGING_READERS + 2)
    wait_until(lambda: len(readers()) == 0)


def test_retries_are_used_up_even_if_every_driver_hangs(monkeypatch: pytest.MonkeyPatch):
    for name in ("_LONGEST_PATIENCE_SECONDS", "OPENING_SECONDS"):
        monkeypatch.setattr(live, name, 0.02)
    monkeypatch.setattr(live, "_FIRST_PAUSES_SECONDS", (0.01,))
    released, tries = threading.Event(), live.MAX_HANGING_READERS + 3
    first = HangingSource(range(5), released)
    source = LiveSource(first, lambda: HangingSource(range(0), released), RetrySettings(tries), patience_seconds=0.02)
    watcher = Watcher(source)
    wait_until(lambda: watcher.error is not None)
    assert str(watcher.error).endswith(f"gave up after {tries} tries")
    released.set()
    watcher.source.close()
    wait_until(lambda: len(readers()) == 0)


def test_a_slow_camera_is_not_taken_for_a_lost_one():
    released, starts = threading.Event(), iter(range(100, 60_000, 100))

    def open_again() -> HangingSource:
        start = next(starts)
        return HangingSource(range(start, start + 100), released, 0.25)

    with Watcher(LiveSource(open_again(), open_again, patience_seconds=0.1)) as watcher:
        wait_until(lambda: watcher.source.outage is None and len(watcher.counts) > 6)
        reconnects = watcher.source.reconnects
        wait_until(lambda: len(watcher.counts) > 12)
        assert watcher.source.reconnects == reconnects
        released.set()


def test_an_image_that_is_sent_again_after_an_outage_is_left_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live, "_FIRST_PAUSES_SECONDS", (0.01,))
    released = threading.Event()
    released.set()
    sources = [HangingSource(range(5), released), HangingSource(range(4, 9), released)]
    source = LiveSource(sources.pop(0), lambda: sources.pop(0), RetrySettings(1))
    counts = [count_in(source.read().image) for _ in range(9)]
    source.close()
    assert counts == list(range(9))


def test_a_bug_in_a_source_is_not_taken_for_an_outage():
    class BrokenSource(HangingSource):
        def read(self) -> Frame | None:
            raise ZeroDivisionError("the source is wrong")

    with pytest.raises(ZeroDivisionError, match="the source is wrong"):
        LiveSource(BrokenSource(range(1), threading.Event()), lambda: None).read()


class LateSource:
    """Opens at the third try."""

    def __init__(self) -> None:
        self.tries = 0

    def open(self) -> Source:
        self.tries += 1
        if self.tries < 3:
            raise SourceError(f"no answer to try {self.tries}")
        return HangingSource(range(1), threading.Event())


def test_the_first_opening_is_tried_again_only_if_the_user_asked_for_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live, "_FIRST_PAUSES_SECONDS", (0.01,))
    for retry, tries in ((RetrySettings(), 1), (RetrySettings(1, at_start=True), 2)):
        late = LateSource()
        with pytest.raises(SourceError, match=f"no answer to try {tries}"):
            open_patiently(late.open, retry, threading.Event())
        assert late.tries == tries
    assert open_patiently(LateSource().open, RetrySettings(at_start=True), threading.Event()).name == "hanging"


def test_a_canceled_first_opening_is_not_tried_again():
    late, is_canceled = LateSource(), threading.Event()
    is_canceled.set()
    with pytest.raises(SourceError, match="no answer to try 1"):
        open_patiently(late.open, RetrySettings(at_start=True), is_canceled)
    assert late.tries == 1


def test_a_live_source_is_not_looped(server: MjpegServer):
    with open_source(SourceSettings(video=server.url, loop=True)) as source:
        assert isinstance(source, LiveSource)


def test_rtsp_is_requested_over_tcp_and_resumed():
    with RtspServer() as server, Watcher(open_source(SourceSettings(video=server.url))) as watcher:
        assert "RTP/AVP/TCP" in server.transports[0]
        before = len(watcher.counts)
        server.hang_up()
        wait_until(lambda: watcher.source.reconnects == 1)
        wait_until(lambda: len(watcher.counts) > before + 5)
        watcher.assert_all_once_in_order()


class SlowSource(HangingSource):
    """A stream with a frame every two seconds, which sends its last one at once when it is opened."""

    def read(self) -> Frame | None:
        self._interval_seconds = 0.0 if self._interval_seconds == 0.01 else 2.0
        return super().read()


@pytest.mark.slow
def test_a_stream_of_a_frame_every_two_seconds_is_not_lost_again_and_again():
    released, opened = threading.Event(), []

    def open_again() -> SlowSource:
        opened.append(SlowSource(range(20 * len(opened), 20 * len(opened) + 20), released))
        return opened[-1]

    with Watcher(LiveSource(None, open_again, name="slow")) as watcher:
        time.sleep(20)
        assert len(opened) <= 3
        assert watcher.source.outage is None
        watcher.assert_all_once_in_order()


def test_a_source_that_is_opened_in_the_background_is_offline_until_it_is_there(server: MjpegServer):
    server.go_offline()
    source = open_as_live(SourceSettings(video=server.url), "yard")
    assert (source.name, source.size_wh, source.outage) == ("yard", (0, 0), None)
    watcher = Watcher(source)
    wait_until(lambda: source.outage is not None)
    assert "Connection refused" in source.outage.problem
    server.go_online()
    with watcher:
        wait_until(lambda: source.outage is None)
        assert source.size_wh == (320, 240)


def test_a_recording_is_played_as_live_again_and_again(tmp_path: Path):
    clip = write_clip(tmp_path / "clip.mp4", frame_count=10, size_wh=(64, 48))
    with open_as_live(SourceSettings(video=str(clip)), "clip") as source:
        frames = [source.read() for _ in range(25)]
        assert source.is_live
    numbers = [number_of(frame.image) for frame in frames]
    assert [number % 10 for number in range(numbers[0], numbers[0] + 25)] == numbers
    times = [frame.time_seconds for frame in frames]
    # 25 frames a second: as slow as the recording, whatever the machine.
    assert times[-1] - times[0] >= 24 / 25 - 0.1
