"""Reads boxes around objects: Pascal VOC's XML, COCO's JSON, or a plain JSON table."""

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

# A VOC file with a hundred objects has 30 kB.
_MAX_XML_BYTES = 1 << 20


@dataclass(frozen=True)
class Box:
    """A box around an object.

    Attributes:
        name: Name of its class in the annotation; empty if it has none.
        xyxy: Left, top, right and bottom edge, in pixels from the image's top left corner.
    """

    name: str
    xyxy: tuple[float, float, float, float]


@dataclass(frozen=True)
class Annotation:
    """The objects in one image.

    Attributes:
        boxes: The boxes around them.
        size_wh: Size of the annotated image, if known; the image that is evaluated may be a smaller copy.
    """

    boxes: tuple[Box, ...]
    size_wh: tuple[float, float] | None = None

    def fractions_xyxy(self, image_size_wh: tuple[int, int], label: str) -> np.ndarray:
        """Returns the boxes of a class as fractions of the image's width and height: (n, 4) float64.

        Args:
            image_size_wh: Size of the image as it was read.
            label: The class. If no box has this name, because network and annotation use different words, all boxes
                are returned.
        """
        named = [box for box in self.boxes if box.name.casefold() == label.casefold()]
        width, height = self.size_wh or image_size_wh
        return np.array([box.xyxy for box in named or self.boxes]) / (width, height, width, height)


def read_annotations(source: Path, image_paths: Iterable[Path]) -> dict[str, Annotation]:
    """Reads the annotations of the images that have one.

    Args:
        source: A folder of Pascal VOC files, with the names of the images but ``.xml``; or a JSON file, either COCO's
            or ``{"cat.jpg": [[left, top, right, bottom], ...], ...}`` in pixels.
        image_paths: The images.

    Returns:
        File names of the images to annotations.

    Raises:
        SourceError: A file cannot be read or has another format.
        SettingError: No image has boxes there.
    """
    names = [path.name for path in image_paths]
    if source.is_dir():
        files = {name: (source / name).with_suffix(".xml") for name in names}
        found = {name: read_voc(file) for name, file in files.items() if file.is_file()}
    else:
        everything = read_json(source)
        found = {name: everything[name] for name in names if name in everything}
    found = {name: annotation for name, annotation in found.items() if annotation.boxes}
    if not found:
        raise SettingError(
            f"no image has boxes in {source}; give a folder of VOC files named like the images (cat.jpg: cat.xml), "
            "or a JSON file with the names of the images"
        )
    return found


def read_voc(path: Path) -> Annotation:
    """Reads a Pascal VOC annotation.

    VOC counts pixels from 1, and its last pixel is inside: the box from 1 to 10 is ten pixels wide.

    Raises:
        SourceError: It cannot be read, has another format, or has a document type. A document type can define entities
            that grow without bound or that name other files, and VOC files have none.
    """
    text = _text(path, _MAX_XML_BYTES)
    # In the decoded text, so that no other encoding hides them; the parser is given the same text.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise SourceError(f"{path} has a document type or entities, which VOC files do not have; it was not read")
    try:
        root = ElementTree.fromstring(text)
        size = root.find("size")
        size_wh = None if size is None else (_voc_number(size, "width"), _voc_number(size, "height"))
        boxes = [
            Box((element.findtext("name") or "").strip(), _from_one_based(element.find("bndbox")))
            for element in root.iter("object")
        ]
    except (ElementTree.ParseError, TypeError, ValueError) as error:
        raise SourceError(f"{path} is not a Pascal VOC annotation: {error}; expected object/bndbox/xmin ...") from None
    return Annotation(tuple(boxes), size_wh if size_wh and min(size_wh) > 0 else None)


def _from_one_based(bndbox: ElementTree.Element | None) -> tuple[float, float, float, float]:
    if bndbox is None:
        raise ValueError("an object has no bndbox")
    left, top, right, bottom = (_voc_number(bndbox, name) for name in ("xmin", "ymin", "xmax", "ymax"))
    return _checked((left - 1, top - 1, right, bottom))


def _voc_number(element: ElementTree.Element, name: str) -> float:
    text = element.findtext(name)
    if not text:
        raise ValueError(f"{element.tag} has no {name}")
    return float(text)


def read_json(path: Path) -> dict[str, Annotation]:
    """Reads COCO's JSON, or a table of image names and boxes.

    Returns:
        File names of the images to annotations.

    Raises:
        SourceError: It cannot be read or has another format.
    """
    try:
        content = json.loads(_text(path))
        if isinstance(content, dict) and {"images", "annotations"} <= content.keys():
            return _from_coco(content)
        return {name: Annotation(tuple(Box("", _edges(box)) for box in boxes)) for name, boxes in content.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise SourceError(
            f"{path} holds no boxes: {type(error).__name__}: {error}; "
            'expected COCO, or {"cat.jpg": [[left, top, right, bottom], ...]}'
        ) from None


def _from_coco(content: Mapping[str, Any]) -> dict[str, Annotation]:
    """Reads COCO's boxes: left, top, width and height, from 0."""
    class_names = {category["id"]: str(category["name"]) for category in content.get("categories", ())}
    boxes: dict[Any, list[Box]] = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        left, top, width, height = (float(value) for value in annotation["bbox"])
        name = class_names.get(annotation.get("category_id"), "")
        boxes[annotation["image_id"]].append(Box(name, _checked((left, top, left + width, top + height))))
    return {
        Path(image["file_name"]).name: Annotation(tuple(boxes[image["id"]]), _size_wh(image))
        for image in content["images"]
    }


def _size_wh(image: Mapping[str, Any]) -> tuple[float, float] | None:
    width, height = float(image.get("width") or 0), float(image.get("height") or 0)
    return (width, height) if min(width, height) > 0 else None


def _edges(values: Iterable[Any]) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(value) for value in values)
    return _checked((left, top, right, bottom))


def _checked(xyxy: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    if not all(map(math.isfinite, xyxy)) or xyxy[0] >= xyxy[2] or xyxy[1] >= xyxy[3]:
        raise ValueError(f"the box {', '.join(f'{value:g}' for value in xyxy)} is empty")
    return xyxy


def _text(path: Path, max_bytes: int | None = None) -> str:
    try:
        if max_bytes is not None and path.stat().st_size > max_bytes:
            raise SourceError(f"{path} has more than {max_bytes} bytes, too many for the boxes of one image")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SourceError(f"no such file or folder: {path}; check the path of the boxes") from None
    except OSError as error:
        raise SourceError(f"cannot open {path}: {error.strerror}; check the path of the boxes") from None
    except UnicodeDecodeError:
        raise SourceError(f"{path} is not UTF-8 text; save it as UTF-8") from None
