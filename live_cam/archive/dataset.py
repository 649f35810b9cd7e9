"""The files of an index: tables in Parquet that other programs read, and a README that describes them.

INDEX/
├── README.md               what is here, and how to read it
├── index.json              the settings that all rows were made with, and the class labels
├── videos.parquet          a row per video
├── frames/NAME.parquet     a row per explained frame, one file per video
├── scenes/NAME.parquet     a row per scene, with a thumbnail
├── maps/NAME.parquet       all heatmaps, if they are wanted
├── annotated/NAME.mp4      annotated videos, if they are wanted
└── segments/NAME/          parts of videos that are not complete yet
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from live_cam.closing import Closing
from live_cam.errors import SinkError, SourceError
from live_cam.sinks.atomic_file import partial_path

# The number of classes in each row of ``frames``; of a model with fewer classes, the other columns are empty.
TOP_COUNT = 5

# What the classes of a model have: probabilities, or values if it returns numbers.
ScoreName: TypeAlias = Literal["probability", "value"]

_FORMAT = 1
_FOLDERS = ("frames", "scenes", "maps", "annotated", "segments")
_PARTIAL = ".partial-"
_METADATA_KEY = b"livecam"
_ROWS_PER_GROUP = 100_000
_STEM_LENGTH = 48
# Of a million videos, no two share it: the stem of a name that is not Latin says nothing.
_DIGEST_LENGTH = 16
_LARGEST_JSON_BYTES = 64 << 20

_LABEL = pa.dictionary(pa.int32(), pa.string())

VIDEO_SCHEMA = pa.schema(
    {
        "video": pa.string(),
        "state": pa.string(),
        "error": pa.string(),
        "size_bytes": pa.int64(),
        "digest": pa.string(),
        "duration_seconds": pa.float64(),
        "width": pa.int32(),
        "height": pa.int32(),
        "frame_count": pa.int64(),
        "row_count": pa.int64(),
        "file_name": pa.string(),
        "model": pa.string(),
        "settings": pa.string(),
    }
)
SCENE_SCHEMA = pa.schema(
    {
        "video": _LABEL,
        "from_seconds": pa.float64(),
        "to_seconds": pa.float64(),
        "time_seconds": pa.float64(),
        "explained_index": pa.int32(),
        "explained_label": _LABEL,
        "explained_score": pa.float32(),
        "jpeg": pa.binary(),
    }
)
MAP_SCHEMA = pa.schema(
    {
        "video": _LABEL,
        "index": pa.int32(),
        "time_seconds": pa.float64(),
        "peak": pa.float32(),
        "map_height": pa.int16(),
        "map_width": pa.int16(),
        "map": pa.list_(pa.float16()),
    }
)


def frame_schema(score: ScoreName) -> pa.Schema:
    """Returns the columns of ``frames``: those of a sidecar in CSV, and ``video`` and ``duration_seconds``."""
    ranks = range(1, TOP_COUNT + 1)
    classes: dict[str, pa.DataType] = {}
    for rank in ranks:
        classes |= {f"class_index_{rank}": pa.int32(), f"label_{rank}": _LABEL, f"{score}_{rank}": pa.float32()}
    return pa.schema(
        {
            "video": _LABEL,
            "index": pa.int32(),
            "time_seconds": pa.float64(),
            "duration_seconds": pa.float32(),
            "explained_index": pa.int32(),
            "explained_label": _LABEL,
            f"explained_{score}": pa.float32(),
            **classes,
            "peak": pa.float32(),
            "area_above_half": pa.float32(),
            "centroid_x": pa.float32(),
            "centroid_y": pa.float32(),
        }
    )


class Dataset:
    """The names of an index's files.

    Args:
        folder: The index.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.readme = folder / "README.md"
        self.info = folder / "index.json"
        self.videos = folder / "videos.parquet"

    def table(self, kind: Literal["frames", "scenes", "maps"], file_name: str) -> Path:
        """Returns the path of one video's table."""
        return self.folder / kind / f"{file_name}.parquet"

    def annotated(self, file_name: str) -> Path:
        """Returns the path of one annotated video."""
        return self.folder / "annotated" / f"{file_name}.mp4"

    def segments(self, file_name: str) -> Path:
        """Returns the folder of one video's finished segments."""
        return self.folder / "segments" / file_name

    def segment_table(self, file_name: str, number: int, kind: str) -> Path:
        """Returns the path of a table of one finished segment."""
        return self.segments(file_name) / f"{number:06d}.{kind}.parquet"

    def remove_partial_tables(self) -> None:
        """Removes what killed workers left."""
        for folder in (self.folder, *self._own_folders()):
            for path in folder.glob(f".*{_PARTIAL}*"):
                path.unlink(missing_ok=True)

    @property
    def is_empty(self) -> bool:
        """Whether no video has been explained, not even a part of one."""
        return not any(self.folder.glob("frames/*.parquet")) and not any(self.folder.glob("segments/*/*.parquet"))

    def remove_empty_folders(self) -> None:
        """Removes folders without files, as ``segments`` is at the end."""
        for folder in self._own_folders():
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _own_folders(self) -> list[Path]:
        """Returns the folders that an index has, inner ones first; beside them, there may be others of the user."""
        return [*self.folder.glob("segments/*/"), *map(self.folder.joinpath, _FOLDERS)]

    def read_info(self) -> dict[str, Any]:
        """Returns the content of ``index.json``.

        Raises:
            SourceError: There is no index, or another version of livecam made it.
        """
        try:
            if self.info.stat().st_size > _LARGEST_JSON_BYTES:
                raise ValueError
            info = json.loads(self.info.read_bytes())
            is_known = info["format"] == _FORMAT
        except FileNotFoundError:
            raise SourceError(
                f"{self.folder} is no index: it has no {self.info.name}; make one with livecam archive"
            ) from None
        except OSError as error:
            raise SourceError(f"cannot read {self.info}: {error.strerror}") from None
        except (ValueError, TypeError, KeyError):
            raise SourceError(f"{self.info} is damaged, or not livecam's; make the index again") from None
        if not is_known:
            raise SourceError(f"{self.folder} was made by another version of livecam, as format {info['format']!r:.20}")
        return info

    def write_info(self, info: Mapping[str, Any]) -> None:
        """Writes ``index.json``.

        Raises:
            SinkError: That failed.
        """
        write_text(self.info, json.dumps({"format": _FORMAT, **info}, ensure_ascii=False, indent=1) + "\n")


