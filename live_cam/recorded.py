"""Explanations that were made before, read from what ``--heatmaps`` wrote: to draw again without the network."""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from live_cam.errors import SourceError
from live_cam.explainer import NetworkInput
from live_cam.frame import Explanation, Prediction
from live_cam.preprocess import FrameFitter
from live_cam.sinks.heatmaps import FORMAT_VERSION


class RecordedMaps:
    """The explanations of a recording, frame by frame.

    Args:
        path: An ``.npz`` that ``HeatmapSink`` made.

    Attributes:
        path: That file.
        arrays: All that is in it, by the names in ``live_cam.sinks.heatmaps``.
        times_seconds: (n,) float64: of the frames.
        frame_size_wh: Their size.

    Raises:
        SourceError: It cannot be read, is no such file, or does not hold every frame of a recording.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.arrays = _arrays_of(path)
        try:
            version = int(self.arrays["format_version"])
            self.times_seconds = self.arrays["times_seconds"]
            indexes = self.arrays["frame_indexes"]
            width, height = self.arrays["frame_size_wh"].tolist()
            names = zip(self.arrays["class_label_indexes"].tolist(), self.arrays["labels"].tolist(), strict=True)
            self._labels: dict[int, str] = dict(names)
            left, top, region_width, region_height = self.arrays["region_xywh"].tolist()
        except (KeyError, ValueError):
            raise _no_heatmaps(path) from None
        if version != FORMAT_VERSION:
            raise SourceError(f"{path} is of version {version}, not {FORMAT_VERSION}; make it again with --heatmaps")
        if not np.array_equal(indexes, np.arange(len(indexes))):
            raise SourceError(
                f"{path} does not hold every frame, as of a camera; only maps of a file can be drawn again"
            )
        self.frame_size_wh = (width, height)
        self._region_xywh = (left, top, region_width, region_height)

    def __len__(self) -> int:
        return len(self.times_seconds)

    def explanation(self, place: int) -> Explanation:
        """The explanation of one frame, as it was computed but for the rounding of its maps."""
        others = self._predictions(place, "other_indexes", "other_probabilities", "other_values")
        maps = (self._map(place, rank) for rank in range(len(others)))
        explained = self._prediction(
            int(self.arrays["explained_index"][place]),
            float(self.arrays["explained_probability"][place]),
            float(self.arrays["explained_value"][place]),
        )
        return Explanation(
            predictions=self._predictions(place, "class_indexes", "probabilities", "values"),
            explained=explained,
            heatmap=_unscaled(self.arrays["maps"][place], self.arrays["peaks"][place]),
            region_xywh=self._region_xywh,
            other_maps=tuple(zip(others, maps, strict=True)),
        )

    def _map(self, place: int, rank: int) -> np.ndarray:
        return _unscaled(self.arrays["other_maps"][place, rank], self.arrays["other_peaks"][place, rank])

    def _predictions(self, place: int, *names: str) -> tuple[Prediction, ...]:
        rows = zip(*(self.arrays[name][place].tolist() for name in names), strict=True)
        return tuple(self._prediction(*row) for row in rows if row[0] >= 0)

    def _prediction(self, class_index: int, probability: float, value: float) -> Prediction:
        known = None if math.isnan(probability) else probability
        return Prediction(class_index, self._labels[class_index], known, value)


@dataclass(frozen=True, eq=False)
class RecordedInput(NetworkInput):
    """What the network saw of a frame.

    Attributes:
        place: Which frame of the recording it is.
    """

    place: int


class RecordedExplainer:
    """Gives the recorded explanations in place of an ``Explainer``, a frame after the other."""

    engine_name = "recorded"

    def __init__(self, maps: RecordedMaps) -> None:
        self._maps = maps
        width, height = maps.arrays["input_size_wh"].tolist()
        # What the network saw still tells where the scene changes, and the smoothing begins anew.
        self._fitter = FrameFitter((width, height), str(maps.arrays["fit"]))
        self._place = 0

    def preprocess(self, image: np.ndarray) -> RecordedInput:
        """The next frame, (height, width, 3) uint8 BGR, as the network saw it."""
        pixels, region_xywh = self._fitter.fit(image)
        self._place += 1
        return RecordedInput(pixels, region_xywh, self._place - 1)

    def explain_input(
        self, network_input: RecordedInput, class_index: int | None = None, contrast_index: int | None = None
    ) -> Explanation:
        """The explanation of that frame, for the classes it was made for."""
        return self._maps.explanation(network_input.place)

    def side_by_side(self) -> tuple[RecordedExplainer, ...]:
        """This one alone: nothing is computed that could be shared out."""
        return (self,)


def _unscaled(shares: np.ndarray, peak: np.float32) -> np.ndarray:
    # Not float16 times a number: before numpy 2, that stays float16.
    return shares.astype(np.float32) * peak


def _arrays_of(path: Path) -> dict[str, np.ndarray]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise _no_heatmaps(path)
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file; make it with --heatmaps") from None
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, EOFError, zipfile.BadZipFile):
        raise _no_heatmaps(path) from None


def _no_heatmaps(path: Path) -> SourceError:
    return SourceError(f"{path} holds no heatmaps of a finished run; make them with --heatmaps")
