"""SavedModels that were made to do harm, or are damaged: nothing of them runs, and the error is one line."""

from __future__ import annotations

import contextlib
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

from live_cam.errors import ModelError
from live_cam.explain.agreement import synthetic_image
from live_cam.explain.load import load_explainer
from live_cam.models import reference
from live_cam.models.graph_ops import ALLOWED_OPS, check_graph
from live_cam.models.saved_model import load_saved_model

SIZE = 16
IMAGES = tf.TensorSpec((None, SIZE, SIZE, 3), name="images")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


class Classifier(tf.Module):
    def __init__(self):
        super().__init__()
        self.kernel = tf.Variable(np.random.default_rng(1).normal(0, 1, (3, 3, 3, 4)).astype("f4"))

    def __call__(self, images):
        return tf.nn.softmax(tf.reduce_mean(tf.nn.relu(tf.nn.conv2d(images, self.kernel, 1, "SAME")), [1, 2]))


def save(folder, call=lambda classifier, images: classifier(images), classifier=None):
    """Writes a SavedModel whose signature is ``call``; traced without autograph, as it stands."""
    classifier = classifier or Classifier()
    function = tf.function(lambda images: call(classifier, images), input_signature=[IMAGES], autograph=False)
    tf.saved_model.save(classifier, folder, signatures=function.get_concrete_function())
    return folder


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return save(tmp_path_factory.mktemp("honest") / "saved")


@pytest.fixture
def copy(honest, tmp_path):
    return shutil.copytree(honest, tmp_path / "copy")


def edit(folder, change):
    """Applies ``change`` to the first graph in the file."""
    path = folder / "saved_model.pb"
    saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    change(saved_model.meta_graphs[0])
    path.write_bytes(saved_model.SerializeToString())
    return folder


def nodes_of(graph, op):
    nodes = [node for function in graph.graph_def.library.function for node in function.node_def if node.op == op]
    assert nodes, f"there is no {op}"
    return nodes


def check_refused(folder, message, **settings):
    with pytest.raises(ModelError, match=message) as caught:
        load_explainer(folder, engine="tensorflow", **settings)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------- files written when called


def writing(path):
    """Returns an op that writes a file, and a zero to add to something, so that it is needed."""
    with tf.control_dependencies([tf.io.write_file(str(path), "written")]):
        return tf.constant(0.0)


def inner_function(path):
    return tf.function(lambda: writing(path), autograph=False)()


