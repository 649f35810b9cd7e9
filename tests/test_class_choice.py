"""The explained class is one that the network believes in, and it does not change with every frame."""

from __future__ import annotations

import numpy as np
import pytest

from live_cam.frame import Explanation, Prediction
from live_cam.temporal.class_choice import ClassChooser

FRAME_SECONDS = 1 / 25


def explanation_of(probabilities: list[float] | None, explained_index: int) -> Explanation:
    """An explanation of three or more classes; without probabilities, of a network that returns numbers."""
    values = probabilities or [1.0, 2.0, 3.0]
    predictions = [Prediction(index, str(index), probabilities and value, value) for index, value in enumerate(values)]
    ranked = sorted(predictions, key=lambda prediction: -prediction.value)
    array = None if probabilities is None else np.array(probabilities, np.float32)
    return Explanation(
        tuple(ranked[:3]), predictions[explained_index], np.zeros((2, 2), np.float32), probabilities=array
    )


class Film:
    """Shows a chooser one frame after another, as ``TemporalExplainer`` does."""

    def __init__(self, frame_seconds: float = FRAME_SECONDS) -> None:
        self.chooser = ClassChooser()
        self.time_seconds = 0.0
        self.frame_seconds = frame_seconds

    def show(self, seconds: float, *turns: list[float] | None) -> list[int]:
        """Returns the explained class of each frame; the probabilities take turns."""
        return [self.show_frame(turns[number % len(turns)]) for number in range(round(seconds / self.frame_seconds))]

    def show_frame(self, probabilities: list[float] | None) -> int:
        due = self.chooser.next_index()
        top = 0 if probabilities is None else int(np.argmax(probabilities))
        explained = self.chooser.update(explanation_of(probabilities, top if due is None else due), self.time_seconds)
        self.time_seconds += self.frame_seconds
        return explained


TABBY, SIAMESE = [0.1, 0.5, 0.4], [0.1, 0.4, 0.5]
SURE_TABBY, SURE_SIAMESE = [0.05, 0.9, 0.05], [0.05, 0.05, 0.9]


def test_the_first_frame_explains_its_top_class():
    assert ClassChooser().next_index() is None
    assert Film().show_frame(SIAMESE) == 2


def test_two_classes_that_take_turns_do_not_change_the_explained_one():
    assert set(Film().show(10, TABBY, SIAMESE)) == {1}


def test_a_class_that_leads_clearly_takes_over_within_a_fifth_of_a_second():
    film = Film()
    film.show(2, SURE_TABBY)
    explained = film.show(2, SURE_SIAMESE)
    assert 0.05 < explained.index(2) * FRAME_SECONDS <= 0.2
    assert set(explained[explained.index(2) :]) == {2}


def test_a_single_frame_of_another_class_changes_nothing():
    film = Film()
    film.show(1, SURE_TABBY)
    assert film.show_frame(SURE_SIAMESE) == 1
    assert set(film.show(2, SURE_TABBY)) == {1}


def test_the_frame_whose_predictions_change_the_class_is_already_explained_for_the_new_one():
    film = Film(frame_seconds=1.0)
    assert film.show_frame(SURE_TABBY) == 1
    assert film.show_frame(SURE_SIAMESE) == 2  # a second is ten half-lives: nothing of the first frame is left


@pytest.mark.parametrize("frame_seconds", [1 / 60, 1 / 25, 1 / 10])
def test_a_class_that_leads_by_less_than_half_does_not_take_over_at_any_frame_rate(frame_seconds: float):
    film = Film(frame_seconds)
    film.show(1, TABBY)
    assert set(film.show(5, [0.1, 0.36, 0.5])) == {1}  # 1.4 times as likely
    assert film.show(5, [0.1, 0.3, 0.5])[-1] == 2  # 1.7 times


