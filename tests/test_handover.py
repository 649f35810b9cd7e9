"""Which frames of a live source are explained and drawn, and with which explanation."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from live_cam.frame import Explanation, Frame, Prediction
from live_cam.run.handover import Captured, Drawing, Explained, NewestFrame
from live_cam.steady.steady_pass import Steadied, SteadyState

ONE = Prediction(0, "0", 0.5, 0.5)
EXPLANATION = Explanation((ONE,), ONE, np.ones((2, 2), np.float32))


def captured(index: int) -> Captured:
    return Captured(Frame(np.zeros((2, 2, 3), np.uint8), index, index / 30), time.monotonic())


def explained(one: Captured) -> Explained:
    return Explained(one, Steadied(EXPLANATION, EXPLANATION, 1.0, SteadyState()))


def explain_next(handover: NewestFrame, seconds: float = 0.0) -> int:
    taken = handover.frame_to_explain()
    time.sleep(seconds)
    assert handover.put_explained(explained(taken))
    return taken.frame.index


def indexes(drawing: Drawing) -> tuple[int, int]:
    """Of the drawn frame and of the one its heat is of."""
    return drawing.captured.frame.index, drawing.explained.captured.frame.index


def waits(call) -> bool:
    """Whether a call does not return at once; it is left behind in its thread."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(0.1)
    return thread.is_alive()


def test_quick_explanations_are_drawn_over_their_own_frames_and_the_others_are_dropped():
    handover, drawn = NewestFrame(), []
    for index in range(9):
        handover.put_frame(captured(index))
        if index % 3 == 2:
            assert explain_next(handover) == index
            drawn.append(indexes(handover.next_to_draw()))
    assert drawn == [(2, 2), (5, 5), (8, 8)]
    assert handover.dropped_count == 6


def test_frames_that_the_source_itself_replaced_count_as_dropped():
    handover = NewestFrame()
    for index in (2, 7):
        handover.put_frame(captured(index))
        explain_next(handover)
        handover.next_to_draw()
    assert handover.dropped_count == 6  # 0, 1, 3, 4, 5, 6


def test_a_frame_that_came_during_a_quick_explanation_is_not_drawn_without_its_own():
    handover = NewestFrame()
    handover.put_frame(captured(0))
    taken = handover.frame_to_explain()
    handover.put_frame(captured(1))
    handover.put_explained(explained(taken))
    assert indexes(handover.next_to_draw()) == (0, 0)
    assert waits(handover.next_to_draw)
    handover.cancel()


def test_where_fewer_explanations_are_wanted_every_frame_is_drawn_with_the_newest():
    handover, drawn = NewestFrame(draws_every_frame=True), []
    for index in range(7):
        handover.put_frame(captured(index))
        if index % 3 == 0:
            explain_next(handover)
        drawn.append(indexes(handover.next_to_draw()))
    assert drawn == [(0, 0), (1, 0), (2, 0), (3, 3), (4, 3), (5, 3), (6, 6)]
    assert handover.dropped_count == 0


def test_slow_explanations_are_not_waited_for():
    handover = NewestFrame()
    for index in range(3):
        handover.put_frame(captured(index))
        explain_next(handover, seconds=0.1)
        handover.next_to_draw()
    handover.put_frame(captured(3))
    assert indexes(handover.next_to_draw()) == (3, 2)


def test_an_explanation_that_comes_after_its_frame_was_drawn_waits_for_the_next_frame():
    handover = NewestFrame(draws_every_frame=True)
    handover.put_frame(captured(0))
    explain_next(handover)
    assert indexes(handover.next_to_draw()) == (0, 0)
    handover.put_frame(captured(1))
    assert indexes(handover.next_to_draw()) == (1, 0)
    explain_next(handover)
    handover.put_frame(captured(2))
    assert indexes(handover.next_to_draw()) == (2, 1)


def test_nothing_stands_still_when_explanations_get_quick_again():
    handover = NewestFrame()
    for index in range(2):
        handover.put_frame(captured(index))
        explain_next(handover, seconds=0.1)
        handover.next_to_draw()
    handover.put_frame(captured(2))
    taken = handover.frame_to_explain()
    assert indexes(handover.next_to_draw()) == (2, 1)  # slow: drawn before it is explained
    handover.put_explained(explained(taken))
    handover.put_frame(captured(3))
    taken = handover.frame_to_explain()
    assert not waits(lambda: handover.put_explained(explained(taken)))
    assert indexes(handover.next_to_draw()) == (3, 3)


def test_nothing_is_drawn_before_the_first_explanation_nor_any_frame_twice():
    handover = NewestFrame(draws_every_frame=True)
    handover.put_frame(captured(0))
    assert waits(handover.next_to_draw)
    handover = NewestFrame(draws_every_frame=True)
    handover.put_frame(captured(0))
    explain_next(handover)
    handover.next_to_draw()
    assert waits(handover.next_to_draw)


def test_no_frame_is_explained_twice():
    handover = NewestFrame()
    handover.put_frame(captured(0))
    assert handover.frame_to_explain().frame.index == 0
    assert waits(handover.frame_to_explain)


def test_explanations_wait_for_the_drawing():
    handover = NewestFrame()
    handover.put_frame(captured(0))
    explain_next(handover)
    handover.put_frame(captured(1))
    taken = handover.frame_to_explain()
    assert waits(lambda: handover.put_explained(explained(taken)))
    assert indexes(handover.next_to_draw()) == (0, 0)
    assert indexes(handover.next_to_draw()) == (1, 1)


def test_at_the_end_what_was_explained_is_drawn():
    handover = NewestFrame()
    handover.put_frame(captured(0))
    handover.end_frames()
    assert not handover.put_frame(captured(1))
    assert explain_next(handover) == 0
    assert handover.frame_to_explain() is None
    handover.end_explained()
    assert indexes(handover.next_to_draw()) == (0, 0)
    assert handover.next_to_draw() is None


def test_at_the_end_an_explanation_that_nothing_is_drawn_with_holds_up_nobody():
    handover = NewestFrame(draws_every_frame=True)
    handover.put_frame(captured(0))
    explain_next(handover)
    handover.next_to_draw()
    for index in (1, 2):
        handover.put_frame(captured(index))
        taken = handover.frame_to_explain()
        handover.next_to_draw()
        if index == 2:
            handover.end_frames()
        assert not waits(lambda taken=taken: handover.put_explained(explained(taken)))
    assert handover.frame_to_explain() is None


@pytest.mark.parametrize("call", ["frame_to_explain", "next_to_draw"])
def test_a_cancel_wakes_whoever_waits(call: str):
    handover, given = NewestFrame(), []
    thread = threading.Thread(target=lambda: given.append(getattr(handover, call)()), daemon=True)
    thread.start()
    handover.cancel()
    thread.join(5)
    assert given == [None]
