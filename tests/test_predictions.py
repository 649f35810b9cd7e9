"""From raw outputs to predictions, with numbers one can check by hand."""

from __future__ import annotations

import numpy as np
import pytest

from live_cam.errors import SettingError
from live_cam.predictions import best_first, class_index_of, class_probabilities

LABELS = ("tabby", "Egyptian cat", "tiger", "crane (bird)")


def outputs(*values):
    return np.array(values, np.float32)


def test_best_first_orders_by_value():
    best = best_first(outputs(0.1, 0.6, 0.3, 0.0), "softmax", LABELS, top_k=3)
    assert [(one.class_index, one.label) for one in best] == [(1, "Egyptian cat"), (2, "tiger"), (0, "tabby")]
    assert [one.probability for one in best] == pytest.approx([0.6, 0.3, 0.1])


def test_more_predictions_than_classes_gives_all_classes():
    assert len(best_first(outputs(0.5, 0.5), "softmax", LABELS, top_k=10)) == 2


def test_logits_become_probabilities_that_sum_to_one_however_large():
    probabilities = class_probabilities(outputs(1000, 1000, 1000 - np.log(2)), "logits")
    np.testing.assert_allclose(probabilities, [0.4, 0.4, 0.2], atol=1e-5)


def test_one_sigmoid_output_is_two_classes():
    best = best_first(outputs(0.9), "binary", ("no", "yes"), top_k=5)
    assert [one.label for one in best] == ["yes", "no"]
    assert [one.probability for one in best] == pytest.approx([0.9, 0.1])


def test_a_number_has_a_value_and_no_probability():
    (only,) = best_first(outputs(37.5), "regression", ("age",), top_k=5)
    assert (only.probability, only.value) == (None, 37.5)


@pytest.mark.parametrize(
    ("target", "index"), [(2, 2), ("2", 2), ("tiger", 2), ("EGYPTIAN_CAT", 1), (" egyptian  cat ", 1)]
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


def test_unknown_class_names_the_nearest():
    with pytest.raises(SettingError, match="unknown class 'egiptian cat'; did you mean Egyptian cat"):
        class_index_of("egiptian cat", LABELS)


def test_an_index_out_of_range_says_the_range():
    with pytest.raises(SettingError, match="no class 4: the model has 4 classes, 0 to 3"):
        class_index_of("4", LABELS)
