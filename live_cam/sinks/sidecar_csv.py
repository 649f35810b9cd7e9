"""The sidecar's lines as rows of a table, for spreadsheets, R and pandas (RFC 4180, UTF-8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_PREDICTION = ("class_index", "label")
_HEATMAP = ("peak", "area_above_half", "centroid_x", "centroid_y")


def csv_header(line: Mapping[str, Any]) -> list[str]:
    """The columns' names, as wide as this line: as many predictions as it has.

    Where the model gives a number and no probability, the columns called ``probability`` are called ``value``.

    Args:
        line: What ``sidecar_line`` gives.
    """
    score = _score_name(line["explained"])
    ranks = range(1, 1 + len(line["predictions"]))
    predictions = [f"{name}_{rank}" for rank in ranks for name in (*_PREDICTION, score)]
    return [
        "index",
        "time_seconds",
        "explained_index",
        "explained_label",
        f"explained_{score}",
        *predictions,
        *_HEATMAP,
    ]


def csv_row(line: Mapping[str, Any]) -> list[Any]:
    """The cells in the order of ``csv_header``; an empty one where JSON has null."""
    heatmap = line["heatmap"]
    cells = [line["index"], line["time_seconds"], *_cells([line["explained"]]), *_cells(line["predictions"])]
    return [*cells, heatmap["peak"], heatmap["area_above_half"], *(heatmap["centroid_xy"] or (None, None))]


def _cells(predictions: Sequence[Mapping[str, Any]]) -> list[Any]:
    return [one[name] for one in predictions for name in (*_PREDICTION, _score_name(one))]


def _score_name(prediction: Mapping[str, Any]) -> str:
    return "value" if "value" in prediction else "probability"
