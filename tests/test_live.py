"""Cameras that fail on command, and what livecam makes of it: noticed, tried again, resumed, never explained twice."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from stream_servers import MjpegServer, RtspServer, count_in, counted_image, jpeg_of, part_of
from test_pipeline import ListSink, MeanExplainer

from live_cam.errors import SettingError, SourceError
from live_cam.frame import Frame
from live_cam.lifetime import ClosedByWith
from live_cam.render.cards import duration_text, offline_card
from live_cam.render.views import Renderer, RenderSettings
from live_cam.run.pipeline import Pipeline
from live_cam.run.running import run
from live_cam.sources import live, open_source
from live_cam.sources.camera import CameraRequest, CameraSource
from live_cam.sources.live import LiveSource, Retry, pause_seconds

# The two seconds, and slack for a busy machine.
NOTICED_SECONDS = RESUMED_SECONDS = 2.0
SLACK_SECONDS = 2.0


@pytest.fixture
def server() -> Iterator[MjpegServer]:
    with MjpegServer() as running:
        yield running


class Watcher:
    """Reads a source to its end in a thread, as the pipeline does, and keeps the counters it saw."""

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
        wait_until(lambda: len(self.counts) > 3)
        return self

    def __exit__(self, *raised: object) -> None:
        self.source.close()
        self._thread.join(5)
        assert not self._thread.is_alive()

    def assert_nothing_twice(self) -> None:
        assert self.counts == sorted(set(self.counts))
        indexes = [frame.index for frame in self.frames]
        assert indexes == sorted(set(indexes))
        times = [frame.time_seconds for frame in self.frames]
        assert times == sorted(times)


def wait_until(is_so: Callable[[], bool], seconds: float = 10.0) -> float:
    """How long it took."""
    started_seconds = time.monotonic()
    while not is_so():
        assert time.monotonic() - started_seconds < seconds, "it did not happen"
        time.sleep(0.01)
    return time.monotonic() - started_seconds


def threads_and_files() -> tuple[int, int]:
    gc.collect()
    readers = [thread for thread in threading.enumerate() if thread.name == "livecam-reader"]
    return len(readers), len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 0


def goes_away(server: MjpegServer) -> None:
    server.go_offline()


def freezes(server: MjpegServer) -> None:
    server.is_stalled = True


def comes_back(server: MjpegServer) -> None:
    server.is_stalled = False
    if not server.is_online:
        server.go_online()


@pytest.mark.parametrize("leave", [goes_away, freezes])
def test_a_source_that_leaves_is_noticed_and_resumed(server: MjpegServer, leave: Callable[[MjpegServer], None]):
    with Watcher(open_source(video=server.url)) as watcher:
        source = watcher.source
        assert source.outage is None
        leave(server)
        wait_until(lambda: source.outage is not None, NOTICED_SECONDS + SLACK_SECONDS)
        time.sleep(1.0)
        assert source.outage is not None
        assert source.outage.since_seconds == watcher.frames[-1].time_seconds
        before = len(watcher.counts)
        comes_back(server)
        wait_until(lambda: len(watcher.counts) > before + 3, RESUMED_SECONDS + SLACK_SECONDS)
        assert (source.outage, source.reconnects) == (None, 1)
        watcher.assert_nothing_twice()
        wait_until(lambda: threads_and_files()[0] == 1)  # the reader that was left behind is gone


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
def test_what_is_no_picture_is_left_out_and_the_stream_goes_on(server: MjpegServer, kind: str):
    with Watcher(open_source(video=server.url)) as watcher:
        bad = server.count + 3
        server.part = lambda number: bad_part(kind, number) if number == bad else server.whole_part(number)
        wait_until(lambda: bool(watcher.counts) and watcher.counts[-1] > bad + 5)
        assert bad not in watcher.counts
        watcher.assert_nothing_twice()
        for frame in watcher.frames:
            np.testing.assert_allclose(
                frame.image[20:].mean(axis=(0, 1)), counted_image(0)[20:].mean(axis=(0, 1)), atol=2
            )


def test_a_size_that_changes_is_passed_on(server: MjpegServer):
    with Watcher(open_source(video=server.url)) as watcher:
        server.size_wh = (480, 640)
        wait_until(lambda: watcher.frames[-1].image.shape == (640, 480, 3))
        watcher.assert_nothing_twice()
        assert watcher.source.reconnects == 0


def test_a_source_that_flaps_leaves_no_thread_and_no_handle(server: MjpegServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live, "_FIRST_PAUSES_SECONDS", (0.02, 0.04, 0.06))
    with Watcher(open_source(video=server.url)) as watcher:
        before = threads_and_files()
        for flaps in range(1, 21):
            server.go_offline()
            wait_until(lambda: watcher.source.outage is not None)
            server.go_online()
            wait_until(lambda flaps=flaps: watcher.source.reconnects == flaps)
        wait_until(lambda: threads_and_files() <= before)
        watcher.assert_nothing_twice()
    wait_until(lambda: threads_and_files()[0] == 0)


@pytest.mark.slow
def test_half_a_minute_away_is_resumed_within_two_seconds(server: MjpegServer):
    with Watcher(open_source(video=server.url)) as watcher:
        server.go_offline()
        time.sleep(30)
        before = len(watcher.counts)
        server.go_online()
        wait_until(lambda: len(watcher.counts) > before, RESUMED_SECONDS + SLACK_SECONDS)
        watcher.assert_nothing_twice()


def test_retries_end_with_one_line(server: MjpegServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live, "_FIRST_PAUSES_SECONDS", (0.02, 0.04, 0.06))
    with Watcher(open_source(video=server.url, retry=Retry(3))) as watcher:
        server.go_offline()
        wait_until(lambda: watcher.error is not None)
    assert "\n" not in str(watcher.error)
    assert str(watcher.error).endswith("gave up after 3 tries")


def test_pauses_grow():
    assert [pause_seconds(tries, 5.0) for tries in range(5)] == [0.5, 1.0, 1.5, 1.5, 1.5]
    assert pause_seconds(400, 599.0) == 1.5
    assert [pause_seconds(500, 60.0 * minutes) for minutes in (10, 20, 60, 70, 6000)] == [1.5, 3.0, 9.0, 10.0, 10.0]


@pytest.mark.parametrize(("text", "retry"), [
    (None, Retry(None, at_start=False)), ("forever", Retry(None, at_start=True)), ("0", Retry(0, at_start=True)),
    ("7", Retry(7, at_start=True)),
])  # fmt: skip
def test_retry_is_a_number_or_forever(text: str | None, retry: Retry):
    assert Retry.parsed(text) == retry


@pytest.mark.parametrize("text", ["-1", "often", "1.5", "", "²"])
def test_other_retries_are_refused(text: str):
    with pytest.raises(SettingError, match="a number, 0 or more, or the word forever"):
        Retry.parsed(text)


class HangingSource(ClosedByWith):
    """A driver that gives a few frames and then does not return from ``read`` until it is let go."""

    name, size_wh, rate, frame_count_estimate, duration_seconds = "hanging", (320, 240), None, None, None
    is_live, is_still = True, False

    def __init__(self, numbers: range, let_go: threading.Event, interval_seconds: float = 0.01) -> None:
        self._numbers, self._let_go, self._interval_seconds = iter(numbers), let_go, interval_seconds
        self.is_closed = False

    def read(self) -> Frame | None:
        time.sleep(self._interval_seconds)
        number = next(self._numbers, None)
        if number is None:
            self._let_go.wait(30)
            return None
        return Frame(counted_image(number), 0, time.monotonic())

    def close(self) -> None:
        self.is_closed = True


def test_a_read_that_hangs_is_left_behind_and_closed_when_it_returns(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live, "_PATIENCE_SECONDS", 0.3)
    let_go = threading.Event()
    first, second = HangingSource(range(5), let_go), HangingSource(range(5, 1000), let_go)
    with Watcher(LiveSource(first, lambda: second)) as watcher:
        wait_until(lambda: watcher.source.outage is not None)
        wait_until(lambda: len(watcher.counts) > 8)
        assert watcher.source.reconnects == 1
        watcher.assert_nothing_twice()
        let_go.set()
        wait_until(lambda: threads_and_files()[0] == 1)


def test_drivers_that_never_return_do_not_collect_threads(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live, "_PATIENCE_SECONDS", 0.02)
    monkeypatch.setattr(live, "_LONGEST_PATIENCE_SECONDS", 0.02)
    monkeypatch.setattr(live, "_FIRST_PAUSES_SECONDS", (0.01,))
    let_go, opened = threading.Event(), []

    def open_again() -> HangingSource:
        opened.append(HangingSource(range(0), let_go))
        return opened[-1]

    source = LiveSource(HangingSource(range(5), let_go, 0.001), open_again)
    with Watcher(source):
        time.sleep(1.0)
        assert threads_and_files()[0] == live._MOST_LEFT_BEHIND == len(opened) + 1
        let_go.set()
        wait_until(lambda: len(opened) > live._MOST_LEFT_BEHIND + 2)
    wait_until(lambda: threads_and_files()[0] == 0)


def test_a_slow_camera_is_not_taken_for_a_lost_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live, "_PATIENCE_SECONDS", 0.1)
    let_go, starts = threading.Event(), iter(range(100, 60_000, 100))

    def open_again() -> HangingSource:
        start = next(starts)
        return HangingSource(range(start, start + 100), let_go, 0.25)

    with Watcher(LiveSource(open_again(), open_again)) as watcher:
        wait_until(lambda: watcher.source.outage is None and len(watcher.counts) > 6)
        reconnects = watcher.source.reconnects
        wait_until(lambda: len(watcher.counts) > 12)
        assert watcher.source.reconnects == reconnects
        let_go.set()


def test_a_picture_that_is_sent_again_after_a_loss_is_not_explained_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live, "_FIRST_PAUSES_SECONDS", (0.01,))
    released = threading.Event()
    released.set()
    sources = [HangingSource(range(5), released), HangingSource(range(4, 9), released)]
    source = LiveSource(sources.pop(0), lambda: sources.pop(0), Retry(1))
    counts = [count_in(source.read().image) for _ in range(9)]
    source.close()
    assert counts == list(range(9))


def test_a_bug_in_a_source_is_not_taken_for_an_outage():
    class BrokenSource(HangingSource):
        def read(self) -> Frame | None:
            raise ZeroDivisionError("the source is wrong")

    with pytest.raises(ZeroDivisionError, match="the source is wrong"):
        LiveSource(BrokenSource(range(1), threading.Event()), lambda: None).read()


# --- through the pipeline


def test_a_consumer_of_five_frames_a_second_sees_the_present(server: MjpegServer):
    source, sink = open_source(video=server.url), ListSink()
    late: list[float] = []

    class TimedExplainer(MeanExplainer):
        def preprocess(self, image: np.ndarray):
            late.append(time.monotonic() - server.sent_seconds[count_in(image)])
            return super().preprocess(image)

    pipeline = Pipeline(
        source, lambda frame: TimedExplainer(seconds=0.2), Renderer(RenderSettings()), [sink], max_frames=20
    )
    run(pipeline, source, [sink])
    counts = [count_in(result.frame.image) for result in sink.results]
    assert counts == sorted(set(counts))
    # Every frame that was taken while the last one was explained waited for less than that.
    assert max(late[3:]) < 0.2 + SLACK_SECONDS
    assert np.mean(late[-5:]) < np.mean(late[3:8]) + 0.2
    assert counts[-1] > 30 * 0.2 * 15  # it did not fall behind the counter
    assert pipeline.meter.frames_read > pipeline.meter.frames_explained + 60


# --- other kinds of stream


def test_rtsp_is_asked_for_over_tcp_and_comes_back():
    with RtspServer() as server, Watcher(open_source(video=server.url)) as watcher:
        assert "RTP/AVP/TCP" in server.transports[0]
        before = len(watcher.counts)
        server.hang_up()
        wait_until(lambda: watcher.source.reconnects == 1)
        wait_until(lambda: len(watcher.counts) > before + 5)
        watcher.assert_nothing_twice()


# --- cameras


class AskedCapture:
    """Stands in for a device, which no test machine has: keeps what it is asked for, gives one size at 30 fps."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, float]] = []

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def set(self, name: int, value: float) -> bool:
        self.asked.append((name, value))
        return True

    def get(self, name: int) -> float:
        return {cv2.CAP_PROP_FPS: 30.0}[name]

    def read(self) -> tuple[bool, np.ndarray]:
        return True, np.zeros((480, 640, 3), np.uint8)

    def release(self) -> None:
        """Nothing is held."""


