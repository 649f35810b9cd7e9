"""Smoothing and its scale, computed by hand; scene cuts; and the memory between frames, saved and restored."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from live_cam.errors import SettingError
from live_cam.explain.explainer import NetworkInput
from live_cam.frame import Explanation, Frame, Prediction
from live_cam.settings import FeedSettings
from live_cam.temporal.class_choice import ContrastClass
from live_cam.temporal.explainer import (
    SmoothedExplanation,
    TemporalExplainer,
    is_cut,
    next_colors,
    samples_of,
    state_arrays,
    state_from,
)
from live_cam.temporal.smoothing import HeatState, kept_weight, next_heat, next_scale, smoothed


def explanation_of(
    heatmap: object, class_index: int = 0, others: dict[int, object] | None = None, region_xywh=(0.0, 0.0, 1.0, 1.0)
) -> Explanation:
    def prediction(index: int) -> Prediction:
        return Prediction(index, str(index), 0.5, 0.5)

    other_maps = tuple((prediction(index), np.array(other, np.float32)) for index, other in (others or {}).items())
    explained = prediction(class_index)
    return Explanation((explained,), explained, np.array(heatmap, np.float32), region_xywh, other_maps)


def heat_after(*steps: tuple[float, Explanation], half_life_seconds: float = 0.1) -> HeatState:
    state = None
    for time_seconds, explanation in steps:
        state = next_heat(state, explanation, time_seconds, half_life_seconds)
    return state


LEFT, RIGHT = explanation_of([[4, 0]]), explanation_of([[0, 4]])


def test_half_of_the_past_is_left_after_a_half_life():
    assert kept_weight(0.1, 0.1) == 0.5
    assert kept_weight(0.3, 0.1) == pytest.approx(0.125)
    np.testing.assert_allclose(heat_after((0, LEFT), (0.1, RIGHT)).heatmap, [[2, 2]])


def test_the_frame_rate_makes_no_difference():
    rarely = heat_after((0, LEFT), (0.2, RIGHT))
    often = heat_after((0, LEFT), *((0.2 * count / 50, RIGHT) for count in range(1, 51)))
    np.testing.assert_allclose(often.heatmap, rarely.heatmap, rtol=1e-5)


def test_the_first_frame_is_drawn_as_it_is_and_scaled_by_its_own_maximum():
    state = heat_after((7.0, LEFT))
    drawn, scale = smoothed(LEFT, state)
    np.testing.assert_array_equal(drawn.heatmap, LEFT.heatmap)
    assert scale == 4


@pytest.mark.parametrize(
    "other",
    [explanation_of([[0, 3]], class_index=1), explanation_of([[0, 3], [0, 0]]),
     explanation_of([[0, 3]], region_xywh=(0.1, 0, 0.8, 1))],
    ids=["class", "size", "region"],
)  # fmt: skip
def test_a_map_of_another_class_size_or_region_starts_afresh(other: Explanation):
    state = heat_after((0, LEFT), (0.01, other))
    np.testing.assert_array_equal(state.heatmap, other.heatmap)
    assert state.scale == 3


def test_smoothing_starts_afresh_when_time_runs_backwards():
    np.testing.assert_array_equal(heat_after((5, LEFT), (0, RIGHT)).heatmap, RIGHT.heatmap)


def test_the_scale_rises_within_a_half_life_and_falls_in_twenty():
    assert next_scale(scale=2, peak=4, computed_peak=4, passed_seconds=0.15) == pytest.approx(3)
    assert next_scale(scale=4, peak=2, computed_peak=2, passed_seconds=0.15) == pytest.approx(4, rel=0.02)
    assert next_scale(scale=4, peak=2, computed_peak=2, passed_seconds=3.0) == pytest.approx(3)


def test_weak_evidence_after_strong_looks_weak():
    weak = explanation_of([[0.4, 0]])
    state = heat_after((0, LEFT), *((count / 25, weak) for count in range(1, 26)))
    assert state.heatmap.max() == pytest.approx(0.4, rel=0.01)
    assert state.heatmap.max() / state.scale < 0.15


def test_without_evidence_the_map_becomes_dark_and_the_scale_stays():
    dark = explanation_of([[0, 0]])
    state = heat_after((0, LEFT), *((count / 25, dark) for count in range(1, 51)))
    assert state.heatmap.max() == 0
    assert state.scale > 1
    assert heat_after((0, dark), (1, dark)).scale == 0


def test_the_first_evidence_fades_in_and_sets_the_scale():
    state = heat_after((0, explanation_of([[0, 0]])), (0.1, LEFT))
    np.testing.assert_allclose(state.heatmap, [[2, 0]])
    assert state.scale == 4


def test_a_map_with_a_value_that_is_not_finite_counts_as_empty():
    state = heat_after((0, LEFT), (0.1, explanation_of([[np.nan, 1]])), (0.2, LEFT))
    np.testing.assert_allclose(state.heatmap, [[3, 0]])  # 4, halved to 2, half way back to 4


def test_other_classes_are_smoothed_each_by_itself():
    before = explanation_of([[4, 0]], 0, {1: [[2, 0]], 2: [[8, 0]]})
    after = explanation_of([[0, 4]], 0, {2: [[0, 8]], 3: [[0, 6]]})
    state = heat_after((0, before), (0.1, after))
    (two, map_of_two), (three, map_of_three) = state.other_maps
    assert (two, three) == (2, 3)
    np.testing.assert_allclose(map_of_two, [[4, 4]])
    np.testing.assert_allclose(map_of_three, [[0, 6]])
    assert [prediction.class_index for prediction, _ in smoothed(after, state)[0].other_maps] == [2, 3]
    assert state.scale > 6  # one scale for all


def test_smoothing_makes_a_still_scene_five_times_as_still():
    # Noise on every cell of a map, at 30 frames per second.
    generator = np.random.default_rng(0)
    base = np.array([[0, 1, 2], [1, 4, 3], [0, 1, 1]], np.float32)
    state, alone, with_smoothing = None, [], []
    for index in range(150):
        explanation = explanation_of(np.maximum(base + generator.normal(0, 0.3, base.shape), 0))
        state = next_heat(state, explanation, index / 30, 0.15)
        alone.append(explanation.heatmap / explanation.heatmap.max())
        with_smoothing.append(state.heatmap / state.scale)
    changes = [np.abs(np.diff(drawn[30:], axis=0)).mean() for drawn in (alone, with_smoothing)]
    assert changes[0] / changes[1] > 5


@pytest.mark.parametrize("rate", [15, 30, 60])
def test_the_peak_follows_a_jump_to_weaker_evidence_within_three_tenths_of_a_second(rate: int):
    state = heat_after(*((index / rate, LEFT) for index in range(rate)), half_life_seconds=0.15)
    jumped = explanation_of([[0, 2.5]])
    for count in range(1, rate):
        state = next_heat(state, jumped, 1 - 1 / rate + count / rate, 0.15)
        if state.heatmap.argmax() == 1:
            break
    assert count / rate <= 0.3


# --- the cross-fade from one explained class to the next


def test_the_drawn_heat_of_a_class_fades_out_while_the_next_one_fades_in():
    cat, dog = explanation_of([[4, 0]], 1), explanation_of([[0, 2]], 2)
    state = heat_after((0, cat), (0.1, dog))
    # A half-life of the fade after the change, half of each, and each relative to its own scale.
    drawn, scale = smoothed(dog, state)
    np.testing.assert_allclose(drawn.heatmap / scale, [[0.5, 0.5]])
    state = next_heat(state, dog, 0.2, 0.1)
    drawn, scale = smoothed(dog, state)
    np.testing.assert_allclose(drawn.heatmap / scale, [[0.25, 0.75]])


def test_no_drawn_heat_jumps_when_classes_change_quickly():
    generator = np.random.default_rng(0)
    maps = [explanation_of(generator.random((3, 3)) * 10**index, index) for index in range(4)]
    state, before, rate = None, None, 250
    for number in range(2 * rate):
        explanation = maps[generator.integers(4)] if number % 10 == 0 else maps[state.class_index]
        state = next_heat(state, explanation, number / rate, 0.15)
        drawn, scale = smoothed(explanation, state)
        heat = drawn.heatmap / scale
        if before is not None:
            assert np.abs(heat - before).max() < 0.05
        before = heat
    for number in range(2 * rate, 3 * rate):
        state = next_heat(state, explanation, number / rate, 0.15)
    assert state.fading == ()


def test_the_state_and_the_raw_explanation_never_mix_two_classes():
    cat, dog = explanation_of([[4, 0]], 1), explanation_of([[0, 2]], 2)
    state = heat_after((0, cat), (0.05, dog))
    np.testing.assert_array_equal(state.heatmap, [[0, 2]])
    assert [heat.heatmap.tolist() for heat in state.fading] == [[[1, 0]]]
    assert dog.heatmap.tolist() == [[0, 2]]


def test_a_class_without_evidence_lets_the_one_before_fade_out():
    state = heat_after((0, LEFT), (0.1, explanation_of([[0, 0]], 1)))
    drawn, scale = smoothed(explanation_of([[0, 0]], 1), state)
    np.testing.assert_allclose(drawn.heatmap / scale, [[0.5, 0]])


def test_nothing_fades_after_a_cut_or_where_several_classes_are_drawn():
    assert heat_after((0, LEFT), (0.1, explanation_of([[0, 4]], 1, region_xywh=(0.1, 0, 0.8, 1)))).fading == ()
    several = explanation_of([[0, 2]], 2, {1: [[4, 0]]})
    state = heat_after((0, explanation_of([[4, 0]], 1, {2: [[0, 2]]})), (0.1, several))
    np.testing.assert_array_equal(smoothed(several, state)[0].heatmap, [[0, 2]])


# --- colors of several classes


def test_a_class_keeps_its_color_while_others_come_and_go():
    colors = ()
    seen: dict[int, set[int]] = {}
    for classes in ([7, 8, 9], [8, 7, 9], [7, 9], [7, 8, 4], [4, 8, 7], [7, 9, 8]):
        colors = next_colors(colors, classes, 5)
        shown = [dict(colors)[index] for index in classes]
        assert len(set(shown)) == len(classes)
        for index, color in zip(classes, shown, strict=True):
            seen.setdefault(index, set()).add(color)
    assert seen == {7: {0}, 8: {1}, 9: {2}, 4: {3}}


def test_a_new_class_gets_the_color_of_the_class_that_was_absent_for_longest():
    colors = ()
    for classes in ([1, 2], [2, 3], [3, 2]):
        colors = next_colors(colors, classes, 3)
    assert dict(next_colors(colors, [4, 3], 3))[4] == 0  # that of class 1


@given(frames=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=5, unique=True), max_size=20))
def test_colors_stay_and_differ_whatever_classes_come_and_go(frames: list[list[int]]):
    before = ()
    for classes in frames:
        after = next_colors(before, classes, 5)
        kept = [index for index in classes if index in dict(before)]
        assert [dict(after)[index] for index in kept] == [dict(before)[index] for index in kept]
        assert len({dict(after)[index] for index in classes}) == len(classes)
        assert len(after) <= 5
        before = after


# --- cuts


@pytest.fixture(scope="module")
def photographs(photograph_path: Path) -> list[np.ndarray]:
    import cv2

    names = ("chelsea.png", "coffee.png", "rocket.jpg", "astronaut.png")
    images = [cv2.imread(str(photograph_path.with_name(name))) for name in names]
    return [cv2.resize(image, (224, 224))[np.newaxis] for image in images]


def test_a_cut_between_photographs_is_found_but_noise_a_pan_or_a_lamp_is_none(photographs: list[np.ndarray]):
    generator = np.random.default_rng(0)
    for photograph in photographs:
        noisy = np.clip(photograph + generator.normal(0, 8, photograph.shape), 0, 255).astype(np.uint8)
        for changed in (noisy, np.roll(photograph, 6, axis=2), (photograph * 0.85).astype(np.uint8)):
            assert not is_cut(samples_of(photograph), samples_of(changed))
        for other in photographs:
            assert is_cut(samples_of(photograph), samples_of(other)) == (other is not photograph)


def test_every_input_size_has_samples():
    for size_hw in ((1, 1), (32, 48), (224, 224), (600, 380)):
        rows, columns, channels = samples_of(np.zeros((1, *size_hw, 3), np.uint8)).shape
        assert 1 <= rows <= 56
        assert 1 <= columns <= 56
        assert channels == 3
    assert is_cut(samples_of(np.zeros((1, 32, 32, 3), np.uint8)), samples_of(np.zeros((1, 9, 9, 3), np.uint8)))


# --- the memory between frames


class MapExplainer:
    """Returns the map it is given, for the class it is asked for; notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[int | None] = []
        self.top_index, self.heatmap = 5, [[4, 0]]

    def explain_input(
        self, network_input: NetworkInput, class_index: int | None = None, contrast_index: int | None = None
    ) -> Explanation:
        self.asked.append(class_index)
        explained = self.top_index if class_index is None else class_index
        predictions = [Prediction(index, str(index), value, value) for index, value in enumerate(self.probabilities())]
        heatmap = np.array(self.heatmap, np.float32)
        return Explanation(
            (predictions[self.top_index],), predictions[explained], heatmap, probabilities=self.probabilities()
        )

    def probabilities(self) -> np.ndarray:
        """Of 16 classes: the top class has a half, the others share the rest."""
        return np.where(np.arange(16) == self.top_index, 0.5, 0.5 / 15).astype(np.float32)


