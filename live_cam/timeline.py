"""What a sidecar tells of a whole recording, as arrays over time."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from live_cam.errors import SourceError

_NO_SCORE = float("nan")


@dataclass(frozen=True, eq=False)
class Timeline:
    """The frames of a sidecar, n of them with k predictions each.

    Attributes:
        times_seconds: (n,) float64, ascending.
        explained_indexes: (n,) int64: the explained class.
        class_indexes: (n, k) int64: the predicted classes, best first.
        scores: (n, k) float64: their probabilities; where the model gives none, its numbers.
        are_probabilities: Which of the two.
        labels: The name of every class that occurs.
        peaks: (n,) float64: the map's greatest value.
        areas_above_half: (n,) float64: the share of the map with at least half of it.
        centroids_xy: (n, 2) float64: the centre of the evidence in the frame; NaN without evidence.
    """

    times_seconds: np.ndarray
    explained_indexes: np.ndarray
    class_indexes: np.ndarray
    scores: np.ndarray
    are_probabilities: bool
    labels: Mapping[int, str]
    peaks: np.ndarray
    areas_above_half: np.ndarray
    centroids_xy: np.ndarray

    def leading_classes(self, count: int) -> list[int]:
        """The classes that were scored highest over all frames, greatest first."""
        totals: dict[int, float] = {}
        for index, score in zip(self.class_indexes.ravel().tolist(), self.scores.ravel().tolist(), strict=True):
            totals[index] = totals.get(index, 0.0) + (score if score == score else 0.0)
        return sorted(totals, key=lambda index: -totals[index])[:count]

    def scores_of(self, class_index: int) -> np.ndarray:
        """(n,) float64: a class's score in each frame; NaN where it was not among the k best."""
        is_here = self.class_indexes == class_index
        found = np.where(is_here, self.scores, 0).sum(axis=1)
        return np.where(is_here.any(axis=1), found, np.nan)

    def explained_runs(self) -> Iterator[tuple[int, int, int]]:
        """Each stretch of frames with the same explained class: its first frame, one past its last, and the class."""
        changes = np.flatnonzero(np.diff(self.explained_indexes)) + 1
        borders = [0, *changes.tolist(), len(self.explained_indexes)]
        for first, last in zip(borders[:-1], borders[1:], strict=True):
            yield first, last, int(self.explained_indexes[first])


def read_timeline(path: Path) -> Timeline:
    """Reads what ``--sidecar`` wrote: JSON lines, or a table if the name ends in .csv.

    Raises:
        SourceError: It cannot be read, is no sidecar, or tells of no frame.
    """
    try:
        text = path.read_text(encoding="utf-8")
        lines = _csv_lines(text) if path.suffix.lower() == ".csv" else _json_lines(text)
        return _timeline_of(lines)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, IndexError):
        raise SourceError(f"{path} is no sidecar of livecam; make one with --sidecar") from None


def _json_lines(text: str) -> list[Any]:
    # A run that was killed may have left half a line.
    whole = text[: text.rfind("\n") + 1]
    return [json.loads(line) for line in whole.splitlines()]


def _csv_lines(text: str) -> list[Any]:
    """The rows in the form of the JSON lines."""
    return [_line_of_row(row) for row in csv.DictReader(text.splitlines(keepends=True))]


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
        explained_indexes=np.array([one["class_index"] for one in explained], np.int64),
        class_indexes=np.array([[one["class_index"] for one in best] for best in predictions], np.int64),
        scores=np.array([[_number(one[name]) for one in best] for best in predictions], np.float64),
        are_probabilities=name == "probability",
        labels={one["class_index"]: one["label"] for best in [explained, *predictions] for one in best},
        peaks=np.array([one["peak"] for one in maps], np.float64),
        areas_above_half=np.array([one["area_above_half"] for one in maps], np.float64),
        centroids_xy=np.array([one["centroid_xy"] or (np.nan, np.nan) for one in maps], np.float64),
    )


def _number(value: float | None) -> float:
    return _NO_SCORE if value is None else value
