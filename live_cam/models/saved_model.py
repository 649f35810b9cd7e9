"""Opens SavedModel folders: the serving signature becomes a graph of ops and constants, and nothing else is run.

``tf.saved_model.load`` runs the initializers and restore functions that a folder names. This module runs none of them:
it takes the ops that lead to the signature's outputs, checks them, and reads the variables from their files.

Loading this module loads TensorFlow.
"""

from __future__ import annotations

import itertools
import math
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2, trackable_object_graph_pb2

from live_cam.errors import ModelError
from live_cam.models.graph_network import GraphNetwork
from live_cam.models.graph_ops import called_functions, check_graph
from live_cam.models.network import LARGEST_SIDE

_DEFAULT_SIGNATURE = "serving_default"
_INITIALIZER = "__saved_model_init_op"
_VARIABLES = "variables/variables"
_OBJECT_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
# The hint that makes an If or While a part of the graph around it, so that shapes and gradients pass.
_INLINED = "_lower_using_switch_merge"
_VARIABLE_OPS = {"VarHandleOp", "Variable", "VariableV2"}
_LARGEST_GRAPH_BYTES = 1 << 29
# A GraphDef, which the weights become a part of, cannot be larger.
_LARGEST_WEIGHTS_BYTES = (1 << 31) - (1 << 24)
_LONGEST_REASON = 160

# Functions of several SavedModels share the names of one process.
_load_counts = itertools.count()


def load_saved_model(folder: Path, unsafe: bool = False) -> GraphNetwork:
    """Loads the serving signature of a SavedModel: "serving_default", or else its only one.

    Args:
        folder: The folder with ``saved_model.pb``.
        unsafe: Whether ops that may do more than compute, such as reading and writing files, may run.

    Raises:
        ModelError: It is damaged, has no such signature, takes something else than numbers, has an op that is not
            allowed, or is made to fill the memory.
    """
    meta_graph = _serving_graph(folder)
    signature = _serving_signature(meta_graph.signature_def, folder)
    inputs, outputs = dict(sorted(signature.inputs.items())), _scores(signature, folder)
    _check_inputs(inputs, folder)
    graph_def = meta_graph.graph_def
    nodes = _needed_nodes(graph_def, outputs.values(), {_node_of(info.name) for info in inputs.values()}, folder)
    used = {_node_of(source) for node in nodes for source in node.input}
    inputs = {name: info for name, info in inputs.items() if _node_of(info.name) in used}
    functions = {function.signature.name: function for function in graph_def.library.function}
    called = check_graph(nodes, functions, str(folder), unsafe)
    variables = [node for node in nodes if node.op in _VARIABLE_OPS]
    values = _values_of_variables(variables, nodes, meta_graph, folder)
    network_def = _rewritten(nodes, [functions[name] for name in sorted(called)], values)
    network_def.versions.CopyFrom(graph_def.versions)
    try:
        # Named here, because a function does not keep the variables that it captures.
        resources = {node.name: tf.Variable(values[node.name]) for node in variables if node.op == "VarHandleOp"}
        kind = f"SavedModel, TensorFlow {meta_graph.meta_info_def.tensorflow_version}"
        function = _function(network_def, inputs, outputs, resources)
        return GraphNetwork(folder.resolve().name, function, format=kind)
    except ModelError:
        raise
    except Exception as error:  # TensorFlow raises many kinds of errors for graphs that it cannot import or freeze
        raise ModelError(f"cannot load the SavedModel {folder}: {_first_line(error)}; export it again") from error


def _serving_graph(folder: Path) -> Any:
    path = folder / "saved_model.pb"
    _check_file(path, _LARGEST_GRAPH_BYTES)
    saved_model = saved_model_pb2.SavedModel()
    try:
        saved_model.ParseFromString(path.read_bytes())
    except Exception as error:  # protobuf's own, which would be an import of a package that TensorFlow brings along
        raise _damaged(path, error) from error
    graphs = list(saved_model.meta_graphs)
    if len(graphs) > 1:
        graphs = [graph for graph in graphs if "serve" in graph.meta_info_def.tags]
    if len(graphs) != 1:
        raise ModelError(
            f"{path} has {len(saved_model.meta_graphs)} graphs, none tagged 'serve' alone; export it again"
        )
    return graphs[0]


def _serving_signature(signatures: Mapping[str, Any], folder: Path) -> Any:
    names = sorted(name for name in signatures if name != _INITIALIZER)
    if not names:
        raise ModelError(
            f"{folder} has no signature to call; save it with model.export(), or with "
            "tf.saved_model.save(model, folder, signatures={'serving_default': function})"
        )
    if _DEFAULT_SIGNATURE in names:
        return signatures[_DEFAULT_SIGNATURE]
    if len(names) > 1:
        raise ModelError(
            f"{folder} has several signatures and none is called {_DEFAULT_SIGNATURE}: {', '.join(names)[:300]}; "
            f"save it with one of them as {_DEFAULT_SIGNATURE}"
        )
    return signatures[names[0]]


