"""Measures how steady heat and class are.

- How much the drawn heat flickers if only the sensor's noise changes, and how soon it follows a jump.
- How often the explained class is one that the network has dropped, and how often it changes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from measuring import conditions, demo_images, markdown_table, write_section

from live_cam import ModelExplainer, load_explainer
from live_cam.explain.explainer import NetworkInput
from live_cam.frame import LOWEST_CERTAIN_PROBABILITY, Explanation, Frame
from live_cam.render.renderer import Renderer
from live_cam.settings import DEFAULT_SMOOTH_SECONDS, RenderSettings, SourceSettings
from live_cam.sources.open import open_source
from live_cam.temporal.explainer import TemporalExplainer

_SIZE_WH = (640, 360)
_FLICKER_GOAL = 5.0
_FOLLOW_GOAL_SECONDS = 0.3
_SETTLED_SECONDS = 1.0
_MOST_DROPPED = 0.05
_FEWER_CHANGES = 2.5
# Frames of the demo that show the cat, the cup, the rocket and the motorcycle in full.
_DEMO_FRAMES = (45, 110, 165, 230)
# Left, top, width and height of the cat's face in its frame; left and top of the two places it jumps between.
_FACE_XYWH = (190, 40, 260, 260)
_PLACES_XY = ((20, 50), (360, 50))


@dataclass(frozen=True)
class Flicker:
    """Mean change from frame to frame of the drawn heat, in gray levels of 255.

    Attributes:
        unsmoothed: Each frame is drawn for itself, relative to its own maximum.
        smoothed: With the default smoothing.
    """

    unsmoothed: float
    smoothed: float

    @property
    def ratio(self) -> float:
        """How many times smaller the change is with smoothing."""
        return self.unsmoothed / self.smoothed


def noisy_frames(image: np.ndarray, sigma: float, count: int, rate: float, seed: int = 0) -> Iterator[Frame]:
    """Yields a still scene as a sensor sees it: the same image, each time with new noise.

    Args:
        image: (height, width, 3) uint8, BGR.
        sigma: Standard deviation of the noise, in gray levels of 255.
        count: Number of frames.
        rate: Frames per second.
        seed: Seed of the noise.
    """
    generator = np.random.default_rng(seed)
    for index in range(count):
        noise = sigma * generator.standard_normal(image.shape, np.float32)
        yield Frame(np.clip(np.rint(image + noise), 0, 255).astype(np.uint8), index, index / rate)


def heat_of(explanation: Explanation, scale: float | None) -> np.ndarray:
    """Returns the heat that is drawn, before it gets its colors: (h, w) float in [0, 1], at the heatmap's size."""
    scale = float(explanation.heatmap.max()) if scale is None else scale
    return np.clip(explanation.heatmap / scale, 0, 1) if scale > 0 else np.zeros_like(explanation.heatmap)


def flicker_of(
    explainer: ModelExplainer, image: np.ndarray, sigma: float, rate: float, seconds: float
) -> list[Flicker]:
    """Measures the flicker of one still scene with noise.

    The same explanations are drawn with and without smoothing, all for the class of the first frame: a class that
    changes would count as flicker of the heatmap.

    Args:
        explainer: Explains the frames.
        image: The scene, (height, width, 3) uint8, BGR.
        sigma: Standard deviation of the noise, in gray levels of 255.
        rate: Frames per second.
        seconds: Duration of the scene.

    Returns:
        Two values: of the heat before it gets its colors, and of the heatmap in color.
    """
    temporal, renderer = TemporalExplainer(), Renderer(RenderSettings(view="heatmap", caption=False))
    before: list[np.ndarray] = []
    changes = []
    for frame in noisy_frames(image, sigma, round(seconds * rate), rate):
        explained = temporal.explain(explainer, frame, explainer.preprocess(frame.image))
        if frame.index == 0:
            temporal.classes.choose(explained.explanation.explained.class_index)
        ways = [(explained.explanation, None), (explained.drawn_explanation, explained.scale)]
        drawn = [255 * heat_of(*way) for way in ways] + [renderer.draw(frame.image, *way).astype(int) for way in ways]
        if frame.time_seconds > _SETTLED_SECONDS:
            changes.append([float(np.abs(now - then).mean()) for now, then in zip(drawn, before, strict=True)])
        before = drawn
    means = np.mean(changes, axis=0).tolist()
    return [Flicker(*means[:2]), Flicker(*means[2:])]