@pytest.fixture
def capture(monkeypatch: pytest.MonkeyPatch) -> AskedCapture:
    asked = AskedCapture()
    monkeypatch.setattr(cv2, "VideoCapture", lambda index: asked)
    return asked


def test_a_camera_is_asked_for_its_format_before_size_and_rate(capture: AskedCapture):
    CameraSource(0, CameraRequest.parsed("1280x720", 60)).close()
    assert capture.asked[1:] == [
        (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG")),
        (cv2.CAP_PROP_FRAME_WIDTH, 1280),
        (cv2.CAP_PROP_FRAME_HEIGHT, 720),
        (cv2.CAP_PROP_FPS, 60),
    ]


def test_a_camera_that_is_not_asked_keeps_its_format(capture: AskedCapture):
    CameraSource(0).close()
    assert [name for name, _ in capture.asked] == [cv2.CAP_PROP_BUFFERSIZE]


@pytest.mark.parametrize(("size", "fps", "remark"), [
    ("640x480", 30.0, None),
    ("1280x720", None, "camera 0 gives 640x480 at 30 fps, not 1280x720"),
    ("640x480", 60.0, "camera 0 gives 640x480 at 30 fps, not 60 fps"),
    ("1280x720", 60.0, "camera 0 gives 640x480 at 30 fps, not 1280x720 at 60 fps"),
])  # fmt: skip
def test_a_camera_that_gives_something_else_says_so(capture: AskedCapture, size: str, fps: float, remark: str | None):
    with open_source(webcam=0, camera=CameraRequest.parsed(size, fps)) as source:
        assert source.remark == remark


@pytest.mark.parametrize("size", ["1280", "1280x", "0x720", "-1x5", "1280x720x3", "HD"])
def test_a_size_is_width_x_height(size: str):
    with pytest.raises(SettingError, match="--camera-size takes width x height, such as 1280x720"):
        CameraRequest.parsed(size, None)


@pytest.mark.parametrize("fps", [0.0, -5.0, float("nan"), float("inf")])
def test_a_rate_is_above_zero(fps: float):
    with pytest.raises(SettingError, match="--camera-fps takes a number above 0"):
        CameraRequest.parsed(None, fps)


# --- the card


def test_the_offline_card_is_dark_and_grey_and_says_for_how_long():
    picture = np.full((480, 640, 3), (40, 120, 250), np.uint8)
    card = offline_card(picture, "camera 0", 12.7)
    assert card.shape == picture.shape
    corner = card[5, 5]
    assert corner.min() == corner.max() < 100  # no colour, and less than half as light
    middle = card[180:300, 100:540]
    assert (middle == 255).any()  # the text is white
    assert not np.array_equal(card, offline_card(picture, "camera 0", 13.0))
    np.testing.assert_array_equal(card, offline_card(picture, "camera 0", 12.0))


@pytest.mark.parametrize(("seconds", "text"), [
    (0.9, "0 s"), (12, "12 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (7500, "2 h 5 min"),
])  # fmt: skip
def test_durations_as_people_say_them(seconds: float, text: str):
    assert duration_text(seconds) == text
