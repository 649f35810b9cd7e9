"""From outputs to predictions, with numbers that can be checked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from live_cam.errors import SettingError
from live_cam.predictions import class_index_of, class_probabilities, top_predictions

LABELS = ("tabby", "Egyptian cat", "tiger", "crane (bird)")


def outputs(*values):
    return np.array(values, np.float32)


def test_top_predictions_are_ordered_by_value():
    best = top_predictions(outputs(0.1, 0.6, 0.3, 0.0), "softmax", LABELS, top_k=3)
    assert [prediction.class_index for prediction in best] == [1, 2, 0]
    assert [prediction.label for prediction in best] == ["Egyptian cat", "tiger", "tabby"]
    assert [prediction.probability for prediction in best] == pytest.approx([0.6, 0.3, 0.1])


def test_all_classes_are_returned_if_top_k_exceeds_their_number():
    assert len(top_predictions(outputs(0.5, 0.5), "softmax", LABELS, top_k=10)) == 2


def test_large_logits_become_probabilities_that_sum_to_one():
    probabilities = class_probabilities(outputs(1000, 1000, 1000 - np.log(2)), "logits")
    np.testing.assert_allclose(probabilities, [0.4, 0.4, 0.2], atol=1e-5)


def test_a_single_sigmoid_output_is_two_classes():
    best = top_predictions(outputs(0.9), "binary", ("no", "yes"), top_k=5)
    assert [prediction.label for prediction in best] == ["yes", "no"]
    assert [prediction.probability for prediction in best] == pytest.approx([0.9, 0.1])


def test_a_number_has_a_value_and_no_probability():
    (only,) = top_predictions(outputs(37.5), "regression", ("age",), top_k=5)
    assert (only.probability, only.value) == (None, 37.5)


@pytest.mark.parametrize(
    ("target", "index"),
    [
        *((2, 2), ("2", 2), (np.int64(2), 2), (np.uint8(2), 2), (np.array(2), 2)),
        *(("tiger", 2), (np.str_("tiger"), 2), ("EGYPTIAN_CAT", 1), (" egyptian  cat ", 1)),
    ],
)
def test_a_class_is_found_by_index_or_label(target, index):
    assert class_index_of(target, LABELS) == index


def test_a_part_of_one_label_is_enough():
    assert class_index_of("crane", LABELS) == 3


def test_a_whole_label_comes_before_a_part_of_another():
    assert class_index_of("cat", ("wild cat", "cat")) == 1


def test_a_part_of_several_labels_lists_them():
    with pytest.raises(
        SettingError, match="'t' is a part of 3 labels: 0 tabby, 1 Egyptian cat, 2 tiger; give an index"
    ):
        class_index_of("t", LABELS)


def test_an_index_comes_before_a_label():
    assert class_index_of("1", ("3", "2", "1")) == 1


def test_the_error_for_an_unknown_class_names_the_nearest():
    with pytest.raises(SettingError, match="unknown class 'egiptian cat'; did you mean Egyptian cat"):
        class_index_of("egiptian cat", LABELS)


def test_the_error_for_an_unknown_class_names_no_far_fetched_ones():
    with pytest.raises(SettingError, match="^unknown class 'nonsense'; there are: bonnet, can opener, hognose snake$"):
        class_index_of("nonsense", ("bonnet", "can opener", "hognose snake"))


def test_the_error_for_an_index_out_of_range_says_the_range():
    with pytest.raises(SettingError, match="no class 4: the model has 4 classes, 0 to 3"):
        class_index_of("4", LABELS)
    with pytest.raises(SettingError, match="no class -1: the model has 4 classes, 0 to 3"):
        class_index_of(-1, LABELS)
    # Python refuses to write such an integer in decimal, or to read it.
    with pytest.raises(SettingError, match=r"no class 0x[0-9a-f]+\.\.\.: the model has 4 classes, 0 to 3"):
        class_index_of(10**5000, LABELS)
    with pytest.raises(SettingError, match="unknown class '9"):
        class_index_of("9" * 5000, LABELS)


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        *((True, "bool"), (np.True_, "bool"), (1.0, "float"), (np.float32(1), "float32"), (None, "NoneType")),
        *(([1], "list"), (b"tiger", "bytes"), (np.array([1, 2]), "ndarray")),
    ],
)
def test_a_target_that_is_neither_integer_nor_text_is_refused(target, kind):
    with pytest.raises(SettingError, match=f"^expected a class index or a label, got {kind}_?$"):
        class_index_of(target, LABELS)