def follow_seconds(explainer: ModelExplainer, cat: np.ndarray, sigma: float, rate: float) -> list[float]:
    """Returns, for each of four jumps of a cat's face, after how many seconds the peak of the drawn heat has followed.

    It has followed once it stays on the face's side.
    """
    first, second = (place_face(cat, place) for place in _PLACES_XY)
    took_seconds = []
    temporal, frames_per_place = TemporalExplainer(), round(2 * rate)
    for jump, image in enumerate([first, second, first, second, first]):
        has_followed = []
        for frame in noisy_frames(image, sigma, frames_per_place, rate, seed=jump):
            frame = replace(frame, time_seconds=(jump * frames_per_place + frame.index) / rate)
            explained = temporal.explain(explainer, frame, explainer.preprocess(frame.image))
            has_followed.append((peak_x(explained.drawn_explanation) > 0.5) == (image is second))
        if jump:
            late = [index for index, is_there in enumerate(has_followed) if not is_there]
            # Frame 0 of the new place is the jump itself.
            took_seconds.append((late[-1] + 1) / rate if late else 0.0)
    return took_seconds


def place_face(cat: np.ndarray, place_xy: tuple[int, int]) -> np.ndarray:
    """Returns the cat's face on a gray wall: (360, 640, 3) uint8, BGR."""
    left, top, width, height = _FACE_XYWH
    wall = np.full((_SIZE_WH[1], _SIZE_WH[0], 3), 128, np.uint8)
    x, y = place_xy
    wall[y : y + height, x : x + width] = cat[top : top + height, left : left + width]
    return wall


def peak_x(explanation: Explanation) -> float:
    """Returns where the heatmap's hottest cell is, as a fraction of the width."""
    column = int(explanation.heatmap.argmax()) % explanation.heatmap.shape[1]
    return (column + 0.5) / explanation.heatmap.shape[1]


@dataclass(frozen=True)
class ClassFigures:
    """How the explained class compares with each frame's own predictions.

    Attributes:
        frame_count: Number of frames.
        certain: Share of frames whose top probability is at least 0.1; the next two figures are over these.
        below_half: Share in which the explained class has less than half of the top probability.
        outside_top_3: Share in which three or more classes have a higher probability than the explained one.
        top_changes: How often the top class changes.
        explained_changes: How often the explained class changes.
        explained_again: Share of all frames that were explained again because their predictions changed the class.
    """

    frame_count: int
    certain: float
    below_half: float
    outside_top_3: float
    top_changes: int
    explained_changes: int
    explained_again: float

    @property
    def meets_goals(self) -> bool:
        """Whether all three goals are met."""
        is_believed = self.below_half <= _MOST_DROPPED and self.outside_top_3 <= _MOST_DROPPED
        return is_believed and self.top_changes >= _FEWER_CHANGES * self.explained_changes


def class_figures(explainer: ModelExplainer, settings: SourceSettings) -> ClassFigures:
    """Explains all frames of a source and compares the explained class with each frame's predictions."""
    temporal, counted, rows, explained_indices = TemporalExplainer(), _CountedCalls(explainer), [], []
    source = open_source(settings)
    try:
        while (frame := source.read()) is not None:
            explained = temporal.explain(counted, frame, explainer.preprocess(frame.image))
            rows.append(explained.explanation.probabilities)
            explained_indices.append(explained.explanation.explained.class_index)
    finally:
        source.close()
    probabilities = np.array(rows)
    top, own = probabilities.max(axis=1), probabilities[np.arange(len(rows)), explained_indices]
    is_certain = top >= LOWEST_CERTAIN_PROBABILITY
    return ClassFigures(
        frame_count=len(rows),
        certain=float(is_certain.mean()),
        below_half=float((own < top / 2)[is_certain].mean()),
        outside_top_3=float(((probabilities > own[:, np.newaxis]).sum(axis=1) >= 3)[is_certain].mean()),
        top_changes=int(np.count_nonzero(np.diff(probabilities.argmax(axis=1)))),
        explained_changes=int(np.count_nonzero(np.diff(explained_indices))),
        explained_again=counted.count / len(rows) - 1,
    )