class Clip:
    """Explains frames of one source, given as network inputs and times."""

    def __init__(self, smooth_seconds: float = 0.1) -> None:
        self.temporal = TemporalExplainer(smooth_seconds)

    def explain(self, explainer: MapExplainer, pixels: np.ndarray, time_seconds: float) -> SmoothedExplanation:
        frame = Frame(pixels[0], 0, time_seconds)
        return self.temporal.explain(explainer, frame, network_input_of(pixels))


def network_input_of(pixels: np.ndarray) -> NetworkInput:
    return NetworkInput(pixels, (0.0, 0.0, 1.0, 1.0))


def test_after_a_cut_the_top_class_is_explained_and_drawn_as_it_is(photographs: list[np.ndarray]):
    cat, coffee = photographs[:2]
    explainer, clip = MapExplainer(), Clip()
    clip.explain(explainer, cat, 0.0)
    clip.explain(explainer, cat, 0.1)
    explainer.top_index, explainer.heatmap = 6, [[0, 3]]
    explained = clip.explain(explainer, coffee, 0.2)
    assert explainer.asked == [None, 5, None]
    np.testing.assert_array_equal(explained.drawn_explanation.heatmap, [[0, 3]])
    assert explained.scale == 3


def test_the_raw_explanation_is_kept_beside_the_smoothed_one(photographs: list[np.ndarray]):
    explainer, clip = MapExplainer(), Clip()
    clip.explain(explainer, photographs[0], 0.0)
    explainer.heatmap = [[0, 4]]
    explained = clip.explain(explainer, photographs[0], 0.1)
    np.testing.assert_array_equal(explained.explanation.heatmap, [[0, 4]])
    np.testing.assert_allclose(explained.drawn_explanation.heatmap, [[2, 2]])


