"""Which class is explained: it changes when another leads clearly or long enough, or when the user says so."""

from __future__ import annotations

import numpy as np
import pytest

from live_cam.frame import Explanation, Prediction
from live_cam.steady.class_choice import ClassChooser

FRAME_SECONDS = 1 / 25


def explanation_of(probabilities: dict[int, float | None], explained_index: int, top_k: int = 3) -> Explanation:
    ranked = sorted(probabilities, key=lambda index: -(probabilities[index] or 0))
    predictions = [Prediction(index, str(index), probabilities[index], 0.0) for index in ranked]
    explained = next(one for one in predictions if one.class_index == explained_index)
    return Explanation(tuple(predictions[:top_k]), explained, np.zeros((2, 2), np.float32))


class Film:
    """Shows a chooser one frame after another, as the pipeline does."""

    def __init__(self, top_k: int = 3) -> None:
        self.chooser = ClassChooser()
        self.time_seconds = 0.0
        self._top_k = top_k

    def show(self, seconds: float, *turns: dict[int, float | None]) -> list[int]:
        """The explained class of each frame; the frames' probabilities take turns."""
        explained = []
        for number in range(round(seconds / FRAME_SECONDS)):
            probabilities = turns[number % len(turns)]
            wanted = self.chooser.wanted()
            top = max(probabilities, key=lambda index: probabilities[index] or 0)
            explanation = explanation_of(probabilities, top if wanted is None else wanted, self._top_k)
            self.chooser.saw(explanation, self.time_seconds)
            explained.append(explanation.explained.class_index)
            self.time_seconds += FRAME_SECONDS
        return explained


TABBY, SIAMESE = {1: 0.5, 2: 0.4, 3: 0.1}, {1: 0.4, 2: 0.5, 3: 0.1}


def test_the_first_frame_explains_its_top_class():
    assert ClassChooser().wanted() is None
    assert Film().show(0.04, SIAMESE) == [2]


@pytest.mark.parametrize("top_k", [1, 3])
def test_two_classes_that_take_turns_do_not_change_the_explained_one(top_k: int):
    assert set(Film(top_k).show(10, TABBY, SIAMESE)) == {1}


@pytest.mark.parametrize("top_k", [1, 3])
def test_another_that_leads_clearly_takes_over_within_three_tenths_of_a_second(top_k: int):
    film = Film(top_k)
    film.show(2, {1: 0.9, 2: 0.05, 3: 0.0})
    explained = film.show(2, {1: 0.05, 2: 0.9, 3: 0.0})
    changed_seconds = explained.index(2) * FRAME_SECONDS
    assert 0.1 < changed_seconds <= 0.32
    assert set(explained[explained.index(2) :]) == {2}


def test_a_single_frame_of_another_changes_nothing():
    film = Film()
    film.show(1, {1: 0.9, 2: 0.05})
    film.show(0.04, {1: 0.05, 2: 0.9})
    assert set(film.show(2, {1: 0.9, 2: 0.05})) == {1}


def test_another_that_leads_a_little_takes_over_after_a_second():
    film = Film()
    film.show(2, TABBY)
    explained = film.show(3, SIAMESE)
    assert 1.0 <= explained.index(2) * FRAME_SECONDS < 1.6


def test_a_class_that_nothing_speaks_for_does_not_stay_because_others_take_turns():
    film = Film()
    film.show(1, {1: 0.2, 2: 0.05, 3: 0.05})
    turns = [{1: 0.001, 2: 0.1, 3: 0.0}, {1: 0.001, 2: 0.0, 3: 0.1}] * 4
    explained = [index for turn in turns for index in film.show(0.6, turn)]
    assert 1 in explained[:20]
    assert 1 not in explained[round(1.6 / FRAME_SECONDS) :]


def test_a_lead_that_breaks_off_counts_from_its_new_beginning():
    film = Film()
    film.show(2, TABBY)
    for _ in range(4):
        assert set(film.show(0.8, SIAMESE)) == {1}
        assert set(film.show(0.8, TABBY)) == {1}


def test_a_lead_of_less_than_a_tenth_is_none():
    film = Film()
    film.show(1, {1: 0.50, 2: 0.45})
    assert set(film.show(5, {1: 0.46, 2: 0.49})) == {1}


def test_numbers_are_no_rivals():
    assert set(Film().show(3, {0: None, 1: None})) == {0}


def test_after_a_cut_the_top_class_is_asked_for():
    film = Film()
    film.show(1, TABBY)
    assert film.chooser.wanted(is_cut=True) is None
    assert film.show(0.04, SIAMESE) == [2]


def test_a_time_that_runs_backwards_begins_anew():
    film = Film()
    film.show(1, TABBY)
    film.time_seconds = 0.0
    film.show(0.04, SIAMESE)
    assert film.chooser.state.class_index == 1
    assert dict(film.chooser.state.probabilities) == pytest.approx({1: 0.4, 2: 0.5, 3: 0.1})


def test_without_keeping_every_frame_has_its_own_top_class():
    film = Film()
    film.chooser.keeps = False
    assert film.show(0.16, TABBY, SIAMESE) == [1, 2, 1, 2]


def test_a_locked_class_stays_whatever_leads_and_a_cut_does_not_unlock_it():
    film = Film()
    film.show(0.2, TABBY)
    film.chooser.lock()
    assert set(film.show(3, {1: 0.0, 2: 0.9})) == {1}
    assert film.chooser.wanted(is_cut=True) == 1
    film.chooser.release()
    assert film.show(1, {1: 0.0, 2: 0.9})[-1] == 2


def test_a_lock_before_the_first_frame_holds_the_first_top_class():
    film = Film()
    film.chooser.lock()
    film.show(0.04, TABBY)
    assert set(film.show(3, {1: 0.0, 2: 0.9})) == {1}


def test_a_chosen_class_stays_also_where_nothing_else_is_kept():
    film = Film()
    film.chooser.keeps = False
    film.chooser.choose(3)
    assert film.chooser.is_fixed
    assert set(film.show(1, TABBY, SIAMESE)) == {3}


def test_steps_go_round_among_the_best():
    film = Film()
    film.show(0.04, TABBY)
    chosen = []
    for count in (1, 1, 1, -1):
        film.chooser.step(count)
        chosen.append(film.chooser.wanted())
    assert chosen == [2, 3, 1, 3]


def test_from_a_class_that_is_none_of_the_best_a_step_leads_to_the_first_or_the_last():
    for count, expected in ((1, 1), (-1, 2)):
        film = Film(top_k=2)
        film.chooser.choose(3)
        film.show(0.04, TABBY)
        film.chooser.step(count)
        assert film.chooser.wanted() == expected


def test_a_step_before_the_first_frame_does_nothing():
    chooser = ClassChooser()
    chooser.step(1)
    assert (chooser.wanted(), chooser.is_fixed) == (None, False)


def test_a_choice_made_during_a_pass_is_not_lost():
    chooser = ClassChooser()
    chooser.wanted()
    chooser.choose(3)
    chooser.saw(explanation_of(TABBY, 1), 0.0)
    assert chooser.wanted() == 3