class _CountedCalls:
    """Passes calls on to an explainer and counts them."""

    def __init__(self, explainer: ModelExplainer) -> None:
        self.count = 0
        self._explainer = explainer

    def explain_input(
        self, network_input: NetworkInput, class_index: int | None, contrast_index: int | None
    ) -> Explanation:
        self.count += 1
        return self._explainer.explain_input(network_input, class_index, contrast_index)


def class_section(explainer: ModelExplainer, videos: Sequence[Path]) -> str:
    """Returns the table of class figures of the demo and of videos."""
    sources = {"demo": SourceSettings(), **{path.stem: SourceSettings(video=str(path)) for path in videos}}
    rows = []
    for name, settings in sources.items():
        figures = class_figures(explainer, settings)
        ratio = figures.top_changes / max(figures.explained_changes, 1)
        rows.append(
            [f"{name} ({figures.frame_count})", f"{figures.certain:.0%}", f"{figures.below_half:.1%}"]
            + [f"{figures.outside_top_3:.1%}", str(figures.top_changes), str(figures.explained_changes)]
            + [f"**{ratio:.1f}x**", f"{figures.explained_again:.1%}", "yes" if figures.meets_goals else "no"]
        )
        print(*rows[-1], sep="  ", flush=True)
    head = ["video (frames)", "certain", "below half", "outside top 3", "top-1 changes", "class changes", "ratio"]
    return (
        "Explained class against each frame's own predictions. Certain: frames whose top probability is at least 0.1; "
        "of these, the share in which the explained class has less than half of the top probability, or is not among "
        f"the top 3.\nGoals: at most {_MOST_DROPPED:.0%} each, and {_FEWER_CHANGES:g} times fewer changes of the class "
        "than of the top class. Again: frames explained twice, because their own predictions changed the class.\n\n"
        + markdown_table([*head, "again", "goals met"], rows)
    )


def demo_photographs() -> list[np.ndarray]:
    """Returns a frame of each of the demo's four photographs, (360, 640, 3) uint8, BGR."""
    images = demo_images(_SIZE_WH, 250)
    return [images[index] for index in _DEMO_FRAMES]


def main() -> None:
    """Prints the table and writes it into the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", nargs="*", type=Path, help="videos for the class figures, besides the demo")
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument(
        "--sigma", type=float, default=4.0, help="noise of the sensor, in gray levels of 255 (default: 4)"
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="duration of each still scene (default: 5)")
    parser.add_argument("--no-write", action="store_true", help="do not change RESULTS.md")
    options = parser.parse_args()
    explainer = load_explainer(options.model)
    names, photographs = ("cat", "cup", "rocket", "motorcycle"), demo_photographs()
    rows = []
    for rate in (30, 15):
        for name, image in zip(names, photographs, strict=True):
            heat, colored = flicker_of(explainer, image, options.sigma, rate, options.seconds)
            rows.append(
                [f"{name}, {rate} fps", f"{heat.unsmoothed:.2f}", f"{heat.smoothed:.2f}"]
                + [f"**{heat.ratio:.1f}x**", f"{colored.ratio:.1f}x"]
            )
            print(*rows[-1], sep="  ", flush=True)
    took_seconds = {rate: follow_seconds(explainer, photographs[0], options.sigma, rate) for rate in (30, 15)}
    table = markdown_table(["still scene", "unsmoothed", "smoothed", "ratio", "ratio in color"], rows)
    jumps = "; ".join(
        f"at {rate} fps after {max(seconds):.2f} s at most ({', '.join(f'{value:.2f}' for value in seconds)})"
        for rate, seconds in took_seconds.items()
    )
    text = (
        f"## Flicker (flicker.py)\n\nMean change of the heat from frame to frame, in gray levels of 255, of still "
        f"photographs with noise of sigma {options.sigma:g}.\nGoal: {_FLICKER_GOAL:g} times smaller at 30 fps with the "
        f"default half-life of {DEFAULT_SMOOTH_SECONDS:g} s.\n\n{table}\n\n"
        "A cat's face jumps across the image four times.\n"
        f"The peak has followed {jumps}.\nGoal: {_FOLLOW_GOAL_SECONDS:g} s.\n\n"
        f"{class_section(explainer, options.videos)}"
    )
    print(f"\n{text}")
    if not options.no_write:
        write_section("flicker.py", f"{text}\n\n{conditions()}")


if __name__ == "__main__":
    main()
