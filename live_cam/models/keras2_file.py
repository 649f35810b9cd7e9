"""Loads model files that Keras 2 saved: by Keras 3 after small corrections, else by the package tf_keras.

Loading this module loads TensorFlow.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import tensorflow as tf

from live_cam.errors import ModelError
from live_cam.models.graph_network import GraphNetwork
from live_cam.models.graph_ops import check_graph
from live_cam.models.keras_files import limited_weights

# Keras 2.3 and earlier called a functional model "Model".
_FUNCTIONAL = {"Functional", "Model"}


def load_corrected(
    path: Path, config: dict[str, Any], load: Callable[[Path, dict[str, Any]], keras.Model]
) -> keras.Model:
    """Loads a ``.h5`` file of Keras 2 with Keras 3, from a copy whose architecture is written as Keras 3 reads it.

    Args:
        path: The file.
        config: Its architecture.
        load: Loads a file with Keras 3, given its path and custom objects.

    Raises:
        Exception: Keras cannot load it.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        with h5py.File(path, "r") as source, h5py.File(copy, "w") as target:
            target.attrs["keras_version"] = source.attrs["keras_version"]
            target.attrs["model_config"] = json.dumps(corrected(config))
            source.copy("model_weights", target)
        # Model.from_config() builds a functional model, too.
        return load(copy, {"Functional": keras.Model})


def corrected(config: Any) -> Any:
    """Returns an architecture of Keras 2 as Keras 3 writes it, in the places in which they differ."""
    if isinstance(config, list):
        return [corrected(part) for part in config]
    if not isinstance(config, dict):
        return config
    part = {name: corrected(value) for name, value in config.items()}
    settings = part.get("config")
    if not isinstance(settings, dict):
        return part
    kind = part.get("class_name")
    if kind == "BatchNormalization" and isinstance(settings.get("axis"), list):
        (settings["axis"],) = settings["axis"]
    elif kind == "DepthwiseConv2D":
        settings.pop("groups", None)  # always 1
    elif kind == "Sequential":
        # The input layer has the shape; later layers only keep it if they were the first ones of another model.
        for layer in settings["layers"][1:]:
            layer["config"].pop("batch_input_shape", None)
    elif kind in _FUNCTIONAL:
        part["class_name"] = "Functional"
        _correct_connections(settings)
    return part


def _correct_connections(settings: dict[str, Any]) -> None:
    """Corrects how the layers of a functional model refer to each other: by name, number of the call, and output.

    Keras 2 counts the making of a nested functional model as its first call, Keras 3 does not. And it lists the inputs
    and outputs of a model also if there is only one, which makes a list of that one in Keras 3.
    """
    nested = {layer["name"] for layer in settings["layers"] if layer["class_name"] in _FUNCTIONAL}
    references = [reference for layer in settings["layers"] for node in layer["inbound_nodes"] for reference in node]
    for reference in references + settings["output_layers"]:
        if reference[0] in nested:
            reference[1] -= 1
    for end in ("input_layers", "output_layers"):
        if len(settings[end]) == 1:
            settings[end] = settings[end][0]


def load_with_tf_keras(
    path: Path, config: dict[str, Any], unsafe: bool, custom_objects: dict[str, Any]
) -> tuple[GraphNetwork, list[tf.Variable]]:
    """Loads a model file with tf_keras.

    tf_keras runs the code of a Lambda layer while it loads a ``.h5`` file, also in safe mode: refuse such files first.

    Args:
        path: A ``.keras`` or ``.h5`` file.
        config: Its architecture, as ``read_model_config`` returns it.
        unsafe: Whether code that is stored in the file may run.
        custom_objects: The user's classes and functions by name.

    Returns:
        The network and its weights.

    Raises:
        ModelError: tf_keras is not installed, or the network has an op that is not allowed; see ``check_graph``.
        Exception: tf_keras cannot load it.
    """
    try:
        import tf_keras
    except ImportError as error:
        raise ModelError(f'{path} was saved by Keras 2; pip install ".[keras2]"') from error
    with limited_weights(tf_keras.layers.Layer, path):
        model = tf_keras.models.load_model(path, custom_objects, compile=False, safe_mode=not unsafe)
    inputs = [tf.TensorSpec((1, *tensor.shape[1:]), tensor.dtype, tensor.name) for tensor in model.inputs]
    function = tf.function(lambda *images: _run(model, images), autograph=False).get_concrete_function(*inputs)
    # A layer may have stored any op; until here, none has run.
    graph = function.graph.as_graph_def()
    functions = {called.signature.name: called for called in graph.library.function}
    check_graph(graph.node, functions, str(path), unsafe)
    loss = (config.get("compile_config") or {}).get("loss")
    return GraphNetwork(model.name, function, loss), model.weights


def _run(model: Any, images: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
    outputs = model(images[0] if len(images) == 1 else list(images), training=False)
    return dict(zip(model.output_names, outputs if isinstance(outputs, list) else [outputs], strict=True))
