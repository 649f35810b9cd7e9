"""Which frames of a source are explained and drawn, and with which explanation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from live_cam.frame import Explanation, Frame, Prediction
from live_cam.pipeline.frame_queues import LatestFrameQueue, LosslessFrameQueue
from live_cam.temporal.explainer import SmoothedExplanation, TemporalState

PREDICTION = Prediction(0, "0", 0.5, 0.5)
EXPLANATION = Explanation((PREDICTION,), PREDICTION, np.ones((2, 2), np.float32))


def frame(index: int) -> Frame:
    return Frame(np.zeros((2, 2, 3), np.uint8), index, index / 30)


def explained(taken: Frame) -> SmoothedExplanation:
    return SmoothedExplanation(taken, EXPLANATION, EXPLANATION, 1.0, TemporalState())


def explain_next(frames: LatestFrameQueue, seconds: float = 0.0) -> int:
    assert frames.can_explain()
    taken = frames.take_frame()
    time.sleep(seconds)  # how long the explanation takes: the queue measures it
    assert frames.put_explained(explained(taken))
    return taken.index


def indices(drawing: tuple[Frame, SmoothedExplanation]) -> tuple[int, int]:
    """Of the drawn frame and of the one its heat is of."""
    return drawing[0].index, drawing[1].frame.index


def waits(call: Callable[[], object]) -> bool:
    """Whether a call does not return at once; it is left behind in its thread."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(0.1)
    return thread.is_alive()


def test_quick_explanations_are_drawn_over_their_own_frames_and_the_others_are_dropped():
    frames, drawn = LatestFrameQueue(), []
    for index in range(9):
        frames.put_frame(frame(index))
        if index % 3 == 2:
            assert explain_next(frames) == index
            drawn.append(indices(frames.next_to_draw()))
    assert drawn == [(2, 2), (5, 5), (8, 8)]
    assert frames.dropped_count == 6


def test_frames_that_the_source_replaced_count_as_dropped():
    frames = LatestFrameQueue()
    for index, lost_count in ((2, 2), (7, 4)):
        frames.put_frame(frame(index), lost_count)
        explain_next(frames)
        frames.next_to_draw()
    assert frames.dropped_count == 6  # 0, 1, 3, 4, 5, 6


def test_frames_that_were_not_wanted_do_not_count_as_dropped():
    frames = LatestFrameQueue()
    for index in (0, 50):  # 1 to 49 came while the picture was frozen
        frames.put_frame(frame(index), lost_count=0)
        explain_next(frames)
        frames.next_to_draw()
    assert frames.dropped_count == 0


def test_a_frame_that_came_during_a_quick_explanation_is_not_drawn_without_its_own():
    frames = LatestFrameQueue()
    frames.put_frame(frame(0))
    taken = frames.take_frame()
    frames.put_frame(frame(1))
    frames.put_explained(explained(taken))
    assert indices(frames.next_to_draw()) == (0, 0)
    assert waits(frames.next_to_draw)
    frames.cancel()


def test_if_fewer_explanations_are_wanted_every_frame_is_drawn_with_the_newest():
    frames, drawn = LatestFrameQueue(draws_every_frame=True), []
    for index in range(7):
        frames.put_frame(frame(index))
        if index % 3 == 0:
            explain_next(frames)
        drawn.append(indices(frames.next_to_draw()))
    assert drawn == [(0, 0), (1, 0), (2, 0), (3, 3), (4, 3), (5, 3), (6, 6)]
    assert frames.dropped_count == 0


def test_frames_do_not_wait_for_slow_explanations():
    frames = LatestFrameQueue()
    for index in range(3):
        frames.put_frame(frame(index))
        explain_next(frames, seconds=0.1)
        frames.next_to_draw()
    frames.put_frame(frame(3))
    assert indices(frames.next_to_draw()) == (3, 2)


