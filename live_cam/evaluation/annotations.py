"""Boxes around objects, as Pascal VOC's XML, COCO's JSON or a plain table has them."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from live_cam.errors import SettingError, SourceError

# A VOC file of a hundred objects has 30 kB.
_LARGEST_XML_BYTES = 1 << 20


@dataclass(frozen=True)
class Box:
    """One object.

    Attributes:
        name: Its class in the words of the annotation; empty where there is none.
        xyxy: Left, top, right and bottom edge, in pixels from the picture's top left corner.
    """

    name: str
    xyxy: tuple[float, float, float, float]


@dataclass(frozen=True)
class Annotation:
    """The objects of one picture.

    Attributes:
        boxes: At least one.
        size_wh: Of the picture that was annotated, where the annotation says so: another copy may be smaller.
    """

    boxes: tuple[Box, ...]
    size_wh: tuple[float, float] | None = None

    def fractions_xyxy(self, picture_size_wh: tuple[int, int], label: str) -> np.ndarray:
        """The boxes of a class as fractions of the picture's width and height: (n, 4) float64.

        Args:
            picture_size_wh: The picture as it was read.
            label: The class; if no box bears its name, which it does only where network and annotation use the same
                words, all boxes count.
        """
        named = [box for box in self.boxes if box.name.casefold() == label.casefold()]
        width, height = self.size_wh or picture_size_wh
        return np.array([box.xyxy for box in named or self.boxes]) / (width, height, width, height)


def annotations_of(source: Path, pictures: Iterable[Path]) -> dict[str, Annotation]:
    """The annotations of those of the pictures that have one.

    Args:
        source: A folder of Pascal VOC files, named as the pictures but ``.xml``; or a JSON file, either COCO's
            or ``{"cat.jpg": [[left, top, right, bottom], ...], ...}`` in pixels.
        pictures: Their paths.

    Returns:
        File names to annotations.

    Raises:
        SourceError: A file cannot be read or is none of these.
        SettingError: Not one picture has boxes there.
    """
    names = [path.name for path in pictures]
    if source.is_dir():
        files = {name: (source / name).with_suffix(".xml") for name in names}
        found = {name: read_voc(file) for name, file in files.items() if file.is_file()}
    else:
        everything = read_json(source)
        found = {name: everything[name] for name in names if name in everything}
    found = {name: annotation for name, annotation in found.items() if annotation.boxes}
    if not found:
        raise SettingError(
            f"no picture has boxes in {source}; give a folder of VOC files named as the pictures (cat.jpg: cat.xml), "
            "or a JSON file with the pictures' names"
        )
    return found


def read_voc(path: Path) -> Annotation:
    """Reads a Pascal VOC annotation.

    VOC counts pixels from 1 and names the last one inside: the box from 1 to 10 is ten pixels wide.

    Raises:
        SourceError: It cannot be read, is no such file, or has a document type: these can define entities that grow
            without bound or name other files, and VOC has none.
    """
    text = _text(path, _LARGEST_XML_BYTES)
    # Looked for in the decoded text, so that no other encoding hides it; the parser is given that same text.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise SourceError(f"{path} has a document type or entities, which no VOC file has; it was not read")
    try:
        root = ElementTree.fromstring(text)
        size = _voc_numbers(root.find("size"), ("width", "height"))
        boxes = [
            Box((one.findtext("name") or "").strip(), _from_one_based(one.find("bndbox")))
            for one in root.iter("object")
        ]
    except (ElementTree.ParseError, TypeError, ValueError) as error:
        raise SourceError(f"{path} is no Pascal VOC annotation: {error}; expected object/bndbox/xmin ...") from None
    return Annotation(tuple(boxes), (size[0], size[1]) if size and min(size) > 0 else None)


def _from_one_based(bndbox: ElementTree.Element | None) -> tuple[float, float, float, float]:
    left, top, right, bottom = _voc_numbers(bndbox, ("xmin", "ymin", "xmax", "ymax")) or _no_box()
    return _checked((left - 1, top - 1, right, bottom))


def _no_box() -> tuple[float, ...]:
    raise ValueError("an object has no bndbox")


def _voc_numbers(element: ElementTree.Element | None, names: tuple[str, ...]) -> tuple[float, ...]:
    """The numbers below an element; none where there is no element."""
    if element is None:
        return ()
    return tuple(float(element.findtext(name) or "missing number") for name in names)


def read_json(path: Path) -> dict[str, Annotation]:
    """Reads COCO's JSON, or a table of picture names and boxes.

    Raises:
        SourceError: It cannot be read or is neither.
    """
    try:
        content = json.loads(_text(path))
        if isinstance(content, dict) and {"images", "annotations"} <= content.keys():
            return _from_coco(content)
        return {name: Annotation(tuple(Box("", _four(box)) for box in boxes)) for name, boxes in content.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise SourceError(
            f"{path} holds no boxes: {type(error).__name__}: {error}; "
            'expected COCO, or {"cat.jpg": [[left, top, right, bottom], ...]}'
        ) from None


def _from_coco(content: Mapping[str, Any]) -> dict[str, Annotation]:
    """COCO's boxes are left, top, width and height, from 0."""
    class_names = {one["id"]: str(one["name"]) for one in content.get("categories", ())}
    boxes: dict[Any, list[Box]] = {one["id"]: [] for one in content["images"]}
    for one in content["annotations"]:
        left, top, width, height = (float(value) for value in one["bbox"])
        box = Box(class_names.get(one.get("category_id"), ""), _checked((left, top, left + width, top + height)))
        boxes[one["image_id"]].append(box)
    return {
        Path(one["file_name"]).name: Annotation(tuple(boxes[one["id"]]), _size_wh(one)) for one in content["images"]
    }


def _size_wh(image: Mapping[str, Any]) -> tuple[float, float] | None:
    width, height = float(image.get("width") or 0), float(image.get("height") or 0)
    return (width, height) if min(width, height) > 0 else None


def _four(values: Iterable[Any]) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(value) for value in values)
    return _checked((left, top, right, bottom))


def _checked(xyxy: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    if not all(map(math.isfinite, xyxy)) or xyxy[0] >= xyxy[2] or xyxy[1] >= xyxy[3]:
        raise ValueError(f"a box of {', '.join(f'{value:g}' for value in xyxy)} holds nothing")
    return xyxy


def _text(path: Path, largest_bytes: int | None = None) -> str:
    try:
        if largest_bytes is not None and path.stat().st_size > largest_bytes:
            raise SourceError(f"{path} has more than {largest_bytes} bytes, too many for the boxes of one picture")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SourceError(f"no such file or folder: {path}; check --boxes") from None
    except OSError as error:
        raise SourceError(f"cannot open {path}: {error.strerror}; check --boxes") from None
    except UnicodeDecodeError:
        raise SourceError(f"{path} is not UTF-8 text; save it as UTF-8") from None
