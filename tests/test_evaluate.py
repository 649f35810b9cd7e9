"""``livecam evaluate`` on a network whose outputs can be computed by hand, on a small real one, and as a command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from live_cam.cli.evaluate import evaluate
from live_cam.errors import LiveCamError, ModelError, SettingError, SourceError
from live_cam.evaluation.boxes import Annotation, Box
from live_cam.evaluation.evaluate import ImageFolder, run_evaluation
from live_cam.evaluation.faithfulness import DELETED_COLOR_BGR, area_under
from live_cam.evaluation.metrics import STEP_COUNT, Evaluator, Scores, randomized_head
from live_cam.explain.explainer import ModelExplainer
from live_cam.explain.model_info import ModelInfo
from live_cam.settings import EvaluationSettings, ExplainerSettings

SQUARE = np.s_[4:8, 4:8]
BOX = Box("", (4, 4, 8, 8))


class BrightSquare:
    """An engine for 16x16 pixels: the probability of "yes" is the brightness of the square."""

    name = "litert"

    def __init__(self, heatmap: np.ndarray) -> None:
        self._heatmap = heatmap

    def forward(self, pixels: np.ndarray) -> np.ndarray:
        return np.array([pixels[0][SQUARE].mean() / 255], np.float32)

    def explain(self, pixels: np.ndarray, class_indices: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        return self.forward(pixels), self._heatmap


def explainer_on(engine: BrightSquare) -> ModelExplainer:
    info = ModelInfo("layer", "binary", 1, (16, 16), "raw", "litert", "CPU")
    return ModelExplainer("square", engine, info, ("no", "yes"), ExplainerSettings())


def explainer_with(heatmap: np.ndarray) -> ModelExplainer:
    return explainer_on(BrightSquare(heatmap))


def perfect_map() -> np.ndarray:
    heatmap = np.zeros((16, 16), np.float32)
    heatmap[SQUARE] = 3
    return heatmap


def white_square() -> np.ndarray:
    image = np.zeros((16, 16, 3), np.uint8)
    image[SQUARE] = 255
    return image


def scores_of(heatmap: np.ndarray, image: np.ndarray | None = None, seed: int = 0) -> tuple[Scores, Scores]:
    """The scores of the map, and of the random map."""
    evaluator = Evaluator([explainer_with(heatmap)], {"a.png": Annotation((BOX,))}, seed)
    evaluated, scores = evaluator.evaluate(Path("a.png"), white_square() if image is None else image, 0)
    assert evaluated.explained.label == "yes"
    return scores[0], scores[1]


def test_a_map_of_just_the_square_loses_nothing_and_keeps_a_sixteenth():
    scores, _ = scores_of(perfect_map())
    assert (scores.drop_percent, scores.is_increase) == (0.0, False)
    assert scores.kept_percent == pytest.approx(100 / 16)
    assert scores.pointing == 1.0


def test_half_of_the_square_at_half_heat_gives_a_drop_of_a_quarter():
    heatmap = perfect_map()
    heatmap[4:6, 4:8] = 1.5
    # 255 * 0.5 is rounded to 128, so (8 * 128 + 8 * 255) / (16 * 255) = 0.75098 of the confidence remain.
    assert scores_of(heatmap)[0].drop_percent == pytest.approx(100 * (1 - 0.75098), abs=0.001)


def test_deletion_agrees_with_a_computation_by_hand():
    # 256 pixels in 28 steps are 10, 10, 10, 10, 9, ...: the first deletes 10 of the square's 16, the second the rest.
    gray = sum(DELETED_COLOR_BGR) / 3 / 255
    expected = [1, (10 * gray + 6) / 16, *[gray] * 27]
    scores, _ = scores_of(perfect_map())
    assert scores.deletion == pytest.approx(expected)
    by_hand = ((1 + expected[1]) / 2 + (expected[1] + gray) / 2 + 26 * gray) / 28
    assert area_under(scores.deletion) == pytest.approx(by_hand)


def test_insertion_agrees_with_a_computation_by_hand():
    scores, _ = scores_of(perfect_map())
    start = cv2.GaussianBlur(white_square(), (0, 0), 160 / 224, borderType=cv2.BORDER_REFLECT)[SQUARE] / 255
    assert scores.insertion[0] == pytest.approx(start.mean(), abs=1e-5)
    assert start.mean() < scores.insertion[1] < 1
    assert scores.insertion[2:] == pytest.approx(np.ones(STEP_COUNT - 1))


def test_a_perfect_map_is_better_than_a_random_one_and_the_opposite_map_is_worse():
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


def test_a_higher_confidence_on_the_dimmed_image_is_an_increase():
    class DarkIsYes(BrightSquare):
        def forward(self, pixels: np.ndarray) -> np.ndarray:
            return np.array([0.9 - pixels[0].mean() / 1000], np.float32)

    evaluator = Evaluator([explainer_on(DarkIsYes(perfect_map()))], {}, 0)
    _, scores = evaluator.evaluate(Path("a.png"), np.full((16, 16, 3), 200, np.uint8), 0)
    assert scores[0].is_increase
    assert scores[0].drop_percent == 0.0
    assert scores[0].pointing is None


def test_the_seed_decides_the_random_maps_and_the_order_of_equally_hot_pixels():
    flat = np.ones((4, 4), np.float32)
    first, again, other = (scores_of(flat, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first[1].heatmap, again[1].heatmap)
    assert not np.array_equal(first[1].heatmap, other[1].heatmap)
    # In a flat map, all pixels are equally hot.
    assert np.array_equal(first[0].deletion, again[0].deletion)
    assert not np.array_equal(first[0].deletion, other[0].deletion)


def test_each_map_is_compared_with_that_of_the_random_head():
    ramp = np.arange(16, dtype=np.float32).reshape(4, 4)
    trained, changed = [explainer_with(ramp), explainer_with(ramp)], [explainer_with(ramp), explainer_with(15 - ramp)]
    _, scores = Evaluator(trained, {}, 0, changed).evaluate(Path("a.png"), white_square(), 0)
    assert [score.head_similarity for score in scores] == [pytest.approx(1), pytest.approx(-1), None]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three squares of two colors on noise, the boxes around them, and files that are not images."""
    folder = tmp_path_factory.mktemp("images")
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


