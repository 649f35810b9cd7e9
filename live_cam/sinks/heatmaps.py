"""The heatmaps of a run in one ``.npz``, as ``numpy.load`` reads it; enough to draw the run again without its network.

While it is written, the file under the partial name is a ``.npy`` of one record a frame, which a kill leaves readable;
at the end, or when the run is broken off, it becomes an ``.npz``:

    maps             (n, h, w) float16, 0..1     before smoothing, each divided by its peak: none over- or underflows
    peaks            (n,) float32                a map's greatest value, in units of the score: maps[i] * peaks[i]
    times_seconds    (n,) float64                of the explained frames; frame_indexes (n,) int64
    explained_index  (n,) int64                  and explained_label, explained_probability, explained_value
    class_indexes    (n, k) int64                the predictions, best first; probabilities, values (n, k) float64
    labels           (c,) text                   of the classes in class_label_indexes (c,) int64
    other_maps       (n, m, h, w) float16        of further classes, with other_peaks, other_indexes,
                                                 other_probabilities and other_values, all (n, m)
    region_xywh      (4,) float64                what the network saw, as fractions of the frame
    frame_size_wh    (2,) int64                  and what ``about`` tells: layer, model, method, ...

A probability is NaN where the model gives a number only, an index -1 where there is nothing.
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from io import BufferedRandom
from pathlib import Path

import numpy as np
from numpy.lib import format as npy_format

from live_cam.errors import SinkError
from live_cam.frame import Explanation, Prediction, Result
from live_cam.sinks.partial import PartialFile, cannot_write, is_empty, put_in_place

FORMAT_VERSION = 1
_NOTHING = -1
# Of the unfinished file: a multiple of 64, with room for the record's description.
_HEADER_BYTES = 4096
# A kill loses what the operating system has not been given: the records of so many frames.
_FLUSHED_FRAMES = 16


class HeatmapSink(PartialFile):
    """Writes the map of every explained frame; see this module's head for what is in the file.

    Maps of another shape than the first one's, as after another layer was chosen, are left out.

    Args:
        path: Ends in .npz.
        overwrite: Whether a file of that name may be replaced.
        about: Asked when the first map has come: further arrays, numbers and texts that go into the file.

    Raises:
        SinkError: The name ends otherwise, or the file cannot be made; nothing is left behind.
    """

    def __init__(
        self, path: str | Path, overwrite: bool = False, about: Callable[[], Mapping[str, object]] = dict
    ) -> None:
        if Path(path).suffix.lower() != ".npz":
            raise SinkError(f"cannot write heatmaps into {path}; its name must end in .npz")
        super().__init__(path, overwrite)
        self._about = about
        self._facts: dict[str, object] = {}
        self._file: BufferedRandom | None = None
        self._record = np.dtype([])
        self._count = 0
        self._labels: dict[int, str] = {}
        self._last_index: int | None = None

    def write(self, result: Result) -> None:
        """Writes one map. Of what was explained before, it writes none.

        Raises:
            SinkError: The disk takes no more.
        """
        if result.explained_frame.index == self._last_index:
            return
        self._last_index = result.explained_frame.index
        with self._telling_what_stays():
            if self._file is None:
                self._begin(result)
            self._add(result)

    def _begin(self, result: Result) -> None:
        explanation, (height, width) = result.explanation, result.frame.image.shape[:2]
        self._record = _record_type(explanation)
        self._facts = {
            "format_version": FORMAT_VERSION,
            "region_xywh": np.array(explanation.region_xywh, np.float64),
            "frame_size_wh": np.array([width, height], np.int64),
            **self._about(),
        }
        self._file = self.partial_path.open("w+b")
        self._file.write(_npy_header(self._record, 0))

    def _add(self, result: Result) -> None:
        explanation = result.explanation
        if self._file is None or explanation.heatmap.shape != self._record["maps"].shape:
            return
        self._labels.update((one.class_index, one.label) for one in _classes_of(explanation))
        self._file.write(_record_of(result, self._record).tobytes())
        self._count += 1
        if self._count % _FLUSHED_FRAMES == 1:
            self._note_count(self._file)

    def _note_count(self, file: BufferedRandom) -> None:
        file.seek(0)
        file.write(_npy_header(self._record, self._count))
        file.seek(0, 2)
        file.flush()

    def finish(self) -> None:
        """Makes the ``.npz`` and gives it its name; without a map there is no file.

        Raises:
            SinkError: That failed; what was written stays under the partial name.
        """
        if self._file is None:
            return
        with self._telling_what_stays():
            self._make_npz()
        put_in_place(self.partial_path, self.path, self._overwrite)

    def close(self) -> None:
        """Ends the file; unless it was finished, it stays, as an ``.npz`` too, under its partial name."""
        # Only on a full disk, which was told before: the records are as good as they were.
        with contextlib.suppress(OSError):
            self._make_npz()
        if self._count == 0 and is_empty(self.partial_path):
            self.partial_path.unlink()

    def _make_npz(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        with file:
            self._note_count(file)
        whole = self.path.with_name(f"{self.path.stem}.finishing{self.path.suffix}")
        try:
            # Mapped, not read: of a run of hours, the maps need not fit into memory.
            records = np.memmap(self.partial_path, self._record, "r", _HEADER_BYTES, (self._count,))
            self._write_npz(whole, records)
            del records
            whole.replace(self.partial_path)
        finally:
            whole.unlink(missing_ok=True)

    def _write_npz(self, path: Path, records: np.ndarray) -> None:
        indexes = sorted(self._labels)
        texts = np.array([self._labels[index] for index in indexes], np.str_)
        arrays = {
            "explained_label": texts[np.searchsorted(indexes, records["explained_index"])],
            "class_label_indexes": np.array(indexes, np.int64),
            "labels": texts,
            **self._facts,
        }
        with zipfile.ZipFile(path, "w") as archive:
            for name in records.dtype.names or ():
                _add_array(archive, name, records[name])
            for name, value in arrays.items():
                _add_array(archive, name, np.asarray(value))

    @contextlib.contextmanager
    def _telling_what_stays(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise cannot_write(self, error) from None


def _record_type(explanation: Explanation) -> np.dtype:
    """What is stored of each frame, for explanations of this shape."""
    shape = explanation.heatmap.shape
    others, best = (len(explanation.other_maps),), (len(explanation.predictions),)
    fields = [
        ("maps", np.float16, shape),
        ("peaks", np.float32),
        ("times_seconds", np.float64),
        ("frame_indexes", np.int64),
        ("explained_index", np.int64),
        ("explained_probability", np.float64),
        ("explained_value", np.float64),
        ("class_indexes", np.int64, best),
        ("probabilities", np.float64, best),
        ("values", np.float64, best),
        ("other_maps", np.float16, (*others, *shape)),
        ("other_peaks", np.float32, others),
        ("other_indexes", np.int64, others),
        ("other_probabilities", np.float64, others),
        ("other_values", np.float64, others),
    ]
    return np.dtype([(name, np.dtype(kind).newbyteorder("<"), *shape) for name, kind, *shape in fields])


def _record_of(result: Result, record_type: np.dtype) -> np.ndarray:
    explanation, explained = result.explanation, result.explanation.explained
    record = np.zeros((), record_type)
    record["maps"], record["peaks"] = _scaled(explanation.heatmap)
    record["times_seconds"], record["frame_indexes"] = (
        result.explained_frame.time_seconds,
        result.explained_frame.index,
    )
    record["explained_index"] = explained.class_index
    record["explained_probability"], record["explained_value"] = _probability(explained), explained.value
    _put_predictions(record, ("class_indexes", "probabilities", "values"), explanation.predictions)
    others = [prediction for prediction, _ in explanation.other_maps]
    _put_predictions(record, ("other_indexes", "other_probabilities", "other_values"), others)
    for place, (_, heatmap) in enumerate(explanation.other_maps[: len(record["other_peaks"])]):
        record["other_maps"][place], record["other_peaks"][place] = _scaled(heatmap)
    return record


def _put_predictions(
    record: np.ndarray, names: tuple[str, str, str], predictions: list[Prediction] | tuple[Prediction, ...]
) -> None:
    indexes, probabilities, values = (record[name] for name in names)
    indexes[:] = _NOTHING
    for place, one in enumerate(predictions[: len(indexes)]):
        indexes[place], probabilities[place], values[place] = one.class_index, _probability(one), one.value


def _scaled(heatmap: np.ndarray) -> tuple[np.ndarray, float]:
    """The map in 0..1, and the value that 1 stands for: float16 alone ends at 65504 and below 6e-8."""
    finite = np.where(np.isfinite(heatmap), heatmap, 0)
    peak = float(finite.max(initial=0))
    return (finite / peak if peak > 0 else np.zeros_like(finite)).astype(np.float16), peak


def _probability(prediction: Prediction) -> float:
    return float("nan") if prediction.probability is None else prediction.probability


def _classes_of(explanation: Explanation) -> list[Prediction]:
    return [explanation.explained, *explanation.predictions, *(prediction for prediction, _ in explanation.other_maps)]


def _npy_header(record_type: np.dtype, count: int) -> bytes:
    """A ``.npy`` header of fixed length, so that the count in it can be brought up to date."""
    facts = {"descr": npy_format.dtype_to_descr(record_type), "fortran_order": False, "shape": (count,)}
    text = repr(facts).encode("latin1")
    opening = npy_format.magic(1, 0)
    length = _HEADER_BYTES - len(opening) - 2
    return opening + length.to_bytes(2, "little") + text.ljust(length - 1) + b"\n"


def _add_array(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        npy_format.write_array(member, array, allow_pickle=False)