def test_a_class_that_the_network_dropped_does_not_stay_because_others_take_turns():
    film = Film()
    film.show(1, [0.6, 0.2, 0.2, 0.0])
    explained = film.show(2, [0.02, 0.5, 0.4, 0.0], [0.02, 0.4, 0.0, 0.5], [0.02, 0.0, 0.5, 0.4])
    assert 0 not in explained[round(0.3 / FRAME_SECONDS) :]


def test_below_a_tenth_a_class_is_kept_while_it_leads_the_average():
    # Each frame's top class is another one, at 9 %; class 0 has 4 %, and is first on average.
    takes_turns = [[0.04, *(0.09 if place == turn else 0.0 for place in range(8))] for turn in range(8)]
    film = Film()
    film.show_frame([0.5, *[0.0] * 8])
    assert set(film.show(10, *takes_turns)) == {0}


def noisy_sequence(seed: int, frame_count: int = 500) -> np.ndarray:
    """Probabilities of 50 classes, (frames, 50): noisy logits that wander, as those of a scene that slowly changes."""
    generator = np.random.default_rng(seed)
    wander = np.cumsum(generator.normal(0, 0.15, (frame_count, 50)), axis=0)
    logits = wander + generator.normal(0, 0.3, (frame_count, 50))
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(20))
def test_generated_sequences_explain_a_class_that_counts_and_seldom_change_it(seed: int):
    probabilities = noisy_sequence(seed)
    film = Film()
    explained = np.array([film.show_frame(frame.tolist()) for frame in probabilities])
    own = probabilities[np.arange(len(explained)), explained]
    top = probabilities.max(axis=1)
    is_certain = top >= 0.1
    assert is_certain.mean() > 0.5  # the sequence tests something
    assert (own < top / 2)[is_certain].mean() <= 0.05
    assert ((probabilities > own[:, np.newaxis]).sum(axis=1) >= 3)[is_certain].mean() <= 0.05
    raw_changes, changes = (np.count_nonzero(np.diff(indices)) for indices in (probabilities.argmax(1), explained))
    assert raw_changes >= 2.5 * changes


def test_outputs_that_are_no_probabilities_do_not_compete():
    assert set(Film().show(3, None)) == {0}


def test_a_frame_whose_probabilities_are_not_finite_is_left_out():
    film = Film()
    film.show(1, SURE_TABBY)
    assert film.show_frame([float("nan"), 0.1, 0.2]) == 1
    assert film.show(1, SURE_SIAMESE)[-1] == 2


def test_after_a_cut_the_top_class_is_explained():
    film = Film()
    film.show(1, TABBY)
    assert film.chooser.next_index(is_cut=True) is None
    assert film.show_frame(SIAMESE) == 2


def test_the_averages_start_afresh_when_time_runs_backwards():
    film = Film()
    film.show(1, TABBY)
    film.time_seconds = 0.0
    assert film.show_frame(SIAMESE) == 1
    np.testing.assert_allclose(film.chooser.state.averages, SIAMESE)


def test_without_keeping_every_frame_has_its_own_top_class():
    film = Film()
    film.chooser.keeps = False
    assert film.show(0.16, TABBY, SIAMESE) == [1, 2, 1, 2]


def test_a_locked_class_stays_whatever_leads_and_a_cut_does_not_unlock_it():
    film = Film()
    film.show(0.2, TABBY)
    film.chooser.choose(film.chooser.state.class_index)
    assert set(film.show(3, SURE_SIAMESE)) == {1}
    assert film.chooser.next_index(is_cut=True) == 1
    film.chooser.release()
    assert film.show_frame(SURE_SIAMESE) == 2


def test_a_chosen_class_stays_also_without_keeping():
    film = Film()
    film.chooser.keeps = False
    film.chooser.choose(0)
    assert film.chooser.is_fixed
    assert set(film.show(1, TABBY, SIAMESE)) == {0}


def test_a_choice_made_while_a_frame_is_explained_holds_for_this_frame():
    chooser = ClassChooser()
    chooser.next_index()
    chooser.choose(2)
    assert chooser.update(explanation_of(TABBY, 1), 0.0) == 2
    assert chooser.next_index() == 2
