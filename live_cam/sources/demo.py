"""Ten seconds of film from photographs that scikit-image brings along: needs no camera and no network."""

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
from live_cam.lifetime import ClosedByWith

SIZE_WH = (640, 360)
RATE = Fraction(25)
FRAME_COUNT = 250
_FADE_FRAMES = 12
# Enlarged once with a good filter, the photographs need only the quick one for each frame, and pans do not shimmer.
_ENLARGED = 2


@dataclass(frozen=True)
class _View:
    """What the film's frame shows of a photograph.

    Attributes:
        centre_xy: As fractions of the photograph.
        zoom: 1 shows as much as fits without a border, 2 half of that in each direction.
    """

    centre_xy: tuple[float, float]
    zoom: float


@dataclass(frozen=True)
class _Shot:
    file_name: str
    first: _View
    last: _View


_SHOTS = (
    _Shot("chelsea.png", _View((0.48, 0.45), 1.30), _View((0.50, 0.50), 1.00)),
    _Shot("coffee.png", _View((0.60, 0.50), 1.25), _View((0.45, 0.45), 1.00)),
    _Shot("rocket.jpg", _View((0.50, 0.30), 1.00), _View((0.50, 0.78), 1.20)),
    _Shot("motorcycle_left.png", _View((0.40, 0.62), 1.10), _View((0.55, 0.55), 1.00)),
)


class DemoSource(ClosedByWith):
    """A film of real photographs, panned, zoomed and cross-faded; the same on every machine.

    Raises:
        SourceError: The photographs are not installed.
    """

    name = "demo"
    size_wh = SIZE_WH
    rate: Fraction | None = RATE
    frame_count_estimate: int | None = FRAME_COUNT
    duration_seconds: float | None = float(FRAME_COUNT / RATE)
    is_live = False
    is_still = False

    def __init__(self) -> None:
        folder = _photograph_folder()
        self._photographs = [_read(folder / shot.file_name) for shot in _SHOTS]
        self._index = 0
        self._is_closed = False

    def read(self) -> Frame | None:
        """The next frame; None after the last."""
        if self._index >= FRAME_COUNT or self._is_closed:
            return None
        frame = Frame(self._picture(self._index), self._index, float(self._index / RATE))
        self._index += 1
        return frame

    def close(self) -> None:
        """Ends the film."""
        self._is_closed = True

    def _picture(self, index: int) -> np.ndarray:
        frames_per_shot = FRAME_COUNT / len(_SHOTS)
        number = int(index / frames_per_shot)
        picture = self._shown(number, index)
        frames_left = (number + 1) * frames_per_shot - index
        if number + 1 == len(_SHOTS) or frames_left > _FADE_FRAMES:
            return picture
        weight = _eased(1 - frames_left / _FADE_FRAMES)
        return cv2.addWeighted(self._shown(number + 1, index), weight, picture, 1 - weight, 0)

    def _shown(self, number: int, index: int) -> np.ndarray:
        """One photograph at this moment; its camera moves while it fades in, too."""
        frames_per_shot = FRAME_COUNT / len(_SHOTS)
        begins = number * frames_per_shot - (_FADE_FRAMES if number else 0)
        progress = (index - begins) / ((number + 1) * frames_per_shot - begins)
        return show(self._photographs[number], _between(_SHOTS[number].first, _SHOTS[number].last, _eased(progress)))


def show(photograph: np.ndarray, view: _View) -> np.ndarray:
    """The part of a photograph a view shows, (360, 640, 3) uint8, BGR; never beyond the photograph's border.

    Positions are kept to a fraction of a pixel, half-pixel centres included: rounded, slow pans would tremble.
    """
    height, width = photograph.shape[:2]
    scale = max(SIZE_WH[0] / width, SIZE_WH[1] / height) * view.zoom
    half_x, half_y = SIZE_WH[0] / scale / 2, SIZE_WH[1] / scale / 2
    centre_x = min(max(view.centre_xy[0] * width, half_x), width - half_x)
    centre_y = min(max(view.centre_xy[1] * height, half_y), height - half_y)
    to_photograph = np.array(
        [
            [1 / scale, 0, centre_x - half_x + 0.5 / scale - 0.5],
            [0, 1 / scale, centre_y - half_y + 0.5 / scale - 0.5],
        ],
        np.float64,
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(photograph, to_photograph, SIZE_WH, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _between(first: _View, last: _View, progress: float) -> _View:
    x, y = (a + (b - a) * progress for a, b in zip(first.centre_xy, last.centre_xy, strict=True))
    # Even steps of a zoom multiply: the picture seems to grow at one speed.
    return _View((x, y), first.zoom * (last.zoom / first.zoom) ** progress)


def _eased(progress: float) -> float:
    """0 to 1 with a soft start and end."""
    return (1 - math.cos(math.pi * min(max(progress, 0.0), 1.0))) / 2


def _photograph_folder() -> Path:
    # scikit-image itself is not imported: that takes a second, and its files are all we need.
    package = importlib.util.find_spec("skimage")
    if package is None or package.origin is None:
        raise SourceError('the demo\'s photographs are not installed; in the checkout: pip install ".[demo]"')
    return Path(package.origin).parent / "data"


def _read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
    if image is None:
        raise SourceError(f'the demo\'s photograph {path} is missing; in the checkout: pip install ".[demo]"')
    return cv2.resize(image, None, fx=_ENLARGED, fy=_ENLARGED, interpolation=cv2.INTER_CUBIC)
