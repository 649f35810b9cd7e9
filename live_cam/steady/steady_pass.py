"""The one pass with a memory: which class it explains, and what of its maps is drawn."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from live_cam.errors import SettingError
from live_cam.steady.class_choice import ClassChooser, ClassState, class_arrays, class_of
from live_cam.steady.contrast import Rival
from live_cam.steady.scene import is_cut, samples_of
from live_cam.steady.smoothing import DEFAULT_HALF_LIFE_SECONDS, HeatState, heat_arrays, heat_of, next_heat, smoothed

if TYPE_CHECKING:
    from live_cam.explainer import NetworkInput
    from live_cam.frame import Explanation


class Explains(Protocol):
    """What gives the pass: an ``Explainer``, or one that knows the result already."""

    def explain_input(
        self, network_input: NetworkInput, class_index: int | None, contrast_index: int | None
    ) -> Explanation:
        """See ``Explainer.explain_input``."""


class _Guesses:
    """From a cut until its first frame is explained, what was known of the class is worth nothing.

    Attributes:
        explained_count: How many frames were explained.
    """

    def __init__(self) -> None:
        self.explained_count = 0
        self._guessed_count = self._cut_number = 0
        self._samples: np.ndarray | None = None

    def is_class_known(self, samples: np.ndarray) -> bool:
        if self._samples is None or is_cut(self._samples, samples):
            self._cut_number = self._guessed_count
        self._samples = samples
        self._guessed_count += 1
        return self.explained_count > self._cut_number


@dataclass(frozen=True, eq=False)
class SteadyState:
    """All that is remembered from frame to frame.

    Attributes:
        classes: Of the explained class.
        heat: Of the maps; None before the first.
        samples: (rows, columns, 3) uint8, BGR: some of the last frame's pixels; None before the first.
    """

    classes: ClassState = ClassState()
    heat: HeatState | None = None
    samples: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Steadied:
    """One frame's explanation, and how it is drawn.

    Attributes:
        explanation: As computed.
        drawn: The same with smoothed maps.
        scale: The value that is drawn hottest; None: the map's own maximum.
        state: All that is remembered after this frame.
    """

    explanation: Explanation
    drawn: Explanation
    scale: float | None
    state: SteadyState


class SteadyPass:
    """Explains frame after frame of one source.

    Args:
        half_life_seconds: Of the smoothing; 0: each frame on its own, with its own top class and its own maximum.

    Raises:
        SettingError: The half-life is no number of seconds.

    Attributes:
        classes: Chooses the explained class.
        rival: Chooses the class that it is set against.
    """

    def __init__(self, half_life_seconds: float = DEFAULT_HALF_LIFE_SECONDS) -> None:
        self.classes = ClassChooser()
        self.rival = Rival()
        self._heat: HeatState | None = None
        self._samples: np.ndarray | None = None
        self._guesses = _Guesses()
        self._lock = threading.Lock()
        self.half_life_seconds = half_life_seconds

    @property
    def half_life_seconds(self) -> float:
        """May be changed from any thread, and holds from the next frame on."""
        return self._half_life_seconds

    @half_life_seconds.setter
    def half_life_seconds(self, seconds: float) -> None:
        if not 0 <= seconds < float("inf"):
            raise SettingError(f"smoothing is a half-life in seconds, 0 for none; got {seconds:g}")
        self._half_life_seconds = seconds
        self.classes.keeps = seconds > 0

    def guess(self, network_input: NetworkInput) -> int | None:
        """The class that ``explain`` will ask for, as far as it is known before the frames before are done.

        To be called for each frame in order, by the thread that explains, or for none.
        """
        is_known = self._guesses.is_class_known(samples_of(network_input.pixels))
        state = self.classes.state
        return state.class_index if state.is_fixed or (is_known and self.classes.keeps) else None

    def explain(self, explainer: Explains, network_input: NetworkInput, time_seconds: float) -> Steadied:
        """One pass, for the class that is to be explained now.

        Args:
            explainer: Whose pass.
            network_input: What its ``preprocess`` gave for the frame.
            time_seconds: The frame's: media time, or the monotonic clock's for a live source.
        """
        samples = samples_of(network_input.pixels)
        with self._lock:
            cut = self._samples is not None and is_cut(self._samples, samples)
            self._samples = samples
            if cut:
                self._heat = None
        explanation = self.explain_alone(explainer, network_input, cut)
        self.classes.saw(explanation, time_seconds)
        self.rival.saw(explanation)
        self._guesses.explained_count += 1
        return self._steadied(explanation, time_seconds)

    def explain_alone(self, explainer: Explains, network_input: NetworkInput, is_cut: bool = False) -> Explanation:
        """One pass for the classes that are chosen now, of which nothing is remembered: a frame that stands still."""
        wanted = self.classes.wanted(is_cut)
        return explainer.explain_input(network_input, wanted, self.rival.contrast_index(wanted))

    def _steadied(self, explanation: Explanation, time_seconds: float) -> Steadied:
        half_life_seconds = self._half_life_seconds
        with self._lock:
            if half_life_seconds == 0:
                self._heat = None
                return Steadied(explanation, explanation, None, self._state())
            self._heat = next_heat(self._heat, explanation, time_seconds, half_life_seconds)
            return Steadied(explanation, smoothed(explanation, self._heat), self._heat.scale, self._state())

    def begin_anew(self) -> None:
        """Forgets the maps: those to come are made in another way. The explained class stays."""
        with self._lock:
            self._heat = None

    @property
    def state(self) -> SteadyState:
        """What is remembered, between two frames."""
        with self._lock:
            return self._state()

    def _state(self) -> SteadyState:
        return SteadyState(self.classes.state, self._heat, self._samples)

    def restore(self, state: SteadyState) -> None:
        """Goes on from there."""
        with self._lock:
            self.classes.restore(state.classes)
            self._heat, self._samples = state.heat, state.samples


def state_arrays(state: SteadyState) -> dict[str, np.ndarray]:
    """The state as named arrays, as ``np.savez`` takes them."""
    samples = {} if state.samples is None else {"scene_samples": state.samples}
    return {**class_arrays(state.classes), **heat_arrays(state.heat), **samples}


def state_of(arrays: Mapping[str, np.ndarray]) -> SteadyState:
    """The state that ``state_arrays`` gave these."""
    return SteadyState(class_of(arrays), heat_of(arrays), arrays.get("scene_samples"))
