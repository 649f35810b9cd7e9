"""Divides a segment into scenes and makes a thumbnail of each: the frame that the network is most certain of.

A scene ends at a cut, or after half a minute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from live_cam.render.letterbox import reduced
from live_cam.render.renderer import Renderer
from live_cam.settings import RenderSettings
from live_cam.temporal.explainer import is_cut, samples_of

if TYPE_CHECKING:
    from live_cam.frame import Explanation, Frame, Prediction

_THUMBNAIL_SIDE_PX = 224
_JPEG_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 60]
# Flashing pictures and noise would else give a thumbnail for every frame.
_SHORTEST_SECONDS = 2.0
_FEWEST_ROWS = 10
# A camera that never moves has no cuts.
_LONGEST_SECONDS = 30.0


@dataclass(eq=False)
class Scene:
    """A part of a video; it grows while frames are added.

    Attributes:
        from_seconds: Time of its first frame.
        to_seconds: Time of the next scene's first frame, or the end.
        row_count: Number of explained frames.
        time_seconds: Time of the best frame.
        explained: The best frame's explained class.
        thumbnail: (height, width, 3) uint8 BGR: the best frame, small.
        explanation: The best frame's explanation.
    """

    from_seconds: float
    to_seconds: float
    row_count: int
    time_seconds: float
    explained: Prediction
    thumbnail: np.ndarray
    explanation: Explanation


class SceneCollector:
    """Collects the scenes of a segment, which begins with a scene."""

    def __init__(self) -> None:
        self.scenes: list[Scene] = []
        self._samples: np.ndarray | None = None
        self._renderer = Renderer(RenderSettings(caption=False))

    def add(self, frame: Frame, explanation: Explanation, pixels: np.ndarray) -> None:
        """Adds an explained frame.

        Args:
            frame: The frame.
            explanation: Its explanation.
            pixels: (1, h, w, 3) uint8 BGR, the network's input.
        """
        samples, before = samples_of(pixels), self._samples
        self._samples = samples
        scene = self.scenes[-1] if self.scenes else None
        if scene is None or before is None or self._ends(scene, frame, is_cut(before, samples)):
            if scene is not None:
                scene.to_seconds = frame.time_seconds
            scene = self._new_scene(frame, explanation)
            self.scenes.append(scene)
        elif score_of(explanation.explained) > score_of(scene.explained):
            scene.time_seconds, scene.explained = frame.time_seconds, explanation.explained
            scene.thumbnail, scene.explanation = _small(frame.image), explanation
        scene.row_count += 1

    def end(self, end_seconds: float) -> None:
        """Ends the last scene."""
        if self.scenes:
            self.scenes[-1].to_seconds = end_seconds

    def jpeg(self, scene: Scene) -> bytes:
        """Returns a scene's thumbnail with its heat, as a JPEG file."""
        _, data = cv2.imencode(".jpg", self._renderer.draw(scene.thumbnail, scene.explanation), _JPEG_QUALITY)
        return data.tobytes()

    @staticmethod
    def _ends(scene: Scene, frame: Frame, is_at_cut: bool) -> bool:
        if scene.row_count < _FEWEST_ROWS:
            return False
        seconds = frame.time_seconds - scene.from_seconds
        return seconds >= _LONGEST_SECONDS or (is_at_cut and seconds >= _SHORTEST_SECONDS)

    @staticmethod
    def _new_scene(frame: Frame, explanation: Explanation) -> Scene:
        time_seconds = frame.time_seconds
        thumbnail = _small(frame.image)
        return Scene(time_seconds, time_seconds, 0, time_seconds, explanation.explained, thumbnail, explanation)


def score_of(prediction: Prediction) -> float:
    """Returns the probability, or the value of a model that returns numbers."""
    return prediction.value if prediction.probability is None else prediction.probability


def _small(image: np.ndarray) -> np.ndarray:
    small = reduced(image, _THUMBNAIL_SIDE_PX)
    # The source may use the frame's memory again.
    return small.copy() if small is image else small
