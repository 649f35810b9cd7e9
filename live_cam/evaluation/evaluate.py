"""Measures how faithful the heatmaps of several methods and layers are, on a folder of images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from live_cam.errors import LiveCamError, ModelError, SourceError
from live_cam.evaluation import faithfulness
from live_cam.evaluation.boxes import read_annotations
from live_cam.evaluation.metrics import STEP_COUNT, EvaluatedImage, Evaluator, Scores, randomized_head
from live_cam.explain.explainer import ModelExplainer
from live_cam.explain.load import build_explainer
from live_cam.models.reference import resolve_settings
from live_cam.preprocess import PREPROCESSINGS
from live_cam.settings import EvaluationSettings
from live_cam.sources.image import read_image
from live_cam.timing_harness import Progress, versions

BASELINE = "random"
# Files that often lie beside images, and are skipped without a message.
_OTHER_SUFFIXES = {".csv", ".json", ".md", ".txt", ".xml"}


@dataclass(frozen=True, eq=False)
class Row:
    """The results of one method on one layer.

    Attributes:
        method: Name of the method, or ``BASELINE``.
        layer: The target layer, or several (comma-separated); empty for the baseline.
        scores: One per image, in the order of the images.
    """

    method: str
    layer: str
    scores: tuple[Scores, ...]

    @property
    def metrics(self) -> dict[str, float | None]:
        """Means over the images; None for what was not measured."""
        return {
            "kept_percent": _mean([score.kept_percent for score in self.scores]),
            "average_drop_percent": _mean([score.drop_percent for score in self.scores]),
            "increase_percent": _mean([100.0 * score.is_increase for score in self.scores]),
            "insertion_auc": faithfulness.area_under(self.mean_curve("insertion")),
            "deletion_auc": faithfulness.area_under(self.mean_curve("deletion")),
            "pointing": _mean([score.pointing for score in self.scores]),
            "head_similarity": _mean([score.head_similarity for score in self.scores]),
        }

    def mean_curve(self, name: str) -> np.ndarray:
        """Returns the mean confidence, (STEP_COUNT + 1,), of "insertion" or "deletion"."""
        return np.mean([getattr(score, name) for score in self.scores], axis=0)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        about: Model, engine, input size and settings.
        images: The images that could be read.
        skipped: One line for each file that could not be read.
        rows: Each method on each layer, in the order of the settings.
        baseline: Random maps of the size of the first row's; a faithful map has better scores.
        head_check_failure: Why there is no ``head_similarity``; empty if there is, or if it was not asked for.
    """

    about: Mapping[str, Any]
    images: tuple[EvaluatedImage, ...]
    skipped: tuple[str, ...]
    rows: tuple[Row, ...]
    baseline: Row
    head_check_failure: str = ""

    @property
    def report(self) -> dict[str, Any]:
        """The contents of the ``--json`` file."""
        return {
            **self.about,
            "image_count": len(self.images),
            "skipped": self.skipped,
            "head_check_failure": self.head_check_failure,
            "results": [_row_report(row, self.images) for row in self.rows],
            "baseline": _row_report(self.baseline, self.images),
        }


def run_evaluation(
    settings: EvaluationSettings,
    on_line: Callable[[str], None] = lambda line: None,
    on_progress: Progress = lambda action, done, total: None,
) -> Evaluation:
    """Measures every method on every layer on the same images.

    The same settings on the same machine give the same numbers.

    Args:
        settings: What is measured.
        on_line: Called with a line about what is being built or left out.
        on_progress: See ``timing_harness.Progress``.

    Raises:
        LiveCamError: There are no images, or the model, a method, a layer or the boxes cannot be used.
    """
    folder = ImageFolder(settings.images, settings.max_images, on_line)
    annotations = {} if settings.boxes is None else read_annotations(settings.boxes, folder.paths)
    images = folder.read()
    first = next(images)
    explainers = _explainers(settings, first[1], on_line)
    if explainers[0].info.head == "regression":
        raise ModelError(
            f"{explainers[0].model_name} returns a number, not probabilities; only classifiers can be evaluated"
        )
    evaluator = Evaluator(explainers, annotations, settings.seed)
    evaluator, failure = _with_random_head(evaluator, settings, first[1], on_line)
    evaluated: list[tuple[EvaluatedImage, list[Scores]]] = []
    for path, image in chain([first], images):
        on_progress("evaluating", len(evaluated), folder.expected_count)
        evaluated.append(evaluator.evaluate(path, image, len(evaluated)))
    on_progress("evaluating", len(evaluated), len(evaluated))
    return _evaluation(settings, explainers, evaluated, tuple(folder.skipped), failure)


