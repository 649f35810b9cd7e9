"""The pictures that notebooks show of explanations and results."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from live_cam.frame import Explanation, Frame, Prediction, Result

TABBY = Prediction(281, "tabby", 0.6, 4.0)
HEATMAP = np.zeros((7, 7), np.float32)
HEATMAP[1, 5] = 2.0
EXPLANATION = Explanation((TABBY,), TABBY, HEATMAP)


def decoded(png: bytes) -> np.ndarray:
    assert png.startswith(b"\x89PNG")
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)


def result_of(image: np.ndarray) -> Result:
    frame = Frame(image, 0, 0.0)
    return Result(frame, EXPLANATION, EXPLANATION, None, frame, None, lambda caption: image)


def test_an_explanation_is_its_map_with_the_class_beneath():
    png = EXPLANATION._repr_png_()
    assert len(png) < 100_000
    picture = decoded(png)
    height, width = picture.shape[:2]
    assert width == 224
    assert height > 224
    # The hot cell is red in the default colors; the opposite corner is not.
    hot, cold = picture[48, 176].astype(int), picture[200, 16].astype(int)
    assert hot[2] > hot[0] + 80
    assert hot[2] > cold[2] + 80
    # Only the text differs between two classes.
    other = decoded(replace(EXPLANATION, explained=Prediction(0, "tench", 0.1, 1.0))._repr_png_())
    np.testing.assert_array_equal(other[:224], picture[:224])
    assert other.shape != picture.shape or (other[224:] != picture[224:]).any()


@pytest.mark.parametrize("shape", [(1, 1), (7, 7), (14, 9)])
def test_a_map_without_evidence_has_a_picture_too(shape: tuple[int, int]):
    decoded(replace(EXPLANATION, heatmap=np.zeros(shape, np.float32))._repr_png_())


def test_a_result_is_its_annotated_image():
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    np.testing.assert_array_equal(decoded(result_of(image)._repr_png_()), image)


def test_a_text_has_what_a_reader_needs_and_no_pixels():
    result = result_of(np.zeros((90, 120, 3), np.uint8))
    explanation = replace(EXPLANATION, probabilities=np.zeros(1000, np.float32), other_maps=((TABBY, HEATMAP),))
    for text in (repr(result), repr(explanation)):
        assert "label='tabby', probability=0.6" in text
        assert "array" not in text
        assert len(text) < 700
    assert "index=0, time_seconds=0.0" in repr(result)


def test_a_large_result_is_reduced():
    assert decoded(result_of(np.zeros((1080, 1920, 3), np.uint8))._repr_png_()).shape == (405, 720, 3)
    assert decoded(result_of(np.zeros((4000, 2, 3), np.uint8))._repr_png_()).shape == (720, 1, 3)