PLACES = {
    "op": writing,
    "function": inner_function,
    "function in a function": lambda path: tf.function(lambda: inner_function(path), autograph=False)(),
    "branch": lambda path: tf.cond(tf.timestamp() > 0, lambda: writing(path), lambda: tf.constant(1.0)),
    "case": lambda path: tf.switch_case(
        tf.cast(tf.timestamp(), tf.int32), [lambda: tf.constant(1.0), lambda: writing(path)]
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_an_op_that_writes_a_file_is_refused_wherever_it_is(place, tmp_path):
    path = tmp_path / "written.txt"
    folder = save(tmp_path / "saved", lambda classifier, images: classifier(images) + 0 * PLACES[place](path))
    # tf.cond and tf.switch_case here use the clock, which is refused too; it must not hide what is inside.
    check_refused(
        folder, r"runs the op (WriteFile|Timestamp), which may do more than compute.*; if you trust .* unsafe=True"
    )
    assert not path.exists()


def test_a_loop_which_may_never_end_is_refused(tmp_path):
    def call(classifier, images):
        zero = tf.while_loop(lambda number: number < 1.0, lambda number: number * 0, [tf.constant(0.0)])[0]
        return classifier(images) + zero

    check_refused(save(tmp_path / "saved", call), r"runs the op (Stateless)?While, which may never end; if you trust")


def test_unsafe_runs_what_is_in_it(tmp_path):
    path = tmp_path / "written.txt"
    folder = save(tmp_path / "saved", lambda classifier, images: classifier(images) + writing(path))
    explainer = load_explainer(folder, engine="tensorflow", unsafe=True)
    explainer.explain(synthetic_image(), 0)
    assert path.read_text() == "written"


HARMFUL = {
    "ReadFile": lambda: tf.strings.length(tf.io.read_file("/etc/hostname")),
    "MatchingFiles": lambda: tf.size(tf.io.matching_files("/etc/*")),
    "PrintV2": lambda: tf.raw_ops.PrintV2(input="x", output_stream="file:///tmp/never-written"),
    "EagerPyFunc": lambda: tf.py_function(lambda: 1, [], tf.int32),
    "RestoreV2": lambda: tf.raw_ops.RestoreV2(prefix="x", tensor_names=["y"], shape_and_slices=[""], dtypes=["int32"]),
    "MergeV2Checkpoints": lambda: tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=["x"], destination_prefix="y"),
    "TextLineDataset": lambda: tf.raw_ops.TextLineDataset(filenames=["x"], compression_type="", buffer_size=1),
    "DecodeJpeg": lambda: tf.image.decode_jpeg(tf.constant("x")),
}  # fmt: skip


@pytest.mark.parametrize("op", HARMFUL)
def test_other_ops_that_reach_out_are_refused(op, tmp_path):
    def call(classifier, images):
        with tf.control_dependencies([made for made in tf.nest.flatten(HARMFUL[op]()) if made is not None]):
            return tf.identity(classifier(images))

    check_refused(save(tmp_path / "saved", call), f"runs the op {op}, which may do more than compute")


@pytest.mark.parametrize("op", ["LookupTableFindV2", "AssignAddVariableOp"])
def test_tables_and_counters_are_refused_also_if_everything_is_allowed(op, tmp_path):
    classifier = Classifier()
    classifier.counter = tf.Variable(0.0)
    classifier.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer([0], [0.0]), 0.0)
    harmful = {
        "LookupTableFindV2": lambda: classifier.table.lookup(tf.constant(0)),
        "AssignAddVariableOp": lambda: classifier.counter.assign_add(1.0),
    }
    folder = save(tmp_path / "saved", lambda classifier, images: classifier(images) + 0 * harmful[op](), classifier)
    check_refused(folder, r"looks things up in a table \(|changes its variables \(", unsafe=True)


def test_no_allowed_op_has_an_effect_on_the_world():
    # What TensorFlow marks as stateful, besides ops that call functions or read and hold variables.
    stateful = {op for op in ALLOWED_OPS if op_def_registry.get(op) and op_def_registry.get(op).is_stateful}
    calls = {"Case", "If", "StatefulPartitionedCall"}
    variables = {"ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VarHandleOp", "Variable", "VariableV2"}
    assert stateful <= {*calls, *variables, "Assert", "CheckNumerics"}
    assert all(op_def_registry.get(op) for op in ALLOWED_OPS)
    words = (
        "File",
        "Read",
        "Write",
        "Save",
        "Restore",
        "Print",
        "Py",
        "Decode",
        "Dataset",
        "Send",
        "Recv",
        "Summary",
        "Xla",
    )
    assert {op for op in ALLOWED_OPS if any(word in op for word in words)} == {"ReadVariableOp"}


# ------------------------------------------------------------------------------- files written when TensorFlow loads it


def test_initializers_are_not_run(tmp_path):
    path = tmp_path / "written.txt"

    class Resource(tf.saved_model.experimental.TrackableResource):
        def _create_resource(self):
            return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=(), shared_name="held")

        def _initialize(self):
            tf.io.write_file(str(path), "written")

        def _destroy_resource(self):
            pass

    classifier = Classifier()
    classifier.resource = Resource()
    folder = save(tmp_path / "saved", classifier=classifier)
    path.unlink(missing_ok=True)
    assert load_explainer(folder, engine="tensorflow").info.output_count == 4
    assert not path.exists()
    tf.saved_model.load(folder)
    assert path.exists(), "TensorFlow does not run it either: this test shows nothing"


