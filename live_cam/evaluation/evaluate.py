"""Measures how faithful the maps of several methods and layers are, on a folder of pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from live_cam.cache import PassFacts
from live_cam.errors import LiveCamError, ModelError, SettingError, SourceError
from live_cam.evaluation import faithfulness
from live_cam.evaluation.annotations import annotations_of
from live_cam.evaluation.judging import STEP_COUNT, Meter, Picture, Scores, randomized_head
from live_cam.explainer import Explainer
from live_cam.loading import layer_names, load_explainer
from live_cam.measuring import Progress, versions
from live_cam.models.reference import referenced
from live_cam.models.specs import DEFAULT_MODEL
from live_cam.native_output import silenced_native_stderr
from live_cam.sources.image import read_picture

DEFAULT_METHODS = ("grad-cam", "layercam")
BASELINE = "random"
# What lies beside pictures and is no attempt at one.
_COMPANION_SUFFIXES = {".csv", ".json", ".md", ".txt", ".xml"}


@dataclass(frozen=True)
class EvaluationSettings:
    """What is measured.

    Attributes:
        images: The folder of pictures; folders in it are not entered.
        methods: Names in ``CAM_METHODS``.
        layers: Each a layer's name, or several with commas, to be fused; "" for the default layer.
        boxes: See ``annotations.annotations_of``.
        max_images: How many pictures at most, the first by name.
        checks_head: Whether maps are compared with those of a network with a randomized head; loads TensorFlow.
        seed: Of the random order of equally hot pixels, the random maps and the random head.
        explainer: Arguments of ``load_explainer`` beside method and layer.
    """

    images: Path
    methods: tuple[str, ...] = DEFAULT_METHODS
    layers: tuple[str, ...] = ("",)
    boxes: Path | None = None
    max_images: int | None = None
    checks_head: bool = True
    seed: int = 0
    explainer: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.methods or not self.layers:
            raise SettingError("nothing to evaluate; give a method and a layer, or neither for the default ones")
        if self.max_images is not None and self.max_images < 1:
            raise SettingError(f"{self.max_images} pictures give no figures; give 1 or more")


@dataclass(frozen=True, eq=False)
class Row:
    """One method on one layer: what the pictures came to.

    Attributes:
        method: Its name, or ``BASELINE``.
        layer: The target layer, or several with commas; empty for the baseline.
        scores: One a picture, in their order.
    """

    method: str
    layer: str
    scores: tuple[Scores, ...]

    @property
    def figures(self) -> dict[str, float | None]:
        """The means over the pictures; None for what was not measured."""
        return {
            "kept_percent": _mean([one.kept_percent for one in self.scores]),
            "average_drop_percent": _mean([one.drop_percent for one in self.scores]),
            "increase_percent": _mean([100.0 * one.is_increase for one in self.scores]),
            "insertion_auc": faithfulness.area_under(self.mean_curve("insertion")),
            "deletion_auc": faithfulness.area_under(self.mean_curve("deletion")),
            "pointing": _mean([one.pointing for one in self.scores]),
            "head_similarity": _mean([one.head_similarity for one in self.scores]),
        }

    def mean_curve(self, name: str) -> np.ndarray:
        """(STEP_COUNT + 1,) mean confidence, of "insertion" or "deletion"."""
        return np.mean([getattr(one, name) for one in self.scores], axis=0)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was measured.

    Attributes:
        about: Model, engine, input size and settings.
        pictures: Those that could be read.
        skipped: A line for each file that could not.
        rows: Each method on each layer, in the order asked for.
        baseline: Random maps of the first row's size: what a row must beat to say anything.
        head_check_failure: Why there is no ``head_similarity``; empty where there is, or it was not asked for.
    """

    about: Mapping[str, Any]
    pictures: tuple[Picture, ...]
    skipped: tuple[str, ...]
    rows: tuple[Row, ...]
    baseline: Row
    head_check_failure: str = ""

    @property
    def report(self) -> dict[str, Any]:
        """The figures of ``--json``."""
        return {
            **self.about,
            "image_count": len(self.pictures),
            "skipped": self.skipped,
            "head_check_failure": self.head_check_failure,
            "results": [_row_report(row, self.pictures) for row in self.rows],
            "baseline": _row_report(self.baseline, self.pictures),
        }


def run_evaluation(
    settings: EvaluationSettings,
    on_line: Callable[[str], None] = lambda line: None,
    on_progress: Progress = lambda what, done, total: None,
) -> Evaluation:
    """Measures every method on every layer on the same pictures.

    The same settings on the same machine give the same numbers.

    Args:
        settings: What is measured.
        on_line: Called with a line about what is being built or left out.
        on_progress: See ``measuring.Progress``.

    Raises:
        LiveCamError: There are no pictures, or the model, a method, a layer or the boxes cannot be used.
    """
    reader = PictureReader(settings.images, settings.max_images, on_line)
    annotations = {} if settings.boxes is None else annotations_of(settings.boxes, reader.paths)
    pictures = reader.pictures()
    first = next(pictures)
    explainers = _explainers(settings, first[1], on_line)
    if explainers[0].facts.head == "regression":
        raise ModelError(f"{explainers[0].model_name} gives a number, no probabilities; only classifiers are evaluated")
    measured: list[tuple[Picture, list[Scores]]] = []
    with ExitStack() as stack:
        randomized, failure = _randomized_explainers(settings, explainers[0].facts, first[1], stack, on_line)
        meter = Meter(explainers, randomized, annotations, settings.seed)
        for path, image in chain([first], pictures):
            on_progress("evaluating", len(measured), reader.expected_count)
            measured.append(meter.measured(path, image, len(measured)))
    on_progress("evaluating", len(measured), len(measured))
    return _evaluation(settings, explainers, measured, tuple(reader.skipped), failure)


