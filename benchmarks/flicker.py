"""How still the drawn heat stands where only the sensor's noise moves, and how soon it follows what jumps."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from measuring import conditions, demo_images, markdown_table, write_section

from live_cam import Explainer, load_explainer
from live_cam.frame import Explanation, Frame
from live_cam.render.views import Renderer, RenderSettings
from live_cam.steady.smoothing import DEFAULT_HALF_LIFE_SECONDS
from live_cam.steady.steady_pass import SteadyPass

_SIZE_WH = (640, 360)
_FLICKER_GOAL = 5.0
_FOLLOW_GOAL_SECONDS = 0.3
_SETTLED_SECONDS = 1.0
# Of the demo: the cat, the cup, the rocket and the motorcycle, each in full view.
_DEMO_FRAMES = (45, 110, 165, 230)
# Where the cat's face is cut from its photograph, and the places it jumps between: left, top, width, height.
_FACE_XYWH = (190, 40, 260, 260)
_PLACES_XY = ((20, 50), (360, 50))


@dataclass(frozen=True)
class Flicker:
    """Mean change from frame to frame of the drawn heat, in grey levels of 255.

    Attributes:
        alone: Each frame drawn on its own, by its own maximum.
        steadied: Smoothed, as by default.
    """

    alone: float
    steadied: float

    @property
    def ratio(self) -> float:
        """How many times smaller it is."""
        return self.alone / self.steadied


def noisy_frames(image: np.ndarray, sigma: float, count: int, rate: float, seed: int = 0) -> Iterator[Frame]:
    """A still scene as a sensor sees it: the same picture, each time with noise of its own."""
    generator = np.random.default_rng(seed)
    for index in range(count):
        noise = sigma * generator.standard_normal(image.shape, np.float32)
        yield Frame(np.clip(np.rint(image + noise), 0, 255).astype(np.uint8), index, index / rate)


def shares_of(explanation: Explanation, scale: float | None) -> np.ndarray:
    """The drawn heat before it gets its colours: (h, w) float in 0..1, at the size of the map."""
    scale = float(explanation.heatmap.max()) if scale is None else scale
    return np.clip(explanation.heatmap / scale, 0, 1) if scale > 0 else np.zeros_like(explanation.heatmap)


def flicker_of(explainer: Explainer, image: np.ndarray, sigma: float, rate: float, seconds: float) -> list[Flicker]:
    """Of one still scene with noise: of the heat before it gets its colours, and of the painted picture.

    The same passes are drawn both ways, for the same class: a class that changes would count as flicker of the map.
    """
    steady, renderer = SteadyPass(), Renderer(RenderSettings(view="heatmap", caption=False))
    steady.classes.lock()
    before: list[np.ndarray] = []
    changes = []
    for frame in noisy_frames(image, sigma, round(seconds * rate), rate):
        steadied = steady.explain(explainer, explainer.preprocess(frame.image), frame.time_seconds)
        ways = [(steadied.explanation, None), (steadied.drawn, steadied.scale)]
        drawn = [255 * shares_of(*way) for way in ways] + [renderer.draw(frame, *way).image.astype(int) for way in ways]
        if frame.time_seconds > _SETTLED_SECONDS:
            changes.append([float(np.abs(now - then).mean()) for now, then in zip(drawn, before, strict=True)])
        before = drawn
    means = np.mean(changes, axis=0).tolist()
    return [Flicker(*means[:2]), Flicker(*means[2:])]


def follow_seconds(explainer: Explainer, cat: np.ndarray, sigma: float, rate: float) -> list[float]:
    """How long after each of four jumps of the cat's face the peak of the drawn heat is on its side for good."""
    before, after = (placed(cat, place) for place in _PLACES_XY)
    took = []
    steady, frames_a_place = SteadyPass(), round(2 * rate)
    for jump, image in enumerate([before, after, before, after, before]):
        is_right = image is after
        on_side = []
        for number, noisy in enumerate(noisy_frames(image, sigma, frames_a_place, rate, seed=jump)):
            time_seconds = (jump * frames_a_place + number) / rate
            steadied = steady.explain(explainer, explainer.preprocess(noisy.image), time_seconds)
            on_side.append(peak_x(steadied.drawn) > 0.5 if is_right else peak_x(steadied.drawn) < 0.5)
        if jump:
            wrong = [number for number, is_there in enumerate(on_side) if not is_there]
            # Frame 0 of the new place is the jump itself.
            took.append((wrong[-1] + 1) / rate if wrong else 0.0)
    return took


def placed(cat: np.ndarray, place_xy: tuple[int, int]) -> np.ndarray:
    """The cat's face on a grey wall: (360, 640, 3) uint8, BGR."""
    left, top, width, height = _FACE_XYWH
    wall = np.full((_SIZE_WH[1], _SIZE_WH[0], 3), 128, np.uint8)
    x, y = place_xy
    wall[y : y + height, x : x + width] = cat[top : top + height, left : left + width]
    return wall


def peak_x(explanation: Explanation) -> float:
    """Of the map's hottest cell, as a fraction of the width."""
    column = int(explanation.heatmap.argmax()) % explanation.heatmap.shape[1]
    return (column + 0.5) / explanation.heatmap.shape[1]


def demo_photographs() -> list[np.ndarray]:
    """The demo's four, (360, 640, 3) uint8, BGR."""
    images = demo_images(_SIZE_WH, 250)
    return [images[index] for index in _DEMO_FRAMES]


def main() -> None:
    """Prints the tables and writes them into the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--sigma", type=float, default=4.0, help="noise of the sensor, in grey levels of 255")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each still scene")
    parser.add_argument("--no-write", action="store_true", help="leave RESULTS.md alone")
    options = parser.parse_args()
    explainer = load_explainer(options.model)
    names, photographs = ("cat", "cup", "rocket", "motorcycle"), demo_photographs()
    rows = []
    for rate in (30, 15):
        for name, image in zip(names, photographs, strict=True):
            heat, painted = flicker_of(explainer, image, options.sigma, rate, options.seconds)
            rows.append(
                [f"{name}, {rate} fps", f"{heat.alone:.2f}", f"{heat.steadied:.2f}"]
                + [f"**{heat.ratio:.1f}x**", f"{painted.ratio:.1f}x"]
            )
            print(*rows[-1], sep="  ", flush=True)
    took = {rate: follow_seconds(explainer, photographs[0], options.sigma, rate) for rate in (30, 15)}
    table = markdown_table(["still scene", "alone", "smoothed", "smaller by", "once painted"], rows)
    jumps = "; ".join(
        f"at {rate} fps {max(times):.2f} s ({', '.join(f'{one:.2f}' for one in times)})" for rate, times in took.items()
    )
    text = (
        f"## Flicker (flicker.py)\n\nMean change from frame to frame of the heat, in steps of 255, on photographs with "
        f"noise of sigma {options.sigma:g}.\nGoal: {_FLICKER_GOAL:g} times smaller at 30 fps, with the default "
        f"half-life of {DEFAULT_HALF_LIFE_SECONDS:g} s.\n\n{table}\n\n"
        "A cat's face jumps across the picture four times;\n"
        f"until the peak has followed, at most: {jumps}.\nGoal: {_FOLLOW_GOAL_SECONDS:g} s."
    )
    print(f"\n{text}")
    if not options.no_write:
        write_section("flicker.py", f"{text}\n\n{conditions()}")


if __name__ == "__main__":
    main()
