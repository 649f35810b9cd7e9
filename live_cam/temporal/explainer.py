"""Explains the frames of one source one after the other, with a memory: classes, their colors, smoothed heatmaps."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from live_cam.render.colormaps import CLASS_COLORS_BGR
from live_cam.settings import DEFAULT_SMOOTH_SECONDS
from live_cam.temporal.class_choice import ClassChooser, ClassState, ContrastClass, class_arrays, class_state_from
from live_cam.temporal.smoothing import HeatState, heat_arrays, heat_state_from, next_heat, smoothed

if TYPE_CHECKING:
    from live_cam.explain.explainer import NetworkInput
    from live_cam.frame import Explanation, Frame

_SAMPLES_PER_SIDE = 28
_LEVELS_PER_CHANNEL = 4

# Consecutive frames of real films at 25 fps differ by at most 14 and 0.12; of 552 pairs of different photographs, 97 %
# exceed both thresholds. Both are required: a pan changes the pixels but not the colors, a lamp the colors but few
# pixels. A missed cut costs little: the old heat fades within a few frames.
_CUT_PIXEL_DIFFERENCE = 25.0
_CUT_COLOR_DIFFERENCE = 0.3


class InputExplainer(Protocol):
    """Explains a preprocessed frame: an ``Explainer``, or several that take turns."""

    def explain_input(
        self, network_input: NetworkInput, class_index: int | None, contrast_index: int | None
    ) -> Explanation:
        """See ``Explainer.explain_input``."""
        ...


@dataclass(frozen=True, eq=False)
class TemporalState:
    """Everything that is remembered between two frames.

    Attributes:
        classes: State of the class choice.
        heat: State of the smoothing; None before the first frame and after a cut.
        samples: (rows, columns, 3) uint8, BGR: some pixels of the last frame; None before the first frame.
        colors: Classes with the number of their color, the one that was absent for longest first; empty if one class at
            a time is explained.
    """

    classes: ClassState = ClassState()
    heat: HeatState | None = None
    samples: np.ndarray | None = None
    colors: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, eq=False)
class SmoothedExplanation:
    """One frame's explanation and how it is drawn.

    Attributes:
        frame: The explained frame.
        explanation: As computed.
        drawn_explanation: The same with smoothed heatmaps.
        scale: Heatmap value that is drawn hottest; None: the heatmap's own maximum.
        state: Everything that is remembered after this frame.
    """

    frame: Frame
    explanation: Explanation
    drawn_explanation: Explanation
    scale: float | None
    state: TemporalState


class TemporalExplainer:
    """Explains the frames of one source in order.

    One thread explains; classes, contrast and smoothing may be changed from any thread and hold from the next frame on.

    Args:
        smooth_seconds: Half-life of the smoothing; 0: every frame on its own, with its own top class and maximum.

    Attributes:
        classes: Chooses the explained class.
        contrast: Chooses the contrast class.
    """

    def __init__(self, smooth_seconds: float = DEFAULT_SMOOTH_SECONDS) -> None:
        self.classes = ClassChooser()
        self.contrast = ContrastClass()
        self._heat: HeatState | None = None
        self._samples: np.ndarray | None = None
        self._colors: tuple[tuple[int, int], ...] = ()
        # Counts resets: an explanation that was begun before one must not seed the state after it.
        self._reset_count = 0
        self._class_guess = _ClassGuess()
        self._lock = threading.Lock()
        self.smooth_seconds = smooth_seconds

    @property
    def smooth_seconds(self) -> float:
        """Half-life of the smoothing in seconds; 0 for none."""
        return self._smooth_seconds

    @smooth_seconds.setter
    def smooth_seconds(self, seconds: float) -> None:
        self._smooth_seconds = seconds
        self.classes.keeps = seconds > 0

    def guess_class(self, network_input: NetworkInput) -> int | None:
        """Returns the class that ``explain`` will probably choose, before the frames in between are done.

        Call it for every frame in order, or for none.
        """
        is_known = self._class_guess.is_known_for(samples_of(network_input.pixels))
        state = self.classes.state
        return state.class_index if state.is_fixed or (is_known and self.classes.keeps) else None

    def explain(
        self,
        explainer: InputExplainer,
        frame: Frame,
        network_input: NetworkInput,
        guessed: Explanation | None = None,
    ) -> SmoothedExplanation:
        """Explains one frame and smooths its heatmaps.

        The frame's own predictions take part in choosing the class: where they change it, the frame is explained again.

        Args:
            explainer: Explains the preprocessed frame.
            frame: The frame.
            network_input: What the explainer's ``preprocess`` returned for it.
            guessed: The frame's explanation for a guessed class, if it was computed before.
        """
        samples = samples_of(network_input.pixels)
        with self._lock:
            cut = self._samples is not None and is_cut(self._samples, samples)
            self._samples = samples
            if cut:
                self._heat = None
            reset_count = self._reset_count
        class_index = self.classes.next_index(cut)
        contrast_index = self.contrast.next_index(class_index)
        if guessed is None or contrast_index is not None:
            guessed = explainer.explain_input(network_input, class_index, contrast_index)
        class_index = self.classes.update(guessed, frame.time_seconds)
        self.contrast.update(guessed)
        explanation = self._explained_for(class_index, guessed, contrast_index, explainer, network_input)
        self._class_guess.explained_count += 1
        return self._smooth(frame, explanation, reset_count)

    def explain_still(self, explainer: InputExplainer, network_input: NetworkInput) -> Explanation:
        """Explains for the classes that are due, without remembering it: a frame that is shown again."""
        class_index = self.classes.next_index()
        contrast_index = self.contrast.next_index(class_index)
        explanation = explainer.explain_input(network_input, class_index, contrast_index)
        class_index = explanation.explained.class_index
        explanation = self._explained_for(class_index, explanation, contrast_index, explainer, network_input)
        with self._lock:
            return self._colored(explanation)

    def _explained_for(
        self,
        class_index: int,
        explanation: Explanation,
        contrast_index: int | None,
        explainer: InputExplainer,
        network_input: NetworkInput,
    ) -> Explanation:
        """Returns the explanation if it is for this class and its contrast class; else explains again."""
        wanted_index = self.contrast.next_index(class_index)
        if (explanation.explained.class_index, contrast_index) != (class_index, wanted_index):
            explanation = explainer.explain_input(network_input, class_index, wanted_index)
        return replace(explanation, is_locked=self.classes.is_fixed)

    def _smooth(self, frame: Frame, explanation: Explanation, reset_count: int) -> SmoothedExplanation:
        half_life_seconds = self._smooth_seconds
        with self._lock:
            drawn, scale = self._colored(explanation), None
            if half_life_seconds == 0:
                self._heat = None
            # Else it was computed in another way than the frames to come: drawn, but not remembered.
            elif reset_count == self._reset_count:
                self._heat = next_heat(self._heat, explanation, frame.time_seconds, half_life_seconds)
                drawn, scale = smoothed(drawn, self._heat)
            return SmoothedExplanation(frame, explanation, drawn, scale, self._state())

    def _colored(self, explanation: Explanation) -> Explanation:
        """Returns the explanation with the colors of its classes, if there are several."""
        if not explanation.other_maps:
            return explanation
        explained = (explanation.explained, *(prediction for prediction, _ in explanation.other_maps))
        class_indices = [prediction.class_index for prediction in explained]
        count = len(CLASS_COLORS_BGR)
        self._colors = next_colors(self._colors, class_indices[:count], count)
        colors = dict(self._colors)
        # More classes than colors share some.
        numbers = (colors.get(index, place % count) for place, index in enumerate(class_indices))
        return replace(explanation, color_indices=tuple(numbers))

    def reset(self) -> None:
        """Forgets the heatmaps, because the next ones are computed in another way. The explained class stays."""
        with self._lock:
            self._heat = None
            self._reset_count += 1

    @property
    def state(self) -> TemporalState:
        """Memory after the latest frame."""
        with self._lock:
            return self._state()

    def _state(self) -> TemporalState:
        return TemporalState(self.classes.state, self._heat, self._samples, self._colors)

    def restore(self, state: TemporalState) -> None:
        """Continues from an earlier state."""
        with self._lock:
            self.classes.restore(state.classes)
            self._heat, self._samples, self._colors = state.heat, state.samples, state.colors


class _ClassGuess:
    """Tells whether the class chosen so far is a valid guess for a later frame.

    The class chosen before the last cut is not: it becomes valid again when the first frame after the cut is explained.
    """

    def __init__(self) -> None:
        self.explained_count = 0
        self._guessed_count = self._cut_number = 0
        self._samples: np.ndarray | None = None

    def is_known_for(self, samples: np.ndarray) -> bool:
        if self._samples is None or is_cut(self._samples, samples):
            self._cut_number = self._guessed_count
        self._samples = samples
        self._guessed_count += 1
        return self.explained_count > self._cut_number


def state_arrays(state: TemporalState) -> dict[str, np.ndarray]:
    """Returns the state as named arrays for ``np.savez``."""
    samples = {} if state.samples is None else {"scene_samples": state.samples}
    colors = np.array(state.colors, np.int64).reshape(-1, 2)
    return {**class_arrays(state.classes), **heat_arrays(state.heat), **samples, "class_colors": colors}


def state_from(arrays: Mapping[str, np.ndarray]) -> TemporalState:
    """Returns the state that ``state_arrays`` turned into these arrays."""
    colors = tuple((index, color) for index, color in arrays["class_colors"].tolist())
    return TemporalState(class_state_from(arrays), heat_state_from(arrays), arrays.get("scene_samples"), colors)


def next_colors(
    colors: Sequence[tuple[int, int]], class_indices: Sequence[int], color_count: int
) -> tuple[tuple[int, int], ...]:
    """Returns classes with the number of their color, after a frame that shows these classes.

    A class keeps its color, also for as long as it is absent and nobody needs the color. A new class takes an unused
    color, or else that of the class that was absent for longest.

    Args:
        colors: After the frame before, the class that was absent for longest first.
        class_indices: The classes of this frame, at most one per color.
        color_count: Number of colors.
    """
    before, shown = dict(colors), set(class_indices)
    absent = [pair for pair in colors if pair[0] not in shown]
    present = {index: before[index] for index in class_indices if index in before}
    for index in class_indices:
        if index not in present:
            used = {*present.values(), *(color for _, color in absent)}
            unused = [color for color in range(color_count) if color not in used]
            present[index] = unused[0] if unused else absent.pop(0)[1]
    return (*absent, *present.items())


def samples_of(pixels: np.ndarray) -> np.ndarray:
    """Returns about 28x28 evenly spread pixels of the network's input, as a copy.

    Args:
        pixels: (1, h, w, 3) uint8, BGR.

    Returns:
        (rows, columns, 3) uint8, BGR.
    """
    step_y, step_x = (max(1, size // _SAMPLES_PER_SIDE) for size in pixels.shape[1:3])
    return pixels[0, step_y // 2 :: step_y, step_x // 2 :: step_x].copy()


def is_cut(before: np.ndarray, after: np.ndarray) -> bool:
    """Returns whether a new scene begins between two frames.

    Args:
        before: ``samples_of`` the earlier frame.
        after: ``samples_of`` the later frame.
    """
    if before.shape != after.shape:
        return True
    if cv2.norm(before, after, cv2.NORM_L1) < _CUT_PIXEL_DIFFERENCE * before.size:
        return False
    return float(np.abs(_color_histogram(before) - _color_histogram(after)).sum() / 2) >= _CUT_COLOR_DIFFERENCE


def _color_histogram(samples: np.ndarray) -> np.ndarray:
    """Returns the share of samples in each of 64 coarse colors: (64,) float64."""
    levels = (samples // (256 // _LEVELS_PER_CHANNEL)).astype(np.intp)
    colors = (levels[..., 0] * _LEVELS_PER_CHANNEL + levels[..., 1]) * _LEVELS_PER_CHANNEL + levels[..., 2]
    return np.bincount(colors.ravel(), minlength=_LEVELS_PER_CHANNEL**3) / colors.size
