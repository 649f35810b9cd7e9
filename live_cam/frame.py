"""The values that flow through livecam: a frame, its explanation, and the result that is drawn.

All are frozen: a stage that changes something returns a new value. Images are BGR because that is what OpenCV reads,
draws and shows; only the grad-model converts them to RGB, inside the compiled function.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

WHOLE_FRAME_XYWH = (0.0, 0.0, 1.0, 1.0)

# A network of a thousand classes whose best one has less does not recognize anything.
LOWEST_CERTAIN_PROBABILITY = 0.1


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a source.

    Attributes:
        image: (height, width, 3) uint8, BGR.
        index: Number of the frame since the source was opened, from 0. Never repeats.
        time_seconds: Media time for a file, the monotonic clock's reading at capture for a live source.
        duration_seconds: How long the frame is shown; None if unknown.
        captured_seconds: The monotonic clock's reading when the pipeline got the frame; 0 outside a pipeline.
    """

    image: np.ndarray = field(repr=False)
    index: int
    time_seconds: float
    duration_seconds: float | None = None
    captured_seconds: float = 0.0


@dataclass(frozen=True)
class Prediction:
    """Result of the network for one class.

    Attributes:
        class_index: Position in the network's output; of a single sigmoid output, 0 is "no" and 1 is "yes".
        label: The class's name, or its index as text where the model has no labels.
        probability: In [0, 1]; None where the output is no probability (regression).
        value: The network's raw output for this class.
    """

    class_index: int
    label: str
    probability: float | None
    value: float


@dataclass(frozen=True, eq=False)
class Explanation:
    """The predictions for one frame and the map of what spoke for one of them.

    Attributes:
        predictions: Best first, at most ``top_k`` of them.
        explained: The class the heatmap is about; it need not be among ``predictions``.
        heatmap: (h, w) float32, >= 0, at target-layer resolution, not normalized. All zero: no positive evidence.
        region_xywh: What the network saw, as fractions of the frame's width and height: left, top, width, height.
            With ``fit="pad"`` it reaches outside 0..1.
        other_maps: Further classes explained in the same pass, each with its own (h, w) float32 map.
        probabilities: Of all classes, (classes,) float32 in [0, 1]; None where the outputs are no probabilities.
        contrast: The classes whose scores are subtracted from the explained class's score; empty if there are none.
        is_locked: Whether the user chose the explained class, so that it does not change by itself.
        color_indices: Which of the class colors the explained class and the classes of ``other_maps`` are drawn in;
            empty: in this order.
    """

    predictions: tuple[Prediction, ...]
    explained: Prediction
    heatmap: np.ndarray = field(repr=False)
    region_xywh: tuple[float, float, float, float] = WHOLE_FRAME_XYWH
    other_maps: tuple[tuple[Prediction, np.ndarray], ...] = field(default=(), repr=False)
    probabilities: np.ndarray | None = field(default=None, repr=False)
    contrast: tuple[Prediction, ...] = ()
    is_locked: bool = False
    color_indices: tuple[int, ...] = ()

    @property
    def is_unsure(self) -> bool:
        """Whether the top class has a probability below 0.1."""
        top = self.predictions[0].probability if self.predictions else None
        return top is not None and top < LOWEST_CERTAIN_PROBABILITY

    def _repr_png_(self) -> bytes:
        """Returns the heatmap with its class for notebooks."""
        return _notebook().explanation_png(self)


@dataclass(frozen=True, eq=False)
class Result:
    """A frame with its explanation; what sinks, viewers and ``live_cam.stream`` get. It owns its arrays.

    Attributes:
        frame: The frame as it was read.
        explanation: As computed, before any smoothing over time.
        drawn_explanation: The explanation whose heatmaps are drawn; smoothed over time.
        scale: Heatmap value that is drawn hottest; None: the heatmap's own maximum.
        explained_frame: The frame that ``explanation`` is of; earlier than ``frame`` while explanations are behind.
        state: What is remembered after this frame, for checkpoints.
        draw: Draws the annotated image with (True) or without (False) its caption.
    """

    frame: Frame
    explanation: Explanation
    drawn_explanation: Explanation = field(repr=False)
    scale: float | None = field(repr=False)
    explained_frame: Frame = field(repr=False)
    state: Any = field(repr=False)
    draw: Callable[[bool], np.ndarray] = field(repr=False)

    @cached_property
    def image(self) -> np.ndarray:
        """The annotated image with its caption, (height, width, 3) uint8 BGR; drawn when first asked for."""
        return self.draw(True)

    @cached_property
    def image_without_caption(self) -> np.ndarray:
        """The annotated image for viewers that write the class themselves; drawn when first asked for."""
        return self.draw(False)

    def _repr_png_(self) -> bytes:
        """Returns the annotated image for notebooks."""
        return _notebook().result_png(self)

    @property
    def heatmap_age_seconds(self) -> float:
        """Age difference of the explained frame; 0 if the frame has its own explanation."""
        return self.frame.time_seconds - self.explained_frame.time_seconds


def _notebook() -> Any:
    # By name, when a notebook asks: values know nothing of how they are drawn, and OpenCV is not loaded for them.
    return importlib.import_module("live_cam.render.notebook")