def test_initializers_of_tensorflow_1_are_not_run(tmp_path):
    path, v1 = tmp_path / "written.txt", tf.compat.v1
    kernel = np.ones((3, 3, 3, 4), np.float32)
    with tf.Graph().as_default(), v1.Session() as session:
        images = v1.placeholder(tf.float32, (None, SIZE, SIZE, 3))
        scores = tf.nn.softmax(tf.reduce_mean(tf.nn.conv2d(images, kernel, 1, "SAME"), [1, 2]))
        signature = v1.saved_model.build_signature_def(
            {"images": v1.saved_model.build_tensor_info(images)}, {"scores": v1.saved_model.build_tensor_info(scores)}
        )
        builder = v1.saved_model.Builder(str(tmp_path / "saved"))
        main_op = tf.io.write_file(str(path), "written")
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature}, main_op=main_op)
        builder.save()
    assert load_explainer(tmp_path / "saved", engine="tensorflow").info.output_count == 4
    assert not path.exists()
    with v1.Session(graph=tf.Graph()) as session:
        v1.saved_model.load(session, ["serve"], str(tmp_path / "saved"))
    assert path.exists(), "TensorFlow does not run it either: this test shows nothing"


def test_the_code_of_a_gradient_is_not_run(tmp_path):
    path = tmp_path / "written.txt"

    @tf.custom_gradient
    def hostile(values):
        return tf.identity(values), lambda gradient: gradient + writing(path)

    def call(classifier, images):
        maps = hostile(tf.nn.relu(tf.nn.conv2d(images, classifier.kernel, 1, "SAME")))
        return tf.nn.softmax(tf.reduce_mean(maps, [1, 2]))

    classifier = Classifier()
    function = tf.function(lambda images: call(classifier, images), input_signature=[IMAGES], autograph=False)
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=True)
    tf.saved_model.save(classifier, tmp_path / "saved", function.get_concrete_function(), options)
    explainer = load_explainer(tmp_path / "saved", engine="tensorflow")
    assert explainer.explain(synthetic_image(), 0).heatmap.max() >= 0
    assert not path.exists()


def test_assets_are_not_read(copy):
    def add_asset(graph):
        asset = graph.asset_file_def.add(filename="/etc/shadow")
        asset.tensor_info.name = "Const:0"

    assert load_explainer(edit(copy, add_asset), engine="tensorflow").info.output_count == 4


# ---------------------------------------------------------------------------------------------------- calls and graphs


def calling(name, op="PartitionedCall", attribute="f"):
    node = tf.compat.v1.NodeDef(name="call", op=op)
    node.attr[attribute].func.name = name
    return node


def function_of(name, *nodes):
    function = tf.compat.v1.GraphDef().library.function.add()
    function.signature.name = name
    for number, node in enumerate(nodes):
        function.node_def.add().CopyFrom(node)
        function.node_def[number].name = f"node{number}"
    return function


def check(nodes, *functions, unsafe=False):
    return check_graph(nodes, {function.signature.name: function for function in functions}, "it", unsafe)


WRITE = tf.compat.v1.NodeDef(name="write", op="WriteFile")


def test_functions_are_followed_in_every_attribute():
    in_list = tf.compat.v1.NodeDef(name="case", op="Case")
    in_list.attr["branches"].list.func.add(name="writer")
    nested = calling("harmless")
    nested.attr["f"].func.attr["g"].func.name = "writer"
    by_its_name = tf.compat.v1.NodeDef(name="call", op="writer")
    for node in (
        in_list,
        nested,
        by_its_name,
        calling("writer", "StatelessIf", "else_branch"),
        calling("writer", "Relu", "new"),
    ):
        with pytest.raises(ModelError, match="runs the op WriteFile"):
            check([node], function_of("writer", WRITE), function_of("harmless"))


def test_a_function_that_has_the_name_of_an_op_is_followed():
    with pytest.raises(ModelError, match="runs the op WriteFile"):
        check([tf.compat.v1.NodeDef(name="relu", op="Relu")], function_of("Relu", WRITE))


def test_functions_that_call_themselves_are_refused():
    with pytest.raises(ModelError, match="its functions call themselves; do not use it"):
        check([calling("first")], function_of("first", calling("second")), function_of("second", calling("first")))


