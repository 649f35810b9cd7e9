"""Smoothing and its scale, computed by hand; cuts; and what can be kept and gone on from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from live_cam.errors import SettingError
from live_cam.explainer import NetworkInput
from live_cam.frame import Explanation, Prediction
from live_cam.steady.scene import is_cut, samples_of
from live_cam.steady.smoothing import HeatState, kept_weight, next_heat, next_scale, smoothed
from live_cam.steady.steady_pass import SteadyPass, state_arrays, state_of


def explanation_of(
    heatmap: object, class_index: int = 0, others: dict[int, object] | None = None, region_xywh=(0.0, 0.0, 1.0, 1.0)
) -> Explanation:
    def prediction(index: int) -> Prediction:
        return Prediction(index, str(index), 0.5, 0.5)

    other_maps = tuple((prediction(index), np.array(one, np.float32)) for index, one in (others or {}).items())
    one = prediction(class_index)
    return Explanation((one,), one, np.array(heatmap, np.float32), region_xywh, other_maps)


def heat_after(*steps: tuple[float, Explanation], half_life_seconds: float = 0.1) -> HeatState:
    state = None
    for time_seconds, explanation in steps:
        state = next_heat(state, explanation, time_seconds, half_life_seconds)
    return state


LEFT, RIGHT = explanation_of([[4, 0]]), explanation_of([[0, 4]])


def test_half_of_what_was_before_is_left_after_a_half_life():
    assert kept_weight(0.1, 0.1) == 0.5
    assert kept_weight(0.3, 0.1) == pytest.approx(0.125)
    np.testing.assert_allclose(heat_after((0, LEFT), (0.1, RIGHT)).heatmap, [[2, 2]])


def test_the_rate_of_frames_makes_no_difference():
    seldom = heat_after((0, LEFT), (0.2, RIGHT))
    often = heat_after((0, LEFT), *((0.2 * count / 50, RIGHT) for count in range(1, 51)))
    np.testing.assert_allclose(often.heatmap, seldom.heatmap, rtol=1e-5)


def test_the_first_frame_is_drawn_as_it_is_by_its_own_maximum():
    state = heat_after((7.0, LEFT))
    np.testing.assert_array_equal(smoothed(LEFT, state).heatmap, LEFT.heatmap)
    assert state.scale == 4


@pytest.mark.parametrize(
    "other",
    [explanation_of([[0, 3]], class_index=1), explanation_of([[0, 3], [0, 0]]),
     explanation_of([[0, 3]], region_xywh=(0.1, 0, 0.8, 1))],
    ids=["class", "size", "region"],
)  # fmt: skip
def test_a_map_of_something_else_begins_anew(other: Explanation):
    state = heat_after((0, LEFT), (0.01, other))
    np.testing.assert_array_equal(state.heatmap, other.heatmap)
    assert state.scale == 3


def test_time_that_runs_backwards_begins_anew():
    np.testing.assert_array_equal(heat_after((5, LEFT), (0, RIGHT)).heatmap, RIGHT.heatmap)


def test_the_scale_follows_up_in_a_half_life_and_down_in_twenty():
    assert next_scale(scale=2, peak=4, computed_peak=4, passed_seconds=0.15) == pytest.approx(3)
    assert next_scale(scale=4, peak=2, computed_peak=2, passed_seconds=0.15) == pytest.approx(4, rel=0.02)
    assert next_scale(scale=4, peak=2, computed_peak=2, passed_seconds=3.0) == pytest.approx(3)


def test_weak_evidence_after_strong_looks_weak():
    weak = explanation_of([[0.4, 0]])
    state = heat_after((0, LEFT), *((count / 25, weak) for count in range(1, 26)))
    assert state.heatmap.max() == pytest.approx(0.4, rel=0.01)
    assert state.heatmap.max() / state.scale < 0.15


def test_a_map_without_evidence_gets_and_stays_dark_and_does_not_move_the_scale():
    dark = explanation_of([[0, 0]])
    state = heat_after((0, LEFT), *((count / 25, dark) for count in range(1, 51)))
    assert state.heatmap.max() == 0
    assert state.scale > 1
    assert heat_after((0, dark), (1, dark)).scale == 0


def test_the_first_evidence_fades_in_by_its_own_scale():
    state = heat_after((0, explanation_of([[0, 0]])), (0.1, LEFT))
    np.testing.assert_allclose(state.heatmap, [[2, 0]])
    assert state.scale == 4


def test_numbers_that_are_none_do_not_stay():
    state = heat_after((0, LEFT), (0.1, explanation_of([[np.nan, 1]])), (0.2, LEFT))
    np.testing.assert_allclose(state.heatmap, [[3, 0]])  # 4, halved to 2, half way back to 4


def test_other_classes_are_smoothed_each_on_its_own():
    before = explanation_of([[4, 0]], 0, {1: [[2, 0]], 2: [[8, 0]]})
    after = explanation_of([[0, 4]], 0, {2: [[0, 8]], 3: [[0, 6]]})
    state = heat_after((0, before), (0.1, after))
    (two, map_of_two), (three, map_of_three) = state.other_maps
    assert (two, three) == (2, 3)
    np.testing.assert_allclose(map_of_two, [[4, 4]])
    np.testing.assert_allclose(map_of_three, [[0, 6]])
    assert [one.class_index for one, _ in smoothed(after, state).other_maps] == [2, 3]
    assert state.scale > 6  # one scale for all


def test_a_still_scene_stands_still_five_times_as_much():
    # Noise of a tenth on every cell of a map, at 30 frames a second.
    generator = np.random.default_rng(0)
    base = np.array([[0, 1, 2], [1, 4, 3], [0, 1, 1]], np.float32)
    state, alone, steadied = None, [], []
    for index in range(150):
        explanation = explanation_of(np.maximum(base + generator.normal(0, 0.3, base.shape), 0))
        state = next_heat(state, explanation, index / 30, 0.15)
        alone.append(explanation.heatmap / explanation.heatmap.max())
        steadied.append(state.heatmap / state.scale)
    changes = [np.abs(np.diff(drawn[30:], axis=0)).mean() for drawn in (alone, steadied)]
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


# --- cuts


@pytest.fixture(scope="module")
def photographs(photograph_path: Path) -> list[np.ndarray]:
    import cv2

    names = ("chelsea.png", "coffee.png", "rocket.jpg", "astronaut.png")
    images = [cv2.imread(str(photograph_path.with_name(name))) for name in names]
    return [cv2.resize(image, (224, 224))[np.newaxis] for image in images]


def test_every_cut_between_photographs_is_seen_and_noise_and_pans_are_none(photographs: list[np.ndarray]):
    generator = np.random.default_rng(0)
    for photograph in photographs:
        noisy = np.clip(photograph + generator.normal(0, 8, photograph.shape), 0, 255).astype(np.uint8)
        for changed in (noisy, np.roll(photograph, 6, axis=2), (photograph * 0.85).astype(np.uint8)):
            assert not is_cut(samples_of(photograph), samples_of(changed))
        for other in photographs:
            assert is_cut(samples_of(photograph), samples_of(other)) == (other is not photograph)


def test_networks_of_any_input_size_have_samples():
    for size_hw in ((1, 1), (32, 48), (224, 224), (600, 380)):
        rows, columns, channels = samples_of(np.zeros((1, *size_hw, 3), np.uint8)).shape
        assert 1 <= rows <= 56
        assert 1 <= columns <= 56
        assert channels == 3
    assert is_cut(samples_of(np.zeros((1, 32, 32, 3), np.uint8)), samples_of(np.zeros((1, 9, 9, 3), np.uint8)))


# --- the pass with a memory


class MapExplainer:
    """Gives what it is told, for the class it is asked for; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[int | None] = []
        self.top_index, self.heatmap = 5, [[4, 0]]

    def explain_input(
        self, network_input: NetworkInput, class_index: int | None = None, contrast_index: int | None = None
    ) -> Explanation:
        self.asked.append(class_index)
        explained = self.top_index if class_index is None else class_index
        top = Prediction(self.top_index, "top", 0.5, 0.5)
        return Explanation(
            (top,), top if explained == 5 else Prediction(explained, "", 0.4, 0.4), np.array(self.heatmap, np.float32)
        )


