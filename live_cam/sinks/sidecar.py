"""What was seen in each frame, as one line per frame: of JSON, or of a table."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np

from live_cam.errors import SinkError
from live_cam.frame import Explanation, Prediction, Result
from live_cam.sinks.partial import PartialFile, cannot_write, is_empty, put_in_place
from live_cam.sinks.sidecar_csv import csv_header, csv_row


class SidecarSink(PartialFile):
    """Writes a line an explained frame: index, time, predictions, the explained class, where its evidence lies.

    A JSON object, in which ``explained`` is an object like each of ``predictions``; it need not be among them. Into a
    name that ends in .csv, a row of a table with the columns of ``csv_header``.

    Args:
        path: Any name; one that ends in .csv for a table.
        overwrite: Whether an existing file may be replaced.

    Raises:
        SinkError: The file cannot be made; nothing is left behind.
    """

    def __init__(self, path: str | Path, overwrite: bool = False) -> None:
        super().__init__(path, overwrite)
        self._file: TextIOWrapper | None = None
        self._last_index: int | None = None

    def write(self, result: Result) -> None:
        """Writes one line, at once: a run that is killed keeps it. Of what was explained before, it writes none.

        Raises:
            SinkError: The disk takes no more.
        """
        if result.explained_frame.index == self._last_index:
            return
        self._last_index = result.explained_frame.index
        try:
            if self._file is None:
                self._file = self.partial_path.open("w", encoding="utf-8", newline="\n")
            self._write_line(self._file, sidecar_line(result))
            self._file.flush()
        except OSError as error:
            raise cannot_write(self, error) from None

    def _write_line(self, file: TextIOWrapper, line: dict[str, Any]) -> None:
        if self.path.suffix.lower() == ".csv":
            rows = csv.writer(file)
            if file.tell() == 0:
                rows.writerow(csv_header(line))
            rows.writerow(csv_row(line))
        else:
            json.dump(line, file, ensure_ascii=False, allow_nan=False)
            file.write("\n")

    def go_on_from(self, byte_count: int) -> None:
        """Keeps the beginning of what an earlier run wrote, and adds to it.

        Raises:
            SinkError: There is not so much of it.
        """
        try:
            if self.partial_path.stat().st_size < byte_count:
                raise SinkError(f"cannot go on with {self.partial_path}: it has become shorter; leave out --resume")
            os.truncate(self.partial_path, byte_count)
            self._file = self.partial_path.open("a", encoding="utf-8", newline="\n")
        except OSError as error:
            raise SinkError(f"cannot go on with {self.partial_path}: {error.strerror}; leave out --resume") from None

    def finish(self) -> None:
        """Gives the file its name; without a line there is no file.

        Raises:
            SinkError: That failed; the lines stay under the partial name.
        """
        if self._file is not None:
            self.close()
            put_in_place(self.partial_path, self.path, self._overwrite)

    def close(self) -> None:
        """Ends the file; unless it was finished, it stays under its partial name."""
        if self._file is not None and not self._file.closed:
            with contextlib.suppress(OSError):  # a full disk, which ``write`` has reported
                self._file.close()
            if is_empty(self.partial_path):
                self.partial_path.unlink()


def sidecar_line(result: Result) -> dict[str, Any]:
    """One frame as DESIGN's JSON line; numbers that are not finite become null."""
    explanation = result.explanation
    return {
        "index": result.explained_frame.index,
        "time_seconds": _finite(result.explained_frame.time_seconds),
        "predictions": [_prediction(one) for one in explanation.predictions],
        "explained": _prediction(explanation.explained),
        "heatmap": heatmap_summary(explanation),
    }


def heatmap_summary(explanation: Explanation) -> dict[str, Any]:
    """Where the evidence lies.

    Returns:
        ``peak``: the map's greatest value, in the units of the score.
        ``area_above_half``: the fraction of the map's cells with at least half of it; 0 without positive evidence.
        ``centroid_xy``: the centre of mass of the part inside the frame, as fractions of its width and height;
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
    centres_x, inside_x = _cells(left, width, heatmap.shape[1])
    centres_y, inside_y = _cells(top, height, heatmap.shape[0])
    weights = heatmap * inside_y[:, None] * inside_x[None, :]
    total = weights.sum()
    if total <= 0:
        return None
    return [round(float(weights.sum(0) @ centres_x / total), 6), round(float(weights.sum(1) @ centres_y / total), 6)]


def _cells(start: float, length: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Per cell along one side: the centre of its part inside the frame, and that part's share of the cell."""
    edges = np.clip(start + length * np.arange(count + 1) / count, 0, 1)
    return (edges[:-1] + edges[1:]) / 2, np.diff(edges) * count / length


def _prediction(prediction: Prediction) -> dict[str, Any]:
    """With the model's own number where that is no probability."""
    line = {
        "class_index": prediction.class_index,
        "label": prediction.label,
        "probability": _finite(prediction.probability),
    }
    return line if prediction.probability is not None else {**line, "value": _finite(prediction.value)}


def _finite(number: float | None) -> float | None:
    return None if number is None or not math.isfinite(number) else round(float(number), 6)