def two_color_model():
    """A network that tells green from red: a filter for each and one for blue, whose trained weight is 0."""
    import keras

    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(3, 3, strides=4, padding="same", activation="relu", name="colors")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax", name="head")(x))
    kernel = np.zeros((3, 3, 3, 3), np.float32)
    kernel[1, 1] = np.transpose([(-2, 2, -2), (2, -2, -2), (0, 0, 1)])
    model.get_layer("colors").set_weights([kernel, np.array([0.5, 0.5, 0], np.float32)])
    model.get_layer("head").set_weights([20 * np.eye(3, 2, dtype=np.float32), np.zeros(2, np.float32)])
    return model


def test_a_random_head_depends_on_its_seed_and_ends_with_its_block():
    model = two_color_model()
    before = [weight.copy() for weight in model.get_weights()]
    drawn = []
    for seed in (0, 0, 1):
        with randomized_head(model, 2, seed):
            drawn.append(model.get_layer("head").get_weights()[0])
            assert np.array_equal(model.get_layer("colors").get_weights()[0], before[0])
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.allclose(drawn[0], drawn[2])
    assert not np.allclose(drawn[0], before[2])
    assert all(np.array_equal(*pair) for pair in zip(model.get_weights(), before, strict=True))


def test_a_network_without_a_dense_layer_at_its_end_has_no_head():
    with (
        pytest.raises(ModelError, match="does not end in a dense layer or convolution of 7 classes"),
        randomized_head(two_color_model(), 7, 0),
    ):
        pass


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "colors.keras"
    two_color_model().save(path)
    return path


def settings_for(images: Path, model: object, **changes: object) -> EvaluationSettings:
    explainer = ExplainerSettings(model=model, labels=["green", "red"], engine="tensorflow")
    return EvaluationSettings(images, **{"boxes": images / "boxes.json", "explainer": explainer, **changes})


