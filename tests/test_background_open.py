"""Cameras and URLs that do not answer while they are opened."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from live_cam.closing import Closing
from live_cam.errors import SourceError
from live_cam.jobs.background_open import BackgroundOpen
from live_cam.settings import RetrySettings
from live_cam.sources import live
from live_cam.viewers.commands import Action, Command


class OpenedSource(Closing):
    """A live source that does nothing."""

    is_live = True

    def __init__(self) -> None:
        self.is_closed = threading.Event()

    def close(self) -> None:
        self.is_closed.set()


class HangingCamera:
    """A camera whose first openings hang until they are released.

    Args:
        hanging_count: How many of them hang.
    """

    def __init__(self, hanging_count: int = 1000) -> None:
        self.released = threading.Event()
        self.opened: list[OpenedSource] = []
        self._hanging_count = hanging_count

    def open(self) -> OpenedSource:
        source = OpenedSource()
        self.opened.append(source)
        if len(self.opened) <= self._hanging_count:
            assert self.released.wait(30)
        return source

    def in_background(self, retry: str | None, limit_seconds: float) -> BackgroundOpen:
        """Opens it as a job does; ``retry`` as on the command line."""
        return BackgroundOpen(self.open, "camera 3", RetrySettings.parse(retry), limit_seconds)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live, "_FIRST_PAUSES_SECONDS", (0.01,))


# Also with more tries than may hang at the same time.
@pytest.mark.parametrize("retries", [None, "0", "2", f"{live.MAX_HANGING_READERS + 2}"])
def test_each_try_that_hangs_counts_and_what_it_opens_later_is_closed(retries: str | None):
    camera = HangingCamera()
    with pytest.raises(SourceError, match=r"cannot open camera 3: no answer within 0\.02 s"):
        camera.in_background(retries, 0.02).wait(None, threading.Event())
    assert len(camera.opened) == min(1 + int(retries or 0), live.MAX_HANGING_READERS)
    camera.released.set()
    assert all(source.is_closed.wait(10) for source in camera.opened)


def test_after_a_try_that_hangs_the_next_may_answer():
    camera = HangingCamera(hanging_count=2)
    source = camera.in_background("forever", 0.05).wait(None, threading.Event())
    assert camera.opened.index(source) >= 2
    camera.released.set()
    assert all(camera.opened[number].is_closed.wait(10) for number in range(2))
    assert not source.is_closed.is_set()


def test_the_error_of_the_last_try_is_raised():
    tries: list[int] = []

    def refuse() -> OpenedSource:
        tries.append(len(tries) + 1)
        raise SourceError(f"refused {len(tries)} times")

    with pytest.raises(SourceError, match="refused 3 times"):
        BackgroundOpen(refuse, "camera 3", RetrySettings.parse("2")).wait(None, threading.Event())


class ImpatientViewer:
    """A viewer whose user quits once the camera hangs."""

    def __init__(self, camera: HangingCamera) -> None:
        self.shown: list[np.ndarray] = []
        self._camera = camera

    def show(self, image: np.ndarray, status: object) -> None:
        self.shown.append(image)

    def poll(self, seconds: float) -> list[Command]:
        return [Command(Action.QUIT)] if self._camera.opened else []


def test_a_source_is_closed_if_the_user_quits_before_it_is_open():
    camera = HangingCamera()
    viewer = ImpatientViewer(camera)
    assert camera.in_background("forever", 20).wait(viewer, threading.Event()) is None
    assert viewer.shown
    camera.released.set()
    assert camera.opened[0].is_closed.wait(10)
    assert len(camera.opened) == 1


def test_a_source_is_closed_if_the_job_is_stopped_before_it_is_open():
    camera, stop = HangingCamera(), threading.Event()
    opening = camera.in_background("forever", 20)
    stop.set()
    assert opening.wait(None, stop) is None
    camera.released.set()
    assert all(source.is_closed.wait(10) for source in camera.opened)
