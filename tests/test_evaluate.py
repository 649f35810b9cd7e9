"""``livecam evaluate``: a network whose answers are known by hand, a small real one, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from live_cam.cache import PassFacts
from live_cam.cli.evaluate import evaluate
from live_cam.errors import LiveCamError, ModelError, SettingError, SourceError
from live_cam.evaluation.annotations import Annotation, Box
from live_cam.evaluation.evaluate import EvaluationSettings, PictureReader, run_evaluation
from live_cam.evaluation.faithfulness import DELETED_COLOUR_BGR, area_under
from live_cam.evaluation.judging import STEP_COUNT, Meter, Scores, randomized_head
from live_cam.explainer import Explainer

SQUARE = np.s_[4:8, 4:8]
BOX = Box("", (4, 4, 8, 8))


class BrightSquare:
    """An engine for 16x16 pixels: "yes" is as probable as the square is bright."""

    name = "litert"

    def __init__(self, heatmap: np.ndarray) -> None:
        self._heatmap = heatmap

    def forward(self, pixels: np.ndarray) -> np.ndarray:
        return np.array([pixels[0][SQUARE].mean() / 255], np.float32)

    def explain(self, pixels: np.ndarray, class_indices: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        return self.forward(pixels), self._heatmap


def explainer_with(heatmap: np.ndarray) -> Explainer:
    facts = PassFacts("layer", "binary", 1, (16, 16), "raw", "litert", "CPU")
    return Explainer("square", BrightSquare(heatmap), facts, ("no", "yes"), "grad-cam")


def perfect_map() -> np.ndarray:
    heatmap = np.zeros((16, 16), np.float32)
    heatmap[SQUARE] = 3
    return heatmap


def white_square() -> np.ndarray:
    image = np.zeros((16, 16, 3), np.uint8)
    image[SQUARE] = 255
    return image


def scores_of(heatmap: np.ndarray, image: np.ndarray | None = None, seed: int = 0) -> tuple[Scores, Scores]:
    """Of the map, and of the random one."""
    meter = Meter([explainer_with(heatmap)], [], {"a.png": Annotation((BOX,))}, seed)
    picture, scores = meter.measured(Path("a.png"), white_square() if image is None else image, 0)
    assert picture.explained.label == "yes"
    return scores[0], scores[1]


def test_a_map_of_just_the_square_loses_nothing_and_keeps_a_sixteenth():
    scores, _ = scores_of(perfect_map())
    assert (scores.drop_percent, scores.is_increase) == (0.0, False)
    assert scores.kept_percent == pytest.approx(100 / 16)
    assert scores.pointing == 1.0


def test_half_of_the_square_at_half_heat_is_a_drop_of_a_quarter():
    heatmap = perfect_map()
    heatmap[4:6, 4:8] = 1.5
    # 255 * 0.5 is rounded to 128: (8 * 128 + 8 * 255) / (16 * 255) = 0.75098 of the confidence are left.
    assert scores_of(heatmap)[0].drop_percent == pytest.approx(100 * (1 - 0.75098), abs=0.001)


def test_deletion_by_hand():
    # 256 pixels in 28 steps are 10, 10, 10, 10, 9, ...: ten of the square's sixteen go in the first, six in the second.
    grey = sum(DELETED_COLOUR_BGR) / 3 / 255
    expected = [1, (10 * grey + 6) / 16, *[grey] * 27]
    scores, _ = scores_of(perfect_map())
    assert scores.deletion == pytest.approx(expected)
    by_hand = ((1 + expected[1]) / 2 + (expected[1] + grey) / 2 + 26 * grey) / 28
    assert area_under(scores.deletion) == pytest.approx(by_hand)


def test_insertion_by_hand():
    scores, _ = scores_of(perfect_map())
    start = cv2.GaussianBlur(white_square(), (0, 0), 160 / 224, borderType=cv2.BORDER_REFLECT)[SQUARE] / 255
    assert scores.insertion[0] == pytest.approx(start.mean(), abs=1e-5)
    assert start.mean() < scores.insertion[1] < 1
    assert scores.insertion[2:] == pytest.approx(np.ones(STEP_COUNT - 1))


def test_a_perfect_map_beats_noise_in_everything_and_the_opposite_map_loses():
    perfect, noise = scores_of(perfect_map())
    opposite, _ = scores_of(3 - perfect_map())
    for better, worse in ((perfect, noise), (noise, opposite)):
        assert better.drop_percent < worse.drop_percent
        assert area_under(better.insertion) > area_under(worse.insertion)
        assert area_under(better.deletion) < area_under(worse.deletion)
        assert better.pointing > worse.pointing


def test_a_map_without_evidence_keeps_nothing_and_points_nowhere():
    scores, _ = scores_of(np.zeros((4, 4), np.float32))
    assert (scores.kept_percent, scores.drop_percent, scores.pointing) == (0.0, 100.0, 0.0)


def test_hiding_what_speaks_against_the_class_is_an_increase():
    class Shy(BrightSquare):
        def forward(self, pixels: np.ndarray) -> np.ndarray:
            return np.array([0.9 - pixels[0].mean() / 1000], np.float32)

    facts = PassFacts("layer", "binary", 1, (16, 16), "raw", "litert", "CPU")
    explainer = Explainer("shy", Shy(perfect_map()), facts, ("no", "yes"), "grad-cam")
    _, scores = Meter([explainer], [], {}, 0).measured(Path("a.png"), np.full((16, 16, 3), 200, np.uint8), 0)
    assert scores[0].is_increase
    assert scores[0].drop_percent == 0.0
    assert scores[0].pointing is None


def test_the_random_maps_are_the_same_for_the_same_seed_and_picture_alone():
    flat = np.ones((4, 4), np.float32)
    first, again, other = (scores_of(flat, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first[1].heatmap, again[1].heatmap)
    assert not np.array_equal(first[1].heatmap, other[1].heatmap)
    # A flat map is all ties: their order is the seed's too.
    assert np.array_equal(first[0].deletion, again[0].deletion)
    assert not np.array_equal(first[0].deletion, other[0].deletion)


def test_a_trained_map_is_compared_with_the_one_of_the_random_head():
    ramp = np.arange(16, dtype=np.float32).reshape(4, 4)
    trained, changed = [explainer_with(ramp), explainer_with(ramp)], [explainer_with(ramp), explainer_with(15 - ramp)]
    _, scores = Meter(trained, changed, {}, 0).measured(Path("a.png"), white_square(), 0)
    assert [one.head_similarity for one in scores] == [pytest.approx(1), pytest.approx(-1), None]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three squares of two colours on noise, the boxes around them, and files that are no pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    rng, boxes = np.random.default_rng(0), {}
    for index, (x, y) in enumerate([(4, 4), (30, 8), (16, 34)]):
        image = rng.integers(90, 110, (64, 64, 3), np.uint8)
        image[y : y + 24, x : x + 24] = (20, 20, 240) if index % 2 else (20, 240, 20)
        cv2.imwrite(str(folder / f"{index}.png"), image)
        boxes[f"{index}.png"] = [[x, y, x + 24, y + 24]]
    (folder / "boxes.json").write_text(json.dumps(boxes), encoding="utf-8")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    (folder / ".hidden").write_bytes(b"")
    return folder


def two_colour_model():
    """A network that finds green and red: a filter for each and one for blue, pooled; its classes need no blue."""
    import keras

    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(3, 3, strides=4, padding="same", activation="relu", name="colours")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax", name="head")(x))
    kernel = np.zeros((3, 3, 3, 3), np.float32)
    kernel[1, 1] = np.transpose([(-2, 2, -2), (2, -2, -2), (0, 0, 1)])
    model.get_layer("colours").set_weights([kernel, np.array([0.5, 0.5, 0], np.float32)])
    model.get_layer("head").set_weights([20 * np.eye(3, 2, dtype=np.float32), np.zeros(2, np.float32)])
    return model


def test_a_random_head_is_random_by_its_seed_and_only_while_it_lasts():
    model = two_colour_model()
    before = [one.copy() for one in model.get_weights()]
    drawn = []
    for seed in (0, 0, 1):
        with randomized_head(model, 2, seed):
            drawn.append(model.get_layer("head").get_weights()[0])
            assert np.array_equal(model.get_layer("colours").get_weights()[0], before[0])
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.allclose(drawn[0], drawn[2])
    assert not np.allclose(drawn[0], before[2])
    assert all(np.array_equal(*pair) for pair in zip(model.get_weights(), before, strict=True))


def test_a_network_without_a_dense_end_has_no_head():
    with (
        pytest.raises(ModelError, match="no dense layer or convolution of 7 classes"),
        randomized_head(two_colour_model(), 7, 0),
    ):
        pass


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "colours.keras"
    two_colour_model().save(path)
    return path


def settings_for(pictures: Path, model: object, **changes: object) -> EvaluationSettings:
    explainer = {"model": model, "labels": ["green", "red"], "engine": "tensorflow"}
    return EvaluationSettings(pictures, **{"boxes": pictures / "boxes.json", "explainer": explainer, **changes})


def test_evaluation_of_a_network_that_finds_colours(pictures: Path, model_path: Path):
    lines: list[str] = []
    steps: list[tuple[str, int, int]] = []
    settings = settings_for(pictures, model_path, methods=("grad-cam", "eigen-cam"))
    evaluation = run_evaluation(settings, lines.append, lambda *step: steps.append(step))
    assert [one.explained.label for one in evaluation.pictures] == ["green", "red", "green"]
    assert [(row.method, row.layer) for row in evaluation.rows] == [("grad-cam", "colours"), ("eigen-cam", "colours")]
    grad_cam, noise = evaluation.rows[0].figures, evaluation.baseline.figures
    # The squares are an eighth of the picture; the map of 8x8 cells is blurred over their edges.
    assert noise["pointing"] == pytest.approx(24**2 / 64**2, abs=0.04)
    assert grad_cam["pointing"] > 0.6
    assert grad_cam["average_drop_percent"] < noise["average_drop_percent"]
    assert grad_cam["insertion_auc"] > noise["insertion_auc"]
    assert grad_cam["deletion_auc"] < noise["deletion_auc"]
    # Eigen-CAM never asks the head.
    assert evaluation.rows[1].figures["head_similarity"] == pytest.approx(1, abs=1e-6)
    # The random head finds something in the blue of the background.
    assert grad_cam["head_similarity"] < 0.9
    assert len(evaluation.skipped) == 1
    assert "broken.jpg" in evaluation.skipped[0]
    assert any(line.startswith("skipped: ") and "broken.jpg" in line for line in lines)
    assert steps[0] == ("evaluating", 0, 4)
    assert steps[-1] == ("evaluating", 3, 3)


def test_a_model_object_is_left_as_it_was(pictures: Path):
    model = two_colour_model()
    before = [one.copy() for one in model.get_weights()]
    evaluation = run_evaluation(settings_for(pictures, model, methods=("grad-cam",), max_images=1))
    assert evaluation.rows[0].figures["head_similarity"] is not None
    assert len(evaluation.pictures) == 1
    assert all(np.array_equal(*pair) for pair in zip(model.get_weights(), before, strict=True))


def test_a_network_without_a_head_to_randomize_is_evaluated_all_the_same(pictures: Path):
    import keras

    inputs = keras.Input((32, 32, 3))
    x = keras.layers.DepthwiseConv2D(3, strides=8)(inputs)
    # Its three classes are the colours themselves.
    model = keras.Model(inputs, keras.layers.Softmax()(keras.layers.GlobalAveragePooling2D()(x)))
    lines: list[str] = []
    settings = settings_for(pictures, model, methods=("grad-cam",), explainer={"model": model, "engine": "tensorflow"})
    evaluation = run_evaluation(settings, lines.append)
    assert evaluation.rows[0].figures["deletion_auc"] is not None
    assert evaluation.rows[0].figures["head_similarity"] is None
    assert "no dense layer or convolution of 3 classes" in evaluation.report["head_check_failure"]
    assert any(line.startswith("left out the check of the head") for line in lines)


def test_a_folder_without_pictures_is_one_line(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("no picture", encoding="utf-8")
    with pytest.raises(SourceError, match="no picture in"):
        run_evaluation(EvaluationSettings(tmp_path))
    with pytest.raises(SourceError, match="No such file"):
        run_evaluation(EvaluationSettings(tmp_path / "nowhere"))


def test_companions_of_pictures_are_passed_over_in_silence(pictures: Path):
    lines: list[str] = []
    reader = PictureReader(pictures, None, lines.append)
    assert [path.name for path, _ in reader.pictures()] == ["0.png", "1.png", "2.png"]
    assert len(lines) == 1


@pytest.mark.parametrize("changes", [{"methods": ()}, {"layers": ()}, {"max_images": 0}])
def test_settings_that_measure_nothing_are_refused(changes: dict):
    with pytest.raises(SettingError, match="give"):
        EvaluationSettings(Path(), **changes)


def test_an_unknown_method_is_named(pictures: Path, model_path: Path):
    with pytest.raises(SettingError, match="did you mean grad-cam"):
        run_evaluation(settings_for(pictures, model_path, methods=("gradcam",)))


def invoked(*arguments: object):
    app = typer.Typer()
    app.command()(evaluate)
    return CliRunner().invoke(app, [str(one) for one in arguments])


def test_the_command_prints_a_table_and_writes_the_same_numbers_twice(pictures: Path, model_path: Path, tmp_path: Path):
    arguments = [
        "--images",
        pictures,
        "--model",
        model_path,
        "--engine",
        "tensorflow",
        "--boxes",
        pictures / "boxes.json",
    ]
    arguments += ["--method", "grad-cam,layercam", "--method", "eigen-cam"]
    runs = [invoked(*arguments, "--json", tmp_path / name) for name in ("one.json", "two.json")]
    assert [one.exit_code for one in runs] == [0, 0], [one.exception for one in runs]
    reports = [json.loads((tmp_path / name).read_text(encoding="utf-8")) for name in ("one.json", "two.json")]
    assert reports[0] == reports[1]
    assert [one["method"] for one in reports[0]["results"]] == ["grad-cam", "layercam", "eigen-cam"]
    lines = runs[0].stdout.splitlines()
    row = next(line for line in lines if line.startswith("layercam"))
    figures = reports[0]["results"][1]
    assert f"{figures['average_drop_percent']:.1f}" in row.split()
    assert f"{figures['pointing']:.3f}" in row.split()
    assert lines[-1].startswith("random ")
    assert [len(one["images"]) for one in reports[0]["results"]] == [3, 3, 3]


def test_without_boxes_and_sanity_there_are_no_columns_for_them(pictures: Path, model_path: Path):
    run = invoked(
        "--images", pictures, "--model", model_path, "--engine", "tensorflow", "--no-sanity", "--max-images", 1
    )
    assert run.exit_code == 0, run.exception
    assert "deletion" in run.stdout
    assert "pointing" not in run.stdout
    assert "random head" not in run.stdout


def test_existing_files_are_kept_before_anything_is_measured(pictures: Path, tmp_path: Path):
    path = tmp_path / "old.json"
    path.write_text("old", encoding="utf-8")
    run = invoked("--images", pictures, "--json", path)
    assert isinstance(run.exception, LiveCamError)
    assert "--overwrite" in str(run.exception)
    assert path.read_text(encoding="utf-8") == "old"


def test_the_plots_are_two_figures_with_ink(pictures: Path, model_path: Path, tmp_path: Path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "plot.png"
    run = invoked("--images", pictures, "--model", model_path, "--engine", "tensorflow", "--no-sanity", "--plot", path)
    assert run.exit_code == 0, run.exception
    for one in (path, tmp_path / "plot-maps.png"):
        image = cv2.imread(str(one))
        assert image.shape[1] > 400
        assert image.min() < 60
        assert (image == 255).all(axis=-1).mean() > 0.1
    # The red square is on the sheet, undimmed.
    assert (np.abs(image.astype(int) - (20, 20, 240)).max(axis=-1) < 8).sum() > 200
    assert sorted(one.name for one in tmp_path.iterdir()) == ["plot-maps.png", "plot.png"]


def test_a_plot_of_no_known_kind_is_refused_at_once(pictures: Path, tmp_path: Path):
    pytest.importorskip("matplotlib")
    run = invoked("--images", pictures, "--plot", tmp_path / "plot.docx")
    assert isinstance(run.exception, SettingError)
    assert "png" in str(run.exception)
