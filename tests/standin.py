"""An explainer without a network, and a run with it as a program of its own that can be killed.

What it says depends on the pixels alone, so that two runs over the same film say the same.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from live_cam.cache import PassFacts
from live_cam.explainer import NetworkInput
from live_cam.frame import Explanation, Frame, Prediction
from live_cam.preprocess import FrameFitter
from live_cam.run.pipeline import Pipeline
from live_cam.run.session import Outcome, OutputSettings, SessionSettings, SourceSettings, run_session

_NAMES = ("left", "right", "top", "bottom")
_SIDE = 28


class StandIn:
    """The class is where the picture is brightest, the heatmap its brightness.

    Args:
        pause_seconds: How long each frame takes.
    """

    model_name, engine_name, method, contrast_index = "stand-in", "none", "brightness", -1
    facts: PassFacts

    def __init__(self, pause_seconds: float = 0.0) -> None:
        self._pause_seconds = pause_seconds
        self._fitter = FrameFitter((_SIDE, _SIDE), "stretch")

    def side_by_side(self) -> tuple[StandIn, ...]:
        return (self,)

    def preprocess(self, image: np.ndarray) -> NetworkInput:
        return NetworkInput(*self._fitter.fit(image))

    def explain_input(
        self, network_input: NetworkInput, class_index: int | None = None, contrast_index: int | None = None
    ) -> Explanation:
        time.sleep(self._pause_seconds)
        light = network_input.pixels[0, :, :, 1].astype(np.float32) / 255
        half = _SIDE // 2
        scores = np.array([light[:, :half].mean(), light[:, half:].mean(), light[:half].mean(), light[half:].mean()])
        shares = scores / max(float(scores.sum()), 1e-6)
        predictions = [
            Prediction(index, _NAMES[index], float(shares[index]), float(scores[index]))
            for index in np.argsort(-shares, kind="stable").tolist()
        ]
        explained = (
            predictions[0] if class_index is None else next(p for p in predictions if p.class_index == class_index)
        )
        weight = 1 + explained.class_index / 4
        heatmap = light.reshape(7, 4, 7, 4).mean((1, 3)) * np.float32(weight)
        return Explanation(tuple(predictions), explained, heatmap, network_input.region_xywh)


def run_standin(
    video: Path,
    output: Path,
    sidecar: Path | None = None,
    pause_seconds: float = 0.0,
    on_progress: Callable[[Pipeline, int | None], None] = lambda pipeline, total: None,
    lines: list[str] | None = None,
    **output_options: object,
) -> Outcome:
    """A whole run, as the command line would make it; ``start_seconds`` and the like go to the source."""
    source_names = ("start_seconds", "end_seconds", "max_frames")
    if output.suffix != ".gif":
        # Two encodings of the same pictures differ by 39 to 43 dB at the usual quality.
        output_options.setdefault("quality", 80)
    source_options = {name: output_options.pop(name) for name in source_names if name in output_options}
    settings = SessionSettings(
        SourceSettings(video=str(video), **source_options),
        output=OutputSettings(output=output, sidecar=sidecar, show=False, **output_options),
    )

    def load(frame: Frame) -> StandIn:
        return StandIn(pause_seconds)

    return run_session(settings, [].append if lines is None else lines.append, on_progress=on_progress, load=load)


if __name__ == "__main__":
    print("starting", flush=True)
    run_standin(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]))