def test_without_smoothing_each_frame_stands_alone(photographs: list[np.ndarray]):
    explainer, clip = MapExplainer(), Clip(0)
    for _ in range(3):
        explained = clip.explain(explainer, photographs[0], 0.0)
    assert explainer.asked == [None, None, None]
    assert explained.drawn_explanation is explained.explanation
    assert explained.scale is None


def test_smoothing_can_be_changed_between_two_frames(photographs: list[np.ndarray]):
    explainer, clip = MapExplainer(), Clip()
    clip.explain(explainer, photographs[0], 0.0)
    clip.temporal.smooth_seconds = 0
    assert clip.explain(explainer, photographs[0], 0.1).scale is None
    clip.temporal.smooth_seconds = 0.2
    assert clip.explain(explainer, photographs[0], 0.2).scale == 4


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_a_half_life_that_makes_no_sense_is_an_error(seconds: float):
    with pytest.raises(SettingError, match="smooth_seconds must be a number of 0 or more"):
        FeedSettings(smooth_seconds=seconds)


def test_after_a_reset_the_maps_start_afresh_and_the_class_stays(photographs: list[np.ndarray]):
    explainer, clip = MapExplainer(), Clip()
    clip.explain(explainer, photographs[0], 0.0)
    explainer.heatmap = [[0, 0.1]]
    clip.temporal.reset()
    assert clip.explain(explainer, photographs[0], 0.1).scale == pytest.approx(0.1)
    assert explainer.asked == [None, 5]


