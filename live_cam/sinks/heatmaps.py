"""Writes the heatmaps of a whole job to one ``.npz`` file for ``numpy.load``, enough to draw it without the network.

While it grows, the partial file is a ``.npy`` file with one record per frame, which can be read after a kill. At the
end, or when the job fails, it becomes an ``.npz`` file with the arrays below; a resumed job turns it back into records.

    maps             (n, h, w) float16, 0..1     before smoothing, each divided by its peak, so that float16 can hold it
    peaks            (n,) float32                maximum of each heatmap, in units of the score: maps[i] * peaks[i]
    times_seconds    (n,) float64                of the explained frames; frame_indexes (n,) int64
    explained_index  (n,) int64                  and explained_label, explained_probability, explained_value
    class_indexes    (n, k) int64                the predictions, best first; probabilities, values (n, k) float64
    labels           (c,) text                   of the classes in class_label_indexes (c,) int64
    other_maps       (n, m, h, w) float16        of further classes, with other_peaks, other_indexes,
                                                 other_probabilities and other_values, all (n, m)
    contrast_indexes (n, 3) int64                the classes whose scores were subtracted, with contrast_probabilities
                                                 and contrast_values, (n, 3) float64
    region_xywh      (4,) float64                what the network saw, as fractions of the frame
    frame_size_wh    (2,) int64                  width and height of the frames
    format_version   () int64                    and what ``metadata`` returns: layer, model, method, ...

A probability is NaN for regression; a class index is -1 where a frame has fewer predictions, further classes or
contrast classes.
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BufferedRandom
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format

from live_cam.errors import SinkError
from live_cam.frame import Explanation, Prediction, Result
from live_cam.sinks.atomic_file import AtomicFile, partial_path

FORMAT_VERSION = 1
_NO_CLASS = -1
# At most this many contrast classes.
_CONTRAST_SHAPE = (3,)
# Length of the partial file's header: a multiple of 64, with room for the description of a record.
_HEADER_BYTES = 4096
# For numpy, a killed run's file lacks the records since the last header: at most this many.
_HEADER_INTERVAL_FRAMES = 16
# So many records are copied at once.
_CHUNK_RECORDS = 1024


@dataclass(frozen=True)
class HeatmapState:
    """State of the heatmap file at a checkpoint.

    Attributes:
        count: Number of heatmaps in the file.
        labels: Of the classes that occur in them, by class index.
    """

    count: int = 0
    labels: Mapping[int, str] = field(default_factory=dict)


class HeatmapSink(AtomicFile):
    """Writes the heatmap of every explained frame; the module's docstring describes the file.

    Heatmaps of another shape than the first (after the user chose another layer) are left out.

    Args:
        path: The final name; ends in .npz.
        overwrite: Whether an existing file may be replaced.
        metadata: Called once, at the first heatmap; returns further arrays, numbers and texts for the file.

    Raises:
        SinkError: The suffix is another one, or the file cannot be created; nothing is left behind.
    """

    def __init__(
        self, path: str | Path, overwrite: bool = False, metadata: Callable[[], Mapping[str, object]] = dict
    ) -> None:
        if Path(path).suffix.lower() != ".npz":
            raise SinkError(f"cannot write heatmaps to {path}; its name must end in .npz")
        super().__init__(path, overwrite)
        self._metadata = metadata
        self._facts: dict[str, object] = {}
        self._file: BufferedRandom | None = None
        self._record_type = np.dtype([])
        self._labels: Mapping[int, str] = {}
        self._last_index: int | None = None

    def write(self, result: Result) -> None:
        """Writes one heatmap; skips an explanation that was written before.

        Raises:
            SinkError: The disk is full.
        """
        if result.explained_frame.index == self._last_index:
            return
        self._last_index = result.explained_frame.index
        with self._raising_sink_error():
            if not self._facts:
                self._facts = self._facts_of(result)
            if self._file is None:
                self._file = self._create(result.explanation)
            if result.explanation.heatmap.shape == self._record_type["maps"].shape:
                self._add(self._file, result)

    def resume_from(self, state: HeatmapState) -> None:
        """Keeps the first heatmaps of an earlier run's partial file and appends to them; call it before ``write``.

        Raises:
            SinkError: The partial file is missing, damaged or shorter; it stays as it is.
        """
        try:
            if zipfile.is_zipfile(self.partial_path):
                with self._replacing_partial() as path:
                    _write_records(self.partial_path, path)
            self._record_type, count = _records_in(self.partial_path)
            if count < state.count:
                raise ValueError("it became shorter")
            self._file = self.partial_path.open("r+b")
            self._file.truncate(_HEADER_BYTES + state.count * self._record_type.itemsize)
            self.frame_count, self._labels = state.count, dict(state.labels)
            self._update_header(self._file)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            reason = getattr(error, "strerror", None) or error
            raise SinkError(f"cannot resume {self.partial_path}: {reason}; start again with overwrite=True") from None

    @property
    def state(self) -> HeatmapState:
        """Returns the state from which a later run resumes."""
        return HeatmapState(self.frame_count, self._labels)

    def _facts_of(self, result: Result) -> dict[str, object]:
        height, width = result.frame.image.shape[:2]
        return {
            "format_version": FORMAT_VERSION,
            "region_xywh": np.array(result.explanation.region_xywh, np.float64),
            "frame_size_wh": np.array([width, height], np.int64),
            **self._metadata(),
        }

    def _create(self, explanation: Explanation) -> BufferedRandom:
        self._record_type = _record_type(explanation)
        file = self.partial_path.open("w+b")
        file.write(_npy_header(self._record_type, 0))
        return file

    def _add(self, file: BufferedRandom, result: Result) -> None:
        labels = {prediction.class_index: prediction.label for prediction in _classes(result.explanation)}
        if not labels.keys() <= self._labels.keys():
            self._labels = {**self._labels, **labels}  # A new one: checkpoints keep what they got.
        file.write(_record(result, self._record_type).tobytes())
        self.frame_count += 1
        if self.frame_count % _HEADER_INTERVAL_FRAMES == 1:
            self._update_header(file)
        file.flush()  # so that a killed run keeps it

    def _update_header(self, file: BufferedRandom) -> None:
        file.seek(0)
        file.write(_npy_header(self._record_type, self.frame_count))
        file.seek(0, 2)
        file.flush()

    def finish(self) -> None:
        """Makes the ``.npz`` file and renames it to its final name; without a heatmap there is no file.

        Raises:
            SinkError: That failed; what was written stays under the partial name.
        """
        if self._file is None:
            return
        with self._raising_sink_error():
            self._end_file()
        self._put_in_place()

    def close(self) -> None:
        """Ends the file; without ``finish`` it stays under its partial name, as ``.npz`` too."""
        # The disk is full, which ``write`` has reported; the records stay as they are.
        with contextlib.suppress(OSError):
            self._end_file()
        if self.frame_count == 0:
            self._remove_if_empty()
        super().close()

    def _end_file(self) -> None:
        """Replaces the ``.npy`` file with the ``.npz`` file.

        A resumed file that got no heatmap yet stays as it is: only an explained frame brings what else belongs into it.
        """
        file, self._file = self._file, None
        if file is None:
            return
        with file:
            self._update_header(file)
        if self.frame_count == 0 or not self._facts:  # 0: Not even the first record could be written.
            return
        with self._replacing_partial() as path:
            # Mapped, not read: the heatmaps of hours need not fit into memory.
            records = np.memmap(self.partial_path, self._record_type, "r", _HEADER_BYTES, (self.frame_count,))
            self._write_npz(path, records)
            del records  # Windows renames no mapped file.

    def _write_npz(self, path: Path, records: np.ndarray) -> None:
        class_indices = sorted(self._labels)
        labels = np.array([self._labels[class_index] for class_index in class_indices], np.str_)
        arrays = {
            "explained_label": labels[np.searchsorted(class_indices, records["explained_index"])],
            "class_label_indexes": np.array(class_indices, np.int64),
            "labels": labels,
            **self._facts,
        }
        with zipfile.ZipFile(path, "w") as archive:
            for name in records.dtype.names or ():
                _add_array(archive, name, records[name])
            for name, value in arrays.items():
                _add_array(archive, name, np.asarray(value))


def saved_heatmap_count(path: Path) -> int:
    """Returns how many heatmaps an earlier run left under the partial name of a file; 0 if it holds none."""
    try:
        return _records_in(partial_path(path))[1]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return 0


def _records_in(path: Path) -> tuple[np.dtype, int]:
    """Returns the type and the number of the records in a partial file, whatever its header says of their number.

    Raises:
        OSError, ValueError, KeyError, zipfile.BadZipFile: It is no such file.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return _record_type_in(archive)
    with path.open("rb") as file:
        _, record_type = _read_npy_header(file)
    if record_type.names is None:
        raise ValueError("it holds no heatmaps")
    return record_type, (path.stat().st_size - _HEADER_BYTES) // record_type.itemsize


