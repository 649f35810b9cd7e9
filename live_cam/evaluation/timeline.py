"""Reads a sidecar into arrays over time."""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from live_cam.errors import SourceError


@dataclass(frozen=True, eq=False)
class Timeline:
    """The frames of a sidecar, n of them with k predictions each.

    Attributes:
        times_seconds: (n,) float64, ascending.
        explained_indices: (n,) int64: the explained class.
        class_indices: (n, k) int64: the predicted classes, best first.
        scores: (n, k) float64: their probabilities, or the model's raw values if it has no probabilities; NaN if
            missing.
        are_probabilities: Whether ``scores`` are probabilities.
        labels: Class indices to labels, for all classes that occur.
        peaks: (n,) float64: the map's maximum.
        areas_above_half: (n,) float64: the part of the map with at least half of its maximum, in [0, 1].
        centroids_xy: (n, 2) float64: the center of the evidence, as fractions of the frame; NaN without evidence.
    """

    times_seconds: np.ndarray
    explained_indices: np.ndarray
    class_indices: np.ndarray
    scores: np.ndarray
    are_probabilities: bool
    labels: Mapping[int, str]
    peaks: np.ndarray
    areas_above_half: np.ndarray
    centroids_xy: np.ndarray

    def leading_classes(self, count: int) -> list[int]:
        """Returns the classes with the highest sums of scores over all frames, highest first."""
        totals: dict[int, float] = {}
        for index, score in zip(self.class_indices.ravel().tolist(), self.scores.ravel().tolist(), strict=True):
            totals[index] = totals.get(index, 0.0) + (0.0 if math.isnan(score) else score)
        return sorted(totals, key=lambda index: -totals[index])[:count]

    def scores_of(self, class_index: int) -> np.ndarray:
        """Returns the score of a class in each frame, (n,) float64; NaN where it is not among the k best."""
        is_class = self.class_indices == class_index
        scores = np.where(is_class, self.scores, 0).sum(axis=1)
        return np.where(is_class.any(axis=1), scores, np.nan)

    def explained_runs(self) -> Iterator[tuple[int, int, int]]:
        """Yields each run of frames with the same explained class: its first frame, one past its last, the class."""
        changes = np.flatnonzero(np.diff(self.explained_indices)) + 1
        borders = [0, *changes.tolist(), len(self.explained_indices)]
        for first, last in zip(borders[:-1], borders[1:], strict=True):
            yield first, last, int(self.explained_indices[first])


def read_timeline(path: Path) -> Timeline:
    """Reads a sidecar: JSON lines, or a table if the name ends in .csv.

    Raises:
        SourceError: It cannot be read, is not a sidecar, or has no frames.
    """
    try:
        # newline="": labels in a table may contain line ends, which must not be changed.
        with path.open(encoding="utf-8", newline="") as file:
            return _timeline_of(_csv_lines(file) if path.suffix.lower() == ".csv" else _json_lines(file.read()))
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, IndexError, csv.Error):
        raise SourceError(f"{path} is not a sidecar of livecam; write one with the sidecar option") from None


def _json_lines(text: str) -> list[Any]:
    # Not splitlines(), which also splits at characters that labels may contain, such as U+2028. After the last line end
    # there is nothing, or half a line of a process that was killed.
    return [json.loads(line) for line in text.split("\n")[:-1]]


def _csv_lines(file: TextIO) -> list[Any]:
    """Returns the rows in the form of the JSON lines."""
    return [_line_of_row(row) for row in csv.DictReader(file)]


def _line_of_row(row: Mapping[str, str]) -> dict[str, Any]:
    score = "value" if "explained_value" in row else "probability"
    ranks = range(1, 1 + sum(name.startswith("class_index_") for name in row))
    centroid = None if row["centroid_x"] == "" else (float(row["centroid_x"]), float(row["centroid_y"]))
    return {
        "time_seconds": float(row["time_seconds"]),
        "explained": _prediction(row["explained_index"], row["explained_label"], score, row[f"explained_{score}"]),
        "predictions": [
            _prediction(row[f"class_index_{rank}"], row[f"label_{rank}"], score, row[f"{score}_{rank}"])
            for rank in ranks
        ],
        "heatmap": {
            "peak": float(row["peak"]),
            "area_above_half": float(row["area_above_half"]),
            "centroid_xy": centroid,
        },
    }


def _prediction(index: str, label: str, score_name: str, score: str) -> dict[str, Any]:
    return {"class_index": int(index), "label": label, score_name: float(score) if score else None}


def _timeline_of(lines: list[Any]) -> Timeline:
    explained = [line["explained"] for line in lines]
    predictions = [line["predictions"] for line in lines]
    maps = [line["heatmap"] for line in lines]
    name = "value" if "value" in explained[0] else "probability"
    return Timeline(
        times_seconds=np.array([line["time_seconds"] for line in lines], np.float64),
        explained_indices=np.array([prediction["class_index"] for prediction in explained], np.int64),
        class_indices=np.array([[prediction["class_index"] for prediction in best] for best in predictions], np.int64),
        scores=np.array([[_number(prediction[name]) for prediction in best] for best in predictions], np.float64),
        are_probabilities=name == "probability",
        labels={
            prediction["class_index"]: prediction["label"] for prediction in itertools.chain(explained, *predictions)
        },
        peaks=np.array([heatmap["peak"] for heatmap in maps], np.float64),
        areas_above_half=np.array([heatmap["area_above_half"] for heatmap in maps], np.float64),
        centroids_xy=np.array([heatmap["centroid_xy"] or (np.nan, np.nan) for heatmap in maps], np.float64),
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value
