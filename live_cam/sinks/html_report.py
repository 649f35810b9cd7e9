"""Writes one self-contained HTML page about many images: thumbnails, predictions, filters, accuracy."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from io import BufferedWriter
from pathlib import Path
from typing import Any

from live_cam.closing import Closing
from live_cam.errors import SinkError
from live_cam.sinks.atomic_file import locked_output, partial_path, put_in_place

# What a page has near its beginning, and what it ends with.
_GENERATOR = b'<meta name="generator" content="livecam">'
_HEAD_BYTES = 4096
_ENDING = "<!-- made of {} -->\n"
# In an HTML document, JSON between script tags must contain none of these.
_ESCAPES = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&"}


class HtmlReport(Closing):
    """Writes the page image by image, so that none of them stays in memory.

    The template ``html_report.html`` has the places ``{{policy}}``, ``{{about}}``, ``{{images}}`` and ``{{failures}}``.
    Its script builds the page from these data, which are JSON and never markup, and loads nothing from elsewhere.

    Args:
        path: The final name.
        about: What concerns all images; see the template's script.
        overwrite: Whether an existing file may be replaced. A page that livecam made always is.

    Raises:
        SinkError: The file cannot be created; nothing is left behind.
    """

    def __init__(self, path: Path, about: Mapping[str, Any], overwrite: bool = False) -> None:
        self.path = path
        self._overwrite = overwrite or is_html_report(path)
        self._partial = partial_path(path)
        template = page_template("live_cam.sinks", "html_report.html")
        head, self._middle, self._tail = re.split(r"\{\{images\}\}|\{\{failures\}\}", template)
        self._lock = locked_output(path, self._overwrite)
        self._file: BufferedWriter | None = None
        self._image_count = 0
        head = head.replace("{{policy}}", content_policy(template))
        self._write(head.replace("{{about}}", script_json(about)))

    def add(self, image: Mapping[str, Any]) -> None:
        """Writes one image; see the template's script.

        Raises:
            SinkError: The disk is full; nothing is left behind.
        """
        self._write((",\n" if self._image_count else "\n") + script_json(image))
        self._image_count += 1

    def finish(self, failures: Sequence[Mapping[str, str]] = (), made_of: str | None = None) -> None:
        """Completes the page and gives it its final name.

        Args:
            failures: ``name`` and ``error`` of each image that is not on the page.
            made_of: A digest of what the page was made of, for ``is_made_of``.

        Raises:
            SinkError: That failed.
        """
        ending = "" if made_of is None else _ENDING.format(made_of)
        self._write(self._middle + script_json(list(failures)) + self._tail + ending)
        self._end_file()
        put_in_place(self._partial, self.path, self._overwrite)
        self._lock.close()

    def close(self) -> None:
        """Removes the page if it was not finished."""
        if self._file is not None:
            self._end_file()
            self._partial.unlink(missing_ok=True)
        self._lock.close()

    def _write(self, text: str) -> None:
        try:
            if self._file is None:
                self._file = self._partial.open("wb")
            self._file.write(text.encode("utf-8"))
        except OSError as error:
            self.close()
            raise SinkError(f"cannot write {self.path}: {error.strerror}") from None

    def _end_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                self._partial.unlink(missing_ok=True)
                raise SinkError(f"cannot write {self.path}: {error.strerror}") from None


def is_html_report(path: Path) -> bool:
    """Returns whether there is a page at a path that livecam made."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return _GENERATOR in file.read(_HEAD_BYTES)
    except OSError:
        return False


def is_made_of(path: Path, digest: str) -> bool:
    """Returns whether there is a page at a path that livecam made and finished with this digest."""
    if not is_html_report(path):
        return False
    ending = _ENDING.format(digest).encode()
    with path.open("rb") as file:
        file.seek(-min(len(ending), path.stat().st_size), os.SEEK_END)
        return file.read() == ending


def data_url(jpeg: bytes) -> str:
    """Returns a JPEG file as a URL that contains it."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def script_json(value: Any) -> str:
    """Returns JSON that may stand between script tags: ASCII without ``<``, ``>`` and ``&``."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)


def page_template(package: str, file_name: str) -> str:
    """Returns the template of a page, whose place ``{{style}}`` is filled with what all pages have in common."""
    template, style = (
        resources.files(place).joinpath(name).read_text(encoding="utf-8")
        for place, name in ((package, file_name), ("live_cam.sinks", "page_style.css"))
    )
    return template.replace("{{style}}", style)


def content_policy(template: str) -> str:
    """Returns a policy that allows the template's own style and script, pictures in the page, and nothing else."""
    hashes = {
        tag: base64.b64encode(hashlib.sha256(match[1].encode()).digest()).decode()
        for tag in ("style", "script")
        if (match := re.search(rf"<{tag}>(.*?)</{tag}>", template, re.DOTALL))
    }
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{hashes['style']}'; "
        f"script-src 'sha256-{hashes['script']}'; base-uri 'none'; form-action 'none'"
    )