def test_an_explanation_begun_before_a_reset_is_drawn_but_not_remembered(photographs: list[np.ndarray]):
    clip = Clip()
    is_asked, may_answer = threading.Event(), threading.Event()

    class SlowExplainer(MapExplainer):
        def explain_input(self, *asked: object) -> Explanation:
            is_asked.set()
            assert may_answer.wait(10)
            return super().explain_input(*asked)

    clip.explain(MapExplainer(), photographs[0], 0.0)
    slow, explainer = SlowExplainer(), MapExplainer()
    slow.heatmap, explainer.heatmap = [[0, 8]], [[2, 0]]
    with ThreadPoolExecutor(1) as explaining_thread:
        in_flight = explaining_thread.submit(clip.explain, slow, photographs[0], 0.1)
        assert is_asked.wait(10)
        clip.temporal.reset()
        may_answer.set()
        outdated = in_flight.result(10)
    assert outdated.drawn_explanation.heatmap.tolist() == [[0, 8]]
    assert outdated.scale is None  # by its own maximum
    assert outdated.state.heat is None
    first = clip.explain(explainer, photographs[0], 0.2)
    assert (first.drawn_explanation.heatmap.tolist(), first.scale) == ([[2, 0]], 2)


def test_a_class_is_never_its_own_contrast_even_if_another_thread_updates_it_meanwhile():
    cat, dog = (Prediction(index, str(index), 0.5, 0.5) for index in (281, 207))
    heatmap = np.zeros((1, 2), np.float32)
    contrast, threads = ContrastClass(), []

    class ExplainedIndex(int):
        """Lets another thread update the contrast class at the moment in which the classes are compared."""

        def __eq__(self, other: object) -> bool:
            if not threads:
                update = threading.Thread(target=contrast.update, args=[Explanation((dog, cat), dog, heatmap)])
                threads.append(update)
                update.start()
                update.join(0.2)  # it ends at once, or waits for its turn
            return int(self) == other

        __hash__ = int.__hash__

    contrast.set_mode("second")
    contrast.update(Explanation((cat, dog), cat, heatmap))
    assert contrast.next_index(ExplainedIndex(281)) == 207
    threads[0].join(10)
    assert not threads[0].is_alive()
    assert contrast.next_index(207) == 281