def file_name_of(video: str) -> str:
    """Returns what a video's files are called: what its own name has in common with all file systems, and a digest."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", Path(video).stem)[:_STEM_LENGTH].strip("._") or "video"
    digest = hashlib.sha256(os.fsencode(video)).hexdigest()
    return f"{stem}-{digest[:_DIGEST_LENGTH]}"


class TableWriter(Closing):
    """Writes a table under a partial name; ``finish`` gives it its final name, in place of any earlier one.

    The same rows become the same row groups, however many are given at a time.

    Args:
        path: The final name; its folder is made.
        schema: The columns.

    Raises:
        SinkError: The file cannot be created.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        # A worker that was given up may still be writing the same table. Readers of a folder skip names with a dot.
        self._partial = path.with_name(f".{path.name}{_PARTIAL}{os.urandom(4).hex()}")
        self._waiting: list[pa.Table] = []
        self._waiting_count = 0
        self.row_count = 0
        with raising_sink_error(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: pq.ParquetWriter | None = pq.ParquetWriter(
                self._partial, schema, compression="zstd", **_encodings(schema)
            )

    def write(self, rows: pa.Table) -> None:
        """Adds rows.

        Raises:
            SinkError: The disk is full.
        """
        self._waiting.append(rows)
        self._waiting_count += rows.num_rows
        self.row_count += rows.num_rows
        if self._waiting_count >= _ROWS_PER_GROUP:
            self._write_groups(self._waiting_count // _ROWS_PER_GROUP * _ROWS_PER_GROUP)

    def finish(self, metadata: Mapping[str, Any]) -> None:
        """Completes the file, with an object that ``table_metadata`` returns.

        Raises:
            SinkError: That failed; nothing is left behind.
        """
        self._write_groups(self._waiting_count)
        file = self._file
        with raising_sink_error(self.path):
            if file is not None:
                file.add_key_value_metadata({_METADATA_KEY: json.dumps(metadata, ensure_ascii=False).encode()})
                file.close()
            self._partial.replace(self.path)
        self._file = None

    def close(self) -> None:
        """Removes the file if it is not finished."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError, pa.ArrowException):
                file.close()
        with contextlib.suppress(OSError):
            self._partial.unlink(missing_ok=True)

    def _write_groups(self, count: int) -> None:
        if self._file is None or not count:
            return
        rows = pa.concat_tables(self._waiting)
        with raising_sink_error(self.path):
            self._file.write_table(rows.slice(0, count).unify_dictionaries(), row_group_size=_ROWS_PER_GROUP)
        rest = rows.slice(count)
        self._waiting, self._waiting_count = [rest], rest.num_rows


def table_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Returns rows as a table; columns that a row lacks are null."""
    columns = [pa.array([row.get(field.name) for row in rows], type=_value_type(field.type)) for field in schema]
    return pa.table(columns, names=schema.names).cast(schema)


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _encodings(schema: pa.Schema) -> dict[str, Any]:
    """Returns how columns are written: repeated values as dictionaries, numbers so that they compress well."""
    numbers = {
        field.name: "BYTE_STREAM_SPLIT"
        for field in schema
        if pa.types.is_floating(field.type) and field.name != "duration_seconds"
    }
    counts = {"index": "DELTA_BINARY_PACKED"} if "index" in schema.names else {}
    plain = {*numbers, *counts, "jpeg", "map"}
    dictionaries = [field.name for field in schema if field.name not in plain]
    # The smallest and the largest picture would be stored twice more.
    counted = [field.name for field in schema if field.name not in ("jpeg", "map")]
    return {
        "use_dictionary": dictionaries,
        "column_encoding": {**numbers, **counts},
        "write_statistics": counted,
    }


def table_metadata(path: Path) -> dict[str, Any] | None:
    """Returns what ``TableWriter.finish`` got; None if the file is missing, unfinished or damaged."""
    try:
        metadata = pq.read_metadata(path).metadata or {}
        value = json.loads(metadata[_METADATA_KEY])
        return value if isinstance(value, dict) else None
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return None


def write_text(path: Path, text: str) -> None:
    """Writes a text file under a partial name and renames it.

    Raises:
        SinkError: That failed; nothing is left behind.
    """
    partial = partial_path(path)
    with raising_sink_error(path):
        try:
            partial.write_text(text, encoding="utf-8")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def raising_sink_error(path: Path) -> Iterator[None]:
    """Turns an error of the system into a ``SinkError`` about a file."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise SinkError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from None