def test_functions_that_call_each_other_too_deep_are_refused():
    functions = [function_of(f"f{number}", calling(f"f{number + 1}")) for number in range(1000)]
    with pytest.raises(ModelError, match="call each other more than 64 deep"):
        check([calling("f0")], *functions)


def test_functions_that_unfold_to_too_many_ops_are_refused():
    functions = [function_of(f"f{number}", *[calling(f"f{number + 1}")] * 10) for number in range(12)]
    with pytest.raises(ModelError, match="it has 1[0-9]* ops; do not use it"):
        check([calling("f0")], *functions, function_of("f12"))


def test_a_call_of_a_missing_function_is_refused():
    with pytest.raises(ModelError, match="it calls a function that it does not have, gone"):
        check([calling("gone")])


# ---------------------------------------------------------------------------------------------------------- huge shapes


def test_a_huge_constant_is_refused_before_it_is_made(copy):
    def grow(graph):
        for node in nodes_of(graph, "Const"):
            node.attr["value"].tensor.tensor_shape.dim.add(size=10**12)

    check_refused(edit(copy, grow), r"would fill the memory: its op \S+ makes .e\+12 numbers; do not use it")


SIZES = {
    "constant": lambda: tf.raw_ops.Fill(dims=tf.constant([10**6, 10**6]), value=0.0),
    "product": lambda: tf.raw_ops.Fill(dims=[tf.raw_ops.Mul(x=tf.constant(10**5), y=tf.constant(10**4))], value=0.0),
    "tile": lambda: tf.raw_ops.Tile(input=tf.zeros((10,)), multiples=tf.constant([10**9])),
    "range": lambda: tf.cast(tf.raw_ops.Range(start=0, limit=10**9, delta=1), tf.float32),
    "resize": lambda: tf.raw_ops.ResizeBilinear(images=tf.zeros((1, 2, 2, 1)), size=tf.constant([10**6, 10**6])),
}  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
def test_an_op_with_a_huge_output_is_refused_before_it_runs(size, tmp_path):
    folder = save(tmp_path / "saved", lambda classifier, images: classifier(images) + 0 * tf.reduce_sum(SIZES[size]()))
    check_refused(folder, r"would fill the memory: its op \S+ makes 1e\+(09|1\d) numbers")


def test_growth_by_repetition_is_refused_before_it_runs(tmp_path):
    def call(classifier, images):
        values = images
        for _ in range(24):
            values = tf.concat([values, values], 1)
        return classifier(images) + 0 * tf.reduce_sum(values)

    check_refused(save(tmp_path / "saved", call), r"would fill the memory: its op \S+ makes")


def test_a_huge_input_is_refused_before_it_is_made(tmp_path):
    classifier = Classifier()
    images = tf.TensorSpec((None, 10**6, 10**6, 3), name="images")
    function = tf.function(classifier.__call__, input_signature=[images], autograph=False).get_concrete_function()
    tf.saved_model.save(classifier, tmp_path / "saved", function)
    check_refused(
        tmp_path / "saved",
        r"takes \[-1, 1000000, 1000000, 3\] numbers \(images\); livecam gives up to 4096 pixels a side",
    )


def test_a_huge_variable_is_refused_before_it_is_read(copy):
    prefix = str(copy / "variables" / "variables")
    reader = tf.train.load_checkpoint(prefix)
    key = next(key for key in reader.get_variable_to_shape_map() if key.startswith("kernel"))
    graph = reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
    # One number that says it is the first of 1e12.
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=[key, "_CHECKPOINTABLE_OBJECT_GRAPH"],
        shape_and_slices=["1000000 1000000 0,1:0,1", ""],
        tensors=[tf.zeros((1, 1)), tf.constant(graph)],
    )
    check_refused(copy, r"claims 4000\.0 GB of weights and has 0\.000 GB in its files")


def test_a_huge_graph_and_a_huge_folder_are_refused_before_they_are_read(copy):
    os.truncate(copy / "saved_model.pb", (1 << 29) + 1)
    check_refused(copy, r"saved_model\.pb has 537 MB; livecam opens graphs up to 537 MB")
    os.truncate(copy / "variables" / "variables.data-00000-of-00001", 1 << 40)
    check_refused(copy, "has 1100 GB; livecam opens models of up to 16 GB")


