"""The values that flow through livecam: a frame in, an explanation beside it, a drawn result out.

All are frozen: a stage that changes something returns a new value. Images are BGR because that is what OpenCV reads,
draws and shows; the one place that turns them to RGB is inside the compiled pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

WHOLE_FRAME_XYWH = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a source.

    Attributes:
        image: (height, width, 3) uint8, BGR.
        index: Count of frames since the source was opened, from 0. Never repeats.
        time_seconds: Media time for a file, the monotonic clock's reading at capture for a live source.
        duration_seconds: How long it is shown; None where nothing tells.
    """

    image: np.ndarray
    index: int
    time_seconds: float
    duration_seconds: float | None = None


@dataclass(frozen=True)
class Prediction:
    """What the network says about one class.

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
    """

    predictions: tuple[Prediction, ...]
    explained: Prediction
    heatmap: np.ndarray
    region_xywh: tuple[float, float, float, float] = WHOLE_FRAME_XYWH
    other_maps: tuple[tuple[Prediction, np.ndarray], ...] = ()


@dataclass(frozen=True, eq=False)
class Result:
    """What every sink gets.

    Attributes:
        frame: The frame as it was read.
        explanation: As computed, before any smoothing over time.
        drawn: The same frame with heatmap and caption drawn; same index and time as ``frame``.
        earlier_frame: The one that was explained, where explanations come behind; None: ``frame`` itself.
        smoothed: The explanation with the maps that were drawn; None: ``explanation`` itself.
        scale: The map's value that was drawn hottest; None: its own maximum.
    """

    frame: Frame
    explanation: Explanation
    drawn: Frame
    earlier_frame: Frame | None = None
    smoothed: Explanation | None = None
    scale: float | None = None

    @property
    def drawn_explanation(self) -> Explanation:
        """The explanation as it was drawn."""
        return self.smoothed or self.explanation

    @property
    def explained_frame(self) -> Frame:
        """The frame that ``explanation`` is of."""
        return self.earlier_frame or self.frame

    @property
    def heat_age_seconds(self) -> float:
        """How much older the explained frame is; 0 where the frame was drawn with its own explanation."""
        return self.frame.time_seconds - self.explained_frame.time_seconds
