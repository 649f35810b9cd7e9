"""Int8: it agrees with float where it is used, and float is used, with the reason, where it does not or is slower."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, replace

import any_networks
import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from conftest import SHARED_DATA, needs_shared_data
from keras import layers
from tensorflow.lite.python import convert as tensorflow_convert

from live_cam.archive.tasks import Worker
from live_cam.bench import BenchResult
from live_cam.cli.bench import table
from live_cam.cli.options import with_option_names
from live_cam.engines.convert import ConversionError, quantize
from live_cam.errors import SettingError
from live_cam.explain import int8_builder
from live_cam.explain.builder import METHODS
from live_cam.explain.explainer import engine_title
from live_cam.explain.int8_check import Agreement, int8_agreement
from live_cam.explain.load import load_explainer
from live_cam.explain.model_cache import Cache
from live_cam.explain.model_info import ModelInfo
from live_cam.jobs.job_identity import picture_identity
from live_cam.settings import ArchiveSettings, ExplainerSettings, JobSettings
from live_cam.timing_harness import Timings, machine
from live_cam.viewers.web.served_source import explainer_json

SIZE = any_networks.SIZE
COLORS_BGR = ((40, 40, 220), (40, 200, 40), (220, 60, 40), (40, 210, 220))


def disc_picture(class_index, random):
    """A disc of the class's color somewhere on gray noise, (48, 48, 3) uint8."""
    picture = random.integers(90, 140, (48, 48, 3), np.uint8)
    x, y = random.integers(12, 36, 2).tolist()
    return cv2.circle(picture, (x, y), 9, COLORS_BGR[class_index], -1, cv2.LINE_AA)