def test_evaluation_of_a_network_that_finds_colors(images: Path, model_path: Path):
    lines: list[str] = []
    steps: list[tuple[str, int, int]] = []
    settings = settings_for(images, model_path, methods=("grad-cam", "eigen-cam"))
    evaluation = run_evaluation(settings, lines.append, lambda *step: steps.append(step))
    assert [image.explained.label for image in evaluation.images] == ["green", "red", "green"]
    assert [(row.method, row.layer) for row in evaluation.rows] == [("grad-cam", "colors"), ("eigen-cam", "colors")]
    grad_cam, noise = evaluation.rows[0].metrics, evaluation.baseline.metrics
    # The squares are a seventh of the image; enlarging the map of 8x8 cells blurs it over their edges.
    assert noise["pointing"] == pytest.approx(24**2 / 64**2, abs=0.04)
    assert grad_cam["pointing"] > 0.6
    assert grad_cam["average_drop_percent"] < noise["average_drop_percent"]
    assert grad_cam["insertion_auc"] > noise["insertion_auc"]
    assert grad_cam["deletion_auc"] < noise["deletion_auc"]
    # Eigen-CAM does not use the head.
    assert evaluation.rows[1].metrics["head_similarity"] == pytest.approx(1, abs=1e-6)
    # The random head uses the blue of the background.
    assert grad_cam["head_similarity"] < 0.9
    assert len(evaluation.skipped) == 1
    assert "broken.jpg" in evaluation.skipped[0]
    assert any(line.startswith("skipped: ") and "broken.jpg" in line for line in lines)
    assert steps[0] == ("evaluating", 0, 4)
    assert steps[-1] == ("evaluating", 3, 3)


def test_a_model_object_is_measured_with_its_own_head(images: Path):
    # The explainers of the TensorFlow engine share the weights that the check of the head changes.
    settings = settings_for(images, two_color_model(), methods=("grad-cam", "layercam"))
    checked = run_evaluation(settings)
    unchecked = run_evaluation(replace(settings, checks_head=False))
    for row, expected in zip(checked.rows, unchecked.rows, strict=True):
        assert {**row.metrics, "head_similarity": None} == expected.metrics
        assert row.metrics["head_similarity"] < 0.9


def test_a_model_object_is_not_changed(images: Path):
    model = two_color_model()
    before = [weight.copy() for weight in model.get_weights()]
    evaluation = run_evaluation(settings_for(images, model, methods=("grad-cam",), max_images=1))
    assert evaluation.rows[0].metrics["head_similarity"] is not None
    assert len(evaluation.images) == 1
    assert all(np.array_equal(*pair) for pair in zip(model.get_weights(), before, strict=True))


def test_a_network_without_a_head_is_evaluated_without_that_check(images: Path):
    import keras

    inputs = keras.Input((32, 32, 3))
    x = keras.layers.DepthwiseConv2D(3, strides=8)(inputs)
    # Its three classes are the color channels.
    model = keras.Model(inputs, keras.layers.Softmax()(keras.layers.GlobalAveragePooling2D()(x)))
    lines: list[str] = []
    settings = settings_for(
        images, model, methods=("grad-cam",), explainer=ExplainerSettings(model=model, engine="tensorflow")
    )
    evaluation = run_evaluation(settings, lines.append)
    assert evaluation.rows[0].metrics["deletion_auc"] is not None
    assert evaluation.rows[0].metrics["head_similarity"] is None
    assert "does not end in a dense layer or convolution of 3 classes" in evaluation.report["head_check_failure"]
    assert any(line.startswith("left out the check of the head") for line in lines)