class PictureReader:
    """The pictures of a folder, by name; tells of files that are none.

    Args:
        folder: Where they are.
        max_count: How many at most; None for all.
        on_line: Called with a line for each file that cannot be read.

    Attributes:
        paths: All files that may be pictures.
        skipped: The lines so far.

    Raises:
        SourceError: There is no such folder.
    """

    def __init__(self, folder: Path, max_count: int | None, on_line: Callable[[str], None]) -> None:
        try:
            files = sorted(one for one in folder.iterdir() if one.is_file() and not one.name.startswith("."))
        except OSError as error:
            raise SourceError(f"cannot open the folder {folder}: {error.strerror}; check --images") from None
        self.paths = tuple(one for one in files if one.suffix.lower() not in _COMPANION_SUFFIXES)
        self.skipped: list[str] = []
        self._folder = folder
        self._max_count = max_count
        self._on_line = on_line

    @property
    def expected_count(self) -> int:
        """How many pictures there will be, as far as is known now."""
        readable = len(self.paths) - len(self.skipped)
        return readable if self._max_count is None else min(readable, self._max_count)

    def pictures(self) -> Iterator[tuple[Path, np.ndarray]]:
        """Paths and (height, width, 3) uint8 BGR pictures.

        Raises:
            SourceError: Not one file is a picture.
        """
        count = 0
        for path in self.paths:
            if count == self._max_count:
                return
            try:
                image = read_picture(path)
            except SourceError as error:
                self.skipped.append(str(error))
                self._on_line(f"skipped: {error}")
                continue
            count += 1
            yield path, image
        if not count:
            raise SourceError(f"no picture in {self._folder}; give a folder with JPEG or PNG files in it")


def _explainers(
    settings: EvaluationSettings, check_image: np.ndarray, on_line: Callable[[str], None]
) -> list[Explainer]:
    return [
        load_explainer(
            **settings.explainer,
            method=method,
            layer=layer_names(layer) or None,
            check_image=check_image,
            on_build=on_line,
        )
        for method in settings.methods
        for layer in settings.layers
    ]


def _randomized_explainers(
    settings: EvaluationSettings,
    facts: PassFacts,
    check_image: np.ndarray,
    stack: ExitStack,
    on_line: Callable[[str], None],
) -> tuple[list[Explainer], str]:
    """The explainers over a network with a random head, while ``stack`` is open; or none, and why."""
    if not settings.checks_head:
        return [], ""
    on_line("building the network with a random head")
    asked = settings.explainer
    try:
        with silenced_native_stderr():
            reference = referenced(asked.get("model", DEFAULT_MODEL), asked.get("weights"), asked.get("unsafe", False))
            model = reference.load(asked.get("input_size"))
        stack.enter_context(randomized_head(model, facts.output_count, settings.seed, asked.get("output_name")))
        # In TensorFlow, where it takes its weights from the model: nothing is converted, or kept, for one look.
        changed = {"model": model, "weights": None, "preprocess": facts.preprocessing, "engine": "tensorflow"}
        random_settings = dataclasses.replace(settings, explainer={**asked, **changed})
        # Without its lines: what is said of a network with a random head is no news of the user's.
        return _explainers(random_settings, check_image, lambda line: None), ""
    except LiveCamError as error:
        on_line(f"left out the check of the head: {error}")
        return [], str(error)


def _evaluation(
    settings: EvaluationSettings,
    explainers: Sequence[Explainer],
    measured: Sequence[tuple[Picture, list[Scores]]],
    skipped: tuple[str, ...],
    failure: str,
) -> Evaluation:
    pictures, scores = zip(*measured, strict=True)
    *columns, baseline = (tuple(column) for column in zip(*scores, strict=True))
    return Evaluation(
        about=_about(settings, explainers[0]),
        pictures=pictures,
        skipped=skipped,
        rows=tuple(Row(one.method, one.facts.layer, column) for one, column in zip(explainers, columns, strict=True)),
        baseline=Row(BASELINE, "", baseline),
        head_check_failure=failure,
    )


def _about(settings: EvaluationSettings, explainer: Explainer) -> dict[str, Any]:
    return {
        "versions": versions(),
        "model": explainer.model_name,
        "engine": explainer.engine_name,
        "input_size_wh": list(explainer.facts.input_size_wh),
        "fit": settings.explainer.get("fit", "stretch"),
        "images": settings.images,
        "boxes": settings.boxes,
        "seed": settings.seed,
        "steps": STEP_COUNT,
    }


def _row_report(row: Row, pictures: Sequence[Picture]) -> dict[str, Any]:
    return {
        "method": row.method,
        "layer": row.layer,
        **row.figures,
        "insertion_curve": row.mean_curve("insertion").tolist(),
        "deletion_curve": row.mean_curve("deletion").tolist(),
        "images": [_image_report(*pair) for pair in zip(pictures, row.scores, strict=True)],
    }


def _image_report(picture: Picture, scores: Scores) -> dict[str, Any]:
    return {
        "name": picture.path.name,
        "label": picture.explained.label,
        "confidence": picture.explained.probability,
        "kept_percent": scores.kept_percent,
        "drop_percent": scores.drop_percent,
        "is_increase": scores.is_increase,
        "insertion_auc": faithfulness.area_under(scores.insertion),
        "deletion_auc": faithfulness.area_under(scores.deletion),
        "pointing": scores.pointing,
        "head_similarity": scores.head_similarity,
    }


def _mean(values: Sequence[float | None]) -> float | None:
    """Of those that were measured; None if none was."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