def disc_pictures(count, seed):
    random = np.random.default_rng(seed)
    return [disc_picture(index % len(COLORS_BGR), random) for index in range(count)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A network that tells the colors of discs, as a file, and pictures to calibrate on."""
    folder = tmp_path_factory.mktemp("discs")
    keras.utils.set_random_seed(0)
    model = any_networks.functional(any_networks.HEADS["softmax"]())
    pictures = disc_pictures(240, seed=1)
    inputs = np.stack([cv2.resize(picture, (SIZE, SIZE))[..., ::-1] for picture in pictures]) / np.float32(255)
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    model.fit(inputs, np.arange(240) % len(COLORS_BGR), epochs=25, verbose=0)
    model.save(folder / "discs.keras")
    write_pictures(folder / "pictures", seed=2)
    return folder


def write_pictures(folder, seed, count=10):
    folder.mkdir()
    for number, picture in enumerate(disc_pictures(count, seed)):
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    return folder


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache_of_this_file(shared_cache, monkeypatch):
    """A cache of this file's, in which float models are converted once."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_cache))


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def twice_as_fast(monkeypatch):
    """Small networks gain nothing, and the speed of the machine that runs the tests is not known."""
    monkeypatch.setattr(int8_builder, "measured_time_ratio", lambda *engines_and_pixels: 0.5)


def both(folder, **settings):
    """The float and the int8 explainer."""
    settings = {"model": folder / "discs.keras", "preprocess": "unit", **settings}
    return load_explainer(**settings), load_explainer(**settings, precision="int8", calibrate=folder / "pictures")


def correlation_of(explainer, other, pictures):
    """The median correlation of the maps of two explainers, for the first one's classes, which both must name."""
    correlations = []
    for picture in pictures:
        first = explainer.explain(picture)
        second = other.explain(picture, first.explained.class_index)
        assert second.predictions[0].class_index == first.predictions[0].class_index
        correlations.append(np.corrcoef(first.heatmap.ravel(), second.heatmap.ravel())[0, 1])
    return float(np.median(correlations))


def assert_equal_results(explainer, other):
    for picture in disc_pictures(3, seed=7):
        first, second = explainer.explain(picture), other.explain(picture)
        assert first.predictions == second.predictions
        np.testing.assert_array_equal(first.heatmap, second.heatmap)


# --- int8 is used


def slow_but(name, names):
    """Parameters that are slow but for one."""
    return [name, *(pytest.param(other, marks=pytest.mark.slow) for other in names if other != name)]


@pytest.mark.parametrize("method", slow_but("grad-cam", METHODS))
def test_int8_agrees_with_float_for_every_method(folder, method):
    explainer, int8 = both(folder, method=method)
    assert (explainer.precision, int8.precision, int8.info.precision_reason) == ("float", "int8", "")
    assert correlation_of(explainer, int8, disc_pictures(12, seed=3)) > 0.97
    differences = [np.abs(explainer.forward(picture) - int8.forward(picture)).max() for picture in disc_pictures(4, 3)]
    assert 0 < max(differences) < 0.1


@pytest.mark.slow
def test_combined_layers_and_several_maps_work_in_int8(folder):
    explainer, int8 = both(folder, method="layercam", layer="first,features", top_maps=2)
    assert int8.precision == "int8"
    assert correlation_of(explainer, int8, disc_pictures(12, seed=3)) > 0.95
    assert len(int8.explain(disc_pictures(1, seed=3)[0]).other_maps) == 1


def test_a_contrast_class_is_subtracted_in_int8_too(folder):
    explainer, int8 = both(folder, contrast=1)
    assert correlation_of(explainer, int8, disc_pictures(12, seed=3)) > 0.95
    assert int8.explain(disc_pictures(1, seed=3)[0]).contrast[0].class_index == 1


def int8_program(folder, **settings):
    both(folder, **settings)
    (key,) = [key for key, info in Cache().int8_entries() if info.precision == "int8"]
    interpreter = Interpreter(model_path=str(Cache().root / key / "program.tflite"))
    types = {tensor["index"]: tensor["dtype"] for tensor in interpreter.get_tensor_details()}
    return interpreter._get_ops_details(), types


@pytest.mark.usefixtures("own_cache")
def test_everything_behind_the_last_convolution_is_in_float(folder):
    ops, types = int8_program(folder)
    convolutions = [number for number, op in enumerate(ops) if op["op_name"] == "CONV_2D"]
    last = convolutions[-1]
    assert [types[ops[number]["outputs"][0]] for number in convolutions[1:]] == [np.int8] * (len(convolutions) - 1)
    behind = set(ops[last]["outputs"])
    seen = []
    for op in ops[last + 1 :]:
        if behind.intersection(op["inputs"]):
            behind.update(op["outputs"])
            seen.append(op["op_name"])
            assert all(types[output] != np.int8 for output in op["outputs"]), op["op_name"]
    assert seen[0] == "DEQUANTIZE"
    assert {"FULLY_CONNECTED", "SOFTMAX"} <= set(seen)


def test_the_probabilities_sum_to_one(folder):
    _, int8 = both(folder)
    for picture in disc_pictures(8, seed=4):
        assert abs(float(int8.explain(picture).probabilities.sum()) - 1) < 1e-6


@pytest.mark.parametrize("wrapping", slow_but("nested", ["subclassed", "sequential"]))
def test_own_models_of_other_structures_work_in_int8(folder, wrapping):
    keras.utils.set_random_seed(1)
    model = any_networks.WRAPPINGS[wrapping](any_networks.HEADS["softmax"]())
    model(np.zeros((1, SIZE, SIZE, 3), np.float32))
    trained = keras.models.load_model(folder / "discs.keras")
    model.set_weights(trained.get_weights())
    explainer, int8 = both(folder, model=model)
    assert int8.precision == "int8"
    assert correlation_of(explainer, int8, disc_pictures(8, seed=3)) > 0.97


@pytest.mark.parametrize("head", slow_but("regression", ["binary", "logits", "sigmoid"]))
def test_other_heads_are_compared_too(folder, head):
    keras.utils.set_random_seed(1)
    _, int8 = both(folder, model=any_networks.functional(any_networks.HEADS[head]()))
    assert int8.info.int8_agreement.picture_count == 40  # 10 pictures and their middles, also mirrored
    assert 0 <= int8.info.int8_agreement.same_class <= 1


def test_the_engine_is_shown_with_its_precision(folder):
    explainer, int8 = both(folder)
    assert (engine_title(explainer), engine_title(int8)) == ("litert", "litert int8")
    assert (explainer_json(explainer)["precision"], explainer_json(int8)["precision"]) == ("float", "int8")


# --- the cache


WARM_START = """
import json, sys, cv2, live_cam
model, pictures, picture = sys.argv[1:]
explainer = live_cam.load_explainer(model, preprocess="unit", precision="int8", calibrate=pictures)
explanation = explainer.explain(cv2.imread(picture))
loaded = sorted({"tensorflow", "keras"} & set(sys.modules))
print(json.dumps([explainer.precision, explainer.info.int8_summary, loaded, explanation.heatmap.tolist()]))
"""


def test_a_warm_start_loads_no_tensorflow_and_gives_the_same(folder):
    _, int8 = both(folder)
    picture = folder / "pictures" / "0.png"
    command = [sys.executable, "-c", WARM_START, folder / "discs.keras", folder / "pictures", picture]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    precision, summary, loaded, heatmap = json.loads(done.stdout)
    assert (precision, summary, loaded) == ("int8", int8.info.int8_summary, [])
    assert summary.endswith(", 0.50 times float's time")
    np.testing.assert_array_equal(np.array(heatmap, np.float32), int8.explain(cv2.imread(str(picture))).heatmap)


@pytest.mark.slow
@pytest.mark.usefixtures("own_cache")
def test_other_pictures_make_another_entry_and_other_names_do_not(folder, tmp_path):
    def entry_count(pictures):
        load_explainer(folder / "discs.keras", preprocess="unit", precision="int8", calibrate=pictures)
        return Cache().entry_count_and_bytes()[0]

    renamed = tmp_path / "renamed"
    renamed.mkdir()
    for path in (folder / "pictures").iterdir():
        (renamed / f"picture-{path.name}").write_bytes(path.read_bytes())
    assert entry_count(folder / "pictures") == 2  # float and int8
    assert entry_count(renamed) == 2
    assert entry_count(write_pictures(tmp_path / "others", seed=9)) == 3


def test_the_speed_is_measured_again_on_another_cpu(folder, monkeypatch):
    both(folder)
    lines = []

    def load():
        lines.clear()
        return load_explainer(
            folder / "discs.keras",
            preprocess="unit",
            precision="int8",
            calibrate=folder / "pictures",
            on_build=lines.append,
        )

    assert (load().precision, lines) == ("int8", [])
    monkeypatch.setattr(int8_builder, "machine", lambda: {"cpu": "another"})
    monkeypatch.setattr(int8_builder, "measured_time_ratio", lambda *engines_and_pixels: 1.25)
    assert load().precision == "float"
    assert lines == [
        "comparing the speed of int8 and float on this CPU ...",
        "precision float: int8 is slower on this CPU: 1.25 times float's time",
    ]
    load()
    assert len(lines) == 1  # it is known now


# --- float is used instead


@pytest.mark.slow
@pytest.mark.usefixtures("own_cache")
def test_a_worker_refuses_another_precision_than_the_index_has(folder):
    explainer = ExplainerSettings(
        folder / "discs.keras", preprocess="unit", precision="int8", calibrate=folder / "pictures"
    )
    settings = ArchiveSettings((), folder / "index", explainer)
    for precision in ("float", "int8"):
        worker = Worker(settings)
        worker.require(precision)
        assert worker.explainer.precision == precision
    with pytest.raises(SettingError, match="cannot explain with float: "):
        worker.require("float")


def test_an_int8_model_that_was_not_timed_here_says_so():
    info = ModelInfo("top", "softmax", 1000, (224, 224), "lite", "litert", "CPU")
    known = replace(info, int8_agreement=Agreement(10, 1.0, 0.99, 0.9, 1.0))
    assert known.int8_summary.endswith(", not timed on this CPU")
    assert replace(known, int8_time_ratio=0.5).int8_summary.endswith(", 0.50 times float's time")


@pytest.mark.usefixtures("own_cache")
def test_float_is_used_where_int8_is_known_to_be_slower(folder):
    both(folder)
    ((key, _),) = Cache().int8_entries()
    Cache().store_time_ratio(key, machine()["cpu"], 1.2)
    lines = []
    explainer, refused = both(folder, on_warning=lines.append)
    assert (refused.precision, refused.engine_name) == ("float", "litert")
    assert lines[-1] == "precision float: int8 is slower on this CPU: 1.20 times float's time"
    assert_equal_results(explainer, refused)


def ruined_network():
    """The classes depend on channels of a thousandth of the range of another: in int8, they have no levels left."""
    inputs = keras.Input((SIZE, SIZE, 3))
    values = layers.Conv2D(4, 1, name="all")(inputs)
    outputs = layers.Dense(2, activation="softmax", name="head")(layers.GlobalAveragePooling2D()(values))
    model = keras.Model(inputs, outputs)
    kernel = np.zeros((1, 1, 3, 4), np.float32)
    kernel[0, 0, :, 0] = 3000
    kernel[0, 0, 0, 1] = kernel[0, 0, 1, 2] = 1
    model.get_layer("all").set_weights([kernel, np.zeros(4, np.float32)])
    weights = np.zeros((4, 2), np.float32)
    weights[1, 0] = weights[2, 1] = 50
    model.get_layer("head").set_weights([weights, np.zeros(2, np.float32)])
    return model


@pytest.mark.usefixtures("own_cache")
def test_float_is_used_where_int8_disagrees_and_a_warm_start_knows_why(folder, tmp_path):
    path = tmp_path / "ruined.keras"
    ruined_network().save(path)
    explainer, refused = both(folder, model=path)
    assert refused.precision == "float"
    assert refused.info.precision_reason.startswith("int8 disagrees with float: the ")
    assert_equal_results(explainer, refused)
    lines = []
    _, warm = both(folder, model=path, on_build=lines.append)
    assert warm.info == refused.info
    assert lines[-1] == f"precision float: {refused.info.precision_reason}"
    assert not any("TensorFlow" in line for line in lines)


@pytest.mark.usefixtures("own_cache")
def test_float_is_used_if_tensorflow_has_no_int8_conversion(folder, monkeypatch):
    monkeypatch.delattr(tensorflow_convert, "mlir_quantize")
    explainer, refused = both(folder)
    assert refused.info.precision_reason == (
        f"the conversion to int8 failed: TensorFlow {tf.__version__} has no int8 conversion that livecam knows"
    )
    assert_equal_results(explainer, refused)


def test_a_function_without_a_convolution_is_not_quantized():
    function = tf.function(lambda values: values * 2, input_signature=[tf.TensorSpec((4,), tf.float32)])
    with pytest.raises(ConversionError, match="the network has no convolution"):
        quantize(function, [[np.ones(4, np.float32)]])


class WithoutKernel(layers.Layer):
    def call(self, values):
        return tf.math.lgamma(values + 2)  # LiteRT has no such op


@pytest.mark.slow
def test_float_is_used_on_tensorflow_if_litert_cannot_run_the_model(folder):
    inputs = keras.Input((SIZE, SIZE, 3))
    values = layers.Conv2D(4, 3, activation="relu", name="features")(inputs)
    outputs = layers.Dense(2, activation="softmax")(WithoutKernel()(layers.GlobalAveragePooling2D()(values)))
    _, refused = both(folder, model=keras.Model(inputs, outputs))
    assert (refused.engine_name, refused.precision) == ("tensorflow", "float")
    assert refused.info.precision_reason.startswith("int8 needs LiteRT, and this model runs on TensorFlow: LiteRT")


# --- the comparison


class Arithmetic:
    """An engine: the class is the brightness of the first pixel, and the map a function of it."""

    def __init__(self, map_of, bias=0.0):
        self._map_of = map_of
        self._bias = bias

    def explain(self, pixels, class_indices):
        level = pixels[0, 0, 0, 0] / 255
        outputs = np.array([1 - level - self._bias, level + self._bias], np.float32)
        return outputs, np.array(self._map_of(level), np.float32)


DARK, LIGHT = np.full((1, 4, 4, 3), 40, np.uint8), np.full((1, 4, 4, 3), 120, np.uint8)
PEAK_LEFT, PEAK_MIDDLE, PEAK_RIGHT = [[4, 1, 0]], [[1, 4, 0]], [[0, 1, 4]]


def agreement_of(trusted, candidate, head="softmax"):
    return int8_agreement(trusted, candidate, [DARK, LIGHT], head, "grad-cam")


def test_equal_engines_agree():
    engine = Arithmetic(lambda level: PEAK_LEFT)
    agreement, noise = agreement_of(engine, engine)
    assert agreement == noise == Agreement(2, 1.0, pytest.approx(1.0), 1.0, 1.0)
    assert agreement.objection(noise) == ""


def test_classes_peaks_and_correlation_are_counted():
    trusted = Arithmetic(lambda level: PEAK_LEFT)
    # The lighter picture gets another class, and the peak moves by one cell or by two.
    candidate = Arithmetic(lambda level: PEAK_MIDDLE if level < 0.3 else PEAK_RIGHT, bias=0.1)
    agreement, noise = agreement_of(trusted, candidate)
    correlations = [np.corrcoef(PEAK_LEFT[0], other[0])[0, 1] for other in (PEAK_MIDDLE, PEAK_RIGHT)]
    assert agreement == Agreement(2, 0.5, pytest.approx(np.mean(correlations)), 0.0, 0.5)
    assert (
        agreement.objection(noise) == "the share of equal top classes is 0.50, and 1.00 with noise of two gray levels"
    )


def test_maps_without_positive_evidence_are_left_out():
    nothing, something = Arithmetic(lambda level: [[0, 0, 0]]), Arithmetic(lambda level: PEAK_LEFT)
    agreement, noise = agreement_of(nothing, something)
    assert agreement == Agreement(2, 1.0, None, None, None)
    assert agreement.text() == "same top class on 100% of 2 pictures"
    assert agreement.objection(noise) == ""


def test_maps_that_lose_their_evidence_are_an_objection():
    nothing, something = Arithmetic(lambda level: [[0, 0, 0]]), Arithmetic(lambda level: PEAK_LEFT)
    agreement, noise = agreement_of(something, nothing)
    assert agreement.correlation == 0
    assert agreement.objection(noise).startswith("the correlation of the heatmaps is 0.00, and 1.00")


def test_numbers_must_be_within_five_percent():
    trusted = Arithmetic(lambda level: PEAK_LEFT)
    near, far = (Arithmetic(lambda level: PEAK_LEFT, bias) for bias in (0.02, 0.08))
    assert agreement_of(trusted, near, "regression")[0].same_class == 1.0
    assert agreement_of(trusted, far, "regression")[0].same_class == 0.0


# --- settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"precision": "int4"}, "unknown precision 'int4'"),
        ({"precision": "int8", "engine": "tensorflow"}, "int8 runs on LiteRT only"),
        ({"calibrate": "pictures"}, "calibration pictures are for the precision int8"),
        ({"precision": "int8", "calibrate": "missing"}, "no images for the calibration of int8 in missing"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        load_explainer(**settings)


@pytest.mark.usefixtures("own_cache")
def test_without_the_demo_photographs_the_message_names_both_remedies(folder, monkeypatch):
    monkeypatch.setattr("live_cam.sources.demo.importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"install the demo's photographs") as raised:
        load_explainer(folder / "discs.keras", precision="int8")
    line = with_option_names(str(raised.value))
    assert '".[demo]"' in line
    assert "--calibrate DIR" in line
    assert "\n" not in line


def test_a_job_is_another_one_with_another_precision_or_other_pictures(folder, tmp_path):
    def identity(**settings):
        return picture_identity(JobSettings(explainer=ExplainerSettings(**settings)))

    int8 = identity(precision="int8", calibrate=folder / "pictures")
    copied = tmp_path / "copied"
    copied.mkdir()
    for path in (folder / "pictures").iterdir():
        (copied / path.name).write_bytes(path.read_bytes())
    assert identity(precision="int8", calibrate=copied) == int8
    others = [
        identity(),
        identity(precision="int8"),
        identity(precision="int8", calibrate=write_pictures(tmp_path / "others", 9)),
    ]
    assert all(other != int8 for other in others)


def test_a_folder_counts_by_what_is_in_it(tmp_path):
    def identity():
        return picture_identity(JobSettings(explainer=ExplainerSettings(model=tmp_path / "saved")))["model"]

    (tmp_path / "saved").mkdir()
    model = tmp_path / "saved" / "saved_model.pb"
    model.write_bytes(b"first")
    first = identity()
    model.write_bytes(b"other")
    assert identity() != first
    model.write_bytes(b"first")
    assert identity() == first


def test_all_settings_of_the_explainer_but_threads_make_a_job_another_one():
    names = {field.name for field in fields(ExplainerSettings)}
    assert names - picture_identity(JobSettings()).keys() == {"threads"}


# --- the command line


def test_bench_prints_the_precision_and_how_it_agrees():
    times_ms = {"p50": 1.0, "p95": 2.0, "p99": 3.0}
    end_to_end = {"fps": 25.0, "latency_ms": times_ms, "stage_ms": {"explain": times_ms}, "cpu_ms_per_frame": 5.0}
    report = {
        "model": "m", "engine": "litert", "precision": "int8", "threads": 2, "size_wh": [640, 480],
        "machine": {"cpu": "c", "cores": 2}, "forward_ms": times_ms, "explain_ms": times_ms, "end_to_end": end_to_end,
        "live": {"camera_fps": 30, **end_to_end}, "first_frame_seconds": 1.0, "peak_rss_mb": None,
        "tensorflow_imported": False,
    }  # fmt: skip
    timings = Timings(((1.0, 2.0),), 1.0)
    printed = table(BenchResult(report, timings, timings, "same top class on 100% of 16 pictures")).splitlines()
    assert printed[0].startswith("m on litert int8, 2 threads, 640x480")
    assert "int8: same top class on 100% of 16 pictures" in printed


def test_a_photograph_and_a_clip_are_explained_in_int8(folder, tmp_path, run_livecam):
    both(folder)
    options = ["--model", folder / "discs.keras", "--preprocess", "unit", "--precision", "int8"]
    options += ["--calibrate", folder / "pictures"]
    picture, clip = folder / "pictures" / "0.png", tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 10, (48, 48))
    for frame in disc_pictures(5, seed=5):
        writer.write(frame)
    writer.release()
    for arguments in (["--image", picture, "--output", tmp_path / "out.png"], ["--video", clip, "--no-show"]):
        report = tmp_path / f"{len(arguments)}.json"
        done = run_livecam(*arguments, *options, "--report", report)
        assert done.returncode == 0, done.stderr
        reported = json.loads(report.read_text(encoding="utf-8"))
        assert (reported["precision"], reported["engine"]) == ("int8", "litert")
        assert reported["tensorflow_imported"] is False


@pytest.mark.slow
def test_bench_and_doctor_tell_how_int8_agrees(folder, tmp_path, run_livecam):
    both(folder)
    options = ["--model", folder / "discs.keras", "--preprocess", "unit", "--precision", "int8"]
    path = tmp_path / "bench.json"
    done = run_livecam("bench", *options, "--calibrate", folder / "pictures", "--frames", "4", "--json", path)
    assert done.returncode == 0, done.stderr
    assert "int8: same top class on 100% of 40 pictures" in done.stdout
    report = json.loads(path.read_text(encoding="utf-8"))
    assert (report["precision"], report["int8"]["time_ratio"]) == ("int8", 0.5)
    assert "int8, .keras file" in run_livecam("doctor", timeout=300).stdout


@pytest.mark.slow
@needs_shared_data
@pytest.mark.parametrize("model", ["efficientnet-lite0", "mobilenetv2"])
def test_imagenet_networks_see_the_same_in_photographs_they_were_not_calibrated_on(model):
    weights = SHARED_DATA / "models" / "mobilenet_v2_imagenet.weights.h5" if model == "mobilenetv2" else None
    explainer, int8 = load_explainer(model, weights=weights), load_explainer(model, weights=weights, precision="int8")
    assert int8.precision == "int8"
    correlations, same = [], []
    for path in sorted((SHARED_DATA / "images").iterdir()):
        first = explainer.explain(path)
        second = int8.explain(path, first.explained.class_index)
        same.append(first.predictions[0].class_index == second.predictions[0].class_index)
        correlations.append(np.corrcoef(first.heatmap.ravel(), second.heatmap.ravel())[0, 1])
    assert sum(same) >= len(same) - 2
    assert np.median(correlations) > 0.99
