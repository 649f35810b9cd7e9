"""A video of ten seconds from photographs in scikit-image's package; needs no camera and no network."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from live_cam.errors import SourceError
from live_cam.frame import Frame
from live_cam.sources.protocol import Source

SIZE_WH = (640, 360)
RATE = Fraction(25)
FRAME_COUNT = 250
_FADE_FRAMES = 12
# The photographs are enlarged once with a good filter; a fast one then suffices for each frame, without shimmer.
_ENLARGEMENT = 2


@dataclass(frozen=True)
class _View:
    """The part of a photograph that a frame shows.

    Attributes:
        center_xy: As fractions of the photograph's width and height.
        zoom: 1 shows as much as fits without a border; 2 shows half of that in each direction.
    """

    center_xy: tuple[float, float]
    zoom: float


@dataclass(frozen=True)
class _Shot:
    file_name: str
    first: _View
    last: _View


_SHOTS = (
    _Shot("chelsea.png", _View((0.48, 0.45), 1.30), _View((0.50, 0.50), 1.00)),
    _Shot("coffee.png", _View((0.60, 0.50), 1.25), _View((0.45, 0.45), 1.00)),
    _Shot("rocket.jpg", _View((0.50, 0.30), 1.35), _View((0.50, 0.55), 1.10)),
    _Shot("motorcycle_left.png", _View((0.40, 0.62), 1.10), _View((0.55, 0.55), 1.00)),
)


class DemoSource(Source):
    """A video of real photographs, panned, zoomed and cross-faded; the same on every machine.

    Args:
        start_seconds: First media time that is read.
        end_seconds: Media time at which reading ends. Default: the end.

    Raises:
        SourceError: The photographs are not installed.
    """

    name = "demo"
    size_wh = SIZE_WH
    rate = RATE

    def __init__(self, start_seconds: float = 0.0, end_seconds: float | None = None) -> None:
        self._photographs = photographs()
        self._first = min(math.ceil(start_seconds * RATE), FRAME_COUNT - 1)
        last = FRAME_COUNT if end_seconds is None else min(math.ceil(end_seconds * RATE), FRAME_COUNT)
        self._count = self.frame_count_estimate = max(1, last - self._first)
        self.duration_seconds = float(self._count / RATE)
        self._index = 0
        self._is_closed = False

    def read(self) -> Frame | None:
        """Returns the next frame; None after the last."""
        if self._index >= self._count or self._is_closed:
            return None
        number = self._first + self._index
        frame = Frame(self._image(number), self._index, float(number / RATE))
        self._index += 1
        return frame

    def close(self) -> None:
        """Ends the video and frees the photographs."""
        self._is_closed = True
        self._photographs = []

    def _image(self, index: int) -> np.ndarray:
        frames_per_shot = FRAME_COUNT / len(_SHOTS)
        number = int(index / frames_per_shot)
        image = self._shot_image(number, index)
        frames_left = (number + 1) * frames_per_shot - index
        if number + 1 == len(_SHOTS) or frames_left > _FADE_FRAMES:
            return image
        weight = _eased(1 - frames_left / _FADE_FRAMES)
        return cv2.addWeighted(self._shot_image(number + 1, index), weight, image, 1 - weight, 0)

    def _shot_image(self, number: int, index: int) -> np.ndarray:
        """Returns one shot's image for a frame; a shot's move begins while it fades in."""
        frames_per_shot = FRAME_COUNT / len(_SHOTS)
        first_index = number * frames_per_shot - (_FADE_FRAMES if number else 0)
        progress = (index - first_index) / ((number + 1) * frames_per_shot - first_index)
        shot = _SHOTS[number]
        return show(self._photographs[number], _between(shot.first, shot.last, _eased(progress)))


def photographs() -> list[np.ndarray]:
    """Returns the four photographs of the demo, each (height, width, 3) uint8, BGR.

    Raises:
        SourceError: They are not installed.
    """
    folder = _photograph_folder()
    return [_read(folder / shot.file_name) for shot in _SHOTS]


def show(photograph: np.ndarray, view: _View) -> np.ndarray:
    """Returns the part of a photograph that a view shows, (360, 640, 3) uint8, BGR.

    A view that reaches beyond the border is moved inward. Positions are not rounded to pixels, at which slow pans would
    tremble; pixel centers are at half integers.

    Args:
        photograph: (height, width, 3) uint8, BGR.
        view: The part.
    """
    height, width = photograph.shape[:2]
    scale = max(SIZE_WH[0] / width, SIZE_WH[1] / height) * view.zoom
    half_x, half_y = SIZE_WH[0] / scale / 2, SIZE_WH[1] / scale / 2
    center_x = min(max(view.center_xy[0] * width, half_x), width - half_x)
    center_y = min(max(view.center_xy[1] * height, half_y), height - half_y)
    to_photograph = np.array(
        [
            [1 / scale, 0, center_x - half_x + 0.5 / scale - 0.5],
            [0, 1 / scale, center_y - half_y + 0.5 / scale - 0.5],
        ],
        np.float64,
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(photograph, to_photograph, SIZE_WH, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _between(first: _View, last: _View, progress: float) -> _View:
    x, y = (a + (b - a) * progress for a, b in zip(first.center_xy, last.center_xy, strict=True))
    # Zoom steps are factors, so that the image seems to grow at a constant speed.
    return _View((x, y), first.zoom * (last.zoom / first.zoom) ** progress)


def _eased(progress: float) -> float:
    """Returns progress in [0, 1] with a smooth start and end."""
    return (1 - math.cos(math.pi * min(max(progress, 0.0), 1.0))) / 2


def _photograph_folder() -> Path:
    # scikit-image itself is not imported, which would take a second; only its files are needed.
    package = importlib.util.find_spec("skimage")
    if package is None or package.origin is None:
        raise SourceError(
            'the demo\'s photographs are not installed; install them in the checkout: pip install ".[demo]"'
        )
    return Path(package.origin).parent / "data"


def _read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
    if image is None:
        raise SourceError(
            f'the demo\'s photograph {path} is missing; reinstall it in the checkout: pip install ".[demo]"'
        )
    return cv2.resize(image, None, fx=_ENLARGEMENT, fy=_ENLARGEMENT, interpolation=cv2.INTER_CUBIC)
