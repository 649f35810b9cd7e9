"""The HTML report of a job over images: what the page shows of each, and which class its folder says it has."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from live_cam.closing import Closing
from live_cam.errors import LiveCamError, SettingError, SinkError
from live_cam.frame import Prediction
from live_cam.jobs.job_identity import picture_identity
from live_cam.pipeline.feed import target_index
from live_cam.predictions import is_same_label
from live_cam.render.colormaps import colormap_lut, heat_lut
from live_cam.render.letterbox import reduced
from live_cam.render.renderer import Renderer
from live_cam.sinks.html_report import HtmlReport, data_url

if TYPE_CHECKING:
    from live_cam.explain.explainer import Explainer
    from live_cam.jobs.image_plan import ImagePlan
    from live_cam.settings import JobSettings, RenderSettings
    from live_cam.temporal.explainer import SmoothedExplanation

# Longest side of the thumbnails by the number of images, so that a page of up to 1000 stays below 50 MB.
_SIDES_PX = ((250, 512), (1000, 320), (math.inf, 224))
_JPEG_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 75]
_LEGEND_STEPS = 12
# ImageNet's folders: "n02123045", "n02123045_tabby".
_WORDNET_ID = re.compile(r"n\d{8}[ _-]+")


class ImageReport(Closing):
    """Collects what the page shows; it is written image by image.

    Args:
        path: The page.
        settings: The job.
        explainer: Knows the labels.
        plan: All images of the job.

    Raises:
        SinkError: The page cannot be created.
    """

    def __init__(self, path: Path, settings: JobSettings, explainer: Explainer, plan: ImagePlan) -> None:
        files = plan.files
        self._made_of: str | None = page_digest(plan, settings)
        self._true_labels = true_labels(explainer, {name: file.parent.name for name, file in files.items()})
        look = replace(settings.feed.render, view="overlay", caption=False, panel=False)
        self._renderer, self._plain = Renderer(look), Renderer(replace(look, view="original"))
        self._side_px = next(side for count, side in _SIDES_PX if len(files) <= count)
        self._failures = [{"name": f"{path}", "error": f"{error}"} for path, error in plan.unreadable.items()]
        target = target_index(explainer, settings.feed.target)
        about = {
            "title": _title(files),
            "model": explainer.model_name,
            "method": explainer.method,
            "layer": explainer.layer,
            "explained": None if target is None else explainer.label(target),
            # Several classes are drawn as lines in other colors.
            "colors": _colors(look) if settings.explainer.top_maps == 1 else [],
            "has_true_labels": bool(self._true_labels),
        }
        self._page = HtmlReport(path, about, settings.output.overwrite)

    def entry(self, name: str, explained: SmoothedExplanation) -> dict[str, Any]:
        """Returns what the page shows of one image; may be called from several threads.

        Args:
            name: The image's name on the page.
            explained: Its explanation as it is drawn.
        """
        explanation = explained.explanation
        small = reduced(explained.frame.image, self._side_px)
        drawn = self._renderer.draw(small, explained.drawn_explanation, explained.scale)
        plain = self._plain.draw(small, explained.drawn_explanation)
        top = explanation.predictions[0]
        is_top = top.class_index == explanation.explained.class_index
        return {
            "name": name,
            "predictions": [_prediction(prediction) for prediction in explanation.predictions],
            "explained": None if is_top else _prediction(explanation.explained),
            "true_label": None if top.probability is None else self._true_labels.get(name),
            "size_wh": [small.shape[1], small.shape[0]],
            "heat": _jpeg_url(drawn),
            "plain": _jpeg_url(plain),
        }

    def add(self, entry: Mapping[str, Any]) -> None:
        """Writes what ``entry`` returned.

        Raises:
            SinkError: The page cannot be written.
        """
        self._page.add(entry)

    def add_failure(self, name: str, error: LiveCamError) -> None:
        """Notes an image that is not on the page, and why."""
        self._failures.append({"name": name, "error": str(error)})
        if isinstance(error, SinkError):  # Perhaps there is more room the next time.
            self._made_of = None

    def finish(self) -> None:
        """Completes the page.

        Raises:
            SinkError: That failed.
        """
        self._page.finish(self._failures, self._made_of)

    def close(self) -> None:
        """Removes the page if it was not finished."""
        self._page.close()


def page_digest(plan: ImagePlan, settings: JobSettings) -> str:
    """Returns a digest of all that a page is made of: it is the same as long as the page would be.

    Args:
        plan: All images of the job.
        settings: The job.
    """
    unreadable = [str(error) for error in plan.unreadable.values()]
    images = [(name, os.path.abspath(file), *_stamp(file)) for name, file in plan.files.items()]  # noqa: PTH100
    return hashlib.sha256(json.dumps([images, unreadable, picture_identity(settings)]).encode()).hexdigest()


def _stamp(file: Path) -> tuple[int, int, bool]:
    """Returns what changes with an image: its size, its time, and whether it can be read; zeros if it is gone."""
    try:
        status = file.stat()
    except OSError:
        return 0, 0, False
    return status.st_size, status.st_mtime_ns, os.access(file, os.R_OK)


def true_labels(explainer: Explainer, folders: Mapping[str, str]) -> dict[str, str]:
    """Returns the labels that folders are named after, for the images whose folders are.

    A folder is named like a class if its name is the whole label; upper and lower case, blanks and underscores do not
    matter, nor does a WordNet id before the label. If all folders are named by numbers, these are class indices.

    Args:
        explainer: Knows the labels.
        folders: Image names and the names of the folders that the images are in.
    """
    names = set(folders.values())
    are_indices = all(name.isascii() and name.isdecimal() for name in names)
    label_of = {name: _label_of(explainer, name, are_indices) for name in names}
    labels = {image: label_of[folder] for image, folder in folders.items()}
    return {image: label for image, label in labels.items() if label is not None}


def _label_of(explainer: Explainer, folder: str, is_index: bool) -> str | None:
    text = _WORDNET_ID.sub("", folder, count=1)
    try:
        label = explainer.label(explainer.class_index(text))
    except SettingError:  # no class, or a part of several labels
        return None
    return label if is_index or is_same_label(label, text) else None


def _title(files: Mapping[str, Path]) -> str:
    """Returns the name of the folder that all images are in."""
    name, file = next(iter(files.items()))
    depth = name.count("/")
    return Path(os.path.abspath(file)).parents[depth].name  # noqa: PTH100 - links are kept


def _colors(look: RenderSettings) -> list[str]:
    """Returns some of the colors that heat is drawn in, coldest first, as CSS has them."""
    lut = heat_lut(look.colormap) if look.blend == "heat" else colormap_lut(look.colormap)
    indices = np.linspace(0, len(lut) - 1, _LEGEND_STEPS).round().astype(int)
    colors = np.rint(lut[indices]).astype(int).tolist()
    return [f"#{red:02x}{green:02x}{blue:02x}" for blue, green, red in colors]


def _jpeg_url(image: np.ndarray) -> str:
    _, data = cv2.imencode(".jpg", image, _JPEG_QUALITY)
    return data_url(data.tobytes())


def _prediction(prediction: Prediction) -> dict[str, Any]:
    """Returns label and probability or, without one, value; None for a number that is not finite."""
    probability, value = prediction.probability, prediction.value
    return {
        "label": prediction.label,
        "probability": None if probability is None or not math.isfinite(probability) else round(probability, 5),
        "value": float(f"{value:.6g}") if math.isfinite(value) else None,
    }