def network_input_of(pixels: np.ndarray) -> NetworkInput:
    return NetworkInput(pixels, (0.0, 0.0, 1.0, 1.0))


def test_after_a_cut_the_top_class_is_explained_and_drawn_as_it_is(photographs: list[np.ndarray]):
    cat, coffee = (network_input_of(pixels) for pixels in photographs[:2])
    explainer, steady = MapExplainer(), SteadyPass(0.1)
    steady.explain(explainer, cat, 0.0)
    steady.explain(explainer, cat, 0.1)
    explainer.top_index, explainer.heatmap = 6, [[0, 3]]
    steadied = steady.explain(explainer, coffee, 0.2)
    assert explainer.asked == [None, 5, None]
    np.testing.assert_array_equal(steadied.drawn.heatmap, [[0, 3]])
    assert steadied.scale == 3


def test_the_explanation_stays_as_computed(photographs: list[np.ndarray]):
    cat, explainer, steady = network_input_of(photographs[0]), MapExplainer(), SteadyPass(0.1)
    steady.explain(explainer, cat, 0.0)
    explainer.heatmap = [[0, 4]]
    steadied = steady.explain(explainer, cat, 0.1)
    np.testing.assert_array_equal(steadied.explanation.heatmap, [[0, 4]])
    np.testing.assert_allclose(steadied.drawn.heatmap, [[2, 2]])


