"""Writes what the network said about each explained frame: one JSON line or one table row per frame."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np

from live_cam.errors import SinkError
from live_cam.frame import Explanation, Prediction, Result
from live_cam.sinks.atomic_file import AtomicFile


class SidecarSink(AtomicFile):
    """Writes one line per explained frame: index, time, predictions, explained class, and where the evidence lies.

    A line is a JSON object (see ``sidecar_line``). If the name ends in .csv, it is a row of a table (RFC 4180, UTF-8)
    whose header is written with the first row.

    Args:
        path: The final name.
        overwrite: Whether an existing file may be replaced.

    Raises:
        SinkError: The file cannot be created; nothing is left behind.
    """

    def __init__(self, path: str | Path, overwrite: bool = False) -> None:
        super().__init__(path, overwrite)
        self._is_csv = self.path.suffix.lower() == ".csv"
        self._file: TextIOWrapper | None = None
        self._last_index: int | None = None

    def write(self, result: Result) -> None:
        """Writes one line and flushes it, so that a killed run keeps it; skips an explanation that was written before.

        Raises:
            SinkError: The disk is full.
        """
        if result.explained_frame.index == self._last_index:
            return
        self._last_index = result.explained_frame.index
        with self._raising_sink_error():
            if self._file is None:
                self._file = self.partial_path.open("w", encoding="utf-8", newline="\n")
            self._write_line(self._file, sidecar_line(result))
            self._file.flush()
        self.frame_count += 1

    def _write_line(self, file: TextIOWrapper, line: dict[str, Any]) -> None:
        if self._is_csv:
            writer = csv.writer(file)
            if file.tell() == 0:
                writer.writerow(_csv_header(line))
            writer.writerow(_csv_row(line))
        else:
            json.dump(line, file, ensure_ascii=False, allow_nan=False)
            file.write("\n")

    def resume_from(self, byte_count: int) -> None:
        """Keeps the first bytes of an earlier run's partial file and appends to them; call it before ``write``.

        Raises:
            SinkError: The partial file is missing or shorter.
        """
        try:
            if self.partial_path.stat().st_size < byte_count:
                raise SinkError(
                    f"cannot resume {self.partial_path}: it became shorter; start again with overwrite=True"
                )
            os.truncate(self.partial_path, byte_count)
            self.frame_count = self._count_lines()
            self._file = self.partial_path.open("a", encoding="utf-8", newline="\n")
        except OSError as error:
            raise SinkError(
                f"cannot resume {self.partial_path}: {error.strerror}; start again with overwrite=True"
            ) from None

    def _count_lines(self) -> int:
        with self.partial_path.open(encoding="utf-8", errors="replace", newline="") as file:
            # A quoted label may contain line breaks.
            return max(0, sum(1 for _ in csv.reader(file)) - 1) if self._is_csv else sum(1 for _ in file)

    def finish(self) -> None:
        """Closes the file and renames it to its final name; without a line there is no file.

        Raises:
            SinkError: That failed; the lines stay under the partial name.
        """
        if self._file is not None:
            self._end_file()
            self._put_in_place()

    def close(self) -> None:
        """Closes the file; without ``finish`` it stays under its partial name."""
        self._end_file()
        super().close()

    def _end_file(self) -> None:
        if self._file is not None and not self._file.closed:
            with contextlib.suppress(OSError):  # The disk is full, which ``write`` has reported.
                self._file.close()
            self._remove_if_empty()


def sidecar_line(result: Result) -> dict[str, Any]:
    """Returns the JSON object for one explained frame; numbers that are not finite become None.

    ``explained`` has the same keys as each of ``predictions``, and need not be among them. A prediction without a
    probability (regression) also has a ``value``.
    """
    explanation = result.explanation
    return {
        "index": result.explained_frame.index,
        "time_seconds": _finite(result.explained_frame.time_seconds),
        "predictions": [_prediction_json(prediction) for prediction in explanation.predictions],
        "explained": _prediction_json(explanation.explained),
        "heatmap": heatmap_summary(explanation),
    }


def heatmap_summary(explanation: Explanation) -> dict[str, Any]:
    """Summarizes where the evidence lies.

    Returns:
        ``peak``: the heatmap's maximum, in units of the score.
        ``area_above_half``: the fraction of the heatmap's cells with at least half of the peak; 0 without positive
        evidence.
        ``centroid_xy``: the center of mass of the part inside the frame, as fractions of the frame's width and height;
        None without positive evidence there.
    """
    heatmap = np.where(np.isfinite(explanation.heatmap), explanation.heatmap, 0).astype(np.float64)
    peak = float(heatmap.max(initial=0))
    area = float((heatmap >= peak / 2).mean()) if peak > 0 else 0.0
    return {
        "peak": float(f"{peak:.6g}"),
        "area_above_half": round(area, 6),
        "centroid_xy": _centroid_xy(heatmap, explanation.region_xywh),
    }


def _centroid_xy(heatmap: np.ndarray, region_xywh: tuple[float, float, float, float]) -> list[float] | None:
    left, top, width, height = region_xywh
    centers_x, inside_x = _cells(left, width, heatmap.shape[1])
    centers_y, inside_y = _cells(top, height, heatmap.shape[0])
    weights = heatmap * inside_y[:, None] * inside_x[None, :]
    total = weights.sum()
    if total <= 0:
        return None
    return [round(float(weights.sum(0) @ centers_x / total), 6), round(float(weights.sum(1) @ centers_y / total), 6)]


def _cells(start: float, length: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns, for each cell along one side, the center of its part inside the frame and that part's share of it."""
    edges = np.clip(start + length * np.arange(count + 1) / count, 0, 1)
    return (edges[:-1] + edges[1:]) / 2, np.diff(edges) * count / length


def _prediction_json(prediction: Prediction) -> dict[str, Any]:
    line = {
        "class_index": prediction.class_index,
        "label": prediction.label,
        "probability": _finite(prediction.probability),
    }
    return line if prediction.probability is not None else {**line, "value": _finite(prediction.value)}


def _finite(number: float | None) -> float | None:
    return None if number is None or not math.isfinite(number) else round(float(number), 6)


def _csv_header(line: Mapping[str, Any]) -> list[str]:
    """Returns the column names for tables whose rows have as many predictions as this line.

    For regression, the columns ``..._value`` take the place of ``..._probability``.
    """
    score = _score_name(line["explained"])
    ranks = range(1, 1 + len(line["predictions"]))
    explained = ["explained_index", "explained_label", f"explained_{score}"]
    predictions = [f"{name}_{rank}" for rank in ranks for name in ("class_index", "label", score)]
    heatmap = ["peak", "area_above_half", "centroid_x", "centroid_y"]
    return ["index", "time_seconds", *explained, *predictions, *heatmap]


def _csv_row(line: Mapping[str, Any]) -> list[Any]:
    """Returns the cells in the order of the header; None becomes an empty cell."""
    heatmap = line["heatmap"]
    predictions = [*_csv_cells([line["explained"]]), *_csv_cells(line["predictions"])]
    summary = [heatmap["peak"], heatmap["area_above_half"], *(heatmap["centroid_xy"] or (None, None))]
    return [line["index"], line["time_seconds"], *predictions, *summary]


def _csv_cells(predictions: Sequence[Mapping[str, Any]]) -> list[Any]:
    return [
        prediction[name] for prediction in predictions for name in ("class_index", "label", _score_name(prediction))
    ]


def _score_name(prediction: Mapping[str, Any]) -> str:
    return "value" if "value" in prediction else "probability"
