"""Records with which settings the pictures of an output folder were made."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from live_cam.jobs.checkpoints import finished_folder, remove_oldest
from live_cam.jobs.job_identity import changes_since

_SAVED_EVERY_SECONDS = 1.0


class PictureRecord:
    """The pictures of an output folder that are known, with the settings that each was made with.

    It is kept in the user's cache, beside the records of finished videos. Without a cache, nothing is known.

    Args:
        output: The folder; or the picture, if there is only one.
        identity: What the pictures of this run are made with, from ``picture_identity``.

    Attributes:
        added_count: Number of pictures that this run made.
    """

    def __init__(self, output: Path, identity: Mapping[str, str]) -> None:
        self._output, self._identity = output, dict(identity)
        digest = hashlib.sha256(os.path.realpath(output).encode("utf-8", "surrogateescape")).hexdigest()
        self._path = finished_folder() / f"{digest[:32]}.json"
        self._identities, self._pictures = _load(self._path)
        if self._identity not in self._identities:
            self._identities.append(self._identity)
        self.added_count = 0
        self._lock = threading.Lock()
        self._saved_seconds = time.monotonic()

    def differences(self, pictures: Iterable[Path]) -> tuple[int, str]:
        """Returns how many of the pictures were made with other settings, and which ones.

        Returns:
            The number, and a text such as "method was grad-cam and is layercam now"; of several settings, those of
            most pictures. (0, "") if there is none.
        """
        counts = Counter(number for path in pictures if (number := self._identity_number(path)) is not None)
        changes = {number: ", ".join(changes_since(self._identities[number], self._identity)) for number in counts}
        counts = Counter({number: count for number, count in counts.items() if changes[number]})
        if not counts:
            return 0, ""
        (number, most), total = counts.most_common(1)[0], counts.total()
        return total, changes[number] + ("" if most == total else f" for {most} of them")

    def add(self, picture: Path) -> None:
        """Notes that this run made a picture; may be called from several threads."""
        number = self._identities.index(self._identity)
        with self._lock:
            self.added_count += 1
            self._pictures[self._name(picture)] = [number, *_stamp(picture)]
            if time.monotonic() - self._saved_seconds > _SAVED_EVERY_SECONDS:
                self._save()

    def save(self) -> None:
        """Writes what has been noted; nothing happens if that is not possible."""
        with self._lock:
            self._save()

    def _identity_number(self, picture: Path) -> int | None:
        """Returns which settings a picture was made with; None if it is not known, or another file by now."""
        number, *stamp = self._pictures.get(self._name(picture), [None])
        return number if stamp == _stamp(picture) else None

    def _name(self, picture: Path) -> str:
        return os.path.relpath(picture, self._output)

    def _save(self) -> None:
        self._saved_seconds = time.monotonic()
        unfinished = self._path.with_name(f"{self._path.name}.tmp")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_text(json.dumps({"jobs": self._identities, "pictures": self._pictures}), encoding="utf-8")
            unfinished.replace(self._path)
            remove_oldest(self._path.parent, self._path.suffix)


def _stamp(picture: Path) -> list[int]:
    """Returns size and time of a file; empty if there is none."""
    try:
        status = picture.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]


def _load(path: Path) -> tuple[list[dict[str, str]], dict[str, list[Any]]]:
    """Returns the settings, and each picture's name with the number of its settings and its stamp."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        jobs, pictures = list(stored["jobs"]), dict(stored["pictures"])
        is_valid = all(picture[0] in range(len(jobs)) for picture in pictures.values())
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return [], {}
    return (jobs, pictures) if is_valid else ([], {})