def test_no_smoothing_is_each_frame_on_its_own(photographs: list[np.ndarray]):
    cat, explainer, steady = network_input_of(photographs[0]), MapExplainer(), SteadyPass(0)
    for _ in range(3):
        steadied = steady.explain(explainer, cat, 0.0)
    assert explainer.asked == [None, None, None]
    assert steadied.drawn is steadied.explanation
    assert steadied.scale is None


def test_smoothing_can_be_changed_between_two_frames(photographs: list[np.ndarray]):
    cat, explainer, steady = network_input_of(photographs[0]), MapExplainer(), SteadyPass(0.1)
    steady.explain(explainer, cat, 0.0)
    steady.half_life_seconds = 0
    assert steady.explain(explainer, cat, 0.1).scale is None
    steady.half_life_seconds = 0.2
    assert steady.explain(explainer, cat, 0.2).scale == 4
    with pytest.raises(SettingError, match="half-life in seconds"):
        steady.half_life_seconds = -1


def test_maps_made_in_another_way_begin_anew(photographs: list[np.ndarray]):
    cat, explainer, steady = network_input_of(photographs[0]), MapExplainer(), SteadyPass(0.1)
    steady.explain(explainer, cat, 0.0)
    explainer.heatmap = [[0, 0.1]]
    steady.begin_anew()
    assert steady.explain(explainer, cat, 0.1).scale == pytest.approx(0.1)
    assert explainer.asked == [None, 5]


def test_a_run_goes_on_from_a_kept_state_as_if_it_had_not_ended(photographs: list[np.ndarray], tmp_path: Path):
    generator = np.random.default_rng(0)
    frames = [(network_input_of(photographs[index // 6]), generator.random((3, 3)), index / 10) for index in range(9)]

    def run_over(steady: SteadyPass, part: list) -> list:
        explainer, drawn = MapExplainer(), []
        for network_input, heatmap, time_seconds in part:
            explainer.heatmap, explainer.top_index = heatmap, 5 + int(10 * heatmap[0, 0])
            drawn.append(steady.explain(explainer, network_input, time_seconds))
        return drawn

    whole = run_over(SteadyPass(), frames)
    first, second = SteadyPass(), SteadyPass()
    run_over(first, frames[:4])
    np.savez(tmp_path / "state.npz", **state_arrays(first.state))
    with np.load(tmp_path / "state.npz") as arrays:
        second.restore(state_of(arrays))
    for resumed, expected in zip(run_over(second, frames[4:]), whole[4:], strict=True):
        np.testing.assert_array_equal(resumed.drawn.heatmap, expected.drawn.heatmap)
        assert resumed.explanation.explained == expected.explanation.explained
        assert resumed.scale == expected.scale


def test_the_state_before_the_first_frame_can_be_kept_too():
    steady = SteadyPass()
    restored = state_of(state_arrays(steady.state))
    assert (restored.heat, restored.samples) == (None, None)
    assert restored.classes == steady.state.classes


def test_a_guess_is_the_kept_class_but_after_a_cut_nothing_until_its_first_frame_is_explained(
    photographs: list[np.ndarray],
):
    cat, coffee = (network_input_of(pixels) for pixels in photographs[:2])
    explainer, steady = MapExplainer(), SteadyPass(0.1)
    guesses = [steady.guess(cat), steady.guess(cat)]  # two on their way, none explained
    steady.explain(explainer, cat, 0.0)
    guesses += [steady.guess(coffee), steady.guess(coffee)]
    steady.explain(explainer, cat, 0.1)
    guesses.append(steady.guess(coffee))
    explainer.top_index = 6
    steady.explain(explainer, coffee, 0.2)  # the first after the cut
    guesses.append(steady.guess(coffee))
    assert guesses == [None, None, None, None, None, 6]
    steady.classes.choose(9)
    assert [steady.guess(coffee), steady.guess(cat)] == [9, 9]
    alone = SteadyPass(0)
    alone.explain(explainer, cat, 0.0)
    assert alone.guess(cat) is None
