"""Calls in several threads: results in order, few at a time, errors in their turn; and ``explain_many`` over them."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from any_networks import HEADS, functional
from PIL import Image

from live_cam.errors import SettingError, SourceError
from live_cam.explain.explainer import ModelExplainer
from live_cam.explain.load import load_explainer
from live_cam.explain.replica_pool import ReplicaPool, results_in_order

DEADLINE_SECONDS = 20


def test_results_come_in_the_order_of_the_calls_not_of_their_ends():
    second_is_done = threading.Event()

    def first() -> int:
        assert second_is_done.wait(DEADLINE_SECONDS)
        return 1

    def second() -> int:
        second_is_done.set()
        return 2

    assert list(results_in_order([first, second], thread_count=2)) == [1, 2]


def test_calls_are_taken_only_as_fast_as_their_results():
    taken: list[int] = []
    calls = (partial(lambda number: taken.append(number) or number, number) for number in range(100))
    results = results_in_order(calls, thread_count=2)
    assert not taken
    assert next(results) == 0
    # Two run, one waits.
    assert max(taken) <= 2
    assert [next(results), next(results)] == [1, 2]
    assert max(taken) <= 4
    results.close()
    assert max(taken) <= 4


@pytest.mark.parametrize("is_in_the_iterable", [False, True])
def test_an_error_is_raised_after_the_results_before_it(is_in_the_iterable: bool):
    def fail() -> int:
        raise ValueError("broken")

    def calls():
        for number in range(5):
            if is_in_the_iterable and number == 3:
                fail()
            yield fail if number == 3 else partial(int, number)

    results = results_in_order(calls(), thread_count=4)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="broken"):
        next(results)


def test_closing_waits_for_the_calls_that_run():
    has_begun, may_end, ended = threading.Event(), threading.Event(), []

    def slow() -> None:
        has_begun.set()
        may_end.wait(DEADLINE_SECONDS)
        ended.append(True)

    results = results_in_order([partial(int, 1), slow, slow, slow], thread_count=2)
    assert next(results) == 1
    assert has_begun.wait(DEADLINE_SECONDS)
    threading.Timer(0.05, may_end.set).start()
    results.close()
    assert 1 <= len(ended) <= 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("livecam-replica")]


def test_a_replica_is_lent_to_one_thread_at_a_time():
    pool = ReplicaPool(["only"])
    with pool.lent() as replica:
        waiting = threading.Thread(target=lambda: pool.lent().__enter__())
        waiting.start()
        waiting.join(0.05)
        assert replica == "only"
        assert waiting.is_alive()
    waiting.join(DEADLINE_SECONDS)
    assert not waiting.is_alive()


# --- explain_many


@pytest.fixture(scope="module")
def explainer() -> ModelExplainer:
    keras.utils.set_random_seed(1)
    model = functional(HEADS["softmax"]())
    model.name = "small"
    return load_explainer(model, engine="litert", threads=2)


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return [np.random.default_rng(seed).integers(0, 256, (40, 60, 3), np.uint8) for seed in range(12)]


@pytest.mark.parametrize("target", [None, 1])
def test_many_images_are_explained_as_each_alone(explainer: ModelExplainer, images: list[np.ndarray], target):
    expected = [explainer.explain(image, target) for image in images]
    explanations = list(explainer.explain_many(iter(images), target))
    assert len(explanations) == len(expected)
    for explanation, alone in zip(explanations, expected, strict=True):
        assert explanation.explained.class_index == alone.explained.class_index
        np.testing.assert_allclose(explanation.heatmap, alone.heatmap, rtol=1e-4, atol=1e-6)


def test_arrays_paths_and_pil_images_may_be_mixed(explainer: ModelExplainer, images: list[np.ndarray], tmp_path: Path):
    cv2.imwrite(str(tmp_path / "image.png"), images[0])
    pil = Image.fromarray(images[0][..., ::-1])
    mixed = [images[0], tmp_path / "image.png", str(tmp_path / "image.png"), pil]
    expected = explainer.explain(images[0]).heatmap
    for explanation in explainer.explain_many(mixed):
        np.testing.assert_allclose(explanation.heatmap, expected, rtol=1e-4, atol=1e-6)


def test_an_iterable_may_reuse_its_array(explainer: ModelExplainer, images: list[np.ndarray]):
    def reusing():
        buffer = np.empty_like(images[0])
        for image in images:
            buffer[:] = image
            yield buffer

    for explanation, image in zip(explainer.explain_many(reusing()), images, strict=True):
        np.testing.assert_allclose(explanation.heatmap, explainer.explain(image).heatmap, rtol=1e-4, atol=1e-6)


def test_an_image_that_cannot_be_read_raises_when_its_turn_comes(
    explainer: ModelExplainer, images: list[np.ndarray], tmp_path: Path
):
    (tmp_path / "broken.jpg").write_text("no image")
    for broken, error in ((tmp_path / "broken.jpg", SourceError), (images[0][..., 0], SettingError)):
        explanations = explainer.explain_many([images[0], images[1], broken, images[2]])
        assert len([next(explanations), next(explanations)]) == 2
        with pytest.raises(error, match=r"not an image that OpenCV can read|convert gray images"):
            next(explanations)


@pytest.mark.parametrize("images", ["cat.jpg", Path("cat.jpg"), 3, None])
def test_what_is_no_iterable_of_images_is_refused_at_once(explainer: ModelExplainer, images: object):
    with pytest.raises(SettingError, match="images: expected an iterable of images, got"):
        explainer.explain_many(images)


def test_an_unknown_class_is_refused_at_once(explainer: ModelExplainer):
    with pytest.raises(SettingError, match="no class 99"):
        explainer.explain_many([], target=99)
