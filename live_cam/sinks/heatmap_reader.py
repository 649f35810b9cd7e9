"""Reads the explanations of a finished job from the ``.npz`` file that ``HeatmapSink`` wrote."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np

from live_cam.errors import SourceError
from live_cam.frame import Explanation, Prediction
from live_cam.sinks.heatmaps import FORMAT_VERSION


class RecordedHeatmaps:
    """The explanations of a recorded video, one per frame.

    Args:
        path: A file that ``HeatmapSink`` finished.

    Attributes:
        path: That file.
        arrays: All its arrays; ``live_cam.sinks.heatmaps`` describes them.
        times_seconds: (n,) float64: media time of each frame.
        frame_size_wh: Width and height of the frames in pixels.

    Raises:
        SourceError: The file cannot be read, is of another kind, or lacks frames of the recording.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.arrays = _read_arrays(path)
        try:
            version = int(self.arrays["format_version"])
            self.times_seconds = self.arrays["times_seconds"]
            frame_indices = self.arrays["frame_indexes"]
            width, height = self.arrays["frame_size_wh"].tolist()
            labels = zip(self.arrays["class_label_indexes"].tolist(), self.arrays["labels"].tolist(), strict=True)
            self._labels: dict[int, str] = dict(labels)
            left, top, region_width, region_height = self.arrays["region_xywh"].tolist()
        except (KeyError, ValueError):
            raise _not_heatmaps(path) from None
        if version != FORMAT_VERSION:
            raise SourceError(f"{path} has format version {version}, not {FORMAT_VERSION}; record the heatmaps again")
        if not np.array_equal(frame_indices, np.arange(len(frame_indices))):
            raise SourceError(
                f"{path} does not hold every frame, as of a camera; only heatmaps of a file can be drawn again"
            )
        self.frame_size_wh = (width, height)
        self._region_xywh = (left, top, region_width, region_height)

    def __len__(self) -> int:
        return len(self.times_seconds)

    def label(self, class_index: int) -> str:
        """Returns the label of a class that occurs in the recording."""
        return self._labels[class_index]

    def explanation(self, frame_index: int) -> Explanation:
        """Returns the explanation of one frame; its heatmaps are rounded to float16."""
        others = self._predictions(frame_index, "other_indexes", "other_probabilities", "other_values")
        explained = self._prediction(
            int(self.arrays["explained_index"][frame_index]),
            float(self.arrays["explained_probability"][frame_index]),
            float(self.arrays["explained_value"][frame_index]),
        )
        return Explanation(
            predictions=self._predictions(frame_index, "class_indexes", "probabilities", "values"),
            explained=explained,
            heatmap=_heatmap(self.arrays["maps"][frame_index], self.arrays["peaks"][frame_index]),
            region_xywh=self._region_xywh,
            other_maps=tuple((other, self._other_map(frame_index, rank)) for rank, other in enumerate(others)),
            contrast=self._contrast(frame_index),
        )

    def _contrast(self, frame_index: int) -> tuple[Prediction, ...]:
        names = ("contrast_indexes", "contrast_probabilities", "contrast_values")
        # Files of earlier versions have no contrast.
        return self._predictions(frame_index, *names) if names[0] in self.arrays else ()

    def _other_map(self, frame_index: int, rank: int) -> np.ndarray:
        return _heatmap(self.arrays["other_maps"][frame_index, rank], self.arrays["other_peaks"][frame_index, rank])

    def _predictions(self, frame_index: int, *names: str) -> tuple[Prediction, ...]:
        rows = zip(*(self.arrays[name][frame_index].tolist() for name in names), strict=True)
        return tuple(self._prediction(*row) for row in rows if row[0] >= 0)

    def _prediction(self, class_index: int, probability: float, value: float) -> Prediction:
        known_probability = None if math.isnan(probability) else probability
        return Prediction(class_index, self._labels[class_index], known_probability, value)


def _heatmap(normalized: np.ndarray, peak: np.float32) -> np.ndarray:
    # Converted first: before numpy 2, float16 times a scalar stays float16.
    return normalized.astype(np.float32) * peak


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise _not_heatmaps(path)
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file; record the heatmaps first") from None
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, EOFError, zipfile.BadZipFile):
        raise _not_heatmaps(path) from None


def _not_heatmaps(path: Path) -> SourceError:
    return SourceError(f"{path} holds no heatmaps of a finished job; record them again")
