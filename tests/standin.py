"""An explainer without a network, and a job with it as a program that can be killed.

Its explanations depend on the pixels alone, so that two runs over the same video explain the same.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from live_cam.cli.console import Console
from live_cam.cli.watch import watch_source
from live_cam.explain.explainer import Explainer, NetworkInput
from live_cam.frame import Explanation, Frame, Prediction
from live_cam.jobs.job import run_job
from live_cam.jobs.outcome import JobContext, Outcome, Progress
from live_cam.preprocess import FrameFitter
from live_cam.settings import ExplainerSettings, JobSettings, OutputSettings, SourceSettings

_NAMES = ("left", "right", "top", "bottom")
_SIDE = 28


class StandIn(Explainer):
    """Explains the brightest half of the image; its heatmap is the brightness.

    Args:
        pause_seconds: How long each frame takes.
    """

    model_name, method, layer, layer_choices = "stand-in", "brightness", "pixels", ()
    engine_name, engine_reason, input_size_wh, fit = "none", "for tests", (_SIDE, _SIDE), "stretch"
    precision = "float"
    contrast_index = -1
    has_classes = True
    settings = ExplainerSettings()

    def __init__(self, pause_seconds: float = 0.0) -> None:
        self._pause_seconds = pause_seconds
        self._fitter = FrameFitter((_SIDE, _SIDE), "stretch")

    def class_index(self, target: int | str) -> int:
        return int(target) if isinstance(target, int) else _NAMES.index(target)

    def label(self, class_index: int) -> str:
        return _NAMES[class_index]

    def replicas(self) -> tuple[StandIn, ...]:
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


def job_settings(video: str | Path, output: Path | None, sidecar: Path | None = None, **options: object) -> JobSettings:
    """A job over a video; ``start_seconds`` and the like go to the source, the rest to the output."""
    source_names = ("start_seconds", "end_seconds", "max_frames")
    if output is not None and output.suffix != ".gif":
        # Two encodings of the same frames differ by 39 to 43 dB at the default quality.
        options.setdefault("quality", 80)
    source_options = {name: options.pop(name) for name in source_names if name in options}
    return JobSettings(
        SourceSettings(video=str(video), **source_options),
        output=OutputSettings(output=output, sidecar=sidecar, show=False, **options),
    )


def run_standin(
    video: Path,
    output: Path | None,
    sidecar: Path | None = None,
    pause_seconds: float = 0.0,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    lines: list[str] | None = None,
    stop: threading.Event | None = None,
    **options: object,
) -> Outcome:
    """Runs a whole job in this process."""

    def load(frame: Frame) -> StandIn:
        return StandIn(pause_seconds)

    on_line = [].append if lines is None else lines.append
    context = JobContext(on_line, on_progress=on_progress, stop=stop or threading.Event())
    return run_job(job_settings(video, output, sidecar, **options), context, load)


def main(video: str, output: str, sidecar: str, pause_seconds: str, *options: str) -> None:
    """Runs the job as the command line does, signals included.

    Args:
        video: The video.
        output: The annotated video; "-" for none.
        sidecar: The sidecar; "-" for none.
        pause_seconds: How long each frame takes.
        options: The report, or arguments of ``job_settings`` such as "max_frames=20" and "heatmaps=m.npz".
    """
    named: dict[str, object] = {}
    for option in options:
        name, _, value = option.rpartition("=")
        named[name or "report"] = int(value) if value.isdigit() else Path(value)
    if "resume" in named:
        named["resume"] = bool(named["resume"])
    paths = [None if name == "-" else Path(name) for name in (output, sidecar)]
    settings = job_settings(video, *paths, **named)
    print("starting", flush=True)
    watch_source(settings, Console(), os.environ, lambda frame: StandIn(float(pause_seconds)))


if __name__ == "__main__":
    import typer

    from live_cam.errors import LiveCamError

    try:
        main(*sys.argv[1:])
    except typer.Exit as end:
        os._exit(end.exit_code)
    except LiveCamError as error:
        sys.exit(str(error))