class ImageFolder:
    """Reads the images of a folder, sorted by name, and reports files that are not images.

    Args:
        folder: Its subfolders are not entered.
        max_count: At most this many images; None: all.
        on_line: Called with a line for each file that cannot be read.

    Attributes:
        paths: All files that may be images.
        skipped: The lines so far.

    Raises:
        SourceError: The folder cannot be opened.
    """

    def __init__(self, folder: Path, max_count: int | None, on_line: Callable[[str], None]) -> None:
        try:
            files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
        except OSError as error:
            raise SourceError(f"cannot open the folder {folder}: {error.strerror}; check the path") from None
        self.paths = tuple(path for path in files if path.suffix.lower() not in _OTHER_SUFFIXES)
        self.skipped: list[str] = []
        self._folder = folder
        self._max_count = max_count
        self._on_line = on_line

    @property
    def expected_count(self) -> int:
        """Expected number of images."""
        readable_count = len(self.paths) - len(self.skipped)
        return readable_count if self._max_count is None else min(readable_count, self._max_count)

    def read(self) -> Iterator[tuple[Path, np.ndarray]]:
        """Yields paths and images, (height, width, 3) uint8 BGR.

        Raises:
            SourceError: No file is an image.
        """
        count = 0
        for path in self.paths:
            if count == self._max_count:
                return
            try:
                image = read_image(path)
            except SourceError as error:
                self.skipped.append(str(error))
                self._on_line(f"skipped: {error}")
                continue
            count += 1
            yield path, image
        if not count:
            raise SourceError(f"no image in {self._folder}; give a folder with JPEG or PNG files in it")


def _explainers(
    settings: EvaluationSettings, check_image: np.ndarray, on_line: Callable[[str], None]
) -> list[ModelExplainer]:
    return [
        build_explainer(
            dataclasses.replace(settings.explainer, method=method, layer=layer or None),
            check_image=check_image,
            on_build=on_line,
        )
        for method in settings.methods
        for layer in settings.layers
    ]


def _with_random_head(
    evaluator: Evaluator, settings: EvaluationSettings, check_image: np.ndarray, on_line: Callable[[str], None]
) -> tuple[Evaluator, str]:
    """Returns an evaluator that also compares with a random head, if the settings ask for it; or why it cannot."""
    if not settings.checks_head:
        return evaluator, ""
    on_line("building the network with a random head")
    asked, info = settings.explainer, evaluator.explainers[0].info
    try:
        # A frozen graph has no weights that could be replaced.
        model = getattr(resolve_settings(asked).load(asked.input_size), "model", None)
        if model is None:
            raise ModelError("the weights of this kind of model cannot be replaced")
        random_head = partial(randomized_head, model, info.output_count, settings.seed, asked.output_name)
        # KerasHub's preprocessing is found in the model again.
        preprocess = info.preprocessing if info.preprocessing in PREPROCESSINGS else "auto"
        # The TensorFlow engine uses the weights in the model: nothing is converted or cached for this one check.
        explainer = dataclasses.replace(
            asked,
            model=model,
            weights=None,
            preprocess=preprocess,
            engine="tensorflow",
            precision="float",
            calibrate=None,
        )
        with random_head():
            # Messages about the network with a random head would only confuse the user.
            randomized = _explainers(dataclasses.replace(settings, explainer=explainer), check_image, lambda line: None)
    except LiveCamError as error:
        on_line(f"left out the check of the head: {error}")
        return evaluator, str(error)
    return dataclasses.replace(evaluator, randomized=randomized, random_head=random_head), ""


def _evaluation(
    settings: EvaluationSettings,
    explainers: Sequence[ModelExplainer],
    evaluated: Sequence[tuple[EvaluatedImage, list[Scores]]],
    skipped: tuple[str, ...],
    failure: str,
) -> Evaluation:
    images, scores = zip(*evaluated, strict=True)
    *columns, baseline = (tuple(column) for column in zip(*scores, strict=True))
    rows = (
        Row(explainer.method, explainer.info.layer, column)
        for explainer, column in zip(explainers, columns, strict=True)
    )
    return Evaluation(
        about=_about(settings, explainers[0]),
        images=images,
        skipped=skipped,
        rows=tuple(rows),
        baseline=Row(BASELINE, "", baseline),
        head_check_failure=failure,
    )


def _about(settings: EvaluationSettings, explainer: ModelExplainer) -> dict[str, Any]:
    return {
        "versions": versions(),
        "model": explainer.model_name,
        "engine": explainer.engine_name,
        "precision": explainer.precision,
        "input_size_wh": list(explainer.info.input_size_wh),
        "fit": settings.explainer.fit,
        "images": settings.images,
        "boxes": settings.boxes,
        "seed": settings.seed,
        "steps": STEP_COUNT,
    }


def _row_report(row: Row, images: Sequence[EvaluatedImage]) -> dict[str, Any]:
    return {
        "method": row.method,
        "layer": row.layer,
        **row.metrics,
        "insertion_curve": row.mean_curve("insertion").tolist(),
        "deletion_curve": row.mean_curve("deletion").tolist(),
        "images": [_image_report(*pair) for pair in zip(images, row.scores, strict=True)],
    }


def _image_report(image: EvaluatedImage, scores: Scores) -> dict[str, Any]:
    return {
        "name": image.path.name,
        "label": image.explained.label,
        "confidence": image.explained.probability,
        "kept_percent": scores.kept_percent,
        "drop_percent": scores.drop_percent,
        "is_increase": scores.is_increase,
        "insertion_auc": faithfulness.area_under(scores.insertion),
        "deletion_auc": faithfulness.area_under(scores.deletion),
        "pointing": scores.pointing,
        "head_similarity": scores.head_similarity,
    }


def _mean(values: Sequence[float | None]) -> float | None:
    """Returns the mean of the values that were measured; None if none was."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
