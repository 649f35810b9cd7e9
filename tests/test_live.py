"""A live source in the pipeline, and the card that is shown while it is offline."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
from stream_servers import MjpegServer, count_in
from test_pipeline import MeanExplainer, Run

from live_cam.explain.explainer import NetworkInput
from live_cam.render.cards import duration_text, offline_image, offline_message
from live_cam.settings import SourceSettings
from live_cam.sources.open import open_source

# Slack for a busy machine.
SLACK_SECONDS = 2.0


@pytest.fixture
def server() -> Iterator[MjpegServer]:
    with MjpegServer() as running:
        yield running


def test_five_explanations_per_second_of_a_faster_camera_are_of_the_present(server: MjpegServer):
    late_seconds: list[float] = []

    class TimedExplainer(MeanExplainer):
        def preprocess(self, image: np.ndarray) -> NetworkInput:
            late_seconds.append(time.monotonic() - server.sent_seconds[count_in(image)])
            return super().preprocess(image)

    source = open_source(SourceSettings(video=server.url))
    run = Run(source, explainer=TimedExplainer(seconds=0.2), max_frames=20).to_end()
    counts = [count_in(result.frame.image) for result in run.sink.results]
    assert counts == sorted(set(counts))
    # A frame waits for the explanation before it, and no longer.
    assert max(late_seconds[3:]) < 0.2 + SLACK_SECONDS
    assert np.mean(late_seconds[-5:]) < np.mean(late_seconds[3:8]) + 0.2
    assert counts[-1] > 30 * 0.2 * 15  # it did not fall behind the counter
    assert run.feed.stats.frames_explained == 20
    assert run.feed.stats.frames_read > 20 + 60


def test_the_offline_image_is_the_picture_in_dark_gray():
    picture = np.full((480, 640, 3), (40, 120, 250), np.uint8)
    offline = offline_image(picture)
    assert offline.shape == picture.shape
    assert offline.min() == offline.max() < 100  # no color, and less than half as light
    assert picture[0, 0].tolist() == [40, 120, 250]
    assert offline_message(12.7) == "offline for 12 s"


@pytest.mark.parametrize(("seconds", "text"), [
    (0.9, "0 s"), (12, "12 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (7500, "2 h 5 min"),
])  # fmt: skip
def test_durations_are_given_in_one_or_two_units(seconds: float, text: str):
    assert duration_text(seconds) == text