def _scores(signature: Any, folder: Path) -> dict[str, Any]:
    """Returns the outputs that may be scores; labels and class numbers are not."""
    outputs = {name: info for name, info in sorted(signature.outputs.items()) if info.WhichOneof("encoding") == "name"}
    scores = {name: info for name, info in outputs.items() if (dtype := _dtype(info)) is not None and dtype.is_floating}
    if not scores:
        kinds = ", ".join(f"{name} ({_kind(info)})" for name, info in sorted(signature.outputs.items()))
        raise ModelError(f"{folder} returns no scores: {kinds[:300]}; livecam needs floating-point scores of classes")
    return scores


def _check_inputs(inputs: Mapping[str, Any], folder: Path) -> None:
    for name, info in inputs.items():
        dtype = _dtype(info)
        if dtype == tf.string:
            raise ModelError(
                f"{folder} takes strings ({name}), such as the bytes of a JPEG; livecam gives pixels: export a "
                "signature that takes (batch, height, width, 3) numbers"
            )
        if info.WhichOneof("encoding") != "name" or dtype is None:
            raise ModelError(f"{folder} takes {_kind(info)} ({name}), not the pixels of an image")
        # Freezing a graph makes an image of the declared size.
        sides = [side.size for side in info.tensor_shape.dim]
        if max(sides, default=0) > LARGEST_SIDE:
            raise ModelError(
                f"{folder} takes {sides} numbers ({name}); livecam gives up to {LARGEST_SIDE} pixels a side"
            )


def _dtype(info: Any) -> tf.DType | None:
    try:
        return tf.as_dtype(info.dtype)
    except TypeError:
        return None


def _kind(info: Any) -> str:
    dtype = _dtype(info)
    encoding = info.WhichOneof("encoding")
    if encoding != "name":
        return {"coo_sparse": "a sparse tensor", "composite_tensor": "a composite tensor"}.get(encoding, "nothing")
    return "an unknown type" if dtype is None else dtype.name


def _needed_nodes(graph_def: Any, outputs: Iterable[Any], inputs: set[str], folder: Path) -> list[Any]:
    """Returns the nodes that the outputs are computed from, without the inputs and what lies before them."""
    by_name = {node.name: node for node in graph_def.node}
    waiting = [_node_of(info.name) for info in outputs]
    needed: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in needed or name in inputs:
            continue
        if name not in by_name:
            raise ModelError(f"{folder} is damaged: its graph has no {name[:80]!r}; get or export it again")
        needed.add(name)
        waiting.extend(_node_of(source) for source in by_name[name].input)
    return [node for node in graph_def.node if node.name in needed]


def _node_of(tensor_name: str) -> str:
    return tensor_name.removeprefix("^").partition(":")[0]


def _values_of_variables(
    variables: list[Any], nodes: list[Any], meta_graph: Any, folder: Path
) -> dict[str, np.ndarray]:
    """Returns the values of variables by the names of their nodes, read from the folder's files."""
    if not variables:
        return {}
    prefix = folder / _VARIABLES
    files = [prefix.with_suffix(".index"), *sorted(prefix.parent.glob(f"{prefix.name}.data-*"))]
    if len(files) == 1:
        raise ModelError(f"{folder} has no weights: {prefix}.data-00000-of-00001 is missing; copy the whole folder")
    stored_bytes = sum(_check_file(file) for file in files)
    try:
        reader = tf.compat.v1.train.NewCheckpointReader(str(prefix.absolute()))
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        keys = _checkpoint_keys(variables, nodes, meta_graph.object_graph_def, reader)
        missing = next((name for name, key in keys.items() if key not in shapes), None)
        if missing is not None:
            raise ModelError(f"{folder} has no value of its variable {missing[:80]}; export it again")
        used = set(keys.values())
        needed_bytes = sum(math.prod(shapes[key]) * dtypes[key].size for key in used)
        # Nothing is compressed; a shape that needs more than there is would only fill the memory.
        if needed_bytes > min(stored_bytes, _LARGEST_WEIGHTS_BYTES):
            raise ModelError(
                f"{folder} claims {needed_bytes / 1e9:.1f} GB of weights and has {stored_bytes / 1e9:.3f} GB in its "
                f"files; livecam reads up to {_LARGEST_WEIGHTS_BYTES / 1e9:.1f} GB"
            )
        values = {key: reader.get_tensor(key) for key in used}
    except ModelError:
        raise
    except Exception as error:  # TensorFlow raises many kinds of errors, UnicodeDecodeError too, for damaged files
        raise _damaged(prefix.with_suffix(".index"), error) from error
    return {name: _checked_values(values[key], name, folder) for name, key in keys.items()}


def _checked_values(values: Any, name: str, folder: Path) -> np.ndarray:
    if not isinstance(values, np.ndarray | np.generic) or values.dtype.hasobject:
        raise ModelError(f"{folder} has a variable {name[:80]} that is no number; livecam explains image classifiers")
    values = np.asarray(values)
    if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
        raise ModelError(f"{folder}: {name[:80]} has NaN or infinite values; use weights that were saved intact")
    return values