@pytest.mark.parametrize("smooth_seconds", [0.0, 0.1])
def test_a_top_class_that_was_the_contrast_class_gets_another_contrast(
    photographs: list[np.ndarray], smooth_seconds: float
):
    cat, coffee = photographs[:2]
    asked: list[tuple[int | None, int | None]] = []

    class Ranked:
        def __init__(self, *ranking: int) -> None:
            self.predictions = tuple(Prediction(index, str(index), 0.5, 0.5) for index in ranking)

        def explain_input(
            self, network_input: NetworkInput, class_index: int | None, contrast_index: int | None
        ) -> Explanation:
            asked.append((class_index, contrast_index))
            explained = next((p for p in self.predictions if p.class_index == class_index), self.predictions[0])
            return Explanation(self.predictions, explained, np.ones((1, 2), np.float32))

    clip = Clip(smooth_seconds)
    clip.temporal.contrast.set_mode("second")
    clip.explain(Ranked(1, 2, 3), cat, 0.0)
    # Asked for the top class, because each frame stands alone, or because of the cut.
    explained = clip.explain(Ranked(2, 3, 1), coffee, 0.1)
    assert explained.explanation.explained.class_index == 2
    assert asked == [(None, -1), (1, 2), (None, 2), (2, 3)]


def test_a_job_that_continues_from_a_saved_state_gives_what_an_uninterrupted_one_gives(
    photographs: list[np.ndarray], tmp_path: Path
):
    generator = np.random.default_rng(0)
    frames = [(photographs[index // 6], generator.random((3, 3)), index / 10) for index in range(9)]

    def explain_all(clip: Clip, part: list) -> list[SmoothedExplanation]:
        explainer, explained = MapExplainer(), []
        for pixels, heatmap, time_seconds in part:
            explainer.heatmap, explainer.top_index = heatmap, 5 + int(10 * heatmap[0, 0])
            explained.append(clip.explain(explainer, pixels, time_seconds))
        return explained

    whole = explain_all(Clip(), frames)
    first, second = Clip(), Clip()
    explain_all(first, frames[:4])
    np.savez(tmp_path / "state.npz", **state_arrays(first.temporal.state))
    with np.load(tmp_path / "state.npz") as arrays:
        second.temporal.restore(state_from(arrays))
    for resumed, expected in zip(explain_all(second, frames[4:]), whole[4:], strict=True):
        np.testing.assert_array_equal(resumed.drawn_explanation.heatmap, expected.drawn_explanation.heatmap)
        assert resumed.explanation.explained == expected.explanation.explained
        assert resumed.scale == expected.scale


def test_the_state_before_the_first_frame_can_be_saved_too():
    temporal = TemporalExplainer()
    restored = state_from(state_arrays(temporal.state))
    assert (restored.heat, restored.samples) == (None, None)
    assert (restored.classes.class_index, restored.classes.averages, restored.colors) == (None, None, ())


def test_the_guessed_class_is_the_kept_one_but_none_after_a_cut_until_a_frame_is_explained(
    photographs: list[np.ndarray],
):
    cat, coffee = photographs[:2]
    explainer, clip = MapExplainer(), Clip()

    def guess(pixels: np.ndarray) -> int | None:
        return clip.temporal.guess_class(network_input_of(pixels))

    guesses = [guess(cat), guess(cat)]  # two are under way, none is explained
    clip.explain(explainer, cat, 0.0)
    guesses += [guess(coffee), guess(coffee)]
    clip.explain(explainer, cat, 0.1)
    guesses.append(guess(coffee))
    explainer.top_index = 6
    clip.explain(explainer, coffee, 0.2)  # the first after the cut
    guesses.append(guess(coffee))
    assert guesses == [None, None, None, None, None, 6]
    clip.temporal.classes.choose(9)
    assert [guess(coffee), guess(cat)] == [9, 9]


def test_without_smoothing_no_class_is_guessed(photographs: list[np.ndarray]):
    clip = Clip(0)
    clip.explain(MapExplainer(), photographs[0], 0.0)
    assert clip.temporal.guess_class(network_input_of(photographs[0])) is None
