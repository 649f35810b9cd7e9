"""The contrast: the classes whose scores are subtracted, their weights, and the map that results."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
from any_networks import CLASSES, HEADS, SIZE, TARGET, functional
from keras import layers

from live_cam.errors import SettingError
from live_cam.explain.explainer import ModelExplainer
from live_cam.explain.load import load_explainer
from live_cam.frame import Explanation
from live_cam.models.reference import resolve_model
from live_cam.predictions import NO_CLASS, SIMILAR_CLASSES

ENGINES = ("tensorflow", "litert")
# More classes than are contrasted, so that some are left out.
CLASS_COUNT = 9
LABELS = [f"class {index}" for index in range(CLASS_COUNT)]


def image() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (SIZE, SIZE, 3), np.uint8)


def network(*head: keras.layers.Layer, seed: int = 5) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return functional(list(head))


def labels_of(explanation: Explanation) -> list[str]:
    return [prediction.label for prediction in explanation.contrast]


# --- Finer-CAM, computed eagerly and independently


def finer_cam(
    features: tf.Tensor,
    scores_of: Callable[[tf.Tensor], tf.Tensor],
    weights_of: Callable[[tf.Tensor], tf.Tensor],
    target: int,
    are_weights_constant: bool = True,
) -> tuple[np.ndarray, list[int]]:
    """Grad-CAM of the score of Zhang et al. 2025 (arXiv:2501.11309), alpha = 1, and the contrasted classes.

    Args:
        features: (1, h, w, channels), the target layer's output.
        scores_of: From them to the scores, (classes,).
        weights_of: From the scores to the weights, (classes,), not normalized.
        target: The explained class.
        are_weights_constant: False: differentiates the weights too, as pytorch-grad-cam 1.5.7 does.
    """
    with tf.GradientTape() as tape:
        tape.watch(features)
        scores = scores_of(features)
        others = sorted(
            set(range(len(scores))) - {target}, key=lambda index: abs(float(scores[index] - scores[target]))
        )
        others = others[:3]
        weights = weights_of(scores)
        if are_weights_constant:
            weights = tf.constant(weights.numpy())
        total = sum(weights[index] * (scores[target] - scores[index]) for index in others)
        score = total / sum(weights[index] for index in others)
    gradients = tape.gradient(score, features).numpy()[0]
    return np.maximum((features.numpy()[0] * gradients.mean(axis=(0, 1))).sum(axis=-1), 0), others


def features_and_head(
    model: keras.Model, layer: str, pixels: np.ndarray
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """Returns the output of a layer of a chain of layers, and the rest of the chain as a function to (classes,)."""
    position = [each.name for each in model.layers].index(layer)
    features = keras.Model(model.input, model.layers[position].output)(pixels)

    def rest(values: tf.Tensor) -> tf.Tensor:
        for after in model.layers[position + 1 :]:
            values = after(values)
        return values[0]

    return features, rest


def log_odds(probabilities: tf.Tensor) -> tf.Tensor:
    return tf.math.log(probabilities) - tf.math.log1p(-probabilities)


# Layers of the head; from its outputs to the scores; from the scores to the weights; the score's name.
# A softmax's log-probabilities are its logits but for a constant, which the differences cancel.
CASES = {
    "softmax": (lambda: [layers.Dense(CLASS_COUNT, activation="softmax")], tf.math.log, tf.nn.softmax, "logit"),
    "logits": (lambda: [layers.Dense(CLASS_COUNT)], tf.identity, tf.nn.softmax, "logit"),
    "sigmoid": (lambda: [layers.Dense(CLASS_COUNT, activation="sigmoid")], log_odds, tf.nn.softmax, "logit"),
    "not linear": (
        lambda: [layers.Dense(7, activation="relu"), layers.Dense(CLASS_COUNT, activation="softmax")],
        tf.math.log,
        tf.nn.softmax,
        "logit",
    ),
    "two classes": (lambda: [layers.Dense(2, activation="softmax")], tf.math.log, tf.nn.softmax, "logit"),
    "three classes": (lambda: [layers.Dense(3, activation="softmax")], tf.math.log, tf.nn.softmax, "logit"),
    "probability": (
        lambda: [layers.Dense(CLASS_COUNT, activation="softmax")],
        tf.identity,
        tf.identity,
        "probability",
    ),
    "probability of logits": (lambda: [layers.Dense(CLASS_COUNT)], tf.identity, tf.nn.softmax, "probability"),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", CASES)
def test_similar_is_finer_cam(case: str, engine: str):
    head, scores_of_outputs, weights_of, score = CASES[case]
    model = network(*head())
    # Scores far apart, so that weights and order matter.
    model.layers[-1].kernel.assign(8 * model.layers[-1].kernel)
    features, rest = features_and_head(model, TARGET, image()[np.newaxis, ..., ::-1] / np.float32(255))
    explainer = load_explainer(model, contrast="similar", engine=engine, score=score)
    assert explainer.engine_name == engine
    peaks = []
    for target in range(explainer.info.output_count):
        expected, others = finer_cam(features, lambda maps: scores_of_outputs(rest(maps)), weights_of, target)
        explanation = explainer.explain(image(), target)
        np.testing.assert_allclose(explanation.heatmap, expected, atol=1e-4 * max(1e-3, expected.max()), rtol=1e-4)
        assert [prediction.class_index for prediction in explanation.contrast] == others
        peaks.append(expected.max())
    assert max(peaks) > 0


def test_the_weights_are_not_differentiated():
    model = network(layers.Dense(CLASS_COUNT, activation="softmax"))
    features, rest = features_and_head(model, TARGET, image()[np.newaxis, ..., ::-1] / np.float32(255))
    constant, differentiated = (
        finer_cam(features, lambda maps: tf.math.log(rest(maps)), tf.nn.softmax, 2, is_constant)[0]
        for is_constant in (True, False)
    )
    heatmap = load_explainer(model, contrast="similar", engine="tensorflow").explain(image(), 2).heatmap
    assert np.abs(heatmap - constant).max() < 1e-4 * constant.max()
    assert np.abs(heatmap - differentiated).max() > 1e-2 * constant.max()


@pytest.mark.parametrize("engine", ENGINES)
def test_similar_is_finer_cam_for_the_default_model(engine: str, photograph_path):
    explainer = load_explainer(contrast="similar", engine=engine)
    assert explainer.engine_name == engine
    pixels = explainer.preprocess(photograph_path).pixels[..., ::-1].astype(np.float32)
    model = resolve_model("efficientnet-lite0").load(None).model
    features, rest = features_and_head(model, explainer.layer, (pixels - 127) / 128)
    for target in ("Egyptian cat", "tabby", "espresso"):
        index = explainer.class_index(target)
        expected, others = finer_cam(features, lambda maps: tf.math.log(rest(maps)), tf.nn.softmax, index)
        explanation = explainer.explain(photograph_path, target)
        np.testing.assert_allclose(explanation.heatmap / expected.max(), expected / expected.max(), atol=1e-4)
        assert [prediction.class_index for prediction in explanation.contrast] == others


# --- what an explanation says of its contrast


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return network(layers.Dense(CLASS_COUNT, activation="softmax"))


@pytest.fixture(scope="module")
def explainer(model: keras.Model) -> ModelExplainer:
    return load_explainer(model, labels=LABELS, engine="litert")


def explained(explainer: ModelExplainer, class_index: int | None, contrast_index: int | None) -> Explanation:
    return explainer.explain_input(explainer.preprocess(image()), class_index, contrast_index)


def test_an_explanation_names_the_classes_that_were_subtracted(explainer: ModelExplainer):
    assert explained(explainer, 2, None).contrast == ()
    assert explained(explainer, 2, NO_CLASS).contrast == ()
    (contrasted,) = explained(explainer, 2, 5).contrast
    assert (contrasted.label, contrasted.class_index) == ("class 5", 5)
    assert contrasted == explained(explainer, 5, None).explained
    assert len(explained(explainer, 2, SIMILAR_CLASSES).contrast) == 3


@pytest.mark.parametrize("engine", ENGINES)
def test_a_class_that_is_its_own_contrast_is_explained_without_one(model: keras.Model, engine: str):
    explainer = load_explainer(model, contrast=2, engine=engine)
    expected = explained(explainer, 2, NO_CLASS)
    assert expected.heatmap.max() > 0
    for contrast_index in (None, 2):
        explanation = explained(explainer, 2, contrast_index)
        np.testing.assert_allclose(explanation.heatmap, expected.heatmap, rtol=1e-5)
        assert explanation.contrast == ()
    # Also if nobody knew before that it is the top class.
    top_index = expected.predictions[0].class_index
    np.testing.assert_allclose(
        explained(explainer, None, top_index).heatmap, explained(explainer, top_index, NO_CLASS).heatmap, rtol=1e-5
    )
    assert explained(explainer, None, top_index).contrast == ()


@pytest.mark.parametrize("contrast", ["similar", "Similar ", np.str_("similar")])
def test_similar_means_the_similar_classes_even_if_a_label_has_that_name(model: keras.Model, contrast: str):
    explainer = load_explainer(model, labels=["similar", *LABELS[1:]], contrast=contrast, engine="tensorflow")
    assert explainer.contrast_index == SIMILAR_CLASSES
    assert len(explainer.explain(image(), 2).contrast) == 3
    by_index = load_explainer(model, labels=["similar", *LABELS[1:]], contrast=0, engine="tensorflow")
    assert labels_of(by_index.explain(image(), 2)) == ["similar"]


@pytest.mark.parametrize("contrast", [-1, -2, CLASS_COUNT, "-2"])
def test_a_contrast_that_is_no_class_is_refused(model: keras.Model, contrast: int | str):
    with pytest.raises(SettingError, match="no class|unknown class"):
        load_explainer(model, contrast=contrast, engine="tensorflow")


@pytest.mark.parametrize("target", [0, 1])
def test_the_only_class_similar_to_yes_is_no(target: int):
    explainer = load_explainer(network(*HEADS["binary"]()), contrast="similar", engine="litert", labels=["no", "yes"])
    explanation = explainer.explain(image(), target)
    assert labels_of(explanation) == [["yes", "no"][target]]
    np.testing.assert_allclose(explanation.heatmap, explained(explainer, target, 1 - target).heatmap, rtol=1e-5)


def test_numbers_have_no_similar_classes():
    model = network(*HEADS["regression"]())
    with pytest.raises(SettingError, match="^the model returns numbers, which have no similar classes; .* or none$"):
        load_explainer(model, contrast="similar", engine="tensorflow")
    explainer = load_explainer(model, engine="tensorflow")
    with pytest.raises(SettingError, match="^the model returns numbers"):
        explained(explainer, 0, SIMILAR_CLASSES)
    assert labels_of(explained(explainer, 0, 1)) == ["-0"]


def test_a_method_without_gradients_has_no_contrast(model: keras.Model):
    explainer = load_explainer(model, contrast="similar", method="eigen-cam", engine="tensorflow")
    explanation = explainer.explain(image())
    np.testing.assert_array_equal(explanation.heatmap, explained(explainer, None, NO_CLASS).heatmap)
    assert explanation.contrast == ()


def test_a_saturated_softmax_has_similar_classes():
    model = network(layers.Dense(CLASSES, activation="softmax"))
    model.layers[-1].bias.assign([500.0, 200, 0, 0])  # probabilities of 1 and, in float32, 0
    explainer = load_explainer(model, contrast="similar", engine="litert")
    explanation = explainer.explain(image())
    assert np.isfinite(explanation.heatmap).all()
    assert len(explanation.contrast) == CLASSES - 1
    assert explanation.explained.class_index == 0