def test_a_folder_without_images_is_a_one_line_error(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("not an image", encoding="utf-8")
    with pytest.raises(SourceError, match="no image in"):
        run_evaluation(EvaluationSettings(tmp_path))
    with pytest.raises(SourceError, match="No such file"):
        run_evaluation(EvaluationSettings(tmp_path / "nowhere"))


def test_other_files_beside_images_are_skipped_without_a_message(images: Path):
    lines: list[str] = []
    folder = ImageFolder(images, None, lines.append)
    assert [path.name for path, _ in folder.read()] == ["0.png", "1.png", "2.png"]
    assert len(lines) == 1


@pytest.mark.parametrize("changes", [{"methods": ()}, {"layers": ()}, {"max_images": 0}])
def test_settings_that_measure_nothing_are_refused(changes: dict):
    with pytest.raises(SettingError, match=r"nothing to evaluate|max_images must be a whole number of 1 or more"):
        EvaluationSettings(Path(), **changes)


def test_an_unknown_method_is_a_setting_error(images: Path, model_path: Path):
    with pytest.raises(SettingError, match="did you mean grad-cam"):
        run_evaluation(settings_for(images, model_path, methods=("gradkam",)))


def invoked(*arguments: object):
    app = typer.Typer()
    app.command()(evaluate)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_prints_a_table_and_gives_the_same_numbers_twice(images: Path, model_path: Path, tmp_path: Path):
    arguments = [
        "--images",
        images,
        "--model",
        model_path,
        "--engine",
        "tensorflow",
        "--boxes",
        images / "boxes.json",
    ]
    arguments += ["--method", "grad-cam,layercam", "--method", "eigen-cam"]
    runs = [invoked(*arguments, "--json", tmp_path / name) for name in ("one.json", "two.json")]
    assert [run.exit_code for run in runs] == [0, 0], [run.exception for run in runs]
    reports = [json.loads((tmp_path / name).read_text(encoding="utf-8")) for name in ("one.json", "two.json")]
    assert reports[0] == reports[1]
    assert [result["method"] for result in reports[0]["results"]] == ["grad-cam", "layercam", "eigen-cam"]
    lines = runs[0].stdout.splitlines()
    row = next(line for line in lines if line.startswith("layercam"))
    metrics = reports[0]["results"][1]
    assert f"{metrics['average_drop_percent']:.1f}" in row.split()
    assert f"{metrics['pointing']:.3f}" in row.split()
    assert lines[-1].startswith("random ")
    assert [len(result["images"]) for result in reports[0]["results"]] == [3, 3, 3]


def test_what_is_not_measured_has_no_column(images: Path, model_path: Path):
    run = invoked("--images", images, "--model", model_path, "--engine", "tensorflow", "--no-sanity", "--max-images", 1)
    assert run.exit_code == 0, run.exception
    assert "deletion" in run.stdout
    assert "pointing" not in run.stdout
    assert "random head" not in run.stdout


def test_existing_files_are_refused_before_anything_is_measured(images: Path, tmp_path: Path):
    path = tmp_path / "old.json"
    path.write_text("old", encoding="utf-8")
    run = invoked("--images", images, "--json", path)
    assert isinstance(run.exception, LiveCamError)
    assert "overwrite" in str(run.exception)
    assert path.read_text(encoding="utf-8") == "old"


def test_two_figures_are_drawn(images: Path, model_path: Path, tmp_path: Path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "plot.png"
    run = invoked("--images", images, "--model", model_path, "--engine", "tensorflow", "--no-sanity", "--plot", path)
    assert run.exit_code == 0, run.exception
    for figure in (path, tmp_path / "plot-maps.png"):
        image = cv2.imread(str(figure))
        assert image.shape[1] > 400
        assert image.min() < 60
        assert (image == 255).all(axis=-1).mean() > 0.1
    # The red square is on the contact sheet, unchanged.
    assert (np.abs(image.astype(int) - (20, 20, 240)).max(axis=-1) < 8).sum() > 200
    assert sorted(file.name for file in tmp_path.iterdir()) == ["plot-maps.png", "plot.png"]


def test_an_unknown_file_type_of_a_plot_is_refused_at_once(images: Path, tmp_path: Path):
    pytest.importorskip("matplotlib")
    run = invoked("--images", images, "--plot", tmp_path / "plot.docx")
    assert isinstance(run.exception, SettingError)
    assert "png" in str(run.exception)