def _record_type_in(archive: zipfile.ZipFile) -> tuple[np.dtype, int]:
    shapes = {}
    for name in ("maps", "class_indexes", "other_indexes"):
        with archive.open(f"{name}.npy") as member:
            shapes[name], _ = _read_npy_header(member)
    (count, *heatmap_shape), (_, prediction_count), (_, other_count) = shapes.values()
    return _record_type_of(tuple(heatmap_shape), prediction_count, other_count), count


def _write_records(npz_path: Path, npy_path: Path) -> None:
    """Writes the records of an ``.npz`` file as the ``.npy`` file that it was made from, a part at a time."""
    with zipfile.ZipFile(npz_path) as archive:
        record_type, count = _record_type_in(archive)
        npy_path.write_bytes(_npy_header(record_type, count))
        records = np.memmap(npy_path, record_type, "r+", _HEADER_BYTES, (count,))
        for name in record_type.names or ():
            with archive.open(f"{name}.npy") as member:
                _, kind = _read_npy_header(member)
                for start in range(0, count, _CHUNK_RECORDS):
                    part = records[name][start : start + _CHUNK_RECORDS]
                    content = member.read(part.size * kind.itemsize)
                    part[...] = np.frombuffer(content, kind).reshape(part.shape)
        records.flush()
        del records  # Windows renames no mapped file.