def test_an_explanation_that_comes_after_its_frame_was_drawn_waits_for_the_next_frame():
    frames = LatestFrameQueue(draws_every_frame=True)
    frames.put_frame(frame(0))
    explain_next(frames)
    assert indices(frames.next_to_draw()) == (0, 0)
    frames.put_frame(frame(1))
    assert indices(frames.next_to_draw()) == (1, 0)
    explain_next(frames)
    frames.put_frame(frame(2))
    assert indices(frames.next_to_draw()) == (2, 1)


def test_drawing_continues_when_explanations_get_quick_again():
    frames, drawn = LatestFrameQueue(), []
    for index in range(40):
        frames.put_frame(frame(index))
        if frames.can_explain():
            explain_next(frames, seconds=0.1 if index < 3 else 0.0)
        drawn.append(indices(frames.next_to_draw()))
    assert [drawn_index for drawn_index, _ in drawn] == list(range(40))
    # At first the heat is behind, at the end each frame has its own.
    assert drawn[-1] == (39, 39)


def test_nothing_is_drawn_before_the_first_explanation_nor_any_frame_twice():
    frames = LatestFrameQueue(draws_every_frame=True)
    frames.put_frame(frame(0))
    assert waits(frames.next_to_draw)
    frames = LatestFrameQueue(draws_every_frame=True)
    frames.put_frame(frame(0))
    explain_next(frames)
    frames.next_to_draw()
    assert waits(frames.next_to_draw)


def test_no_frame_is_explained_twice():
    frames = LatestFrameQueue()
    frames.put_frame(frame(0))
    assert frames.take_frame().index == 0
    assert not frames.can_explain()
    assert frames.take_frame() is None


def test_the_next_frame_is_explained_once_the_explanation_before_is_being_drawn():
    changes = []
    frames = LatestFrameQueue(on_change=lambda: changes.append(None))
    frames.put_frame(frame(0))
    explain_next(frames)
    frames.put_frame(frame(1))
    assert not frames.can_explain()
    changes.clear()
    assert indices(frames.next_to_draw()) == (0, 0)
    assert changes  # whoever explains is told
    assert explain_next(frames) == 1
    assert indices(frames.next_to_draw()) == (1, 1)


def test_at_the_end_the_last_explanation_is_drawn():
    frames = LatestFrameQueue()
    frames.put_frame(frame(0))
    frames.end_frames()
    assert not frames.put_frame(frame(1))
    assert not frames.is_exhausted
    assert explain_next(frames) == 0
    assert frames.is_exhausted
    frames.end_explained()
    assert indices(frames.next_to_draw()) == (0, 0)
    assert frames.next_to_draw() is None


def test_at_the_end_waiting_frames_can_be_dropped():
    frames = LatestFrameQueue()
    frames.put_frame(frame(0))
    frames.end_frames(drop_waiting=True)
    assert frames.is_exhausted


def test_a_cancel_wakes_the_output_thread():
    frames, given = LatestFrameQueue(), []
    thread = threading.Thread(target=lambda: given.append(frames.next_to_draw()), daemon=True)
    thread.start()
    frames.cancel()
    thread.join(5)
    assert given == [None]


@pytest.mark.parametrize("call", ["take_frame", "next_to_draw"])
def test_a_cancel_wakes_everyone_who_waits_for_a_file(call: str):
    frames, given = LosslessFrameQueue(), []
    thread = threading.Thread(target=lambda: given.append(getattr(frames, call)()), daemon=True)
    thread.start()
    frames.cancel()
    thread.join(5)
    assert given == [None]


def test_a_file_makes_the_faster_thread_wait_and_drops_nothing():
    frames, taken = LosslessFrameQueue(), []

    def capture() -> None:
        for index in range(20):
            assert frames.put_frame(frame(index))
        frames.end_frames()

    thread = threading.Thread(target=capture, daemon=True)
    thread.start()
    while (next_frame := frames.take_frame()) is not None:
        taken.append(next_frame.index)
    thread.join(5)
    assert taken == list(range(20))
    assert frames.is_exhausted
    assert frames.dropped_count == 0
