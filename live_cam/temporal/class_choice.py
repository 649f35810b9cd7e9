"""Which class is explained, and which class's score is subtracted from it.

By default the top class is explained, with hysteresis: it does not change in every frame.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from live_cam.frame import LOWEST_CERTAIN_PROBABILITY, Explanation
from live_cam.predictions import NO_CLASS, SIMILAR_CLASSES

_HALF_LIFE_SECONDS = 0.1

# Another class takes over when its average probability leads by this factor ...
_CLEAR_LEAD = 1.5
# ... or leads at all, while the network has dropped the explained class: it has less than this share of the top
# probability, in a frame whose top probability means something.
_DROPPED_SHARE = 0.5

# Keeps an average of 0 from being divided by.
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class ClassState:
    """Memory of the predictions of earlier frames.

    Attributes:
        class_index: The class to explain; None: the next frame's top class.
        is_fixed: Whether the user chose or locked the class.
        averages: (classes,) float64: exponential averages of all probabilities over time; None before the first frame,
            and where the outputs are no probabilities.
        time_seconds: Time of the last frame.
    """

    class_index: int | None = None
    is_fixed: bool = False
    averages: np.ndarray | None = None
    time_seconds: float = 0.0


def next_class(state: ClassState, explanation: Explanation, time_seconds: float) -> ClassState:
    """Returns the state after one more frame; its class is the one to explain in this frame.

    Outputs that are no probabilities do not compete: of a regression model the same number stays explained.

    Args:
        state: After the frame before.
        explanation: Of this frame, for any class; for the top class if the outputs are no probabilities.
        time_seconds: The frame's time.
    """
    probabilities = explanation.probabilities
    if probabilities is None:
        class_index = explanation.explained.class_index if state.class_index is None else state.class_index
        return replace(state, class_index=class_index, averages=None, time_seconds=time_seconds)
    if not np.isfinite(probabilities).all():
        class_index = explanation.explained.class_index if state.class_index is None else state.class_index
        return replace(state, class_index=class_index)
    averages = _averages(state, probabilities, time_seconds)
    if state.class_index is None:
        class_index = int(probabilities.argmax())
    elif state.is_fixed or not _takes_over(state.class_index, averages, probabilities):
        class_index = state.class_index
    else:
        class_index = int(averages.argmax())
    return ClassState(class_index, state.is_fixed, averages, time_seconds)


def _averages(state: ClassState, probabilities: np.ndarray, time_seconds: float) -> np.ndarray:
    """Returns the averages after this frame; they start afresh if time runs backwards, as in a loop."""
    before = state.averages
    if before is None or before.shape != probabilities.shape or time_seconds < state.time_seconds:
        return probabilities.astype(np.float64)
    kept = 0.5 ** ((time_seconds - state.time_seconds) / _HALF_LIFE_SECONDS)
    return kept * before + (1 - kept) * probabilities


def _takes_over(class_index: int, averages: np.ndarray, probabilities: np.ndarray) -> bool:
    """Returns whether the class with the highest average takes over from the explained one."""
    lead, top = averages.max() / max(averages[class_index], _TINY), probabilities.max()
    is_dropped = top >= LOWEST_CERTAIN_PROBABILITY and probabilities[class_index] < _DROPPED_SHARE * top
    return bool(lead > (1 if is_dropped else _CLEAR_LEAD))


class ClassChooser:
    """Chooses the class to explain. May be used from any thread.

    Attributes:
        keeps: Whether a class is kept until another one leads clearly or the network drops it; otherwise each frame's
            top class is explained. A fixed class stays in both cases.
    """

    def __init__(self) -> None:
        self.keeps = True
        self._state = ClassState()
        self._lock = threading.Lock()

    @property
    def state(self) -> ClassState:
        """Memory after the latest frame."""
        with self._lock:
            return self._state

    @property
    def is_fixed(self) -> bool:
        """Whether the user chose or locked the class."""
        return self.state.is_fixed

    def restore(self, state: ClassState) -> None:
        """Continues from an earlier state."""
        with self._lock:
            self._state = state

    def next_index(self, is_cut: bool = False) -> int | None:
        """Returns the class that the next frame will probably be explained for.

        None: its top class, as at the start and after a cut.
        """
        with self._lock:
            if not self._state.is_fixed and (is_cut or not self.keeps):
                self._state = ClassState()
            return self._state.class_index

    def update(self, explanation: Explanation, time_seconds: float) -> int:
        """Takes a frame's probabilities into account, and returns the class that this frame is explained for.

        Args:
            explanation: Of this frame, for any class.
            time_seconds: The frame's time.
        """
        with self._lock:
            self._state = next_class(self._state, explanation, time_seconds)
            return explanation.explained.class_index if self._state.class_index is None else self._state.class_index

    def choose(self, class_index: int) -> None:
        """Explains this class from now on, until ``release``."""
        with self._lock:
            self._state = replace(self._state, class_index=class_index, is_fixed=True)

    def release(self) -> None:
        """Lets the explained class change by itself again."""
        with self._lock:
            self._state = replace(self._state, is_fixed=False)


class ContrastClass:
    """Chooses the contrast class, whose score is subtracted. May be used from any thread.

    Modes: "given": the contrast the explainer was made with, if any; "second": the best class that is not explained;
    "similar": the most similar classes; "none".
    """

    def __init__(self) -> None:
        self._mode = "given"
        self._class_index = NO_CLASS
        self._predicted: tuple[int, ...] = ()
        self._lock = threading.Lock()

    def set_mode(self, mode: str) -> None:
        """Sets the mode from the next frame on: "given", "second", "similar" or "none"."""
        with self._lock:
            self._mode = mode

    @property
    def mode(self) -> str:
        """The mode that was set last."""
        with self._lock:
            return self._mode

    def update(self, explanation: Explanation) -> None:
        """Takes a frame's predictions into account; a contrast class that is still predicted stays."""
        with self._lock:
            self._predicted = tuple(prediction.class_index for prediction in explanation.predictions)
            self._class_index = self._second_to(explanation.explained.class_index)

    def next_index(self, explained_index: int | None = None) -> int | None:
        """Returns the contrast for ``Explainer.explain_input``; None: the one that the explainer was made with.

        Args:
            explained_index: The class that will be explained, if known; it is never its own contrast class.
        """
        with self._lock:
            if self._mode == "second" and explained_index == self._class_index:
                self._class_index = self._second_to(explained_index)
            indices = {"given": None, "second": self._class_index, "similar": SIMILAR_CLASSES, "none": NO_CLASS}
            return indices[self._mode]

    def _second_to(self, explained_index: int | None) -> int:
        others = [index for index in self._predicted if index != explained_index]
        if self._class_index in others:
            return self._class_index
        return others[0] if others else NO_CLASS


def class_arrays(state: ClassState) -> dict[str, np.ndarray]:
    """Returns the state as named arrays for ``np.savez``."""
    averages = {} if state.averages is None else {"class_averages": state.averages}
    return {
        "class_index": np.array(NO_CLASS if state.class_index is None else state.class_index, np.int64),
        "class_is_fixed": np.array(state.is_fixed),
        "class_time_seconds": np.array(state.time_seconds, np.float64),
        **averages,
    }


def class_state_from(arrays: Mapping[str, np.ndarray]) -> ClassState:
    """Returns the state that ``class_arrays`` turned into these arrays."""
    class_index = int(arrays["class_index"])
    return ClassState(
        None if class_index < 0 else class_index,
        bool(arrays["class_is_fixed"]),
        arrays.get("class_averages"),
        float(arrays["class_time_seconds"]),
    )