# -------------------------------------------------------------------------------------------------------- damaged files


@pytest.mark.parametrize("content", [b"", b"no protobuf", b"\x08\x01", b"\x12\xff\xff\xff\xff\x0f"])
def test_a_damaged_graph_is_refused(content, copy):
    (copy / "saved_model.pb").write_bytes(content)
    check_refused(copy, r"damaged or cut off|has 0 graphs, none tagged")


@pytest.mark.parametrize(
    "name", ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"]
)
@pytest.mark.parametrize("part", [0, 0.5, 0.95])
def test_a_file_that_is_cut_off_is_refused(name, part, copy):
    os.truncate(copy / name, int(part * (copy / name).stat().st_size))
    check_refused(copy, "copy|damaged|claims .* GB of weights|has 0 graphs")


@pytest.mark.parametrize("name", ["variables.index", "variables.data-00000-of-00001"])
@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "endless", "dangling"])
def test_variables_that_are_no_files_are_refused(name, kind, copy):
    path = copy / "variables" / name
    path.unlink()
    make = {
        "missing": lambda: None,
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "endless": lambda: path.symlink_to("/dev/zero"),
        "dangling": lambda: path.symlink_to("/nowhere"),
    }
    make[kind]()
    check_refused(copy, r"copy the whole folder")


def test_variables_that_are_not_finite_are_refused(tmp_path):
    classifier = Classifier()
    classifier.kernel.assign(classifier.kernel * np.nan)
    check_refused(save(tmp_path / "saved", classifier=classifier), "has NaN or infinite values; use weights that were")


def test_nodes_that_are_missing_are_refused(copy):
    def cut(graph):
        graph.signature_def["serving_default"].outputs["output_0"].name = "gone:0"

    check_refused(edit(copy, cut), "is damaged: its graph has no 'gone'")


def test_an_unknown_op_is_refused_in_one_line_also_if_it_is_allowed(copy):
    def rename(graph):
        nodes_of(graph, "Relu")[0].op = "SentencePiece"

    check_refused(edit(copy, rename), "runs the op SentencePiece, which may")
    check_refused(copy, "cannot load the SavedModel .*SentencePiece.*; export it again", unsafe=True)


def test_a_graph_that_jax_exported_is_opaque(copy):
    def rename(graph):
        nodes_of(graph, "Relu")[0].op = "XlaCallModule"

    check_refused(
        edit(copy, rename), "computes in an XlaCallModule, as JAX exports it, which has no layers to look into"
    )


@pytest.mark.slow
def test_no_single_changed_byte_gives_another_error(honest, tmp_path):
    content = (honest / "saved_model.pb").read_bytes()
    folder = shutil.copytree(honest, tmp_path / "copy")
    random = np.random.default_rng(1)
    for position in random.integers(0, len(content), 300):
        changed = bytearray(content)
        changed[position] = random.integers(256)
        (folder / "saved_model.pb").write_bytes(changed)
        with contextlib.suppress(ModelError):
            load_saved_model(folder)


def test_the_digest_needs_little_memory(copy, monkeypatch):
    sizes = []
    monkeypatch.setattr(reference, "file_sha256", lambda path: sizes.append(path.stat().st_size) or "")
    reference.resolve_model(copy)
    assert len(sizes) == 4


def test_a_tower_of_sizes_is_not_climbed_again_and_again():
    """Each level has the one below ten times: without a memory of what is known, 10 ** 14 calls."""
    bottom = tf.compat.v1.NodeDef(name="level0", op="Const")
    bottom.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(np.int32(1)))
    packed = [
        tf.compat.v1.NodeDef(name=f"level{number}", op="Pack", input=[f"level{number - 1}"] * 10)
        for number in range(1, 15)
    ]
    fill = tf.compat.v1.NodeDef(name="fill", op="Fill", input=["level14", "level0"])
    assert check([bottom, *packed, fill]) == set()