def _checkpoint_keys(variables: list[Any], nodes: list[Any], objects: Any, reader: Any) -> dict[str, str]:
    """Returns the key of each variable's value in the files, by the name of its node."""
    if not objects.nodes:  # TensorFlow 1
        return {node.name: node.attr["shared_name"].s.decode() or node.name for node in variables}
    stored = trackable_object_graph_pb2.TrackableObjectGraph()
    stored.ParseFromString(reader.get_tensor(_OBJECT_GRAPH_KEY))
    key_by_object = _keys_of_objects(objects, stored)
    keys = {}
    for node in nodes:
        for function in called_functions(node):
            if function.name not in objects.concrete_functions:
                continue
            captured = objects.concrete_functions[function.name].bound_inputs
            sources = [source for source in node.input if not source.startswith("^")]
            names = map(_node_of, sources[len(sources) - len(captured) :])
            keys.update({name: key_by_object.get(index, "") for name, index in zip(names, captured, strict=False)})
    return {node.name: keys.get(node.name, "") for node in variables}


def _keys_of_objects(objects: Any, stored: Any) -> dict[int, str]:
    """Returns the keys by the numbers of the objects in the SavedModel; in the files of the variables they have others.

    Both are trees from the same root whose edges have the same names.
    """
    keys: dict[int, str] = {}
    waiting, seen = [(0, 0)], {0}
    while waiting:
        index, stored_index = waiting.pop()
        for attribute in stored.nodes[stored_index].attributes:
            if attribute.name == "VARIABLE_VALUE":
                keys[index] = attribute.checkpoint_key
        stored_children = {child.local_name: child.node_id for child in stored.nodes[stored_index].children}
        for child in objects.nodes[index].children:
            if child.local_name in stored_children and child.node_id not in seen:
                seen.add(child.node_id)
                waiting.append((child.node_id, stored_children[child.local_name]))
    return keys


def _rewritten(nodes: list[Any], functions: list[Any], values: Mapping[str, np.ndarray]) -> Any:
    """Returns a graph of copies of the nodes and functions, without variables and hints.

    The functions get names that no other model of the process has. The hints (names of devices, of gradients that are
    written in functions, of how to compile) are those of attributes with a leading "_".
    """
    number = next(_load_counts)
    names = {function.signature.name: f"saved_model_{number}_{index}" for index, function in enumerate(functions)}
    graph_def = tf.compat.v1.GraphDef()
    for node in nodes:
        if node.op == "VarHandleOp":
            continue
        if node.op in _VARIABLE_OPS:
            constant = graph_def.node.add(name=node.name, op="Const")
            constant.attr["dtype"].type = tf.as_dtype(values[node.name].dtype).as_datatype_enum
            constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values[node.name]))
        else:
            graph_def.node.add().CopyFrom(node)
    for function in functions:
        copy = graph_def.library.function.add()
        copy.CopyFrom(function)
        copy.signature.name = names[function.signature.name]
        _drop_hints(copy)
    for node in itertools.chain(graph_def.node, *(function.node_def for function in graph_def.library.function)):
        node.device = ""
        node.op = names.get(node.op, node.op)
        _drop_hints(node)
        for function in called_functions(node):
            function.name = names[function.name]
    return graph_def


def _drop_hints(described: Any) -> None:
    for name in list(described.attr):
        if (name.startswith("_") and name != _INLINED) or name == "api_implements":
            del described.attr[name]


def _function(
    graph_def: Any, inputs: Mapping[str, Any], outputs: Mapping[str, Any], variables: Mapping[str, tf.Variable]
) -> tf.types.experimental.ConcreteFunction:
    """Returns a function from the inputs to the outputs by name."""

    def call(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        graph = tf.compat.v1.get_default_graph()
        fed = {info.name: tensor for info, tensor in zip(inputs.values(), tensors, strict=True)}
        for name, variable in variables.items():
            variable.read_value()  # So that the function knows it as its own.
            fed[f"{name}:0"] = graph.capture(variable.handle)
        results = tf.graph_util.import_graph_def(
            graph_def, fed, [info.name for info in outputs.values()], name="PartitionedCall"
        )
        return dict(zip(outputs, results, strict=True))

    specs = [tf.TensorSpec(_shape(info), _dtype(info), name) for name, info in inputs.items()]
    return tf.function(call, input_signature=specs, autograph=False).get_concrete_function()


def _shape(info: Any) -> tf.TensorShape:
    return tf.TensorShape(info.tensor_shape)


def _check_file(path: Path, most_bytes: int | None = None) -> int:
    """Returns the size of a file in bytes.

    Raises:
        ModelError: It is missing, cannot be read, is no regular file, or is too large.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}; copy the whole folder of the SavedModel") from error
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f"{path} is no file; copy the whole folder of the SavedModel")
    if most_bytes is not None and status.st_size > most_bytes:
        raise ModelError(
            f"{path} has {status.st_size / 1e6:.0f} MB; livecam opens graphs up to {most_bytes / 1e6:.0f} MB"
        )
    return status.st_size


def _damaged(path: Path, error: Exception) -> ModelError:
    return ModelError(f"cannot read {path}: it is damaged or cut off ({_first_line(error)}); get or export it again")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:_LONGEST_REASON]