def _read_npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Reads up to the first value of a ``.npy`` file; returns its shape and the type of its values."""
    npy_format.read_magic(file)
    shape, _, kind = npy_format.read_array_header_1_0(file)
    return shape, kind


def _record_type(explanation: Explanation) -> np.dtype:
    """Returns the type of a frame's record, for explanations of this shape."""
    return _record_type_of(explanation.heatmap.shape, len(explanation.predictions), len(explanation.other_maps))


def _record_type_of(heatmap_shape: tuple[int, ...], prediction_count: int, other_count: int) -> np.dtype:
    other_shape, prediction_shape = (other_count,), (prediction_count,)
    fields: list[Any] = [
        ("maps", np.float16, heatmap_shape),
        ("peaks", np.float32),
        ("times_seconds", np.float64),
        ("frame_indexes", np.int64),
        ("explained_index", np.int64),
        ("explained_probability", np.float64),
        ("explained_value", np.float64),
        ("class_indexes", np.int64, prediction_shape),
        ("probabilities", np.float64, prediction_shape),
        ("values", np.float64, prediction_shape),
        ("other_maps", np.float16, (*other_shape, *heatmap_shape)),
        ("other_peaks", np.float32, other_shape),
        ("other_indexes", np.int64, other_shape),
        ("other_probabilities", np.float64, other_shape),
        ("other_values", np.float64, other_shape),
        ("contrast_indexes", np.int64, _CONTRAST_SHAPE),
        ("contrast_probabilities", np.float64, _CONTRAST_SHAPE),
        ("contrast_values", np.float64, _CONTRAST_SHAPE),
    ]
    return np.dtype([(name, np.dtype(kind).newbyteorder("<"), *shape) for name, kind, *shape in fields])


def _record(result: Result, record_type: np.dtype) -> np.ndarray:
    explanation, explained = result.explanation, result.explanation.explained
    record = np.zeros((), record_type)
    record["maps"], record["peaks"] = _normalized(explanation.heatmap)
    record["times_seconds"] = result.explained_frame.time_seconds
    record["frame_indexes"] = result.explained_frame.index
    record["explained_index"] = explained.class_index
    record["explained_probability"], record["explained_value"] = _probability(explained), explained.value
    _fill(record, ("class_indexes", "probabilities", "values"), explanation.predictions)
    others = [prediction for prediction, _ in explanation.other_maps]
    _fill(record, ("other_indexes", "other_probabilities", "other_values"), others)
    _fill(record, ("contrast_indexes", "contrast_probabilities", "contrast_values"), explanation.contrast)
    for rank, (_, heatmap) in enumerate(explanation.other_maps[: len(record["other_peaks"])]):
        record["other_maps"][rank], record["other_peaks"][rank] = _normalized(heatmap)
    return record


def _fill(record: np.ndarray, names: tuple[str, str, str], predictions: Sequence[Prediction]) -> None:
    """Writes predictions to the three fields of a record for class indices, probabilities and values."""
    class_indices, probabilities, values = (record[name] for name in names)
    class_indices[:] = _NO_CLASS
    for rank, prediction in enumerate(predictions[: len(class_indices)]):
        class_indices[rank] = prediction.class_index
        probabilities[rank], values[rank] = _probability(prediction), prediction.value


def _normalized(heatmap: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns the heatmap in 0..1 as float16, and its maximum; float16 alone covers 6e-8 to 65504 only."""
    finite = np.where(np.isfinite(heatmap), heatmap, 0)
    peak = float(finite.max(initial=0))
    return (finite / peak if peak > 0 else np.zeros_like(finite)).astype(np.float16), peak


def _probability(prediction: Prediction) -> float:
    return float("nan") if prediction.probability is None else prediction.probability


def _classes(explanation: Explanation) -> list[Prediction]:
    others = (prediction for prediction, _ in explanation.other_maps)
    return [explanation.explained, *explanation.predictions, *others, *explanation.contrast]


def _npy_header(record_type: np.dtype, count: int) -> bytes:
    """Returns a ``.npy`` header of fixed length, so that the count in it can be updated."""
    facts = {"descr": npy_format.dtype_to_descr(record_type), "fortran_order": False, "shape": (count,)}
    text = repr(facts).encode("latin1")
    magic = npy_format.magic(1, 0)
    length = _HEADER_BYTES - len(magic) - 2
    return magic + length.to_bytes(2, "little") + text.ljust(length - 1) + b"\n"


def _add_array(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        npy_format.write_array(member, array, allow_pickle=False)
