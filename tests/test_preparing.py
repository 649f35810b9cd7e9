"""Passes that are made ready beside the one in use."""

from __future__ import annotations

import threading
import time

from live_cam.errors import ModelError
from live_cam.run.preparing import PassWish, Prepared, Preparer

A, B, C = (PassWish(method, None) for method in ("a", "b", "c"))


def prepared_within(preparer: Preparer, seconds: float = 5.0) -> Prepared | None:
    deadline_seconds = time.monotonic() + seconds
    while time.monotonic() < deadline_seconds:
        prepared = preparer.poll()
        if prepared is not None:
            return prepared
        time.sleep(0.01)
    return None


def test_what_was_wished_for_comes_once():
    preparer = Preparer(lambda wish: f"explainer of {wish.method}")
    preparer.want(A)
    assert preparer.wish == A
    prepared = prepared_within(preparer)
    assert (prepared.wish, prepared.explainer) == (A, "explainer of a")
    assert preparer.wish is None
    assert prepared_within(preparer, 0.5) is None


def test_who_goes_through_a_list_gets_the_last_and_what_lies_between_is_not_loaded():
    loaded = []
    preparer = Preparer(lambda wish: loaded.append(wish))
    for wish in (A, B, C):
        preparer.want(wish)
        preparer.poll()
    assert prepared_within(preparer).wish == C
    assert loaded == [C]


def test_a_wish_that_changes_while_its_pass_is_loaded_is_not_served_with_the_old_one():
    begun, may_end = threading.Event(), threading.Event()

    def load(wish):
        if wish == A:
            begun.set()
            may_end.wait(5)

    preparer = Preparer(load)
    preparer.want(A)
    while not begun.is_set():
        preparer.poll()
    preparer.want(B)
    assert preparer.poll() is None  # at once: nobody waits for A
    may_end.set()
    assert prepared_within(preparer).wish == B


def test_a_wish_can_be_taken_back():
    preparer = Preparer(lambda wish: None)
    preparer.want(A)
    preparer.want(None)
    assert prepared_within(preparer, 0.6) is None


def test_errors_are_one_line_and_the_next_wish_is_served():
    def load(wish):
        if wish == A:
            raise ModelError("no layer of this model gives a map")
        if wish == B:
            raise ValueError("first line\nsecond line")

    preparer = Preparer(load)
    preparer.want(A)
    assert prepared_within(preparer).error == "no layer of this model gives a map"
    preparer.want(B)
    assert prepared_within(preparer).error == "cannot prepare it: ValueError: first line"
    preparer.want(C)
    assert prepared_within(preparer).error == ""
