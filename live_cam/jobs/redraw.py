"""Draws a video again from its recorded heatmaps, in other colors and without running the network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from live_cam.explain.explainer import Explainer, NetworkInput
from live_cam.frame import Explanation
from live_cam.predictions import NO_CLASS
from live_cam.preprocess import FrameFitter
from live_cam.settings import FeedSettings, JobSettings, OutputSettings, SourceSettings
from live_cam.sources.wrappers import ExpectedFrames

if TYPE_CHECKING:
    import numpy as np

    from live_cam.sinks.heatmap_reader import RecordedHeatmaps


def redraw_settings(
    heatmaps: RecordedHeatmaps, video: Path, feed: FeedSettings, output: OutputSettings, keeps_smoothing: bool = True
) -> JobSettings:
    """Returns the job; run it with a ``RecordedExplainer`` and ``expected_frames``.

    Args:
        heatmaps: Of the video.
        video: The video.
        feed: How it is drawn.
        output: What is written.
        keeps_smoothing: Whether the smoothing of the recorded run is used instead of ``feed.smooth_seconds``.
    """
    arrays = heatmaps.arrays
    end_seconds, max_frames = float(arrays["end_seconds"]), int(arrays["max_frames"])
    source = SourceSettings(
        video=str(video),
        start_seconds=float(arrays["start_seconds"]) or None,
        end_seconds=None if end_seconds == float("inf") else end_seconds,
        max_frames=None if max_frames < 0 else max_frames,
    )
    if keeps_smoothing:
        feed = replace(feed, smooth_seconds=float(arrays["smooth_seconds"]))
    return JobSettings(source, feed=feed, output=output)


def expected_frames(heatmaps: RecordedHeatmaps) -> ExpectedFrames:
    """Returns the frames that the video must have for these heatmaps."""
    are_first = len(heatmaps) == int(heatmaps.arrays["max_frames"])
    return ExpectedFrames(heatmaps.path, heatmaps.frame_size_wh, heatmaps.times_seconds, are_first)


@dataclass(frozen=True, eq=False)
class RecordedInput(NetworkInput):
    """A frame as the network saw it.

    Attributes:
        index: Number of the frame in the recording.
    """

    index: int


class RecordedExplainer(Explainer):
    """Returns recorded explanations, frame after frame."""

    engine_name = "recorded"
    engine_reason = "drawn again from recorded heatmaps"
    precision = "recorded"
    contrast_index = NO_CLASS
    has_classes = True

    def __init__(self, heatmaps: RecordedHeatmaps) -> None:
        arrays = heatmaps.arrays
        self.model_name, self.method = str(arrays["model"]), str(arrays["method"])
        self.layer, self.fit = str(arrays["layer"]), str(arrays["fit"])
        self.layer_choices, self.labels = (), ()
        width, height = arrays["input_size_wh"].tolist()
        self.input_size_wh = (width, height)
        self._heatmaps = heatmaps
        # What the network saw tells where the scene changes and the smoothing starts afresh.
        self._fitter = FrameFitter(self.input_size_wh, self.fit)
        self._count = 0

    def class_index(self, target: int | str) -> int:
        """Not available: the classes were chosen when the heatmaps were recorded."""
        raise NotImplementedError("recorded heatmaps explain the classes that were chosen for them")

    def label(self, class_index: int) -> str:
        """See ``Explainer``."""
        return self._heatmaps.label(class_index)

    def preprocess(self, image: np.ndarray) -> RecordedInput:
        """See ``Explainer``; counts the frames."""
        pixels, region_xywh = self._fitter.fit(image)
        self._count += 1
        return RecordedInput(pixels, region_xywh, self._count - 1)

    def explain_input(
        self, network_input: NetworkInput, class_index: int | None = None, contrast_index: int | None = None
    ) -> Explanation:
        """Returns the recorded explanation of the frame, for the classes it was recorded with."""
        if not isinstance(network_input, RecordedInput):
            raise TypeError("a RecordedExplainer explains what its own preprocess returned")
        return self._heatmaps.explanation(network_input.index)

    def replicas(self) -> tuple[Explainer, ...]:
        """See ``Explainer``; nothing is computed that replicas could share."""
        return (self,)
